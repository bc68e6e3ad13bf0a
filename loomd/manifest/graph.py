"""Who refers to whom: names that are taken twice, references to nothing, circles, and the order to open things in.

Pure: objects in, objects or problems out. Called by `load`.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from loomd.manifest.object import Object, Ref
from loomd.manifest.problem import Position, Problem
from loomd.manifest.wording import did_you_mean, dotted, quoted


def find_duplicates(claims: Iterable[tuple[Ref, Position]]) -> list[Problem]:
    """Return a problem for every name that was taken before.

    Args:
        claims: name and position of every document, in order.
    """
    first: dict[Ref, Position] = {}
    problems: list[Problem] = []
    for ref, position in claims:
        known = first.setdefault(ref, position)
        if known is not position:
            message = f"{ref} is already defined at {known}"
            problems.append(
                Problem(position, "duplicate-object", message, "/metadata/name", "rename or remove one", known)
            )
    return problems


MAX_HINTS = 100
"""Most dangling references that get a hint; looking for the closest name takes time."""


@dataclass(frozen=True)
class Link:
    """One reference: who refers, where in its document and in the file, to what."""

    owner: Ref
    pointer: str
    position: Position
    to: Ref


def find_dangling(links: Iterable[Link], known: Iterable[Ref]) -> list[Problem]:
    """Return a problem for every reference to something that is not there.

    Args:
        links: the references of all documents.
        known: every name that exists, those of invalid documents included.
    """
    names = set(known)
    problems: list[Problem] = []
    for link in links:
        to = link.to
        if to in names:
            continue
        if len(problems) >= MAX_HINTS:
            message = f"{link.owner} {dotted(link.pointer)}: no {to.kind} {quoted(to.name)}"
            problems.append(Problem(link.position, "unresolved-reference", message, link.pointer))
            continue
        near = sorted(one.name for one in names if one.kind == to.kind and one.namespace == to.namespace)
        hint = did_you_mean(to.name, near, "there are:") or f"add a {to.kind} of that name"
        away = sorted(one.namespace for one in names if (one.kind, one.name) == (to.kind, to.name))
        if away:
            hint = f"there is one in namespace {away[0]}; references stay inside their namespace"
        inside = "" if to.namespace == "default" else f" in namespace {to.namespace}"
        message = f"{link.owner} {dotted(link.pointer)}: no {to.kind} {quoted(to.name)}{inside}"
        problems.append(Problem(link.position, "unresolved-reference", message, link.pointer, hint))
    return problems


def in_order(objects: Mapping[Ref, Object]) -> tuple[list[Object], list[Problem]]:
    """Return the objects so that each follows what it refers to, and a problem for every circle.

    Objects that do not depend on each other stand in order of kind, namespace and name.

    Args:
        objects: by name; references to others are ignored.
    """
    waiting = {ref: {to for _, to in item.refs if to in objects} for ref, item in objects.items()}
    users: dict[Ref, list[Ref]] = {ref: [] for ref in objects}
    for ref, needs in waiting.items():
        for to in needs:
            users[to].append(ref)
    ready = [_key(ref) for ref, needs in waiting.items() if not needs]
    heapq.heapify(ready)
    ordered: list[Object] = []
    while ready:
        ref = heapq.heappop(ready)[1]
        ordered.append(objects[ref])
        del waiting[ref]
        for user in users[ref]:
            waiting[user].discard(ref)
            if not waiting[user]:
                heapq.heappush(ready, _key(user))
    return ordered, [_circle(chain, objects) for chain in _chains(waiting)]


def _key(ref: Ref) -> tuple[tuple[str, str, str], Ref]:
    return (ref.kind, ref.namespace, ref.name), ref


def _chains(stuck: Mapping[Ref, set[Ref]]) -> list[list[Ref]]:
    """Return circles among objects that wait for each other: the shortest through each object, none twice."""
    chains: list[list[Ref]] = []
    told: set[Ref] = set()
    for start in sorted(stuck, key=_key):
        chain = [] if start in told else _way_back(start, stuck)
        if chain:
            told.update(chain)
            chains.append(chain)
    return chains


def _way_back(start: Ref, stuck: Mapping[Ref, set[Ref]]) -> list[Ref]:
    """Return the shortest way from an object to itself, or an empty list."""
    came: dict[Ref, Ref] = {}
    pending = deque([start])
    while pending:
        ref = pending.popleft()
        for to in sorted(stuck[ref], key=_key):
            if to == start:
                chain = [ref]
                while chain[-1] != start:
                    chain.append(came[chain[-1]])
                return chain[::-1]
            if to not in came:
                came[to] = ref
                pending.append(to)
    return []


def _circle(chain: Sequence[Ref], objects: Mapping[Ref, Object]) -> Problem:
    steps = [*chain, chain[0]]
    places = [_where(objects[here], there) for here, there in pairwise(steps)]
    text = " -> ".join(str(ref) for ref in steps)
    pointer, position = places[0]
    message = f"{chain[0]} {dotted(pointer)}: the reference leads back to itself: {text}"
    related = places[1][1] if len(places) > 1 else None
    return Problem(position, "reference-cycle", message, pointer, "remove one of these references", related)


def _where(item: Object, to: Ref) -> tuple[str, Position]:
    pointer = next(pointer for pointer, target in item.refs if target == to)
    return pointer, item.where(pointer)
