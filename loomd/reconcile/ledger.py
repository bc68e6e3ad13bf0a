"""What is known of objects beside their manifests: identity, generation, version, owner. Pure.

A generation counts changes of the spec; a version is the number of the revision in which anything of the manifest
changed last. Called by the reconciler when it commits.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from loomd.manifest.object import Ref, Snapshot
from loomd.manifest.resolve import IMPLICIT
from loomd.reconcile.plan import Change, Plan
from loomd.store.records import ObjectRecord

Key = tuple[str, str, str]
"""Kind, namespace and name, as the store has them."""


@dataclass(frozen=True)
class Advance:
    """What a revision changes in the ledger: records that are new or differ, and what is gone."""

    records: tuple[ObjectRecord, ...]
    gone: tuple[Key, ...]


def advance(
    known: Mapping[Ref, ObjectRecord],
    plan: Plan,
    snapshot: Snapshot,
    owners: Mapping[Ref, tuple[str, str]],
    number: int,
    now: float,
) -> Advance:
    """Return what a revision changes.

    Args:
        known: the records so far, also of objects that could not be read at the start and are not in the plan.
        plan: what changes.
        snapshot: what serves from now on.
        owners: source and manager of each object that is declared.
        number: number of the new revision.
        now: wall-clock seconds.
    """
    records: list[ObjectRecord] = []
    for change in plan.changes:
        if change.action == "deleted":
            continue
        old = known.get(change.ref)
        source, manager = owners.get(change.ref, (IMPLICIT, IMPLICIT))
        if old is not None and change.action == "unchanged" and old.source == source:
            continue
        digest = snapshot.objects[change.ref].digest
        if old is None:
            key = (change.ref.kind, change.ref.namespace, change.ref.name)
            new = ObjectRecord(*key, str(uuid.uuid4()), 1, number, now, digest, source, manager)
        else:
            new = msgspec.structs.replace(
                old,
                generation=old.generation + _is_new_spec(change, old.digest != digest),
                version=number,
                digest=digest,
                source=source,
                manager=manager,
            )
        records.append(new)
    gone = known.keys() - snapshot.objects.keys()
    return Advance(tuple(records), tuple((ref.kind, ref.namespace, ref.name) for ref in sorted(gone)))


def ref_of(record: ObjectRecord) -> Ref:
    """Return the object that a record is about."""
    return Ref(record.kind, record.name, record.namespace)


def _is_new_spec(change: Change, differs: bool) -> bool:
    """Return whether the spec changed; for an object that a plan sees as new, its digest tells."""
    if change.action == "created":
        return differs
    return any(field.path.startswith("spec") for field in change.fields)
