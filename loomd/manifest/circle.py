"""Circles: objects that refer to each other so that none of them could be opened first.

Pure. Called by `graph` with what is left when everything that can be put in order is.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from itertools import islice

from loomd.manifest.object import Ref

MAX_CIRCLES = 20
"""Most circles that are told; each takes a search."""

Graph = Mapping[Ref, AbstractSet[Ref]]
"""What each object refers to, among the objects of the graph."""


def find_circles(graph: Graph) -> list[list[Ref]]:
    """Return circles: through every object that is on one the shortest, none twice, at most `MAX_CIRCLES`."""
    return list(islice(_circles(graph), MAX_CIRCLES))


def in_turn(refs: Iterable[Ref]) -> list[Ref]:
    """Return objects by kind, namespace and name."""
    return sorted(refs, key=lambda ref: (ref.kind, ref.namespace, ref.name))


def _circles(graph: Graph) -> Iterator[list[Ref]]:
    groups = {ref: group for group in _groups(graph) for ref in group}
    told: set[Ref] = set()
    for start in in_turn(graph):
        circle = [] if start in told else _way_back(start, graph, groups[start])
        if circle:
            told.update(circle)
            yield circle


def _groups(graph: Graph) -> Iterator[frozenset[Ref]]:
    """Yield the objects in groups: inside one, each leads to all others (Tarjan's algorithm, without recursion)."""
    number: dict[Ref, int] = {}
    lowest: dict[Ref, int] = {}
    open_refs: list[Ref] = []
    for start in graph:
        way = [] if start in number else [(start, iter(graph[start]))]
        while way:
            ref, rest = way[-1]
            if ref not in number:
                number[ref] = lowest[ref] = len(number)
                open_refs.append(ref)
            following = next(rest, None)
            if following is None:
                way.pop()
                if way:
                    above = way[-1][0]
                    lowest[above] = min(lowest[above], lowest[ref])
                if lowest[ref] == number[ref]:
                    group = frozenset(_taken(open_refs, ref))
                    lowest.update(dict.fromkeys(group, len(graph)))
                    yield group
            elif following not in number:
                way.append((following, iter(graph[following])))
            else:
                lowest[ref] = min(lowest[ref], lowest[following])


def _taken(open_refs: list[Ref], first: Ref) -> Iterator[Ref]:
    """Take the last objects off a list, down to one of them."""
    while (ref := open_refs.pop()) != first:
        yield ref
    yield first


def _way_back(start: Ref, graph: Graph, group: AbstractSet[Ref]) -> list[Ref]:
    """Return the shortest way inside a group from an object to itself, or an empty list."""
    came: dict[Ref, Ref] = {}
    pending = deque([start])
    while pending:
        ref = pending.popleft()
        for to in in_turn(graph[ref] & group):
            if to == start:
                circle = [ref]
                while circle[-1] != start:
                    circle.append(came[circle[-1]])
                return circle[::-1]
            if to not in came:
                came[to] = ref
                pending.append(to)
    return []
