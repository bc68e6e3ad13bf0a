"""What is known and observed of every object: its record, and its conditions, which come from looking at live things.

Nothing is asked of anybody: a condition is what a live thing last noticed, what validation said, and whether what an
object needs is ready. Called by the reconciler and, through it, by the API.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from loomd.manifest.object import Object, Ref, Snapshot
from loomd.reconcile.condition import Condition, Seen, merge
from loomd.reconcile.ledger import Advance, advance, ref_of
from loomd.reconcile.plan import Change, Mark, Plan
from loomd.store.records import ObjectRecord
from loomd.topology import Health, Topology

_log = logging.getLogger("loomd.reconcile")

_Down = dict[Ref, float | None]
"""What is not ready, and since when, as far as that is known."""


@dataclass(frozen=True)
class ObjectStatus:
    """What the daemon knows of an object.

    Attributes:
        uid: identity; an object that is deleted and created again gets a new one.
        generation: counts changes of the spec.
        version: changes whenever anything of the manifest changes; opaque.
        created: wall-clock seconds.
        source: the source that declares it.
        manager: who changed it last.
        observed_generation: the generation that its conditions are about.
        conditions: what was observed.
    """

    uid: str
    generation: int
    version: str
    created: float
    source: str
    manager: str
    observed_generation: int
    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class Known:
    """The records of all objects, and their conditions, at one moment."""

    records: Mapping[Ref, ObjectRecord]
    conditions: dict[Ref, tuple[Condition, ...]]


class Statuses:
    """What is known of all objects.

    Attributes:
        known: the records and conditions; the stage sets it when it swaps.
    """

    def __init__(self) -> None:
        self.known = Known({}, {})

    def load(self, records: Iterable[ObjectRecord]) -> None:
        """Take over what the store knows; conditions that cannot be read begin anew."""
        found = {ref_of(record): record for record in records}
        self.known = Known(found, {ref: _decode(record) for ref, record in found.items()})

    def adopt(self, snapshot: Snapshot, owners: Mapping[Ref, str], number: int, now: float) -> None:
        """Give a record to every object that has none: what was stored before there were any."""
        created = tuple(Change(ref, "created") for ref in snapshot.objects if ref not in self.known.records)
        plan = Plan(created, Mark(number, ""), Mark(number, ""))
        named = {ref: (source, "restore") for ref, source in owners.items()}
        fresh = advance({}, plan, snapshot, named, number, now).records
        self.known = _after(self.known, Advance(fresh, ()))

    def observed(self, change: Advance, topology: Topology, now: float) -> tuple[Advance, Known]:
        """Return what a revision changes, with the conditions that its objects will have, and all that is known then.

        Args:
            change: what it changes.
            topology: what will serve.
            now: wall-clock seconds.
        """
        records: list[ObjectRecord] = []
        down: dict[Ref, _Down] = {}
        for record in change.records:
            ref = ref_of(record)
            conditions = merge(
                self.known.conditions.get(ref, ()), _observe(ref, topology, down), record.generation, now
            )
            records.append(msgspec.structs.replace(record, conditions=msgspec.json.encode(conditions)))
        seen = Advance(tuple(records), change.gone)
        return seen, _after(self.known, seen)

    def unsaved(self) -> list[ObjectRecord]:
        """Return the records whose conditions are others than the stored ones."""
        found: list[ObjectRecord] = []
        for ref, conditions in self.known.conditions.items():
            record = self.known.records[ref]
            encoded = msgspec.json.encode(conditions)
            if encoded != record.conditions:
                found.append(msgspec.structs.replace(record, conditions=encoded))
        return found

    def get(
        self,
        ref: Ref,
        topology: Topology,
        refused: Iterable[str],
        now: float,
        *,
        opening: str = "",
        failed: str = "",
        elsewhere: Iterable[Seen] = (),
    ) -> ObjectStatus:
        """Return what is known of an object that serves.

        Args:
            ref: the object.
            topology: what serves.
            refused: why the newest candidate of its source was refused, as far as it is about this object.
            now: wall-clock seconds.
            failed: why its newest version could not be opened, or empty.
            opening: how far the opening of a version of it is; empty when none is being opened.
            elsewhere: what is known of it as a source, in place of conditions of the same type.
        """
        record = self.known.records[ref]
        seen: dict[str, Seen] = {}
        for one in (*_observe(ref, topology, {}, tuple(refused), opening=opening, failed=failed), *elsewhere):
            seen[one.type] = one
        conditions = merge(self.known.conditions.get(ref, ()), seen.values(), record.generation, now)
        self.known.conditions[ref] = conditions
        return ObjectStatus(
            uid=record.uid,
            generation=record.generation,
            version=str(record.version),
            created=record.created,
            source=record.source,
            manager=record.manager,
            observed_generation=record.generation,
            conditions=conditions,
        )


def _decode(record: ObjectRecord) -> tuple[Condition, ...]:
    try:
        return msgspec.json.decode(record.conditions, type=tuple[Condition, ...])
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError) as error:
        _log.error("the stored conditions of %s are damaged (%s): they begin anew", ref_of(record), error)
        return ()


def _after(known: Known, change: Advance) -> Known:
    """Return what is known after a change."""
    records, conditions = dict(known.records), dict(known.conditions)
    for record in change.records:
        records[ref_of(record)] = record
        conditions[ref_of(record)] = _decode(record)
    for kind, namespace, name in change.gone:
        records.pop(Ref(kind, name, namespace), None)
        conditions.pop(Ref(kind, name, namespace), None)
    return Known(records, conditions)


def failure_of(ref: Ref, message: str) -> str:
    """Return what the message of an attempt says of an object that could not be opened, or an empty text."""
    for line in message.splitlines():
        _, named, why = line.partition(f": {ref}: ")
        if named:
            return why
    return ""


def _observe(
    ref: Ref,
    topology: Topology,
    known: dict[Ref, _Down],
    refused: tuple[str, ...] = (),
    *,
    opening: str = "",
    failed: str = "",
) -> list[Seen]:
    missing = topology.snapshot.pending.get(ref, ())
    nowhere = "; ".join(problem.message for problem in missing)
    observed = list(topology.health(ref))
    health = [Seen(one.condition, one.status, one.reason, one.message, one.since) for one in observed]
    if failed:
        old = Seen("Degraded", "True", "Failed", f"it stays as it was: {failed}")
        health = [old if one.type == "Degraded" else one for one in health]
    item = topology.snapshot.objects[ref]
    for _, to in item.refs:
        if to not in known:
            _look(to, topology, known)
    down, lame = _needs(item, known)
    seen = [
        _ready(ref, topology, [one for one in observed if one.is_ill], down, opening),
        Seen("Reconciling", "True", "Progressing", opening)
        if opening
        else Seen("Reconciling", "False", "UpToDate", "the newest generation was acted on"),
        _stalled(refused, nowhere, failed),
        Seen("SchemaValid", "False", "Invalid", "; ".join(refused))
        if refused
        else Seen("SchemaValid", "True", "Valid", "the newest manifest is valid"),
        Seen("RefsResolved", "False", "RefsUnresolved", nowhere)
        if missing
        else Seen("RefsResolved", "True", "Resolved", "all that it refers to is declared"),
        *health,
    ]
    if lame and not any(one.type == "Degraded" for one in health):
        seen.append(Seen("Degraded", "True", "DependencyNotReady", _not_ready(lame), _latest(lame)))
    return seen


def _stalled(refused: tuple[str, ...], nowhere: str, failed: str) -> Seen:
    if refused:
        return Seen("Stalled", "True", "CandidateRefused", "; ".join(refused))
    if nowhere:
        return Seen("Stalled", "True", "RefsUnresolved", nowhere)
    if failed:
        return Seen("Stalled", "True", "Failed", f"its newest version could not be opened: {failed}")
    return Seen("Stalled", "False", "UpToDate", "nothing keeps it from being acted on")


def _ready(ref: Ref, topology: Topology, ill: list[Health], down: _Down, opening: str) -> Seen:
    if ref in topology.snapshot.pending:
        return Seen("Ready", "False", "RefsUnresolved", "it is not open: something that it refers to is not declared")
    if ref not in topology.live:
        return Seen("Ready", "False", "NotOpen", opening or "it is not open")
    if ill:
        return Seen("Ready", "False", ill[0].reason, ill[0].message, ill[0].since)
    if down:
        return Seen("Ready", "False", "DependencyNotReady", _not_ready(down), _latest(down))
    return Seen("Ready", "True", "Serving", "it is open and serves")


def _not_ready(down: _Down) -> str:
    return f"{', '.join(str(to) for to in down)} not ready"


def _latest(down: _Down) -> float | None:
    return max((since for since in down.values() if since is not None), default=None)


def _needs(item: Object, known: Mapping[Ref, _Down]) -> tuple[_Down, _Down]:
    """Return the references without which an object cannot work, and those that it only misses.

    A field with one name needs it; a list of names works as long as one of them does.
    """
    down: _Down = {}
    lame: _Down = {}
    for targets in _fields(item).values():
        dead = {to: _latest(why) for to in targets if (why := known[to])}
        (down if dead and len(dead) == len(targets) else lame).update(dead)
    return down, lame


def _fields(item: Object) -> Mapping[str, list[Ref]]:
    fields: dict[str, list[Ref]] = {}
    for pointer, to in item.refs:
        head, _, tail = pointer.rpartition("/")
        fields.setdefault(head if tail.isdigit() else pointer, []).append(to)
    return fields


def _look(ref: Ref, topology: Topology, known: dict[Ref, _Down]) -> None:
    """Find out why an object is not ready: itself, or what it needs; and the same of all that it leads to.

    Args:
        ref: the object.
        topology: what serves.
        known: what was found out before, and what is found out; nothing of an object that is ready.
    """
    pending = [ref]
    while pending:
        one = pending[-1]
        ill = [health.since for health in topology.health(one) if health.is_ill]
        if one not in topology.live:
            known[one] = {one: None}
        elif ill:
            known[one] = {one: max(ill)}
        elif ahead := [to for _, to in topology.snapshot.objects[one].refs if to not in known]:
            pending += ahead
            continue
        else:
            known[one] = _needs(topology.snapshot.objects[one], known)[0]
        pending.pop()
