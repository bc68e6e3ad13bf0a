"""What would change between two snapshots: a pure comparison, for people to read and for the reconciler to act on.

Two spellings of one object are unchanged: specs are compared with their defaults filled in.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from loomd.manifest.object import Object, Ref, Snapshot

Action = Literal["created", "changed", "deleted", "unchanged"]

_SHOWN = 4


@dataclass(frozen=True)
class Change:
    """What happens to one object. `fields` are the dotted paths that differ, for `changed`."""

    ref: Ref
    action: Action
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return `Agent/ada changed: spec.prompt, spec.limits.steps`."""
        if not self.fields:
            return f"{self.ref} {self.action}"
        more = f" and {len(self.fields) - _SHOWN} more" if len(self.fields) > _SHOWN else ""
        return f"{self.ref} {self.action}: {', '.join(self.fields[:_SHOWN])}{more}"


@dataclass(frozen=True)
class Plan:
    """All objects of two snapshots with what happens to them.

    Attributes:
        changes: in the order of the new snapshot, deleted ones last.
        before: revision that served.
        after: revision that is wanted.
    """

    changes: tuple[Change, ...]
    before: str
    after: str

    @property
    def effective(self) -> tuple[Change, ...]:
        """Return the changes that change something."""
        return tuple(change for change in self.changes if change.action != "unchanged")


def diff(old: Snapshot, new: Snapshot) -> Plan:
    """Return what leads from one snapshot to another."""
    changes = [_compare(old.objects.get(ref), item) for ref, item in new.objects.items()]
    changes += [Change(ref, "deleted") for ref in old.objects if ref not in new.objects]
    return Plan(tuple(changes), old.revision, new.revision)


def _compare(old: Object | None, new: Object) -> Change:
    if old is None:
        return Change(new.ref, "created")
    if (old.digest, old.metadata, old.root) == (new.digest, new.metadata, new.root):
        return Change(new.ref, "unchanged")
    fields = [*_differences(old.metadata.model_dump(mode="json"), new.metadata.model_dump(mode="json"), "metadata")]
    fields += _differences(old.spec.model_dump(mode="json"), new.spec.model_dump(mode="json"), "spec")
    if old.root != new.root:
        fields.append("root")
    return Change(new.ref, "changed", tuple(fields))


def _differences(old: object, new: object, path: str) -> Iterator[str]:
    """Yield the paths at which two JSON values differ, as deep as both are objects."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}, key=str):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}")
    elif old != new:
        yield path
