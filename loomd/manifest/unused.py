"""Finds objects that nothing uses. They do no harm, so they are a warning for whoever checks manifests by hand.

Called by the verb `validate` only: a daemon may be given what uses them later.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from loomd.manifest.kind import Kind
from loomd.manifest.object import Ref, Snapshot
from loomd.manifest.problem import Position, Problem
from loomd.manifest.schema import schema_of

_NAME = "/metadata/name"


def find_unused(snapshot: Snapshot, kinds: Mapping[str, Kind]) -> Iterator[Problem]:
    """Yield a warning for every object that nothing refers to and that does nothing by itself.

    A namespace in which nothing acts by itself is a part of a larger set: nothing is said of its objects.

    Args:
        snapshot: all objects.
        kinds: the kinds that exist, by name.
    """
    used = {to for item in snapshot.objects.values() for _, to in item.refs}
    if all(ref in used or _acts(kinds, ref.kind) for ref in snapshot.objects):
        return  # as it mostly is: no schema need be looked through
    passive = _passive(kinds)
    acting = {ref.namespace for ref in snapshot.objects if ref.kind not in passive}
    for ref, item in snapshot.objects.items():
        if ref.kind in passive and ref not in used and ref.namespace in acting:
            yield _unused(ref, item.where(_NAME), passive[ref.kind])


def _unused(ref: Ref, where: Position, users: list[str]) -> Problem:
    message = f"{ref}: nothing refers to it, and {ref.kind} objects do nothing by themselves"
    hint = f"name it in {' or '.join(users)}, or remove it"
    return Problem(where, "unused-object", message, _NAME, hint, object=str(ref), severity="warning")


def _passive(kinds: Mapping[str, Kind]) -> dict[str, list[str]]:
    """Return the kinds that act only for others, with the kinds that may refer to them."""
    users: dict[str, set[str]] = {}
    for name, kind in kinds.items():
        for target in _targets(schema_of(kind)):
            users.setdefault(target, set()).add(name)
    return {name: sorted(found) for name, found in users.items() if name in kinds and not _acts(kinds, name)}


def _acts(kinds: Mapping[str, Kind], name: str) -> bool:
    """Return whether objects of a kind are used without being named: by people, by an implicit object, or as one."""
    return (
        kinds[name].sent
        or kinds[name].implicit is not None
        or any(kind.implicit is not None and kind.implicit({name: ["x"]}) is not None for kind in kinds.values())
    )


def _targets(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key in ("x-loomd-ref", "x-loomd-selects"):
            if isinstance(schema.get(key), str):
                yield schema[key]
        yield from (found for inner in schema.values() for found in _targets(inner))
    elif isinstance(schema, list):
        yield from (found for inner in schema for found in _targets(inner))
