"""A memory's file that is damaged: how that is found out when it opens, and how it makes way. Called by `recall`."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from loomd.memory.layout import writing
from loomd.memory.refill import Refilled

_CODES = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))
_SUFFIX = ".damaged-"
_ENDINGS = ("", "-wal", "-shm")
"""Of the files that SQLite keeps for one database."""


class Broken(sqlite3.DatabaseError):
    """The tables of a file are not what SQLite wrote."""


class Aside(NamedTuple):
    """A damaged file that made way.

    Attributes:
        path: where it is now.
        texts: how many texts it had; None when that cannot be read any more.
    """

    path: Path
    texts: int | None

    def told(self, refilled: Refilled | None) -> str:
        """Return what happened, in words.

        Args:
            refilled: how the new file was filled in; None as long as the journal is still to be looked through.
        """
        had = "" if self.texts is None else f" with the {self.texts} texts in it"
        if refilled is None:
            now = "what the journal has is being remembered again"
        else:
            now = f"{refilled.items} are remembered again from the journal"
            now += f", {refilled.lacking} more are only named there" if refilled.lacking else ""
        return (
            f"its file was damaged, and is set aside as {self.path}{had}: {now}; "
            "delete that file once nothing of it is wanted"
        )


def examine(db: sqlite3.Connection) -> bool:
    """Look through a file, and make its word index anew when only that is damaged; return whether it was.

    Raises:
        DatabaseError: it is damaged; `is_damage` says so of the error.
    """
    (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise Broken(" ".join(str(found).split()))
    try:
        db.execute("INSERT INTO item_word (item_word) VALUES ('integrity-check')")
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        with writing(db):
            db.execute("INSERT INTO item_word (item_word) VALUES ('rebuild')")
        return True
    return False


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error is the file's: not a full disk, or a layout of a later version."""
    return isinstance(error, Broken) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _CODES


def set_aside(path: Path, now: float) -> Aside:
    """Rename a damaged file that nobody has open, with its log, to a name that is free; `now` is in it."""
    number = int(now)
    while (there := path.with_name(f"{path.name}{_SUFFIX}{number}")).exists():
        number += 1
    for ending in reversed(_ENDINGS):
        with suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(there.with_name(there.name + ending))
    return Aside(there, _count(there))


def find_aside(path: Path) -> Aside | None:
    """Return the newest file that was set aside for a path and is still there."""
    found = [one for one in path.parent.glob(f"{path.name}{_SUFFIX}*") if one.name.rpartition("-")[2].isdigit()]
    newest = max(found, key=lambda one: int(one.name.rpartition("-")[2]), default=None)
    return None if newest is None else Aside(newest, _count(newest))


def _count(path: Path) -> int | None:
    """Return how many texts a damaged file has, as far as it says; None when it does not, or its log has more.

    Nothing is written, and no file is made beside it.
    """
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        return None
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as db:
            return int(db.execute("SELECT count(*) FROM item").fetchone()[0])
    except sqlite3.Error:
        return None
