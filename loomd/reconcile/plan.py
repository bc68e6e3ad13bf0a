"""What would change between two snapshots: a pure comparison, for people to read and for the reconciler to act on.

Two spellings of one object are unchanged: specs are compared with their defaults filled in. What the changes lead to
beyond themselves is said by `meaning`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from loomd.manifest.kind import ReloadClass, find_kinds
from loomd.manifest.object import Object, Ref, Snapshot
from loomd.manifest.problem import Problem
from loomd.manifest.reload import reload_class
from loomd.manifest.wording import escape, masked

Action = Literal["created", "changed", "replaced", "deleted", "unchanged"]

Consequences = Literal["behaviour", "scores", "tasks", "index", "reopened", "pending"]

FILES = "a file that it names has other contents"
"""What a change means that no field shows."""

_SHOWN = 4


@dataclass(frozen=True)
class FieldChange:
    """A field that differs.

    Attributes:
        path: dotted, `spec.limits.steps`.
        before: the JSON value that serves, None when there is none; secrets are hidden.
        after: the JSON value that is wanted.
        reload: when the change takes effect.
    """

    path: str
    before: Any
    after: Any
    reload: ReloadClass

    def to_json(self) -> dict[str, Any]:
        """Return the change as a JSON object."""
        return {"path": self.path, "before": self.before, "after": self.after, "reload": self.reload}


@dataclass(frozen=True)
class Change:
    """What happens to one object.

    Attributes:
        ref: the object.
        action: `replaced` is a change of its type, after which nothing of the old live thing goes on.
        fields: what differs, for `changed` and `replaced`.
        means: what that means beyond the fields, one clause each.
        old: the object that serves, if there is one.
        new: the object that is wanted, if it is.
    """

    ref: Ref
    action: Action
    fields: tuple[FieldChange, ...] = ()
    means: tuple[str, ...] = ()
    old: Object | None = field(default=None, repr=False, compare=False)
    new: Object | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        """Return `Agent/ada changed: spec.prompt, spec.limits.steps`."""
        names = [one.path for one in self.fields] or list(self.means)
        if not names:
            return f"{self.ref} {self.action}"
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return f"{self.ref} {self.action}: {', '.join(names[:_SHOWN])}{more}"

    def to_json(self) -> dict[str, Any]:
        """Return the change as a JSON object."""
        return {
            "object": str(self.ref),
            "kind": self.ref.kind,
            "namespace": self.ref.namespace,
            "name": self.ref.name,
            "action": self.action,
            "fields": [one.to_json() for one in self.fields],
            "means": list(self.means),
        }


@dataclass(frozen=True)
class Consequence:
    """What the changes lead to: `type` says of what kind it is, `object` whom it is about."""

    type: Consequences
    object: str
    message: str

    def to_json(self) -> dict[str, str]:
        """Return the consequence as a JSON object."""
        return {"type": self.type, "object": self.object, "message": self.message}


@dataclass(frozen=True)
class Mark:
    """A revision in a plan; `number` is None as long as it is not in the history."""

    number: int | None
    revision: str

    def to_json(self) -> dict[str, Any]:
        """Return the mark as a JSON object."""
        return {"number": self.number, "revision": self.revision}


@dataclass(frozen=True)
class Plan:
    """All objects of two snapshots with what happens to them.

    Attributes:
        changes: in the order of the new snapshot, deleted ones last.
        before: what serves.
        after: what is wanted.
        source: the source whose files changed.
        consequences: what the changes lead to.
        warnings: what is not wrong and should be looked at.
        suspends: the sources that are followed and whose deliveries would undo it: they are ignored from now on.
        owners: the source that declares each object of the new snapshot; the implied ones have none.
    """

    changes: tuple[Change, ...]
    before: Mark
    after: Mark
    source: str = ""
    consequences: tuple[Consequence, ...] = ()
    warnings: tuple[Problem, ...] = ()
    suspends: tuple[str, ...] = ()
    owners: Mapping[Ref, str] = field(default_factory=dict, repr=False)

    @property
    def effective(self) -> tuple[Change, ...]:
        """Return the changes that change something."""
        return tuple(change for change in self.changes if change.action != "unchanged")

    @property
    def empty(self) -> bool:
        """Return whether nothing changes."""
        return all(change.action == "unchanged" for change in self.changes)

    def at(self, number: int) -> "Plan":
        """Return the plan once it was carried out as this revision."""
        return replace(self, after=Mark(number, self.after.revision))

    def to_json(self) -> dict[str, Any]:
        """Return the plan as a JSON object."""
        return {
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "source": self.source,
            "changes": [change.to_json() for change in self.changes],
            "consequences": [consequence.to_json() for consequence in self.consequences],
            "warnings": [problem.to_json() for problem in self.warnings],
            "suspends": list(self.suspends),
        }


def diff(old: Snapshot, new: Snapshot, number: int = 0, source: str = "") -> Plan:
    """Return what leads from one snapshot to another.

    Args:
        old: what serves.
        new: what is wanted.
        number: number of the serving revision.
        source: the source whose files changed.
    """
    changes = [_compare(old.objects.get(ref), item) for ref, item in new.objects.items()]
    changes += [Change(ref, "deleted", old=item) for ref, item in old.objects.items() if ref not in new.objects]
    plan = Plan(tuple(changes), Mark(number, old.revision), Mark(None, new.revision), source, (), new.warnings)
    return plan.at(number) if plan.empty else plan


def _compare(old: Object | None, new: Object) -> Change:
    if old is new:
        return Change(new.ref, "unchanged", old=old, new=new)
    if old is None:
        return Change(new.ref, "created", new=new)
    same = old.digest == new.digest and old.base == new.base
    if same and old.metadata == new.metadata:
        return Change(new.ref, "unchanged", old=old, new=new)
    fields = list(_fields(new.ref.kind, None, _dumped(old.metadata), _dumped(new.metadata), "metadata"))
    if same:
        return Change(new.ref, "changed", tuple(fields), old=old, new=new)
    replaced = type(old.spec) is not type(new.spec)
    type_ = None if replaced else getattr(new.spec, "type", None)
    fields += _fields(new.ref.kind, type_, _dumped(old.spec), _dumped(new.spec), "spec")
    if old.base != new.base:
        fields.append(FieldChange("root", old.base, new.base, "new-tasks"))
    means = [] if replaced else list(new.spec.means(old.spec))
    selects = _selects(old, new)
    if not (selects or any(one.path.startswith(("spec", "root")) for one in fields)):
        means.append(FILES)
    means += selects
    return Change(new.ref, "replaced" if replaced else "changed", tuple(fields), tuple(means), old, new)


def _selects(old: Object, new: Object) -> list[str]:
    """Return what the selectors of an object select now, and did not before, and what they select no more."""
    before, now = ({ref for pointer, ref in one.refs if pointer in one.selects} for one in (old, new))
    said = (("selects", now - before), ("no longer selects", before - now))
    return [f"it {what} {', '.join(sorted(map(str, refs)))}" for what, refs in said if refs]


def _dumped(model: Any) -> Any:
    return model.model_dump(mode="json", by_alias=True)


def _fields(kind: str, type_: object, old: object, new: object, path: str, pointer: str = "") -> Iterator[FieldChange]:
    """Yield the fields at which two JSON values differ, as deep as both are objects."""
    pointer = pointer or f"/{path}"
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}, key=str):
            below = f"{pointer}/{escape(str(key))}"
            yield from _fields(kind, type_, old.get(key), new.get(key), f"{path}.{key}", below)
    elif old != new:
        known = find_kinds().get(kind)
        when = reload_class(known, pointer, type_) if known else "new-tasks"
        yield FieldChange(path, masked(old, pointer), masked(new, pointer), when)
