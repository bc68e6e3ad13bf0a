"""The journal's rows: numbered, written once per key, and chained so that a changed row is found.

A row's hash covers the hash of the row before it in the same task; a flipped bit or a missing row breaks the chain.
"""

import hashlib
import sqlite3

from loomd.errors import Damaged
from loomd.store.base import Row

_HEADS = 10_000
"""Tasks whose last hash is kept in memory."""


class Chain:
    """Inserts rows on the writer's thread."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._heads: dict[str, bytes] = {}

    def insert(self, seq: int, row: Row, envelope: bytes) -> None:
        """Insert a row inside the caller's transaction; one whose (task, key) is stored is skipped."""
        head = link(self._head(row.task), envelope, row.body)
        done = self._db.execute(
            "INSERT OR IGNORE INTO journal (seq, task, key, type, body, hash) VALUES (?, ?, ?, ?, ?, ?)",
            (seq, row.task, row.key, row.type, row.body, head),
        )
        if done.rowcount:
            self._heads[row.task] = head

    def forget(self) -> None:
        """Drop what is remembered, after a rollback."""
        self._heads.clear()

    def _head(self, task: str) -> bytes:
        head = self._heads.get(task)
        if head is None:
            row = self._db.execute(
                "SELECT hash FROM journal WHERE task = ? ORDER BY seq DESC LIMIT 1", (task,)
            ).fetchone()
            head = bytes(row[0]) if row else b""
            if len(self._heads) >= _HEADS:
                del self._heads[next(iter(self._heads))]
            self._heads[task] = head
        return head


def envelope(seq: int, row: Row) -> bytes:
    """Return what is hashed of a row besides its body.

    Raises:
        UnicodeEncodeError: a name holds a lone surrogate.
    """
    return f"{seq}\0{row.task}\0{row.key}\0{row.type}\0".encode()


def link(previous: bytes, envelope: bytes, body: bytes) -> bytes:
    """Return the hash of a row that follows a row with hash `previous`, 32 bytes."""
    return hashlib.sha256(b"".join((previous, envelope, body))).digest()


def verify(db: sqlite3.Connection) -> int:
    """Recompute every chain and return the number of rows.

    Raises:
        Damaged: a row does not match its hash, or the database file is corrupt; names the first such row.
    """
    heads: dict[str, bytes] = {}
    count = 0
    try:
        for seq, task, key, kind, body, stored in db.execute(
            "SELECT seq, task, key, type, body, hash FROM journal ORDER BY seq"
        ):
            row = Row(task, kind, bytes(body), key)
            head = link(heads.get(task, b""), envelope(seq, row), row.body)
            if head != bytes(stored):
                raise Damaged(
                    f"journal row {seq} of task {task or '(system)'} does not match its hash: restore a backup"
                )
            heads[task] = head
            count += 1
        said = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    except (sqlite3.DatabaseError, ValueError, TypeError) as error:
        raise Damaged(f"the journal cannot be read after row {count}: {error}: restore a backup") from error
    if said != "ok":
        raise Damaged(f"the database is corrupt: {said}: restore a backup")
    return count
