"""The vectors of the homes that were asked about lately, in memory; the file keeps all, and is the truth.

A home's vectors are read when it is asked about for the first time, and follow the file after that: each vector has a
number that is never given again, also when its text moves to another home, and the file tells which ones left. Nothing
of it is written to disk, so that what is forgotten is in no file but the memory's. Synchronous; called by `shelf`.
"""

import itertools
import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from loomd.vectors.faiss_index import Mark
from loomd.vectors.index import LOOSE, VectorIndex

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from loomd.vectors.faiss_index import Ids, Vectors

_HELD = 100_000
"""Vectors of homes beside those that are asked about which stay in memory; 256 numbers each are 50 MB."""
_SLACK = 2
"""So many times more vectors are asked for as are wanted: an index has 16-bit numbers, the file compares exactly."""
_PART = 10_000
"""Vectors that are read from the file at a time."""
_COUNT = "SELECT count(*) FROM item CROSS JOIN vector ON vector.item = item.row WHERE home = ? AND made_by = ?"
_ALL = (
    "SELECT vector.id, vector.vector FROM item CROSS JOIN vector ON vector.item = item.row"
    " WHERE home = ? AND made_by = ? AND vector.id <= ? ORDER BY vector.id"
)
_NEW = (
    "SELECT vector.id, vector.vector FROM vector CROSS JOIN item ON item.row = vector.item"
    " WHERE vector.id > ? AND vector.id <= ? AND home = ? AND made_by = ? ORDER BY vector.id"
)
_LEFT = "SELECT id FROM left_vector WHERE change > ? AND change <= ?"
_THERE = (
    "SELECT row, vector.vector FROM vector JOIN item ON item.row = vector.item"
    " WHERE vector.id IN (SELECT value FROM json_each(?)) AND home IN (SELECT value FROM json_each(?)) ORDER BY row"
)
_STATE = (
    "SELECT ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'vector'), 0),"
    " ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'left_vector'), 0),"
    " ifnull((SELECT min(change) FROM left_vector), 0)"
)


class _Home:
    """The vectors of one home, and up to where of the file they are known."""

    def __init__(self, index: VectorIndex, last: int, change: int) -> None:
        self.index = index
        self.last = last
        self.change = change


class Near:
    """What is near a question, in the homes of one file."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._mark = ""
        self._homes: dict[str, _Home] = {}
        """The homes in memory, those that were asked about last at the end."""

    def likeness(self, homes: Sequence[str], vector: "NDArray[np.float32]", mark: str, most: int) -> dict[int, float]:
        """Return the rows of the most like items of some homes with their cosines.

        Args:
            homes: where to look; the file is asked once more whether what is found is there.
            vector: of the question, `(dimension,) float32`.
            mark: fingerprint of what made the vectors to compare.
            most: how many items of each home are looked at, at least.
        """
        import numpy as np  # noqa: PLC0415  # only a memory with an embedder needs it

        if mark != self._mark:
            self._homes.clear()
            self._mark = mark
        found: list[int] = []
        for home in homes:
            index = self._followed(home, len(vector))
            if index is not None:
                found += [one.id for one in index.search(vector[None], most * _SLACK)[0]]
        self._make_room(homes)
        rows = self._db.execute(_THERE, (json.dumps(found), json.dumps(homes))).fetchall()
        if not rows:
            return {}
        table = np.frombuffer(b"".join(blob for _, blob in rows), np.float32).reshape(len(rows), -1)
        return dict(zip((row for row, _ in rows), (table @ vector).tolist(), strict=True))

    def clear(self) -> None:
        """Keep nothing in memory: what was forgotten is not there either."""
        self._homes.clear()

    def _followed(self, home: str, dimension: int) -> VectorIndex | None:
        """Return the vectors of a home as the file has them now; None when it has none."""
        last, change, oldest = self._db.execute(_STATE).fetchone()
        known = self._homes.pop(home, None)
        if known is None or known.change < oldest - 1:  # what left since is not told any more
            known = self._read(home, dimension, last, change)
        else:
            self._follow(known, home, last, change)
        if not len(known.index):
            return None
        if known.index.is_due("flat"):
            known = self._read(home, dimension, last, change)
        self._homes[home] = known
        return known.index

    def _read(self, home: str, dimension: int, last: int, change: int) -> _Home:
        """Return all vectors of a home."""
        index = VectorIndex(dimension, None)
        (count,) = self._db.execute(_COUNT, (home, self._mark)).fetchone()

        def rows() -> "Iterator[tuple[Ids, Vectors]]":
            return self._parts(_ALL, (home, self._mark, last), dimension)

        if count > LOOSE:
            index.build(rows, count, Mark("", change, last), "flat", 1.0)
        else:
            _add(index, rows())
        return _Home(index, last, change)

    def _follow(self, known: _Home, home: str, last: int, change: int) -> None:
        """Take over what came and went."""
        if known.change < change:
            left = [one for (one,) in self._db.execute(_LEFT, (known.change, change))]
            known.index.remove(known.index.held(left))
        if known.last < last:
            _add(known.index, self._parts(_NEW, (known.last, last, home, self._mark), known.index.dimension))
        known.last, known.change = last, change

    def _parts(self, query: str, values: tuple[object, ...], dimension: int) -> "Iterator[tuple[Ids, Vectors]]":
        import numpy as np  # noqa: PLC0415  # only a memory with an embedder needs it

        rows = self._db.execute(query, values)
        while part := list(itertools.islice(rows, _PART)):
            blobs = b"".join(blob for _, blob in part)
            ids = np.array([ident for ident, _ in part], np.int64)
            yield ids, np.frombuffer(blobs, np.float32).reshape(len(part), dimension)

    def _make_room(self, homes: Sequence[str]) -> None:
        """Leave out of memory what was not asked about for longest, when that is much."""
        held = sum(len(one.index) for name, one in self._homes.items() if name not in homes)
        for name in [name for name in self._homes if name not in homes]:
            if held <= _HELD:
                return
            held -= len(self._homes.pop(name).index)


def _add(index: VectorIndex, parts: "Iterator[tuple[Ids, Vectors]]") -> None:
    for ids, vectors in parts:
        index.add(ids.tolist(), vectors)
