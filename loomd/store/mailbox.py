"""What reaches a task from outside: signals, and people's decisions. SQL only.

The first signal of a name and the first decision of a question count; whatever comes later changes nothing. A question
that nobody answered is closed with its task. Called by `sqlite`, writes on the writer's thread inside its transaction.
"""

import sqlite3
from collections.abc import Callable, Sequence

from loomd.store.records import ApprovalRecord

_COLUMNS = "id, task, namespace, body, created, expires, decision"
_PUT = f"INSERT OR IGNORE INTO approvals ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608  # constant text
_GET = f"SELECT {_COLUMNS} FROM approvals WHERE id = ?"  # noqa: S608  # constant text
_ALL = f"SELECT {_COLUMNS} FROM approvals ORDER BY created DESC, id"  # noqa: S608  # constant text
_PENDING = f"SELECT {_COLUMNS} FROM approvals WHERE decision = x'' ORDER BY created, id"  # noqa: S608  # constant text

_CLOSED = b'{"verdict":"expired","reason":"its task has ended"}'
"""What is decided of a question whose task has ended."""


def send(db: sqlite3.Connection, task: str, name: str, body: bytes, at: float) -> bool:
    """Store a signal; return False when one of that name is there already."""
    return bool(db.execute("INSERT OR IGNORE INTO signals VALUES (?, ?, ?, ?)", (task, name, body, at)).rowcount)


def signal(db: sqlite3.Connection, task: str, name: str) -> bytes | None:
    """Return what was sent to a task under a name."""
    row = db.execute("SELECT body FROM signals WHERE task = ? AND name = ?", (task, name)).fetchone()
    return bytes(row[0]) if row else None


def ask(db: sqlite3.Connection, record: ApprovalRecord) -> ApprovalRecord:
    """Store a question unless it is stored already, and return it as it is stored."""
    db.execute(
        _PUT,
        (record.id, record.task, record.namespace, record.body, record.created, record.expires, record.decision),
    )
    stored = approval(db, record.id)
    return record if stored is None else stored


def decide(
    db: sqlite3.Connection, name: str, decision: bytes, now: Callable[[], float] | None
) -> ApprovalRecord | None:
    """Store a decision unless there is one, and return the question as it is stored; None when there is none.

    By a clock `now` one that has expired is left as it is.
    """
    after = float("-inf") if now is None else now()
    decided = "UPDATE approvals SET decision = ? WHERE id = ? AND decision = x'' AND expires > ?"
    db.execute(decided, (decision, name, after))
    return approval(db, name)


def close(db: sqlite3.Connection, tasks: Sequence[str]) -> None:
    """Close the questions of tasks that have ended: nobody waits for an answer any more."""
    if db.execute("SELECT 1 FROM approvals WHERE decision = x'' LIMIT 1").fetchone():
        closed = "UPDATE approvals SET decision = ? WHERE task = ? AND decision = x''"
        db.executemany(closed, [(_CLOSED, task) for task in tasks])


def approval(db: sqlite3.Connection, name: str) -> ApprovalRecord | None:
    """Return a question."""
    row = db.execute(_GET, (name,)).fetchone()
    return ApprovalRecord(*row) if row else None


def approvals(db: sqlite3.Connection, pending: bool) -> list[ApprovalRecord]:
    """Return all questions, newest first; or those that nobody decided, oldest first."""
    return [ApprovalRecord(*row) for row in db.execute(_PENDING if pending else _ALL)]
