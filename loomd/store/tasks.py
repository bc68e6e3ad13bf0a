"""Records of tasks: created once, replaced until they have a result, listed in parts. SQL only.

Called by `sqlite`, writes on the writer's thread inside its transaction.
"""

import logging
import sqlite3

import msgspec

from loomd.errors import Damaged
from loomd.store import seal
from loomd.store.records import TaskRecord

_log = logging.getLogger("loomd.store")

_CHANGED = "the record of Task/{} is not what was stored: it does not go on; `loomd check`, and restore a backup"
_COLUMNS = "id, namespace, cluster, phase, body, result, created, reason"
_CREATE = f"""
INSERT INTO tasks ({_COLUMNS}) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
WHERE NOT EXISTS (SELECT 1 FROM tasks WHERE id = ?1) AND NOT EXISTS (SELECT 1 FROM removals WHERE task = ?1)
"""  # noqa: S608  # constant text
_PUT = f"""
INSERT INTO tasks ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET (namespace, cluster, phase, body, result, created, reason)
= (excluded.namespace, excluded.cluster, excluded.phase, excluded.body, excluded.result, excluded.created,
   excluded.reason)
WHERE tasks.result = x''
"""  # noqa: S608  # constant text
_SEALED = f"{_COLUMNS}, (SELECT digest FROM seals WHERE name = 'tasks' AND key = quote(id))"  # noqa: S608  # constant text
_GET = f"SELECT {_SEALED} FROM tasks WHERE id = ?"  # noqa: S608  # constant text


def create(db: sqlite3.Connection, record: TaskRecord) -> bool:
    """Store a record and return True; return False when its id is taken, or is still being removed."""
    return bool(db.execute(_CREATE, msgspec.structs.astuple(record)).rowcount)


def put(db: sqlite3.Connection, record: TaskRecord) -> bool:
    """Create or replace a record; return False, and change nothing, when the one there has a result.

    Raises:
        Damaged: the one there is not what was stored; it is left as it is.
    """
    get(db, record.id)
    return bool(db.execute(_PUT, msgspec.structs.astuple(record)).rowcount)


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
