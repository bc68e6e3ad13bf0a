"""Conversations: their turns, each the task that it was. SQL only.

A conversation has no row of its own: it is there as long as one of its turns is. Called by `sqlite`, writes on the
writer's thread inside its transaction.
"""

import json
import sqlite3

from loomd.store.records import SessionKey, SessionRecord, Turn

_KEY = "namespace = ? AND session = ? AND tenant = ? AND user = ?"
_PUT = "INSERT OR REPLACE INTO turns VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_TURNS = f"""
SELECT agent, task, goal, answer, created FROM turns WHERE {_KEY} AND (? = '' OR agent = ?)
ORDER BY created DESC, task DESC LIMIT ?
"""  # noqa: S608  # constant text
_SESSIONS = """
SELECT namespace, session, tenant, user, json_group_array(DISTINCT agent), count(*), min(created), max(created)
FROM turns WHERE (?1 = '' OR namespace = ?1) AND (?2 = '' OR session = ?2)
GROUP BY namespace, session, tenant, user ORDER BY max(created) DESC, namespace, session, tenant, user
"""


def put(db: sqlite3.Connection, turn: Turn) -> None:
    """Store a turn; one of the same task is replaced."""
    key = turn.key
    values = (turn.agent, turn.goal, turn.answer, turn.created)
    db.execute(_PUT, (turn.task, key.namespace, key.session, key.tenant, key.user, *values))


def turns(db: sqlite3.Connection, key: SessionKey, agent: str, limit: int) -> list[Turn]:
    """Return the turns of a conversation, oldest first; what is asked for as in `Store.turns`."""
    place = (key.namespace, key.session, key.tenant, key.user)
    rows = db.execute(_TURNS, (*place, agent, agent, limit or -1)).fetchall()
    return [Turn(key, *row) for row in reversed(rows)]


def listed(db: sqlite3.Connection, namespace: str, session: str) -> list[SessionRecord]:
    """Return conversations, the one with the newest turn first."""
    return [
        SessionRecord(SessionKey(*row[:4]), tuple(sorted(json.loads(row[4]))), *row[5:])
        for row in db.execute(_SESSIONS, (namespace, session))
    ]


def forget(db: sqlite3.Connection, key: SessionKey) -> bool:
    """Remove the turns of a conversation; return whether there were any."""
    place = (key.namespace, key.session, key.tenant, key.user)
    return bool(db.execute(f"DELETE FROM turns WHERE {_KEY}", place).rowcount)  # noqa: S608  # constant text
