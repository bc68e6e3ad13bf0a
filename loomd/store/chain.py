"""The journal's rows: numbered, written once per key, and chained so that a changed row is found.

A row's hash covers the hash of the row before it in the same task; a flipped bit or a missing row breaks the chain.
Where the oldest rows of a chain were removed, `chains` keeps the hash that the first remaining one follows. The newest
ones are missed by no row: `ends` keeps the last one of each task that has ended, `counts` how many there are in all.
"""

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loomd.errors import Damaged
from loomd.store import seal
from loomd.store.blob import digest_of, keep
from loomd.store.extent import skip
from loomd.store.insert import Insert
from loomd.store.records import Row

LARGE = 100_000
"""Bytes of a body above which it is kept by its digest, in `blobs`."""
_TAILS = 10_000
"""Tasks whose last hash and keys are kept in memory."""
_KEYS = 1_000_000
"""Keys that are kept in memory, of all those tasks together."""

Entry = tuple[int, Row, bytes]
"""A row with its number and its envelope."""

_ROWS = Insert("INSERT INTO journal (seq, task, key, type, body, hash)", 6)
_INSERT_LARGE = "INSERT INTO journal (seq, task, key, type, body, hash, blob) VALUES (?, ?, ?, ?, ?, ?, ?)"
_HEAD = """
SELECT coalesce((SELECT seq FROM journal WHERE task = ?1 ORDER BY seq DESC LIMIT 1), 0),
       coalesce((SELECT hash FROM journal WHERE task = ?1 ORDER BY seq DESC LIMIT 1),
                (SELECT hash FROM chains WHERE task = ?1), x''),
       EXISTS (SELECT 1 FROM ends WHERE task = ?1)
"""
_KNOWN = "SELECT key FROM journal WHERE task = ? AND key != ''"
_COUNT = "UPDATE counts SET rows = rows + ?"
_COUNTED = "SELECT (SELECT count(*) FROM journal), (SELECT rows FROM counts)"
_CUT = """
SELECT id FROM tasks LEFT JOIN ends ON ends.task = id
WHERE result != x'' AND substr(id, 1, instr(id || '.', '.') - 1) NOT IN (SELECT task FROM removals)
AND (seq, hash) IS NOT (
    coalesce((SELECT seq FROM journal WHERE journal.task = id ORDER BY seq DESC LIMIT 1), 0),
    coalesce((SELECT hash FROM journal WHERE journal.task = id ORDER BY seq DESC LIMIT 1), x'')
)
"""


@dataclass(slots=True)
class _Tail:
    """What is known of a task's chain: number and hash of its last row, all its keys, whether the task has ended."""

    seq: int
    head: bytes
    keys: set[str]
    ended: bool


class Chain:
    """Inserts rows on the writer's thread."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._tails: dict[str, _Tail] = {}
        self._keys = 0

    def insert(self, entries: Sequence[Entry]) -> None:
        """Insert rows inside the caller's transaction; one whose (task, key) is stored is skipped.

        Contents are handed over as `bytearray`: of `bytes` and None `sqlite3` first asks what they want to be instead,
        which takes a third as long as the rest.
        """
        rows: list[Any] = []
        late: dict[str, _Tail] = {}
        known, sha256 = self._tails.get, hashlib.sha256
        for seq, row, sealed in entries:
            task, key, body = row.task, row.key, row.body
            tail = known(task) or self._load(task)
            if key:
                if key in tail.keys:
                    skip(self._db, seq)
                    continue
                tail.keys.add(key)
                self._keys += 1
            tail.seq = seq
            if tail.ended:
                late[task] = tail
            if len(body) > LARGE:
                self._insert_large(seq, row, sealed, tail)
                continue
            tail.head = head = sha256(tail.head + sealed + body).digest()  # as `link` does
            rows += (seq, task, key, row.type, bytearray(body), bytearray(head))
        count(self._db, _ROWS.values(self._db, rows))
        if late:
            seal.put(self._db, "ends", [(task, tail.seq, tail.head) for task, tail in late.items()])
        while len(self._tails) > _TAILS or (self._keys > _KEYS and len(self._tails) > 1):
            self._keys -= len(self._tails.pop(next(iter(self._tails))).keys)

    def _insert_large(self, seq: int, row: Row, sealed: bytes, tail: _Tail) -> None:
        """Insert a row of which the body is kept by its digest."""
        blob = keep(self._db, row.body)
        tail.head = link(tail.head, sealed, b"", blob)
        values = (seq, row.task, row.key, row.type, bytearray(), bytearray(tail.head), blob)
        self._db.execute(_INSERT_LARGE, values)
        count(self._db, 1)

    def forget(self) -> None:
        """Drop what is remembered, after a rollback."""
        self._tails.clear()
        self._keys = 0

    def end(self, tasks: Sequence[str]) -> None:
        """Keep the last rows of tasks that have ended, inside the caller's transaction; rows that come late move it."""
        last: dict[str, tuple[int, bytes]] = {}
        for task in tasks:
            tail = self._tails.get(task)
            last[task] = (tail.seq, tail.head) if tail else self._db.execute(_HEAD, (task,)).fetchone()[:2]
            self._drop(task)
        seal.put(self._db, "ends", [(task, *end) for task, end in last.items()])

    def forget_gone(self) -> None:
        """Drop what is remembered of tasks that are being removed: the same name may come again."""
        gone = {task for (task,) in self._db.execute("SELECT task FROM removals")}
        if gone:
            for task in [task for task in self._tails if task.split(".", 1)[0] in gone]:
                self._drop(task)

    def _drop(self, task: str) -> None:
        if (tail := self._tails.pop(task, None)) is not None:
            self._keys -= len(tail.keys)

    def _load(self, task: str) -> _Tail:
        seq, head, ended = self._db.execute(_HEAD, (task,)).fetchone()
        keys = {key for (key,) in self._db.execute(_KNOWN, (task,))} if seq else set[str]()
        tail = self._tails[task] = _Tail(seq, bytes(head), keys, bool(ended))
        self._keys += len(keys)
        return tail


def envelope(seq: int, row: Row) -> bytes:
    """Return what is hashed of a row besides its body.

    Raises:
        UnicodeEncodeError: a name holds a lone surrogate.
    """
    return f"{seq}\0{row.task}\0{row.key}\0{row.type}\0".encode()


def link(previous: bytes, envelope: bytes, body: bytes, blob: str | None = None) -> bytes:
    """Return the hash of a row that follows a row with hash `previous`, 32 bytes."""
    told = body if blob is None else f"sha256:{blob}".encode()
    return hashlib.sha256(previous + envelope + told).digest()


def count(db: sqlite3.Connection, more: int) -> None:
    """Note inside the caller's transaction that there are more rows now, or fewer."""
    db.execute(_COUNT, (more,))


def read(db: sqlite3.Connection, only: str, values: Mapping[str, object]) -> list[Row]:
    """Return the rows of a condition, with their bodies.

    Args:
        db: where they are.
        only: the end of the query, constant text; its columns are those of `journal`.
        values: what stands for the names in it.

    Raises:
        Damaged: a body is not what was stored.
    """
    found: list[Row] = []
    query = f"SELECT task, type, body, key, seq, blob, data FROM journal LEFT JOIN blobs ON digest = blob {only}"  # noqa: S608  # constant text
    for task, kind, body, key, seq, blob, data in db.execute(query, values):
        if blob is not None and (data is None or digest_of(data) != blob):
            raise Damaged(f"the stored value of journal row {seq} of task {task} is damaged: restore a backup")
        found.append(Row(task, kind, body if blob is None else data, key, seq))
    return found


def breaks(db: sqlite3.Connection) -> Iterator[tuple[int, str]]:
    """Recompute every chain, and yield number and task of each row that does not match its hash."""
    heads: dict[str, bytes] = {task: bytes(head) for task, head in db.execute("SELECT task, hash FROM chains")}
    query = "SELECT seq, task, key, type, body, hash, blob FROM journal ORDER BY seq"
    for seq, task, key, kind, body, stored, blob in db.execute(query):
        head = link(heads.get(task, b""), envelope(seq, Row(task, kind, b"", key)), bytes(body), blob)
        if head != bytes(stored):
            yield seq, task
        heads[task] = bytes(stored)


def cut(db: sqlite3.Connection) -> Iterator[str]:
    """Yield the tasks that have ended and whose last row is not the one that was written last."""
    yield from (task for (task,) in db.execute(_CUT))


def counted(db: sqlite3.Connection) -> tuple[int, int]:
    """Return how many rows there are, and how many there should be."""
    there, written = db.execute(_COUNTED).fetchone()
    return int(there), int(written or 0)


def verify(db: sqlite3.Connection) -> int:
    """Recompute every chain and return the number of rows.

    Raises:
        Damaged: a row does not match its hash or is missing, or the database file is corrupt; names the first such row.
    """
    try:
        for seq, task in breaks(db):
            raise Damaged(f"journal row {seq} of task {task or '(system)'} does not match its hash: restore a backup")
        for task in cut(db):
            raise Damaged(f"the last rows of task {task} are missing: restore a backup")
        there, written = counted(db)
        said = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    except (sqlite3.DatabaseError, ValueError, TypeError) as error:
        raise Damaged(f"the journal cannot be read: {error}: restore a backup") from error
    if said != "ok":
        raise Damaged(f"the database is corrupt: {said}: restore a backup")
    if there != written:
        raise Damaged(f"the journal has {there} rows, {written} were written: restore a backup")
    return there
