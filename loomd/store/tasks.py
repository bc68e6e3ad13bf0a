"""Records of tasks: created once, replaced until they have a result, listed in parts. SQL only.

Called by `sqlite`, writes on the writer's thread inside its transaction.
"""

import sqlite3

import msgspec

from loomd.store.base import TaskRecord

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
_GET = f"SELECT {_COLUMNS} FROM tasks WHERE id = ?"  # noqa: S608  # constant text


def create(db: sqlite3.Connection, record: TaskRecord) -> bool:
    """Store a record and return True; return False when its id is taken, or is still being removed."""
    return bool(db.execute(_CREATE, msgspec.structs.astuple(record)).rowcount)


def put(db: sqlite3.Connection, record: TaskRecord) -> bool:
    """Create or replace a record; return False, and change nothing, when the one there has a result."""
    return bool(db.execute(_PUT, msgspec.structs.astuple(record)).rowcount)


def get(db: sqlite3.Connection, task: str) -> TaskRecord | None:
    """Return a record."""
    row = db.execute(_GET, (task,)).fetchone()
    return TaskRecord(*row) if row else None


def listed(
    db: sqlite3.Connection, unfinished: bool, namespace: str, tree: str, limit: int, before: tuple[float, str] | None
) -> list[TaskRecord]:
    """Return records, newest first; what is asked for as in `Store.list_tasks`."""
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
    query = f"SELECT {_COLUMNS} FROM tasks {only} ORDER BY {order} LIMIT :limit"  # noqa: S608  # constant text
    created, name = before or (0.0, "")
    values = {
        "namespace": namespace,
        "first": f"{tree}.",
        "end": f"{tree}/",
        "created": created,
        "id": name,
        "limit": limit or -1,
    }
    return [TaskRecord(*row) for row in db.execute(query, values)]
