"""The index of vectors: a base, and what happened since."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loomd.vectors.faiss_index import Mark
from loomd.vectors.index import LOOSE, VectorIndex

if TYPE_CHECKING:
    from loomd.vectors.faiss_index import Ids, Vectors

VECTORS = np.eye(4, dtype=np.float32)


def _filled(path: Path) -> VectorIndex:
    index = VectorIndex(4, path / "a")
    index.add([10, 20, 30, 40], VECTORS)
    return index


def test_finds_the_closest_first(tmp_path: Path) -> None:
    """Ids come with their inner product, best first."""
    (found,) = _filled(tmp_path).search(np.array([[0.0, 0.8, 0.6, 0.0]], np.float32), 2)
    assert [one.id for one in found] == [20, 30]
    assert [one.score for one in found] == pytest.approx([0.8, 0.6], abs=1e-3)


def test_an_empty_index_finds_nothing(tmp_path: Path) -> None:
    """Also when more is asked for than there is."""
    assert VectorIndex(4, tmp_path / "b").search(VECTORS[:1], 5) == [[]]
    assert len(_filled(tmp_path).search(VECTORS[:1], 50)[0]) == 4


def test_a_wrong_shape_says_so(tmp_path: Path) -> None:
    """Both numbers are told."""
    with pytest.raises(ValueError, match="expected 1 vectors of 4 numbers"):
        _filled(tmp_path).add([1], np.zeros((1, 5), np.float32))


def test_a_search_that_began_ends_on_what_it_began_with(tmp_path: Path) -> None:
    """What is looked at never changes under a search, however much is added meanwhile."""
    index = _filled(tmp_path)
    view = index._view  # what a search holds
    index.add(range(100, 300), np.ones((200, 4), np.float32))
    index.remove([10, 20])
    assert (view.ids.tolist(), view.gone, len(view.rows)) == ([10, 20, 30, 40], frozenset(), 4)


Step = tuple[str, int]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(1, 30)),
            st.tuples(st.just("remove"), st.integers(0, 1000)),
            st.tuples(st.just("build"), st.just(0)),
        ),
        max_size=25,
    )
)
@pytest.mark.parametrize("kept", [True, False], ids=["in a file", "in memory"])
def test_it_equals_a_plain_list(tmp_path_factory: pytest.TempPathFactory, kept: bool, steps: list[Step]) -> None:
    """Whatever is added, removed and built in whatever order, all that is there is found, and nothing else."""
    folder = tmp_path_factory.mktemp("model")
    index = VectorIndex(4, folder / "a" if kept else None)
    there: dict[int, Vectors] = {}
    rng, last = np.random.default_rng(1), 0

    def rows() -> "Iterator[tuple[Ids, Vectors]]":
        if there:
            yield np.array(list(there)), np.stack(list(there.values()))

    for number, (kind, size) in enumerate(steps):
        if kind == "add":
            vectors = rng.standard_normal((size, 4)).astype(np.float32)
            ids = range(last + 1, last + 1 + size)
            index.add(ids, vectors)
            there.update(zip(ids, vectors, strict=True))
            last += size
        elif kind == "remove" and there:
            gone = sorted(there)[size % len(there)]
            index.remove([gone])
            del there[gone]
        elif kind == "build" and there:
            index.build(rows, len(there), Mark("store", number, last), "flat", 1.0)
        assert len(index) == len(there)
        assert index.held(range(last + 2)) == sorted(there)
        found = index.search(np.ones((1, 4), np.float32), 1000)[0]
        assert {one.id for one in found} == set(there)
        for one in found:
            assert one.score == pytest.approx(float(there[one.id].sum()), abs=2e-2)
    assert kept or not list(folder.iterdir())


def test_a_base_is_due_when_much_has_changed(tmp_path: Path) -> None:
    """After a thousand changes or a part in twenty, or when another type is declared."""
    index = VectorIndex(2, tmp_path / "a")
    index.add(range(1, LOOSE + 1), np.ones((LOOSE, 2), np.float32))
    assert not index.is_due("flat")
    index.add([LOOSE + 1], np.ones((1, 2), np.float32))
    assert index.is_due("flat")

    def rows() -> "Iterator[tuple[Ids, Vectors]]":
        yield np.arange(1, LOOSE + 2), np.ones((LOOSE + 1, 2), np.float32)

    index.build(rows, LOOSE + 1, Mark("store", 1, LOOSE + 1), "flat", 1.0)
    assert not index.is_due("flat")
    assert index.is_due("hnsw")
    index.remove(range(1, LOOSE + 1))
    assert not index.is_due("flat")
    index.remove([LOOSE + 1])
    assert index.is_due("flat")
