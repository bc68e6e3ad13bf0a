"""The files of stores and of what is made from them: opened, borrowed from, measured and removed. Blocks."""

import logging
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from loomd.errors import Damaged
from loomd.knowledge.store import ChunkStore, borrow

_log = logging.getLogger("loomd.knowledge")


def open_store(path: Path, *, linked: bool = False) -> ChunkStore:
    """Open a store, or begin a new one when it is damaged: all that it held is in the documents.

    Args:
        path: where it is.
        linked: whether it holds a graph, too.
    """
    try:
        store = ChunkStore(path, linked=linked)
    except Damaged as error:
        _log.warning("%s; indexing the documents anew", error)
        remove_store(path)
        store = ChunkStore(path, linked=linked)
    path.touch()
    return store


def take_over(path: Path, digests: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return vectors from another store; none when it cannot be read."""
    try:
        return borrow(path, digests)
    except sqlite3.Error as error:
        _log.info("%s: nothing taken over from it: %s", path, error)
        return {}


def size(path: Path) -> int:
    """Return the size of a file; 0 of one that is gone, and of a folder."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0


def changed_at(path: Path) -> float:
    """Return when a file was changed; 0 of one that is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def remove_store(path: Path) -> None:
    """Remove a store with all that is made from it; who has a file of it mapped keeps that."""
    for suffix in (".db", ".db-wal", ".db-shm", ".base"):
        path.with_suffix(suffix).unlink(missing_ok=True)
    for file in path.parent.glob(f"{path.stem}-*.faiss"):
        file.unlink(missing_ok=True)
    shutil.rmtree(path.with_suffix(".words"), ignore_errors=True)
