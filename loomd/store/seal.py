"""Seals: a digest of every row that is in no hash chain, so that a changed, missing or forged row is found.

Triggers of the writer's own connection keep them, whoever adds a table; what another program writes stays unsealed.
Rows of some tables come by the hundred in one transaction: these are sealed with `put`, which takes half as long.
Called when a store opens, by what writes those tables, and by `check`.
"""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from loomd.store.insert import Insert

_pack = msgspec.msgpack.Encoder().encode
_OWN = {"journal", "blobs", "seals", "counts"}
"""Tables that need no seal: rows of the journal are chained and counted, contents are named by their digest."""
_SEALS = Insert("INSERT OR REPLACE INTO seals", 3)


class _Whole(NamedTuple):
    """A table of which rows are written whole, and sealed by `put` or `note`.

    Attributes:
        keys: how many of its columns, from the first one on, are its key.
        reals: where the columns with real numbers are.
        insert: inserts rows, or replaces them.
    """

    keys: int
    reals: tuple[int, ...]
    insert: Insert


def _whole(name: str, columns: int, keys: int, *reals: int) -> _Whole:
    return _Whole(keys, reals, Insert(f"INSERT OR REPLACE INTO {name}", columns))


_WHOLE = {
    "tasks": _whole("tasks", 8, 1, 6),
    "ends": _whole("ends", 3, 1),
    "learned": _whole("learned", 2, 1, 1),
    "capabilities": _whole("capabilities", 7, 3, 3, 4, 6),
    "movements": _whole("movements", 11, 1, 4, 5, 6, 8, 10),
    "lessons": _whole("lessons", 6, 4, 4, 5),
    "averages": _whole("averages", 5, 2, 2, 4),
}


class _Table(NamedTuple):
    """A table as it is sealed: its name, and its key and all its columns, with a row's name before each."""

    name: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]

    def key(self, row: str) -> str:
        """Return the expression for what a row is called."""
        return " || ' ' || ".join(f"quote({row}{column})" for column in self.keys)

    def seal(self, row: str) -> str:
        """Return the expression for a row's digest."""
        return f"loomd_seal({', '.join(row + column for column in self.columns)})"


def install(db: sqlite3.Connection) -> None:
    """Keep the seals of all rows that this connection writes from now on, but of those that are written whole."""
    db.create_function("loomd_seal", -1, _seal, deterministic=True)
    for table in _tables(db):
        name = table.name
        put = f"INSERT OR REPLACE INTO seals VALUES ('{name}', {table.key('new.')}, {table.seal('new.')});"  # noqa: S608  # names of ours
        drop = f"DELETE FROM seals WHERE name = '{name}' AND key = {table.key('old.')};"  # noqa: S608  # names of ours
        acts = [("INSERT", put), ("UPDATE", drop + put), ("DELETE", drop)]
        for event, act in acts[-1:] if name in _WHOLE else acts:
            trigger = f"{name}_{event.lower()}_sealed"
            db.execute(f"CREATE TEMP TRIGGER {trigger} AFTER {event} ON main.{name} BEGIN {act} END")


def put(db: sqlite3.Connection, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert or replace whole rows of a table, with their seals, inside the caller's transaction."""
    if rows:
        _WHOLE[name].insert.rows(db, rows)
        note(db, name, rows)


def note(db: sqlite3.Connection, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Seal rows that the caller has inserted into a table whose rows are written whole, or has changed there."""
    keys, reals, _ = _WHOLE[name]
    sealed: list[object] = []
    for row in rows:
        values = list(row)
        for at in reals:
            values[at] = float(values[at]) + 0.0  # as SQLite keeps it, which knows no negative zero
        key = _quoted(values[0]) if keys == 1 else " ".join([_quoted(one) for one in values[:keys]])
        sealed += (name, key, bytearray(_digest(values)))
    _SEALS.values(db, sealed)


def seal_all(db: sqlite3.Connection) -> None:
    """Seal every row as it is, inside the caller's transaction; called when the schema has changed."""
    db.create_function("loomd_seal", -1, _seal, deterministic=True)
    db.execute("DELETE FROM seals")
    for table in _tables(db):
        db.execute(f"INSERT INTO seals SELECT '{table.name}', {table.key('')}, {table.seal('')} FROM {table.name}")  # noqa: S608  # names of ours


def fits(digest: object, values: tuple[object, ...]) -> bool:
    """Return whether a row is what was stored.

    Args:
        digest: its seal, as it was read.
        values: all its columns, in the order of the table.
    """
    return digest == _digest(values)


def broken(db: sqlite3.Connection) -> Iterator[tuple[str, str, str]]:
    """Yield table, key and what is wrong of every row that is not what was stored."""
    db.create_function("loomd_seal", -1, _seal, deterministic=True)
    for table in _tables(db):
        name = table.name
        key, seal = table.key(f"{name}."), table.seal(f"{name}.")
        known = f"LEFT JOIN seals ON seals.name = '{name}' AND seals.key = {key}"
        query = f"SELECT {key}, seals.digest IS NULL FROM {name} {known} WHERE seals.digest IS NOT {seal}"  # noqa: S608  # names of ours
        for which, unsealed in db.execute(query):
            yield name, which, "was not written by loomd" if unsealed else "was changed"
        gone = f"SELECT key FROM seals WHERE name = '{name}' AND key NOT IN (SELECT {key} FROM {name})"  # noqa: S608  # names of ours
        for (which,) in db.execute(gone):
            yield name, which, "is missing"


def _tables(db: sqlite3.Connection) -> list[_Table]:
    found: list[_Table] = []
    names = "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    for (name,) in db.execute(names).fetchall():
        if name not in _OWN:
            columns = db.execute(f"PRAGMA main.table_info({name})").fetchall()
            keys = sorted((column[5], column[1]) for column in columns if column[5])
            found.append(_Table(name, tuple(key for _, key in keys), tuple(column[1] for column in columns)))
    return found


def _quoted(value: str | int) -> str:
    """Return a value of a key as `quote` of SQLite does."""
    if type(value) is int:
        return str(value)
    text = str(value)
    if "'" in text or "\0" in text:
        text = text.replace("'", "''").partition("\0")[0]
    return f"'{text}'"


def _seal(*values: object) -> bytes:
    """Return the digest of a row's values, 16 bytes."""
    return _digest(values)


def _digest(values: Sequence[object]) -> bytes:
    return hashlib.blake2b(_pack(values), digest_size=16).digest()
