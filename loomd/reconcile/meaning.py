"""What a plan means beyond its fields: behaviour, learned scores, running tasks, indexes, what opens anew. Pure.

Called by the reconciler once it has a plan, with what the store knows of scores and tasks.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeGuard

from loomd.manifest.object import Ref, Snapshot
from loomd.reconcile.plan import Change, Consequence, Plan
from loomd.store.records import Capability, TaskRecord

_LISTED = 5


def consequences(
    old: Snapshot,
    new: Snapshot,
    plan: Plan,
    learned: Sequence[Capability],
    running: Sequence[TaskRecord],
    live: Iterable[object] = (),
) -> tuple[Consequence, ...]:
    """Return what a plan leads to.

    Args:
        old: what serves.
        new: what is wanted.
        plan: what changes between them.
        learned: all learned scores.
        running: the tasks that have not ended.
        live: what is alive of what serves; a cluster has given agents instructions, which it will give them again.
    """
    changed = {change.ref: change for change in plan.effective}
    reopened = {} if plan.empty else _reopened(old, new, changed)
    found = [
        *_behaviours(old, new, reopened.keys() | changed.keys(), learned, [one for one in live if _teaches(one)]),
        *(Consequence("reopened", str(ref), f"is opened anew, because {cause}") for ref, cause in reopened.items()),
        *_indexes(plan),
        *_pending(old, new),
        *_pinned(plan, running),
    ]
    return tuple(found)


def opened(old: Snapshot, new: Snapshot, plan: Plan) -> list[Ref]:
    """Return the objects that a plan changes or opens anew."""
    changed = {change.ref: change for change in plan.effective}
    return [*changed, *_reopened(old, new, changed)]


class _Teacher(Protocol):
    """What gives agents of a namespace something beside their manifests: a live cluster."""

    @property
    def ref(self) -> Ref:
        """Return which one it is."""
        ...

    def taught(self, agent: str, digest: str, prompt: str, locked: Collection[str]) -> str:
        """Return the digest of how an agent behaves with that, whose manifest alone says `digest`."""
        ...


def _teaches(live: object) -> TypeGuard[_Teacher]:
    return hasattr(live, "taught")


def _as_taught(snapshot: Snapshot, ref: Ref, digest: str, teachers: Sequence[_Teacher]) -> str:
    """Return the digest of how an object behaves with what it was given; what two clusters gave it is not mixed."""
    if not digest or ref.kind != "Agent":
        return digest
    spec = snapshot.objects[ref].spec
    prompt, locked = getattr(spec, "prompt", ""), getattr(spec, "keeps", ())
    mine = [one.taught(ref.name, digest, prompt, locked) for one in teachers if one.ref.namespace == ref.namespace]
    return next((one for one in mine if one != digest), digest)


def _behaviours(
    old: Snapshot, new: Snapshot, refs: set[Ref], learned: Sequence[Capability], teachers: Sequence[_Teacher]
) -> Iterator[Consequence]:
    """Yield the objects that behave differently from now on, and what becomes of their scores."""
    for ref in sorted(refs):
        before = old.behaviour(ref) if ref in old.objects else ""
        after = new.behaviour(ref) if ref in new.objects else ""
        if before == after:
            continue
        if before and after:
            yield Consequence("behaviour", str(ref), "behaves differently for tasks that start from now on")
        lost, found = (
            _scores(learned, ref, _as_taught(snapshot, ref, digest, teachers))
            for snapshot, digest in ((old, before), (new, after))
        )
        if found:
            yield Consequence("scores", str(ref), f"takes up what it had learned before: {found}")
        elif lost and after:
            yield Consequence(
                "scores",
                str(ref),
                f"goes on from what it had learned, which counts less (spec.learning.keep of its clusters): {lost}",
            )
        elif lost:
            yield Consequence("scores", str(ref), f"what it learned is kept for when it returns: {lost}")


def _scores(learned: Sequence[Capability], ref: Ref, digest: str) -> str:
    """Return the scores of one behaviour for people, or an empty string when there are none."""
    mine = [one for one in learned if digest and (one.agent, one.spec) == (ref.name, digest)]
    if not mine:
        return ""
    shown = ", ".join(
        f"{one.domain} {one.score:.2f} ({one.count} task{'' if one.count == 1 else 's'})" for one in mine[:_LISTED]
    )
    return shown if len(mine) <= _LISTED else f"{shown} and {len(mine) - _LISTED} more"


def _reopened(old: Snapshot, new: Snapshot, changed: Mapping[Ref, Change]) -> dict[Ref, str]:
    """Return the objects that do not change themselves and open anew, with the reference that is the cause."""
    moved: dict[Ref, str] = {}
    for ref, item in new.objects.items():  # in dependency order, so that causes spread
        if ref in changed or ref not in old.objects:
            continue
        cause = next((to for _, to in item.refs if to in moved or _acts(changed.get(to))), None)
        if cause is not None:
            what = changed[cause].action if cause in changed else "opened anew"
            moved[ref] = f"{cause} is {what}"
    return moved


def _acts(change: Change | None) -> bool:
    """Return whether a change is more than one of labels and annotations."""
    if change is None:
        return False
    return change.action != "changed" or not all(field.path.startswith("metadata") for field in change.fields)


def _indexes(plan: Plan) -> Iterator[Consequence]:
    for change in plan.effective:
        for clause in change.means:
            if "index" in clause or "embed" in clause:
                yield Consequence("index", str(change.ref), clause)
        if change.action == "replaced" and change.ref.kind == _EMBEDS:
            yield Consequence("index", str(change.ref), "every index that uses it is built anew")


def _pending(old: Snapshot, new: Snapshot) -> Iterator[Consequence]:
    for ref, problems in new.pending.items():
        if ref not in old.pending:
            why = "; ".join(problem.message for problem in problems)
            yield Consequence("pending", str(ref), f"does not open until its references are there: {why}")
    for ref in old.pending:
        if ref in new.objects and ref not in new.pending:
            yield Consequence("pending", str(ref), "opens now: its references are there")


def _pinned(plan: Plan, running: Sequence[TaskRecord]) -> Iterator[Consequence]:
    """Yield how many tasks go on with what serves now, and what acts on them all the same."""
    pinned = [task.id for task in running if "." not in task.id]
    if plan.empty or not pinned:
        return
    names = ", ".join(pinned[:_LISTED]) + (f" and {len(pinned) - _LISTED} more" if len(pinned) > _LISTED else "")
    message = f"{len(pinned)} running end on revision {plan.before.revision}: {names}"
    yield Consequence("tasks", "", message)
    for change in plan.effective:
        now = [field.path for field in change.fields if field.reload == "immediate" and field.path.startswith("spec")]
        if now:
            yield Consequence("tasks", str(change.ref), f"acts on running tasks at once: {', '.join(now)}")
        if change.action == "deleted" and change.ref.kind in _WITHDRAWN:
            yield Consequence("tasks", str(change.ref), "is withdrawn from running tasks at once")


_EMBEDS = "Embedder"
"""Kind whose vectors are worth nothing once another type makes them."""
_WITHDRAWN = frozenset(("Tool", "Provider"))
"""Kinds whose objects stop to work for running tasks as soon as they are deleted."""
