"""The tables of a store and how an older one becomes the present one. Called once, when a store opens."""

import sqlite3
import uuid

from loomd.errors import Conflict, Damaged

APPLICATION_ID = 0x6C6F6F6D
"""Marks an SQLite file as ours; the letters `loom`."""

_FIRST = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE journal (
    seq INTEGER PRIMARY KEY, task TEXT NOT NULL, key TEXT NOT NULL, type TEXT NOT NULL, body BLOB NOT NULL,
    hash BLOB NOT NULL
);
CREATE INDEX journal_by_task ON journal (task, seq);
CREATE UNIQUE INDEX journal_once ON journal (task, key) WHERE key != '';
CREATE TABLE tasks (
    id TEXT PRIMARY KEY, namespace TEXT NOT NULL, cluster TEXT NOT NULL, phase TEXT NOT NULL, body BLOB NOT NULL,
    result BLOB NOT NULL, created REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX tasks_unfinished ON tasks (created) WHERE result = x'';
CREATE TABLE capabilities (
    agent TEXT NOT NULL, spec TEXT NOT NULL, domain TEXT NOT NULL, score REAL NOT NULL, variance REAL NOT NULL,
    count INTEGER NOT NULL, updated REAL NOT NULL, PRIMARY KEY (agent, spec, domain)
) WITHOUT ROWID;
CREATE TABLE learned (task TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE sources (source TEXT PRIMARY KEY, revision TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    source TEXT NOT NULL, root TEXT NOT NULL, path TEXT NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (source, root, path)
) WITHOUT ROWID;
"""

_STEPS = (_FIRST,)
"""One script per schema version; script number n leads from version n to n + 1."""


def migrate(db: sqlite3.Connection, path: str) -> None:
    """Bring a database to the present schema in one transaction; an empty one gets its identity.

    Raises:
        Conflict: it was written by a newer loomd.
        Damaged: it belongs to another program.
    """
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    owner = int(db.execute("PRAGMA application_id").fetchone()[0])
    empty = db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None
    if owner != APPLICATION_ID and not empty:
        raise Damaged(f"{path} is a database of another program: choose another state directory")
    if version > len(_STEPS):
        raise Conflict(f"{path} has schema {version}, this loomd knows {len(_STEPS)}: use the newer loomd")
    if version == len(_STEPS):
        return
    steps = "".join(_STEPS[version:])
    identity = f"INSERT INTO meta VALUES ('id', '{uuid.uuid4()}');" if empty else ""  # noqa: S608  # our own id
    pragmas = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {len(_STEPS)};"
    try:
        db.executescript(f"BEGIN IMMEDIATE; {steps} {identity} {pragmas} COMMIT;")
    except sqlite3.Error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def identity(db: sqlite3.Connection) -> str:
    """Return the id that ties a database to the marker beside it, or an empty string."""
    row = db.execute("SELECT value FROM meta WHERE key = 'id'").fetchone()
    return str(row[0]) if row else ""
