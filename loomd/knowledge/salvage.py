"""Saves from a damaged store what was paid for: vectors, and what models found in passages. Blocks.

Each row is read for itself, so that a page that cannot be read costs what is on it. A vector is taken only when it is
one: of the right size, of length 1 or 0. Both are kept by digests of the texts that they belong to, so that a passage
never gets another's. Called when a store is opened.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from loomd.knowledge.store import ChunkStore

_DIGEST = 16
_NEAR = 0.01
"""How much the length of a stored vector differs from 1 at most, by rounding."""
_STEPS = 256
"""Rows in a row that are tried one by one though they cannot be read; then ever more are left out."""
_LAST = 1 << 40
_PART = 1000
_VECTORS = (
    "SELECT vector.id, digest, data FROM vector CROSS JOIN chunk ON chunk.id = vector.id"
    " WHERE vector.id > ? ORDER BY vector.id"
)
_FOUND = "SELECT rowid, digest, data, fault FROM extraction WHERE rowid > ? ORDER BY rowid"


class Salvaged(NamedTuple):
    """What became of a damaged store: what is wrong with it, and how many vectors could be read."""

    reason: str
    vectors: int


def salvage(path: Path, store: ChunkStore, dimension: int) -> int:
    """Keep in a new store what can be read of a damaged one, and return the number of vectors.

    Args:
        path: of the damaged one.
        store: the new one.
        dimension: length of its vectors.
    """
    digests = set[bytes]()
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        for part in _parts(_vectors(db)):
            good = {digest: data for digest, data in part if _is_vector(digest, data, dimension)}
            store.keep(good)
            digests.update(good)
        if store.graph is not None:
            for part in _parts(_rows(db, _FOUND)):
                store.graph.restore(part)
    return len(digests)


def _vectors(db: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    yield from _rows(db, _VECTORS)
    with suppress(sqlite3.DatabaseError):  # those that came early have no row ids: up to the first that is unreadable
        yield from db.execute("SELECT digest, data FROM early")


def _rows(db: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows that can be read, without their ids."""
    after, failed = 0, 0
    while after < _LAST:
        try:
            for ident, *values in db.execute(query, (after,)):
                after, failed = ident, 0
                yield tuple(values)
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            failed += 1
            after += 1 << max(0, failed - _STEPS)
        else:
            return


def _parts(rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[tuple[Any, ...], ...]]:
    while part := tuple(islice(rows, _PART)):
        yield part


def _is_vector(digest: object, data: object, dimension: int) -> bool:
    import numpy as np  # noqa: PLC0415  # loaded with the vectors

    if not (isinstance(digest, bytes) and isinstance(data, bytes)):
        return False
    if len(digest) != _DIGEST or len(data) != 2 * dimension:
        return False
    numbers = np.frombuffer(data, "<f2").astype(np.float32)
    length = float(np.linalg.norm(numbers))
    return length == 0.0 or abs(length - 1.0) <= _NEAR
