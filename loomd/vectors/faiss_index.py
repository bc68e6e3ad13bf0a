"""Bases of vector search: the one module that knows FAISS.

A base is built once from the vectors of a store and never changed. Its file is mapped into memory; a small file beside
it says how far the store was, and the SHA-256 of both. What is damaged, or of another store, is built anew by the
caller. A base without a file stands in memory alone. Many threads may search one base.
"""

import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from loomd.errors import Damaged

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]
    Ids = NDArray[np.int64]
    Rows = Callable[[], Iterator[tuple[Ids, Vectors]]]
    """Returns all vectors with their ids, in parts; called several times."""

Shape = Literal["flat", "hnsw", "ivf", "ivfpq"]

_MAGIC = b"loomd-base-1\n"
_HASH_BYTES = 32
_LINKS = 32
"""Neighbours of a vector in `hnsw`."""
_TRAINED = 64
"""Vectors for each list that a base is trained with."""
_FEWEST = 39
"""Vectors for each list, at least, that FAISS wants to be trained with: of fewer it warns on stderr."""
ROUGH = 4
"""Of rough scores, those of `ivfpq`, so many times more are to be looked at as are wanted, and compared by what is
stored."""
_CLOSE = 0.005
"""Share of the neighbours for which a search goes no deeper, when it does not find enough at any depth."""
_ASKED = 200
"""Questions by which it is found out how deep a search must go."""
_NEAR = 10
"""Neighbours that they are to find."""
_DEPTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Lists of `ivf` and `ivfpq`, or candidates of `hnsw`, that a search may look at; tried first."""
_FINER = 3
"""How often the step to the one that is enough is halved: the time of a search grows with its depth."""


class Mark(NamedTuple):
    """How far an index knows a store: its identity, the number of its last change, and the last id of a vector."""

    store: str
    change: int
    last: int


class Found(NamedTuple):
    """An id and its inner product."""

    id: int
    score: float


class Plan(NamedTuple):
    """How a base is built.

    Attributes:
        shape: type of the index.
        recall: share of the nearest neighbours that a search should find.
        dimension: length of every vector.
        size: how many there are.
        mark: how far the store is that they are from.
    """

    shape: Shape
    recall: float
    dimension: int
    size: int
    mark: Mark


class Head(msgspec.Struct, frozen=True):
    """What is said of a base in the file beside it.

    Attributes:
        shape: type of the index.
        mark: how far the store was.
        dimension: length of every vector.
        depth: how many lists or candidates a search looks at; 0 for all.
        recall: share of the nearest neighbours that it found with that when it was built.
        file: name of its file.
        sha256: of that file.
        ids: of its vectors by their place, as 64-bit numbers.
    """

    shape: Shape
    mark: Mark
    dimension: int
    depth: int
    recall: float
    file: str
    sha256: str
    ids: bytes


@dataclass(frozen=True)
class Base:
    """An index that is searched, and the ids of its vectors by their place."""

    head: Head
    index: Any
    ids: "Ids"

    def search(self, vectors: "Vectors", limit: int, gone: Collection[int]) -> list[list[Found]]:
        """Return for each of `(questions, dimension)` vectors the closest ids that are not gone, best first."""
        _faiss().omp_set_num_threads(1)  # of this thread; two are slower for a few questions
        count, room = len(self.ids), limit + min(limit, len(gone))
        while True:
            scores, places = self.index.search(vectors, min(room, count))
            found = [self._named(*row, limit, gone) for row in zip(places, scores, strict=True)]
            if room >= count or not gone or all(len(one) == limit for one in found):
                return found
            room *= 4

    def _named(self, places: Any, scores: Any, limit: int, gone: Collection[int]) -> list[Found]:
        kept = places >= 0  # an approximate search may find fewer
        pairs = zip(self.ids[places[kept]].tolist(), scores[kept].tolist(), strict=True)
        return [Found(ident, score) for ident, score in pairs if ident not in gone][:limit]


def build(path: Path | None, plan: Plan, rows: "Rows") -> Base:
    """Build a base, save it and return it as `load` does. A reader finds the old base or the new one, never a half.

    Args:
        path: where it is kept, without an ending; its folder must exist. None keeps it in memory alone.
        plan: how it is built.
        rows: returns all vectors.
    """
    import numpy as np  # noqa: PLC0415  # loaded with FAISS

    faiss = _faiss()
    faiss.omp_set_num_threads(1)
    lists = max(1, min(int(2 * plan.size**0.5), plan.size // _FEWEST))
    index = _empty(plan, lists)
    near: _Nearest | None = None
    if plan.shape != "flat":  # which compares all: there is nothing to train and nothing to tune
        asked = _spread(rows, plan.size, _ASKED, first=1)  # not those that it is trained with, where there are others
        if not index.is_trained:
            index.train(_spread(rows, plan.size, _TRAINED * lists))
        near = _Nearest(_aside(asked))
    ids: list[Ids] = []
    for numbers, vectors in rows():
        index.add(vectors)
        ids.append(numbers)
        if near is not None:
            near.look(numbers, vectors)
    numbers = np.concatenate(ids) if ids else np.empty(0, np.int64)
    depth, recall = (0, 1.0) if near is None else _tune(index, numbers, near, plan)
    if path is None:
        _set_depth(index, plan.shape, depth)
        return Base(Head(plan.shape, plan.mark, plan.dimension, depth, recall, "", "", b""), index, numbers)
    name = f"{path.name}-{plan.mark.change}.faiss"
    aside = path.with_name(f"{name}.tmp")
    faiss.write_index(index, str(aside))
    _sync(aside)
    head = Head(plan.shape, plan.mark, plan.dimension, depth, recall, name, _sha256(aside), numbers.tobytes())
    aside.replace(path.with_name(name))
    _write_head(path, head)
    for old in path.parent.glob(f"{path.name}-*.faiss"):
        if old.name != name:
            old.unlink(missing_ok=True)  # who has it mapped keeps it
    return _opened(path, head)


def load(path: Path, dimension: int) -> Base | None:
    """Return the saved base, or None when there is none.

    Raises:
        Damaged: the bytes are not what was written, or hold vectors of another length.
    """
    head = _read_head(path)
    if head is None:
        return None
    file = path.with_name(head.file)
    if not file.is_file():
        raise Damaged(f"{file}: the file of the vectors is gone")
    if _sha256(file) != head.sha256:
        raise Damaged(f"{file}: the vectors are not what was saved (the SHA-256 differs)")
    if head.dimension != dimension:
        raise Damaged(f"{file}: holds vectors of {head.dimension} numbers, the embedder makes {dimension}")
    return _opened(path, head)


def remove(path: Path) -> None:
    """Remove a saved base; who has it mapped keeps it."""
    path.with_name(f"{path.name}.base").unlink(missing_ok=True)
    for file in path.parent.glob(f"{path.name}-*.faiss"):
        file.unlink(missing_ok=True)


def is_whole(path: Path) -> bool:
    """Return whether a saved base is what was written; one that is gone meanwhile is no damage.

    Args:
        path: the file that says what it is, `*.base`.
    """
    try:
        head = _read_head(path.with_suffix(""))
        return head is None or _sha256(path.with_name(head.file)) == head.sha256
    except Damaged:
        return False
    except FileNotFoundError:
        return not path.exists()


def _opened(path: Path, head: Head) -> Base:
    import numpy as np  # noqa: PLC0415  # loaded with FAISS

    faiss = _faiss()
    index = faiss.read_index(str(path.with_name(head.file)), faiss.IO_FLAG_MMAP_IFC)
    _set_depth(index, head.shape, head.depth)
    return Base(head, index, np.frombuffer(head.ids, np.int64))


def _empty(plan: Plan, lists: int) -> Any:
    faiss = _faiss()

    dimension = plan.dimension
    codes = max(n for n in range(1, max(1, dimension // 2) + 1) if dimension % n == 0)
    told = {
        "flat": "SQfp16",
        "hnsw": f"HNSW{_LINKS},SQfp16",
        "ivf": f"IVF{lists},SQ8",
        "ivfpq": f"IVF{lists},PQ{codes}x4fs",
    }[plan.shape]
    return faiss.index_factory(dimension, told, faiss.METRIC_INNER_PRODUCT)


def _spread(rows: "Rows", count: int, wanted: int, first: int = 0) -> "Vectors":
    """Return so many vectors, about, from all over, beginning at the one with the number `first`."""
    import numpy as np  # noqa: PLC0415  # loaded with FAISS

    step, at = max(1, count // max(1, wanted)), -first
    if step > 2:
        step -= step % 2
    parts: list[Vectors] = []
    for _, vectors in rows():
        parts.append(vectors[-at % step :: step].copy())
        at += len(vectors)
    return np.concatenate(parts)


def _aside(vectors: "Vectors") -> "Vectors":
    """Return questions near vectors: a question is never quite what answers it."""
    import numpy as np  # noqa: PLC0415  # loaded with FAISS

    noise = np.random.default_rng(1).standard_normal(vectors.shape).astype(np.float32)
    moved = vectors + noise * (0.7 / vectors.shape[1] ** 0.5)
    length = np.linalg.norm(moved, axis=1, keepdims=True)
    return np.ascontiguousarray(moved / np.where(length, length, 1), np.float32)


class _Nearest:
    """The true neighbours of questions, found while vectors pass by."""

    def __init__(self, asked: "Vectors") -> None:
        import numpy as np  # noqa: PLC0415  # loaded with FAISS

        self.asked = asked
        self._scores = np.full((len(asked), _NEAR), -np.inf, np.float32)
        self._ids = np.full((len(asked), _NEAR), -1, np.int64)

    def look(self, ids: "Ids", vectors: "Vectors") -> None:
        """Take vectors into account."""
        import numpy as np  # noqa: PLC0415  # loaded with FAISS

        scores = np.concatenate([self._scores, self.asked @ vectors.T], axis=1)
        numbers = np.concatenate([self._ids, np.broadcast_to(ids, (len(self.asked), len(ids)))], axis=1)
        best = np.argpartition(-scores, _NEAR - 1, axis=1)[:, :_NEAR]
        self._scores = np.take_along_axis(scores, best, axis=1)
        self._ids = np.take_along_axis(numbers, best, axis=1)

    def recall(self, found: "Ids") -> float:
        """Return the share of the true neighbours that was found."""
        true = [set(row.tolist()) - {-1} for row in self._ids]
        hits = sum(len(one & set(row.tolist())) for one, row in zip(true, found, strict=True))
        return hits / max(1, sum(map(len, true)))


def _tune(index: Any, ids: "Ids", near: _Nearest, plan: Plan) -> tuple[int, float]:
    """Return the least depth with which enough neighbours are found, and the share of them that is."""
    import numpy as np  # noqa: PLC0415  # loaded with FAISS

    if not len(ids):
        return 0, 1.0
    wanted = min(_NEAR * (ROUGH if plan.shape == "ivfpq" else 1), len(ids))

    def tried(depth: int) -> float:
        _set_depth(index, plan.shape, depth)
        _, places = index.search(near.asked, wanted)
        return near.recall(np.where(places < 0, -1, ids[places]))

    found: list[tuple[int, float]] = []
    for depth in _DEPTHS:
        found.append((depth, tried(depth)))
        if found[-1][1] >= plan.recall:
            break
    best = max(recall for _, recall in found)
    enough = plan.recall if best >= plan.recall else best - _CLOSE
    depth, recall = next(pair for pair in found if pair[1] >= enough)
    below = depth // 2
    for _ in range(_FINER):
        middle = (below + depth) // 2
        if middle == below:
            break
        reached = tried(middle)
        if reached >= enough:
            depth, recall = middle, reached
        else:
            below = middle
    return depth, recall


def _set_depth(index: Any, shape: Shape, depth: int) -> None:
    faiss = _faiss()

    if shape == "hnsw":
        faiss.downcast_index(index).hnsw.efSearch = depth
    elif shape != "flat":
        faiss.extract_index_ivf(index).nprobe = depth


def _write_head(path: Path, head: Head) -> None:
    data = msgspec.msgpack.encode(head)
    aside = path.with_name(f"{path.name}.base.tmp")
    aside.write_bytes(_MAGIC + hashlib.sha256(data).digest() + data)
    _sync(aside)
    aside.replace(path.with_name(f"{path.name}.base"))


def _read_head(path: Path) -> Head | None:
    file = path.with_name(f"{path.name}.base")
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    at = len(_MAGIC) + _HASH_BYTES
    if content[:at] != _MAGIC + hashlib.sha256(content[at:]).digest():
        raise Damaged(f"{file}: it is not what was saved (the SHA-256 differs)")
    return msgspec.msgpack.decode(content[at:], type=Head)


def _faiss() -> Any:
    import faiss  # noqa: PLC0415  # costs 200 ms: only when a base is built or opened

    return faiss


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
