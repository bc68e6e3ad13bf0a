"""Removes what is old: ended tasks with all that belongs to them, and old facts about the system.

Small transactions, with pauses as long as they took, so that commits of tasks go on meanwhile. A task that has not
ended is never touched. What was begun before a crash is finished by the next sweep. Called by `sqlite`.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Protocol, TypeVar

import msgspec

from loomd.store.blob import drop
from loomd.store.chain import count
from loomd.store.extent import trim

T = TypeVar("T")

_CHUNK = 200
"""Rows that one transaction removes."""
_KEYS = 10_000
"""Keys of rows to remove that are looked for at a time."""
_TASKS = 100
"""Tasks that are looked for at a time."""
_PAGES = 200
"""Pages that one transaction gives back to the file system."""
_FREE = 0.25
"""Share of unused pages from which on some are given back; the rest is used again."""

_OLD = "SELECT id, created FROM tasks WHERE result != x'' AND instr(id, '.') = 0 AND created < ? ORDER BY created"
_MANY = """
SELECT id FROM tasks WHERE result != x'' AND instr(id, '.') = 0 ORDER BY created DESC LIMIT -1 OFFSET ?
"""
_LAST = """
SELECT coalesce(data, body) FROM journal LEFT JOIN blobs ON digest = blob WHERE task = ? ORDER BY seq DESC LIMIT 1
"""
_PARTS = "SELECT seq, blob FROM journal WHERE task > ? AND task < ? ORDER BY task DESC, seq DESC LIMIT ?"
_WHOLE = "SELECT seq, blob FROM journal WHERE task = ? ORDER BY seq DESC LIMIT ?"
_BELONGING = {
    "tasks": "id",
    "ends": "task",
    "learned": "task",
    "signals": "task",
    "approvals": "task",
    "turns": "task",
    "experience": "task",
}
"""Tables with what belongs to a task, and the column that names it."""
_ORPHANS = {"learned": "at", "signals": "at", "approvals": "expires", "experience": "created"}
"""Tables with what a task may leave that is not kept itself, and the column that says how old it is."""
_KEPT = "EXISTS (SELECT 1 FROM tasks WHERE id = {0} OR id = substr({0}, 1, instr({0}, '#') - 1))"
"""Whether a task is kept that something belongs to; what people teach later is under `TASK#feedback/1`."""
_COUNTS_NO_MORE = {
    """
    SELECT seq FROM movements WHERE at < ? AND seq NOT IN (
        SELECT max(seq) FROM movements GROUP BY agent, spec, domain
    ) LIMIT ?
    """: "DELETE FROM movements WHERE seq = ? AND at < ?",
    "SELECT namespace, agent, spec, task FROM lessons WHERE at < ? LIMIT ?": """
    DELETE FROM lessons WHERE namespace = ? AND agent = ? AND spec = ? AND task = ? AND at < ?
    """,
    "SELECT id FROM proposals WHERE expires < ? LIMIT ?": "DELETE FROM proposals WHERE id = ? AND expires < ?",
}
"""Which keys what was learned before a time and counts no more has, and what removes one that is still older.

No index serves the first ones: all rows are read, seldom and beside the writer, so that to write one costs less.
"""
_SYSTEM = """
SELECT seq, coalesce(data, body), hash, blob FROM journal LEFT JOIN blobs ON digest = blob
WHERE task = '' ORDER BY seq LIMIT ?
"""


class Ask(Protocol):
    """Runs something on a database and returns its value: a query, or a transaction that is on disk then."""

    def __call__(self, act: Callable[[sqlite3.Connection], T], /) -> Awaitable[T]:
        """Run it."""
        ...


class _Dated(msgspec.Struct, frozen=True):
    """The part of an event that matters here."""

    ts: float = 0.0


async def sweep(read: Ask, write: Ask, before: float, keep: int) -> int:
    """Remove what is old, and return how many tasks from outside that were; their subtasks go with them.

    Also goes what is old and belongs to a task of which there is no record, because nothing of it is kept.

    Args:
        read: runs queries.
        write: runs transactions.
        before: wall-clock seconds; tasks that ended before, and facts about the system from before, are old.
        keep: most ended tasks to keep, without their subtasks; the oldest of more are old.
    """
    for task in await read(_begun):
        await _finish(write, task)
    removed = 0
    while tasks := await read(lambda db: _ended(db, before, keep)):
        for task in tasks:
            removed += await _start(write, task)
            await _finish(write, task)
    while orphans := await read(lambda db: _orphans(db, before)):
        await write(partial(_drop, tasks=orphans))
    await write(lambda db: _forget_days(db, before))
    for look, remove in _COUNTS_NO_MORE.items():
        await _forget(read, write, before, look, remove)
    await _repeat(write, lambda db: _trim_system(db, before))
    await _repeat(write, _shrink)
    return removed


async def _start(write: Ask, task: str) -> bool:
    return await write(lambda db: _begin(db, task))


async def _finish(write: Ask, task: str) -> None:
    await _repeat(write, lambda db: _remove(db, task))


async def _repeat(write: Ask, act: Callable[[sqlite3.Connection], bool]) -> None:
    """Do something until nothing is left to do, and leave the writer to others half of the time."""
    loop = asyncio.get_running_loop()
    more = True
    while more:
        started = loop.time()
        more = await write(act)
        await asyncio.sleep(loop.time() - started)


def _begun(db: sqlite3.Connection) -> list[str]:
    """Return the tasks whose removal was not finished."""
    return [task for (task,) in db.execute("SELECT task FROM removals")]


def _ended(db: sqlite3.Connection, before: float, keep: int) -> list[str]:
    """Return some tasks from outside that are old."""
    found = [task for (task,) in db.execute(_MANY, (keep,)).fetchmany(_TASKS)]
    for task, created in db.execute(_OLD, (before,)):
        if len(found) >= _TASKS:
            break
        row = db.execute(_LAST, (task,)).fetchone()
        if (_moment(row[0]) if row else created) < before and task not in found:
            found.append(task)
    return found


def _begin(db: sqlite3.Connection, task: str) -> bool:
    """Remove the record of a task, and note that the rest follows; return whether there was one that has ended."""
    if not db.execute("DELETE FROM tasks WHERE id = ? AND result != x''", (task,)).rowcount:
        return False
    db.execute("INSERT OR IGNORE INTO removals VALUES (?)", (task,))
    return True


def _remove(db: sqlite3.Connection, task: str) -> bool:
    """Remove a part of what belongs to a task whose removal was begun; return whether something may be left.

    Of each chain the newest rows go first: what is left of it still verifies.
    """
    if not db.execute("SELECT 1 FROM removals WHERE task = ?", (task,)).fetchone():
        return False
    tree = (f"{task}.", f"{task}/")
    rows = db.execute(_PARTS, (*tree, _CHUNK)).fetchall()
    rows += db.execute(_WHOLE, (task, _CHUNK - len(rows))).fetchall()
    if rows:
        _delete(db, rows)
        return True
    late = (f"{task}#", f"{task}$")
    for table, column in _BELONGING.items():
        within = f"({column} > ? AND {column} < ?)"
        some = f"SELECT {column} FROM {table} WHERE {column} = ? OR {within} OR {within} LIMIT {_CHUNK}"  # noqa: S608  # names of ours
        if db.execute(f"DELETE FROM {table} WHERE {column} IN ({some})", (task, *tree, *late)).rowcount:  # noqa: S608  # names of ours
            return True
    db.execute("DELETE FROM removals WHERE task = ?", (task,))
    return False


def _orphans(db: sqlite3.Connection, before: float) -> list[str]:
    """Return some tasks that are not kept and have left something that is old."""
    found: set[str] = set()
    for table, column in _ORPHANS.items():
        left = f"SELECT task FROM {table} WHERE {column} < ? AND NOT {_KEPT.format('task')}"  # noqa: S608  # names of ours
        found |= {task for (task,) in db.execute(f"{left} LIMIT {_CHUNK}", (before,))}
    return list(found)[:_CHUNK]


def _drop(db: sqlite3.Connection, tasks: list[str]) -> None:
    """Remove what tasks have left that are not kept."""
    names = [(task,) for task in tasks]
    for table in _ORPHANS:
        db.executemany(f"DELETE FROM {table} WHERE task = ?1 AND NOT {_KEPT.format('?1')}", names)  # noqa: S608  # names of ours


def _forget_days(db: sqlite3.Connection, before: float) -> None:
    """Remove what was used on days that are over since long."""
    day = datetime.fromtimestamp(max(0.0, before), UTC).strftime("%Y-%m-%d")
    db.execute("DELETE FROM usage WHERE day < ?", (day,))


async def _forget(read: Ask, write: Ask, before: float, look: str, remove: str) -> None:
    """Remove what was learned before a time and counts no more, of one sort.

    Of each score the last movement stays, and proposals go only when they can be decided no more.
    """
    while keys := await read(lambda db: db.execute(look, (before, _KEYS)).fetchall()):
        for at in range(0, len(keys), _CHUNK):
            await _repeat(write, partial(_forget_some, remove, [(*key, before) for key in keys[at : at + _CHUNK]]))


def _forget_some(remove: str, keys: list[tuple[object, ...]], db: sqlite3.Connection) -> bool:
    db.executemany(remove, keys)
    return False


def _trim_system(db: sqlite3.Connection, before: float) -> bool:
    """Remove the oldest facts about the system, and keep the hash that the first remaining one follows."""
    rows: list[tuple[int, str | None]] = []
    head = b""
    for seq, body, hashed, blob in db.execute(_SYSTEM, (_CHUNK,)):
        if _moment(body) >= before:
            break
        rows.append((seq, blob))
        head = hashed
    if rows:
        _delete(db, rows)
        db.execute("INSERT OR REPLACE INTO chains VALUES ('', ?)", (head,))
    return len(rows) == _CHUNK


def _delete(db: sqlite3.Connection, rows: list[tuple[int, str | None]]) -> None:
    """Remove rows of the journal with what only they refer to."""
    db.executemany("DELETE FROM journal WHERE seq = ?", [(seq,) for seq, _ in rows])
    count(db, -len(rows))
    drop(db, (blob for _, blob in rows if blob is not None))
    trim(db, max(seq for seq, _ in rows))


def _shrink(db: sqlite3.Connection) -> bool:
    """Give some unused pages back when there are many; return whether there still are."""
    free, pages, mode = (
        int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("freelist_count", "page_count", "auto_vacuum")
    )
    if mode != _INCREMENTAL or free < max(_PAGES, _FREE * pages):
        return False
    for _ in range(_PAGES):  # Python ends the statement after the first page, however many it asks for
        db.execute("PRAGMA incremental_vacuum(1)")
    return True


_INCREMENTAL = 2
"""What SQLite calls a database that gives pages back when asked."""


def _moment(body: bytes) -> float:
    """Return when an event was, or never where that cannot be read: what is damaged stays."""
    try:
        return msgspec.json.decode(body, type=_Dated).ts
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return float("inf")
