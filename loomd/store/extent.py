"""How far the journal reaches: the newest number that was given out, and up to which number rows may be gone.

A number is never given twice, also when its row was skipped as known or removed later: whoever read up to it goes on
after it. Called by the chain, and by whoever removes rows.
"""

import sqlite3

from loomd.store.records import Extent

_LAST, _TRIMMED = "journal-last", "journal-trimmed"


def extent(db: sqlite3.Connection) -> Extent:
    """Return how far the journal in a database reaches."""
    stored = int(db.execute("SELECT coalesce(max(seq), 0) FROM journal").fetchone()[0])
    return Extent(max(stored, _mark(db, _LAST)), _mark(db, _TRIMMED))


def skip(db: sqlite3.Connection, seq: int) -> None:
    """Note inside the caller's transaction that a number was given out and has no row."""
    _raise(db, _LAST, seq)


def trim(db: sqlite3.Connection, seq: int) -> None:
    """Note inside the caller's transaction that the row with this number, and maybe some before it, are removed."""
    _raise(db, _TRIMMED, seq)
    _raise(db, _LAST, seq)


def _mark(db: sqlite3.Connection, name: str) -> int:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (name,)).fetchone()
    return int(row[0]) if row else 0


def _raise(db: sqlite3.Connection, name: str, seq: int) -> None:
    if seq > _mark(db, name):
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, str(seq)))
