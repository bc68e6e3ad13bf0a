"""Search by vector: a base that is never changed, and what happened since.

What was added since the base was built stands in memory and is compared one by one; what was removed is left out of
what the base finds. When that has grown, a new base is built beside the old one and takes its place at once: a search
that has begun ends on what it began with. One thread changes an index, any number search it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from loomd.vectors.faiss_index import Base, Found, Plan, Shape, build, load, remove

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from loomd.vectors.faiss_index import Mark, Rows

    Vectors = NDArray[np.float32]
    Ids = NDArray[np.int64]

LOOSE = 1000
"""Changes that may stand beside a base before a new one is built."""
_SHARE = 20
"""They may also be a part in so many of it."""
_LARGE = 100_000
"""Vectors that may stand beside a base while documents are read, if it does not have as many itself."""
_ROOM = 64


@dataclass(frozen=True)
class _View:
    """What a search looks at: never changed once it is there.

    Attributes:
        base: what was built, if anything was.
        ids: those of the vectors beside it, oldest first.
        rows: the vectors beside it.
        gone: ids that are in one of both and not there any more.
    """

    base: Base | None
    ids: "Ids"
    rows: "Vectors"
    gone: frozenset[int] = field(default_factory=frozenset[int])


class VectorIndex:
    """Vectors by id. Ids are added in their order, each once, and removed at most once.

    Args:
        dimension: length of every vector.
        path: where the base is kept, without an ending; None keeps it in memory alone.
    """

    def __init__(self, dimension: int, path: Path | None) -> None:
        self.dimension = dimension
        self._path = path
        self._begin(None)

    def _begin(self, base: Base | None) -> None:
        import numpy as np  # noqa: PLC0415  # 80 ms: only when a knowledge base opens

        self._rows, self._ids = np.empty((_ROOM, self.dimension), np.float32), np.empty(_ROOM, np.int64)
        self._view = _View(base, self._ids[:0], self._rows[:0])

    @property
    def base(self) -> Base | None:
        """Return what was built, if anything was."""
        return self._view.base

    @property
    def mark(self) -> "Mark | None":
        """Return up to where the base knows the store, if there is one."""
        return None if self.base is None else self.base.head.mark

    @property
    def is_rough(self) -> bool:
        """Return whether scores are rough, so that the best should be compared once more by what is stored."""
        return self.base is not None and self.base.head.shape == "ivfpq"

    @property
    def is_large(self) -> bool:
        """Return whether so much stands beside the base that it takes up too much memory."""
        view = self._view
        return len(view.ids) > max(_LARGE, 0 if view.base is None else len(view.base.ids))

    @property
    def loose(self) -> int:
        """Return how many vectors stand beside the base."""
        return len(self._view.ids)

    def __len__(self) -> int:
        """Return the number of vectors."""
        view = self._view
        return len(view.ids) + (0 if view.base is None else len(view.base.ids)) - len(view.gone)

    def is_due(self, shape: Shape) -> bool:
        """Return whether a base of a type should be built anew."""
        view = self._view
        loose = len(view.ids) + len(view.gone)
        if view.base is None:
            return loose > LOOSE
        return view.base.head.shape != shape or loose > max(LOOSE, len(view.base.ids) // _SHARE)

    def add(self, ids: Sequence[int], vectors: "Vectors") -> None:
        """Add `(ids, dimension)` float32 vectors under ids that are not there yet.

        Raises:
            ValueError: the shape is wrong.
        """
        import numpy as np  # noqa: PLC0415  # loaded when it opened

        if vectors.shape != (len(ids), self.dimension):
            raise ValueError(f"expected {len(ids)} vectors of {self.dimension} numbers, got {vectors.shape}")
        view = self._view
        begin, end = len(view.ids), len(view.ids) + len(ids)
        if end > len(self._ids):  # searches that go on keep the old place
            room = max(end, 2 * len(self._ids))
            rows, numbers = np.empty((room, self.dimension), np.float32), np.empty(room, np.int64)
            rows[:begin], numbers[:begin] = view.rows, view.ids
            self._rows, self._ids = rows, numbers
        self._rows[begin:end], self._ids[begin:end] = vectors, ids
        self._view = _View(view.base, self._ids[:end], self._rows[:end], view.gone)

    def remove(self, ids: Iterable[int]) -> None:
        """Remove vectors that are there."""
        view = self._view
        self._view = _View(view.base, view.ids, view.rows, view.gone.union(ids))

    def held(self, ids: Iterable[int]) -> list[int]:
        """Return those of some ids that are there."""
        view = self._view
        there = [view.ids] if view.base is None else [view.base.ids, view.ids]
        return [one for one in ids if one not in view.gone and any(_holds(part, one) for part in there)]

    def search(self, vectors: "Vectors", limit: int) -> list[list[Found]]:
        """Return for each of `(questions, dimension)` vectors the closest ids, best first."""
        view = self._view
        near = [_loose(view, vector, limit) for vector in vectors]
        if view.base is None:
            return near
        found = view.base.search(vectors, limit, view.gone)
        return [sorted([*one, *other], key=_by_score)[:limit] for one, other in zip(found, near, strict=True)]

    def load(self, store: str) -> None:
        """Take over the saved base, if there is one of a store.

        Raises:
            Damaged: it is not what was written, or holds vectors of another length.
        """
        base = None if self._path is None else load(self._path, self.dimension)
        if base is not None and base.head.mark.store == store:
            self._begin(base)

    def clear(self) -> None:
        """Do without a base: forget all vectors."""
        self._begin(None)
        if self._path is not None:
            remove(self._path)

    def build(self, rows: "Rows", count: int, mark: "Mark", shape: Shape, recall: float) -> None:
        """Build a base and let it take the place of all that is there.

        Args:
            rows: returns all vectors.
            count: how many there are.
            mark: how far the store is that they are from.
            shape: type of the base.
            recall: share of the nearest neighbours that a search should find.
        """
        self._begin(build(self._path, Plan(shape, recall, self.dimension, count, mark), rows))


def _holds(ids: "Ids", one: int) -> bool:
    """Return whether an id is among ids that stand in their order."""
    at = int(ids.searchsorted(one))
    return at < len(ids) and int(ids[at]) == one


def _loose(view: _View, vector: "Vectors", limit: int) -> list[Found]:
    """Return the closest of the vectors beside the base, best first."""
    import numpy as np  # noqa: PLC0415  # loaded when it opened

    scores = view.rows @ vector
    wanted = min(len(scores), limit + len(view.gone))
    best = np.argpartition(-scores, wanted - 1)[:wanted] if 0 < wanted < len(scores) else np.arange(len(scores))
    best = best[np.argsort(-scores[best], kind="stable")]
    pairs = zip(view.ids[best].tolist(), scores[best].tolist(), strict=True)
    return [Found(ident, score) for ident, score in pairs if ident not in view.gone][:limit]


def _by_score(found: Found) -> float:
    return -found.score
