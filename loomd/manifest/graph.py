"""Who refers to whom: names that are taken twice, references to nothing, circles, and the order to open things in.

Pure: objects in, objects or problems out. Called by `load`.
"""

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from loomd.manifest.circle import find_circles
from loomd.manifest.near import NAME, Guess, Near, one
from loomd.manifest.object import Object, Ref
from loomd.manifest.places import Document
from loomd.manifest.problem import Position, Problem
from loomd.manifest.wording import dotted, quoted


def find_duplicates(claims: Iterable[tuple[Ref, Document]]) -> list[Problem]:
    """Return a problem for every name that was taken before.

    Args:
        claims: all documents with the names that they claim, in order.
    """
    first: dict[Ref, Document] = {}
    problems: list[Problem] = []
    for ref, document in claims:
        known = first.setdefault(ref, document)
        if known is not document:
            before = known.where(NAME)
            message = f"{ref} is already defined at {before}"
            hint = "rename or remove one"
            problems.append(
                Problem(document.where(NAME), "duplicate-object", message, NAME, hint, before, object=str(ref))
            )
    return problems


MAX_TOLD = 100
"""Most dangling references told of one file, but for the first of each object."""


class Link(NamedTuple):
    """One reference: who refers, where in its document, to what."""

    owner: Ref
    pointer: str
    document: Document
    to: Ref


def find_dangling(lost: Iterable[Link], known: Mapping[Ref, Document]) -> dict[Ref, list[Problem]]:
    """Return a problem for references to something that is not there, by who refers.

    Args:
        lost: those references, in order.
        known: every name that exists with its document, those of invalid documents included.
    """
    near: Near | None = None
    found: dict[Ref, list[Problem]] = {}
    told: Counter[str] = Counter()
    for link in lost:
        near = near or Near(known)
        file = link.document.position.file
        told[file] += 1
        if told[file] <= MAX_TOLD or link.owner not in found:
            found.setdefault(link.owner, []).append(_dangling(link, near.guess(link.to)))
        elif told[file] == MAX_TOLD + 1:
            message = f"{file} has more than {MAX_TOLD} references to nothing: mend these first"
            found[link.owner].append(
                Problem(link.document.where(link.pointer), "too-many-problems", message, link.pointer)
            )
    return found


def _dangling(link: Link, guess: Guess) -> Problem:
    to, owner = link.to, link.owner
    pointer, position = _place(link.document, link.pointer)
    field, inside = dotted(pointer), "" if to.namespace == "default" else f" in namespace {to.namespace}"
    code, message = "unresolved-reference", f"{owner} {field}: no {to.kind} {quoted(to.name)}{inside}"
    if guess.several:
        code = "ambiguous-reference"
        message += ", and more than one that is spelled almost so"
    return Problem(
        position,
        code,
        message,
        pointer,
        guess.hint,
        guess.related,
        object=str(owner),
        expected=f"the name of {one(to.kind)}",
        got=quoted(to.name),
    )


def spread(dangling: Mapping[Ref, Sequence[Problem]], objects: Mapping[Ref, Object]) -> dict[Ref, tuple[Problem, ...]]:
    """Return the objects that cannot come alive, with the references that lead nowhere.

    Args:
        dangling: those references, by who refers.
        objects: by name; whatever refers to a lost one, directly or through others, is lost too.
    """
    if not dangling:
        return {}
    users: dict[Ref, list[Ref]] = {}
    for ref, item in objects.items():
        for _, to in item.refs:
            users.setdefault(to, []).append(ref)
    lost: dict[Ref, list[Problem]] = {}
    for start, problems in dangling.items():
        reached = {start}
        waiting = [start]
        while waiting:
            for user in users.get(waiting.pop(), ()):
                if user not in reached:
                    reached.add(user)
                    waiting.append(user)
        for ref in reached:
            lost.setdefault(ref, []).extend(problems)
    return {ref: tuple(sorted(problems)) for ref, problems in lost.items() if ref in objects}


def referrers(objects: Mapping[Ref, Object], refs: Collection[Ref]) -> list[Problem]:
    """Return a problem for every reference to an object that is to be deleted.

    What a selector selects keeps nothing: without the object it selects one less.

    Args:
        objects: what stays; those that are to be deleted themselves are passed over.
        refs: what is to be deleted.
    """
    gone = set(refs)
    problems: list[Problem] = []
    for owner, item in objects.items():
        if owner in gone:
            continue
        for pointer, to in item.refs:
            if to in gone and pointer not in item.selects:
                name, where = _place(item, pointer)
                message = f"{owner} {dotted(name)}: {to} cannot be deleted, {owner} refers to it"
                hint = f"remove the reference first, or delete {owner} too"
                problems.append(Problem(where, "still-referenced", message, name, hint, object=str(owner)))
    return problems


def in_order(objects: Mapping[Ref, Object]) -> tuple[list[Object], list[Problem]]:
    """Return the objects so that each follows what it refers to, and a problem for every circle.

    Objects that do not depend on each other stand in order of kind, namespace and name.

    Args:
        objects: by name; references to others are ignored.
    """
    waiting = {ref: {to for _, to in item.refs if to in objects} for ref, item in objects.items()}
    users: dict[Ref, list[Ref]] = {}
    for ref, needs in waiting.items():
        for to in needs:
            users.setdefault(to, []).append(ref)
    ready = [_key(ref) for ref, needs in waiting.items() if not needs]
    heapq.heapify(ready)
    ordered: list[Object] = []
    while ready:
        ref = heapq.heappop(ready)[1]
        ordered.append(objects[ref])
        del waiting[ref]
        for user in users.get(ref, ()):
            waiting[user].discard(ref)
            if not waiting[user]:
                heapq.heappush(ready, _key(user))
    return ordered, [_circle(chain, objects) for chain in find_circles(waiting)]


def _key(ref: Ref) -> tuple[tuple[str, str, str], Ref]:
    return (ref.kind, ref.namespace, ref.name), ref


def _circle(chain: Sequence[Ref], objects: Mapping[Ref, Object]) -> Problem:
    steps = [*chain, chain[0]]
    places = [_where(objects[here], there) for here, there in pairwise(steps)]
    text = " -> ".join(str(ref) for ref in steps)
    pointer, position = places[0]
    owner = str(chain[0])
    if len(chain) == 1:
        message = f"{owner} {dotted(pointer)}: {owner} refers to itself"
        return Problem(position, "self-reference", message, pointer, "remove the reference", object=owner)
    message = f"{owner} {dotted(pointer)}: the reference leads back to itself: {text}"
    hint = "remove one of these references"
    return Problem(position, "reference-cycle", message, pointer, hint, places[1][1], object=owner)


def _where(item: Object, to: Ref) -> tuple[str, Position]:
    return _place(item, next(pointer for pointer, target in item.refs if target == to))


def _place(holder: Document | Object, pointer: str) -> tuple[str, Position]:
    """Return where a reference names its object: inside the mapping if it is written as `{kind, name}`."""
    name = f"{pointer}/name"
    found = name if name in holder.places else pointer
    return found, holder.where(found)
