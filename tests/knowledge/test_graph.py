"""Which passages a graph leads to, by hand-made mentions."""

import pytest

from loomd.knowledge.graph import HEADING, INITIAL, Graph, Mentions


def row(chunk: int, *entities: int, pairs: tuple[tuple[int, int], ...] = (), info: int = 1) -> Mentions:
    """Return what is stored of a passage that mentions entities; pairs are places among them."""
    ids = b"".join(one.to_bytes(4, "little") for one in entities)
    return Mentions(chunk, ids + bytes([info] * len(entities)), b"".join(bytes((*pair, 0)) for pair in pairs))


@pytest.mark.parametrize("same", [{1: 2, 2: 1}, {1: 2, 2: 3, 3: 1}, {1: 2, 2: 3, 3: 4}, {4: 3, 3: 2, 2: 1}])
def test_names_of_one_thing(same: dict[int, int]) -> None:
    """Whichever of them is said to be the other one, in both directions and over several."""
    joined = same.keys() | set(same.values())
    graph = Graph([row(at, at) for at in range(1, 6)], same)
    assert len({place for one in joined for place in graph.places([one])}) == 1
    assert graph.entities == 5 - len(joined) + 1


def chain() -> Graph:
    """Return a graph in which 1 is related to 2, 2 to 3, 3 to 4, each pair in a passage of its own."""
    rows = [row(10 * at, at, at + 1, pairs=((0, 1),)) for at in (1, 2, 3)]
    return Graph([*rows, *(row(100 + at, 50 + at) for at in range(20))], {})


def found(graph: Graph, *seeds: int, depth: int = 2, allowed: frozenset[int] | None = None) -> list[int]:
    """Return the passages that entities lead to, best first."""
    places = dict.fromkeys(graph.places(seeds), 1.0)
    return [chunk for chunk, _ in graph.passages(*graph.spread(places, depth, 0.5), 10, allowed)]


@pytest.mark.parametrize(("depth", "passages"), [(1, [10, 20]), (2, [10, 20, 30]), (3, [10, 20, 30])])
def test_relations_are_followed_to_a_depth(depth: int, passages: list[int]) -> None:
    """What is nearer comes first; a passage counts for what is reached in it, not for what the question names."""
    assert sorted(found(chain(), 1, depth=depth)) == passages
    assert found(chain(), 1, depth=depth)[-1] == passages[-1]


def test_what_two_entities_lead_to_comes_first() -> None:
    """A common neighbour gets activation from both."""
    rows = [
        row(1, 1, 3, pairs=((0, 1),)),
        row(2, 2, 3, pairs=((0, 1),)),
        row(3, 1, 4, pairs=((0, 1),)),
        row(4, 3),
        row(5, 4),
    ]
    ranked = found(Graph([*rows, *(row(100 + at, 50 + at) for at in range(20))], {}), 1, 2, depth=1)
    assert ranked.index(4) < ranked.index(5)


def test_what_is_everywhere_leads_nowhere() -> None:
    """An entity of every passage hands on no activation, and gets none."""
    rows = [row(at, 1, 10 + at, pairs=((0, 1),)) for at in range(1, 30)]
    assert found(Graph(rows, {}), 1) == []


def test_a_name_that_may_be_any_word_counts_nowhere_unless_it_is_certain_somewhere() -> None:
    """One certain mention makes all of them count."""
    others = [row(100 + at, 50 + at) for at in range(20)]
    unsure = [row(1, 1, 2, pairs=((0, 1),)), row(2, 2, info=INITIAL | 1)]
    assert 2 in found(Graph([*unsure, *others], {}), 1)
    only = Mentions(
        1, (1).to_bytes(4, "little") + (2).to_bytes(4, "little") + bytes((1, INITIAL | 1)), bytes((0, 1, 0))
    )
    graph = Graph([only, *others], {})
    assert (graph.places([2]), graph.entities) == ([], 21)


def test_another_name_is_the_same_entity() -> None:
    """Passages with either name are found, and both are one."""
    others = [row(100 + at, 50 + at) for at in range(20)]
    rows = [row(1, 1, 2, pairs=((0, 1),)), row(2, 3)]
    graph = Graph([*rows, *others], {3: 2, 99: 1, 1: 98})
    assert graph.places([3]) == graph.places([2])
    assert found(graph, 1) == [2, 1]


def test_only_some_passages_may_be_found() -> None:
    """Those that a filter lets through; the others do not take their places."""
    assert found(chain(), 1, allowed=frozenset({30, 101})) == [30]


def test_a_passage_that_names_it_in_its_heading_comes_first() -> None:
    """And one that names it more often before one that does so once."""
    others = [row(100 + at, 50 + at) for at in range(20)]
    rows = [row(1, 1, 2, pairs=((0, 1),)), row(2, 2, info=1), row(3, 2, info=HEADING | 1), row(4, 2, info=5)]
    assert found(Graph([*rows, *others], {}), 1)[:2] == [4, 3]


def test_an_empty_graph_finds_nothing() -> None:
    """Nothing is known, nothing is found, and an id that is not there is none."""
    graph = Graph((), {})
    assert (graph.places([1, 2]), graph.spread({}, 2, 0.5)[0].tolist(), graph.entities, graph.relations) == (
        [],
        [],
        0,
        0,
    )
    assert chain().places([7, 1]) == chain().places([1])
