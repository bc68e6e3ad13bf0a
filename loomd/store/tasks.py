"""Records of tasks: created once, replaced until they have a result, listed in parts. SQL only.

Called by `sqlite`, writes on the writer's thread inside its transaction.
"""

import logging
import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from loomd.errors import Damaged
from loomd.store import seal
from loomd.store.records import TaskRecord

_log = logging.getLogger("loomd.store")

_CHANGED = "the record of Task/{} is not what was stored: it does not go on; `loomd check`, and restore a backup"
_COLUMNS = "id, namespace, cluster, phase, body, result, created, reason"
_CREATE = f"""
INSERT INTO tasks ({_COLUMNS}) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
WHERE NOT EXISTS (SELECT 1 FROM removals WHERE task = ?1) ON CONFLICT (id) DO NOTHING
"""  # noqa: S608  # constant text
_PUT = f"""
INSERT INTO tasks ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET (namespace, cluster, phase, body, result, created, reason)
= (excluded.namespace, excluded.cluster, excluded.phase, excluded.body, excluded.result, excluded.created,
   excluded.reason)
WHERE tasks.result = x''
"""  # noqa: S608  # constant text
_CHANGE = """
UPDATE tasks SET phase = ?, body = ?, result = ?, reason = ?
WHERE id = ? AND namespace = ? AND cluster = ? AND created = ? AND phase = ? AND body = ? AND reason = ?
AND result = x''
"""
"""Changes a record that is still the one that was written last; what names and orders it stays, with its indexes."""
_KNOWN = 10_000
"""Records of tasks that have not ended which are kept in memory."""
_LARGE = 4000
"""Bytes of a body from which on it is not."""
_SEALED = f"{_COLUMNS}, (SELECT digest FROM seals WHERE name = 'tasks' AND key = quote(id))"  # noqa: S608  # constant text
_GET = f"SELECT {_SEALED} FROM tasks WHERE id = ?"  # noqa: S608  # constant text


class Kept(NamedTuple):
    """A record to be stored: of a task that is new, or in the place of the one that is there."""

    record: TaskRecord
    new: bool = False


class Tasks:
    """Writes records. What it wrote last of a task is in memory, so that nothing is read before it is replaced."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._known: dict[str, TaskRecord] = {}
        self._unsealed: list[tuple[Any, ...]] = []

    def keep(self, records: Sequence[Kept]) -> list[bool]:
        """Store records, one after the other, and return which were stored.

        One that is new is not where its id is taken, or is still being removed. One that takes the place of another is
        not where that has a result.

        Raises:
            Damaged: one that is to be replaced is not what was stored; it is left as it is.
        """
        self._unsealed = []
        stored = [self._create(record) if new else self._change(record) or self._put(record) for record, new in records]
        self._seal()
        return stored

    def _create(self, record: TaskRecord) -> bool:
        return self._wrote(record, self._db.execute(_CREATE, msgspec.structs.astuple(record)))

    def _change(self, new: TaskRecord) -> bool:
        """Replace the record that was written last, and return whether it was there, as it was written."""
        old = self._known.get(new.id)
        if old is None or (old.namespace, old.cluster, old.created) != (new.namespace, new.cluster, new.created):
            return False
        wanted = (new.phase, bytearray(new.body), bytearray(new.result), new.reason, new.id)
        there = (old.namespace, old.cluster, old.created, old.phase, bytearray(old.body), old.reason)
        return self._wrote(new, self._db.execute(_CHANGE, wanted + there))

    def _put(self, record: TaskRecord) -> bool:
        self._seal()
        get(self._db, record.id)
        return self._wrote(record, self._db.execute(_PUT, msgspec.structs.astuple(record)))

    def _wrote(self, record: TaskRecord, done: sqlite3.Cursor) -> bool:
        """Remember a record if it was written, and return whether it was."""
        if not done.rowcount:
            return False
        self._unsealed.append(msgspec.structs.astuple(record))
        self._known.pop(record.id, None)
        if not record.result and len(record.body) < _LARGE:
            self._known[record.id] = record
            if len(self._known) > _KNOWN:
                del self._known[next(iter(self._known))]
        return True

    def _seal(self) -> None:
        """Seal what was written."""
        seal.note(self._db, "tasks", self._unsealed)
        self._unsealed = []


def get(db: sqlite3.Connection, task: str) -> TaskRecord | None:
    """Return a record.

    Raises:
        Damaged: it is not what was stored.
    """
    row = db.execute(_GET, (task,)).fetchone()
    if row and not seal.fits(row[-1], row[:-1]):
        raise Damaged(_CHANGED.format(task))
    return TaskRecord(*row[:-1]) if row else None


def listed(
    db: sqlite3.Connection, unfinished: bool, namespace: str, tree: str, limit: int, before: tuple[float, str] | None
) -> list[TaskRecord]:
    """Return records, newest first; what is asked for as in `Store.list_tasks`.

    Those that have not ended may go on: one of them that is not what was stored is left out, and told.
    """
    conditions: list[str] = []
    order = "created DESC, id DESC"
    if unfinished:
        conditions.append("result = x''")
    if namespace:
        conditions.append("namespace = :namespace")
    if tree:
        conditions.append("id > :first AND id < :end")
        order = "+created DESC, id DESC"  # few have one tree, and the key finds them
    if before is not None:
        conditions.append("(created, id) < (:created, :id)")
    only = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    query = f"SELECT {_SEALED if unfinished else _COLUMNS} FROM tasks {only} ORDER BY {order} LIMIT :limit"  # noqa: S608  # constant text
    created, name = before or (0.0, "")
    values = {
        "namespace": namespace,
        "first": f"{tree}.",
        "end": f"{tree}/",
        "created": created,
        "id": name,
        "limit": limit or -1,
    }
    if not unfinished:
        return [TaskRecord(*row) for row in db.execute(query, values)]
    found: list[TaskRecord] = []
    for *row, digest in db.execute(query, values):
        if not seal.fits(digest, tuple(row)):
            _log.error("%s", _CHANGED.format(row[0]))
        else:
            found.append(TaskRecord(*row))
    return found
