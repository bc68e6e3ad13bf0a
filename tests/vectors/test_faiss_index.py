"""Bases of vectors: built, loaded, and never trusted."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from loomd.errors import Damaged
from loomd.vectors.faiss_index import Head, Mark, Plan, Shape, build, is_whole, load

if TYPE_CHECKING:
    from loomd.vectors.faiss_index import Ids, Vectors

MARK = Mark("store", 1, 4)


def plan(shape: Shape = "flat", size: int = 4, dimension: int = 4) -> Plan:
    """Return how a base is built."""
    return Plan(shape, 0.95, dimension, size, MARK)


def four() -> "Iterator[tuple[Ids, Vectors]]":
    """Yield four vectors in two parts."""
    vectors = np.eye(4, dtype=np.float32)
    yield np.array([10, 20]), vectors[:2]
    yield np.array([30, 40]), vectors[2:]


def test_the_closest_come_first(tmp_path: Path) -> None:
    """Ids come with their inner product, best first; what is gone is left out, and nothing else is missing then."""
    base = build(tmp_path / "a", plan(), four)
    asked = np.array([[0.0, 0.8, 0.6, 0.0], [1.0, 0.0, 0.0, 0.0]], np.float32)
    first, second = base.search(asked, 2, frozenset())
    assert [one.id for one in first] == [20, 30]
    assert [one.score for one in first] == pytest.approx([0.8, 0.6], abs=1e-3)
    assert second[0].id == 10
    assert {one.id for one in base.search(asked, 4, {20, 30})[0]} == {10, 40}


@pytest.mark.parametrize("shape", ["flat", "hnsw", "ivf", "ivfpq"])
def test_enough_neighbours_are_found(tmp_path: Path, shape: Shape) -> None:
    """Each type is tuned until it finds the share of the true neighbours that was asked for, or says what it finds."""
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((60, 32))
    vectors = (centres[rng.integers(60, size=6000)] + 0.7 * rng.standard_normal((6000, 32))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = np.arange(1, 6001)

    def rows() -> "Iterator[tuple[Ids, Vectors]]":
        for at in range(0, 6000, 1000):
            yield ids[at : at + 1000], vectors[at : at + 1000]

    base = build(tmp_path / "a", plan(shape, 6000, 32), rows)
    asked = vectors[::97] + 0.05 * rng.standard_normal((62, 32)).astype(np.float32)
    true = np.argsort(-(asked @ vectors.T), axis=1)[:, :10] + 1
    found = base.search(asked, 40 if shape == "ivfpq" else 10, frozenset())
    share = np.mean([len({one.id for one in row} & set(best)) / 10 for row, best in zip(found, true, strict=True)])
    assert share >= base.head.recall - 0.1
    assert base.head.recall >= (0.9 if shape == "ivfpq" else 0.95)
    again = load(tmp_path / "a", 32)
    assert again is not None
    assert again.search(asked, len(found[0]), frozenset()) == found


@pytest.mark.parametrize("shape", ["ivf", "ivfpq"])
@pytest.mark.parametrize("size", [1001, 5000])
def test_nothing_is_said_on_stderr(capfd: pytest.CaptureFixture[str], shape: Shape, size: int) -> None:
    """FAISS has enough vectors to train with, of the smallest bases that a store gets, too."""
    vectors = np.random.default_rng(5).standard_normal((size, 32)).astype(np.float32)
    build(None, plan(shape, size, 32), lambda: iter([(np.arange(size), vectors)]))
    assert capfd.readouterr() == ("", "")


def test_a_search_goes_no_deeper_than_it_must() -> None:
    """The depth is found between the powers of two, and is the least that was tried and finds enough."""
    rng = np.random.default_rng(6)
    vectors = rng.standard_normal((4000, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def rows() -> "Iterator[tuple[Ids, Vectors]]":
        yield np.arange(4000), vectors

    def built(recall: float) -> Head:
        return build(None, plan("ivf", 4000, 16)._replace(recall=recall), rows).head

    heads = [built(recall) for recall in (0.7, 0.8, 0.9, 0.95, 0.98)]
    assert all(head.recall >= wanted for head, wanted in zip(heads, (0.7, 0.8, 0.9, 0.95, 0.98), strict=True))
    assert [head.depth for head in heads] == sorted(head.depth for head in heads)
    assert any(head.depth & (head.depth - 1) for head in heads), "all are powers of two"
    assert all(built(head.recall - 1e-9).depth == head.depth for head in heads)


@pytest.mark.parametrize("shape", ["flat", "hnsw", "ivf", "ivfpq"])
def test_one_without_a_file_finds_the_same(tmp_path: Path, shape: Shape) -> None:
    """It stands in memory alone, and is asked in the same way."""
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((3000, 32)).astype(np.float32)

    def rows() -> "Iterator[tuple[Ids, Vectors]]":
        yield np.arange(1, 3001), vectors

    both = [build(path, plan(shape, 3000, 32), rows) for path in (None, tmp_path / "a")]
    asked = vectors[::97]
    assert both[0].search(asked, 10, {1}) == both[1].search(asked, 10, {1})
    assert (both[0].head.depth, both[0].head.recall) == (both[1].head.depth, both[1].head.recall)


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    """No temporary file stays, and of an older base nothing."""
    build(tmp_path / "a", plan(), four)
    build(tmp_path / "a", plan()._replace(mark=Mark("store", 2, 4)), four)
    loaded = load(tmp_path / "a", 4)
    assert loaded is not None
    assert loaded.head.mark == Mark("store", 2, 4)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a-2.faiss", "a.base"]
    assert is_whole(tmp_path / "a.base")


def test_a_missing_base_is_none(tmp_path: Path) -> None:
    """There is nothing to load."""
    assert load(tmp_path / "b", 4) is None


def test_another_dimension_is_damage(tmp_path: Path) -> None:
    """A file whose vectors have another length is refused with both numbers."""
    build(tmp_path / "a", plan(), four)
    with pytest.raises(Damaged, match="vectors of 4 numbers, the embedder makes 8"):
        load(tmp_path / "a", 8)


@pytest.mark.parametrize("name", ["a.base", "a-1.faiss"])
def test_every_flipped_byte_is_noticed(tmp_path: Path, name: str) -> None:
    """No single changed byte goes unseen, and no missing file."""
    build(tmp_path / "a", plan(), four)
    path = tmp_path / name
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        with pytest.raises(Damaged):
            load(tmp_path / "a", 4)
        assert not is_whole(tmp_path / "a.base")
    (tmp_path / "a-1.faiss").unlink()
    path.write_bytes(data) if name == "a.base" else None
    with pytest.raises(Damaged, match="the file of the vectors is gone"):
        load(tmp_path / "a", 4)
