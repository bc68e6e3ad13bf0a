"""The files of stores and of what is made from them: opened, borrowed from, measured and removed. Blocks."""

import logging
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from loomd.errors import Damaged
from loomd.knowledge.salvage import Salvaged, salvage
from loomd.knowledge.store import ChunkStore, SourceRow, borrow, sources_in
from loomd.store.directory import settle

_log = logging.getLogger("loomd.knowledge")


def open_store(path: Path, dimension: int, *, linked: bool = False) -> tuple[ChunkStore, Salvaged | None]:
    """Open a store; when it is damaged, begin a new one with what can be read of it: the documents have the rest.

    One that is suspected is looked through however large it is.

    Args:
        path: where it is.
        dimension: length of its vectors.
        linked: whether it holds a graph, too.

    Returns:
        The store, and what became of a damaged one.
    """
    salvaged: Salvaged | None = None
    mark = _mark_of(path)
    try:
        store = ChunkStore(path, linked=linked, suspect=mark.exists())
    except Damaged as error:
        salvaged = Salvaged(str(error), _begin_anew(path, dimension, linked=linked))
        _log.warning("%s; indexing the documents anew with %d vectors that can be read", *salvaged)
        store = ChunkStore(path, linked=linked)
    mark.unlink(missing_ok=True)
    path.touch()
    return store, salvaged


def suspect(path: Path, damage: str) -> None:
    """Note beside a store that it was found damaged, so that it is looked through when it opens the next time."""
    _log.warning("%s: %s; it is made anew from what can be read of it when it opens the next time", path, damage)
    _mark_of(path).touch()


def _mark_of(path: Path) -> Path:
    return path.with_suffix(".suspect")


def _begin_anew(path: Path, dimension: int, *, linked: bool) -> int:
    """Put a new store in the place of a damaged one, and return how many of its vectors it has."""
    draft = path.with_suffix(".draft")
    for suffix in ("", "-wal", "-shm"):
        Path(f"{draft}{suffix}").unlink(missing_ok=True)
    store = ChunkStore(draft, linked=linked)
    try:
        saved = salvage(path, store, dimension)
    finally:
        store.close()
    _remove_derived(path)
    settle(draft, path)
    return saved


def others(path: Path) -> list[Path]:
    """Return the stores of other ways of indexing beside one, the latest used first."""
    return sorted((one for one in path.parent.glob("*.db") if one != path), key=changed_at, reverse=True)


def neighbours(path: Path) -> list[Path]:
    """Return the stores of other knowledge bases, in the folders `NAMESPACE/NAME` beside that of a store."""
    return [one for one in sorted(path.parents[2].glob("*/*/*.db")) if one.parent != path.parent]


def take_over(path: Path, digests: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return vectors from another store; none when it cannot be read."""
    try:
        return borrow(path, digests)
    except sqlite3.Error as error:
        _log.info("%s: nothing taken over from it: %s", path, error)
        return {}


def read_before(paths: Sequence[Path], name: str) -> SourceRow | None:
    """Return what the first store that knows a source knows of it; one that cannot be read knows none."""
    for path in paths:
        try:
            row = sources_in(path).get(name)
        except sqlite3.Error as error:
            _log.info("%s: it is not known what was read of its sources: %s", path, error)
        else:
            if row is not None:
                return row
    return None


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
    _remove_derived(path)
    path.unlink(missing_ok=True)
    _mark_of(path).unlink(missing_ok=True)


def _remove_derived(path: Path) -> None:
    """Remove what belongs to the file of a store, but not that: whoever is killed then finds it and begins again."""
    for suffix in (".db-wal", ".db-shm", ".base"):
        path.with_suffix(suffix).unlink(missing_ok=True)
    for file in path.parent.glob(f"{path.stem}-*.faiss"):
        file.unlink(missing_ok=True)
    shutil.rmtree(path.with_suffix(".words"), ignore_errors=True)
