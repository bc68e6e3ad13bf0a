"""The vector index: finds, removes, and never trusts a file."""

from pathlib import Path

import numpy as np
import pytest

from loomd.errors import Damaged
from loomd.knowledge.faiss_index import VectorIndex, load

GENERATION = "0" * 32
VECTORS = np.eye(4, dtype=np.float32)


def _filled() -> VectorIndex:
    index = VectorIndex(4)
    index.add([10, 20, 30, 40], VECTORS)
    return index


def test_finds_the_closest_first() -> None:
    """Ids come with their inner product, best first."""
    found = _filled().search(np.array([0.0, 0.8, 0.6, 0.0], np.float32), 2)
    assert [ident for ident, _ in found] == [20, 30]
    assert [score for _, score in found] == pytest.approx([0.8, 0.6], abs=1e-3)


def test_an_empty_index_finds_nothing() -> None:
    """No id -1 ever leaves the index, also when more is asked for than there is."""
    assert VectorIndex(4).search(VECTORS[0], 5) == []
    assert len(_filled().search(VECTORS[0], 50)) == 4


def test_removed_vectors_are_gone() -> None:
    """Removing takes effect at once; ids that are not there are ignored."""
    index = _filled()
    index.remove([20, 99])
    index.remove([])
    assert {ident for ident, _ in index.search(VECTORS[1], 4)} == {10, 30, 40}


def test_a_wrong_shape_says_so() -> None:
    """FAISS would raise an empty AssertionError."""
    with pytest.raises(ValueError, match="expected 1 vectors of 4 numbers"):
        _filled().add([1], np.zeros((1, 5), np.float32))


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    """A saved index answers like the one in memory; no temporary file stays."""
    path = tmp_path / "a.faiss"
    _filled().save(path, GENERATION)
    loaded = load(path, GENERATION, 4)
    assert loaded is not None
    assert loaded.search(VECTORS[2], 1) == _filled().search(VECTORS[2], 1)
    loaded.add([50], VECTORS[:1])
    loaded.remove([10])
    assert loaded.search(VECTORS[0], 1)[0][0] == 50
    assert [item.name for item in tmp_path.iterdir()] == ["a.faiss"]


def test_another_generation_is_no_index(tmp_path: Path) -> None:
    """A file of another state of the store, and a missing one, are simply not there."""
    _filled().save(tmp_path / "a.faiss", GENERATION)
    assert load(tmp_path / "a.faiss", "1" * 32, 4) is None
    assert load(tmp_path / "b.faiss", GENERATION, 4) is None


def test_another_dimension_is_damage(tmp_path: Path) -> None:
    """A file whose vectors have another length is refused with both numbers."""
    _filled().save(tmp_path / "a.faiss", GENERATION)
    with pytest.raises(Damaged, match="vectors of 4 numbers, the embedder makes 8"):
        load(tmp_path / "a.faiss", GENERATION, 8)


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    """No single changed byte goes unseen."""
    path = tmp_path / "a.faiss"
    _filled().save(path, GENERATION)
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        with pytest.raises(Damaged):
            load(path, GENERATION, 4)
