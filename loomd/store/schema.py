"""The tables of a store and how an older one becomes the present one. Called once, when a store opens."""

import hashlib
import logging
import sqlite3
import uuid
from pathlib import Path

from loomd.errors import Conflict, Damaged
from loomd.store.backup import save
from loomd.store.seal import seal_all

_log = logging.getLogger("loomd.store")

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

_HISTORY = """
CREATE TABLE blobs (digest TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE revisions (
    number INTEGER PRIMARY KEY, revision TEXT NOT NULL, at REAL NOT NULL, cause TEXT NOT NULL, source TEXT NOT NULL,
    changes BLOB NOT NULL
);
CREATE TABLE objects (
    kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL, generation INTEGER NOT NULL,
    version INTEGER NOT NULL, created REAL NOT NULL, digest TEXT NOT NULL, source TEXT NOT NULL, manager TEXT NOT NULL,
    conditions BLOB NOT NULL, PRIMARY KEY (kind, namespace, name)
) WITHOUT ROWID;
INSERT INTO revisions SELECT 1, max(revision), 0, 'migrate', '', x'5b5d' FROM sources HAVING count(*) > 0;
INSERT OR IGNORE INTO blobs SELECT sha256(data), data FROM files;
ALTER TABLE files RENAME TO files_before;
CREATE TABLE files (
    source TEXT NOT NULL, root TEXT NOT NULL, path TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL,
    base TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (source, root, path, since)
) WITHOUT ROWID;
CREATE INDEX files_by_digest ON files (digest);
CREATE INDEX files_by_end ON files (until);
INSERT INTO files SELECT source, root, path, 1, 9223372036854775807, '', sha256(data) FROM files_before;
DROP TABLE files_before;
DROP TABLE sources;
CREATE TABLE sources (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
"""

_DURABLE = """
CREATE TABLE signals (
    task TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL, at REAL NOT NULL, PRIMARY KEY (task, name)
) WITHOUT ROWID;
CREATE TABLE approvals (
    id TEXT PRIMARY KEY, task TEXT NOT NULL, namespace TEXT NOT NULL, body BLOB NOT NULL, created REAL NOT NULL,
    expires REAL NOT NULL, decision BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX approvals_pending ON approvals (created) WHERE decision = x'';
ALTER TABLE tasks ADD COLUMN reason TEXT NOT NULL DEFAULT '';
DELETE FROM blobs WHERE digest NOT IN (SELECT digest FROM files);
CREATE TABLE schedules (uid TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
ALTER TABLE journal ADD COLUMN blob TEXT;
CREATE INDEX journal_by_blob ON journal (blob) WHERE blob IS NOT NULL;
DROP INDEX journal_once;
CREATE TABLE chains (task TEXT PRIMARY KEY, hash BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE removals (task TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE INDEX tasks_by_age ON tasks (created);
CREATE INDEX tasks_by_namespace ON tasks (namespace, created);
ALTER TABLE learned ADD COLUMN at REAL NOT NULL DEFAULT 0;
CREATE TABLE ends (task TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO ends SELECT id, coalesce(max(seq), 0), coalesce(hash, x'') FROM tasks LEFT JOIN journal ON task = id
WHERE result != x'' GROUP BY id;
CREATE TABLE counts (rows INTEGER NOT NULL);
INSERT INTO counts SELECT count(*) FROM journal;
CREATE INDEX tasks_ended ON tasks (created) WHERE result != x'' AND instr(id, '.') = 0;
CREATE INDEX approvals_by_task ON approvals (task);
CREATE TABLE seals (
    name TEXT NOT NULL, key TEXT NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (name, key)
) WITHOUT ROWID;
"""

_SESSIONS = """
ALTER TABLE files ADD COLUMN target TEXT NOT NULL DEFAULT '';
CREATE TABLE turns (
    task TEXT PRIMARY KEY, namespace TEXT NOT NULL, session TEXT NOT NULL, tenant TEXT NOT NULL, user TEXT NOT NULL,
    agent TEXT NOT NULL, goal TEXT NOT NULL, answer TEXT NOT NULL, created REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX turns_by_session ON turns (namespace, session, tenant, user, created);
"""

_ACCOUNTS = """
CREATE TABLE usage (
    day TEXT NOT NULL, namespace TEXT NOT NULL, agent TEXT NOT NULL, input INTEGER NOT NULL, output INTEGER NOT NULL,
    cached INTEGER NOT NULL, cost REAL NOT NULL, calls INTEGER NOT NULL, tool_calls INTEGER NOT NULL,
    seconds REAL NOT NULL, PRIMARY KEY (day, namespace, agent)
) WITHOUT ROWID;
CREATE TABLE averages (
    subject TEXT NOT NULL, name TEXT NOT NULL, value REAL NOT NULL, count INTEGER NOT NULL, updated REAL NOT NULL,
    PRIMARY KEY (subject, name)
) WITHOUT ROWID;
"""

_LEARNING = """
CREATE TABLE movements (
    seq INTEGER PRIMARY KEY, agent TEXT NOT NULL, spec TEXT NOT NULL, domain TEXT NOT NULL, before REAL NOT NULL,
    after REAL NOT NULL, variance REAL NOT NULL, count INTEGER NOT NULL, reward REAL NOT NULL, task TEXT NOT NULL,
    at REAL NOT NULL
);
CREATE INDEX movements_by_score ON movements (agent, spec, domain, seq);
CREATE INDEX movements_by_age ON movements (at);
CREATE TABLE experience (
    task TEXT PRIMARY KEY, namespace TEXT NOT NULL, cluster TEXT NOT NULL, tenant TEXT NOT NULL, user TEXT NOT NULL,
    goal TEXT NOT NULL, embedder TEXT NOT NULL, vector BLOB NOT NULL, domains BLOB NOT NULL, complexity REAL NOT NULL,
    tokens INTEGER NOT NULL, seconds REAL NOT NULL, steps INTEGER NOT NULL, children INTEGER NOT NULL,
    reward REAL NOT NULL, created REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX experience_by_cluster ON experience (namespace, cluster, created);
CREATE TABLE lessons (
    namespace TEXT NOT NULL, agent TEXT NOT NULL, spec TEXT NOT NULL, task TEXT NOT NULL, reward REAL NOT NULL,
    at REAL NOT NULL, PRIMARY KEY (namespace, agent, spec, task)
) WITHOUT ROWID;
CREATE INDEX lessons_by_age ON lessons (at);
CREATE TABLE blueprints (
    namespace TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, body BLOB NOT NULL, parent INTEGER NOT NULL,
    created REAL NOT NULL, state TEXT NOT NULL, PRIMARY KEY (namespace, name, version)
) WITHOUT ROWID;
CREATE TABLE proposals (
    id TEXT PRIMARY KEY, namespace TEXT NOT NULL, cluster TEXT NOT NULL, mechanism TEXT NOT NULL, body BLOB NOT NULL,
    created REAL NOT NULL, expires REAL NOT NULL, decision BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE lineage (
    namespace TEXT NOT NULL, child TEXT NOT NULL, parent TEXT NOT NULL, how TEXT NOT NULL, task TEXT NOT NULL,
    at REAL NOT NULL, PRIMARY KEY (namespace, child, parent, how, task)
) WITHOUT ROWID;
"""

_INDEXES = """
DROP INDEX movements_by_score;
DROP INDEX movements_by_age;
DROP INDEX lessons_by_age;
CREATE INDEX movements_by_agent ON movements (agent);
"""
"""Of what is written with every task, an index is kept only of what is asked for while somebody waits."""

_STEPS = (_FIRST, _HISTORY, _DURABLE, _SESSIONS + _ACCOUNTS, _LEARNING, _INDEXES)
"""One script per schema version; script number n leads from version n to n + 1."""

VERSION = len(_STEPS)
"""The present schema."""


def version_of(db: sqlite3.Connection, path: Path) -> int:
    """Return the schema of a database, 0 when it is empty.

    Raises:
        Conflict: it was written by a newer loomd.
        Damaged: it belongs to another program.
    """
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    owner = int(db.execute("PRAGMA application_id").fetchone()[0])
    empty = db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None
    if owner != APPLICATION_ID and not empty:
        raise Damaged(f"{path} is a database of another program: choose another state directory")
    if version > VERSION:
        raise Conflict(f"{path} has schema {version}, this loomd knows {VERSION}: use the newer loomd")
    if not empty and version == 0:
        raise Damaged(f"{path} does not say which schema it has: restore a backup")
    return version


def migrate(db: sqlite3.Connection, path: Path, version: int) -> None:
    """Bring a database to the present schema in one transaction; an empty one gets its identity.

    Of one that is older a copy is kept beside it first.

    Args:
        db: the database.
        path: where it is.
        version: what `version_of` said.

    Raises:
        sqlite3.Error: nothing was changed; the copy or the new tables cannot be written, or something is damaged.
    """
    if version:
        _log.info("schema %d becomes %d; what was before is kept in %s", version, VERSION, save(db, path, version))
    steps = "".join(_STEPS[version:])
    identity = f"INSERT INTO meta VALUES ('id', '{uuid.uuid4()}');" if not version else ""  # noqa: S608  # our own id
    db.create_function("sha256", 1, _sha256, deterministic=True)
    pragmas = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
    try:
        db.executescript(f"BEGIN IMMEDIATE; {steps} {identity} {pragmas}")
        seal_all(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def identity(db: sqlite3.Connection) -> str:
    """Return the id that ties a database to the marker beside it, or an empty string."""
    row = db.execute("SELECT value FROM meta WHERE key = 'id'").fetchone()
    return str(row[0]) if row else ""


def is_fresh(db: sqlite3.Connection) -> bool:
    """Return whether nothing was ever kept: the first start was not finished."""
    return db.execute("SELECT 1 FROM journal UNION ALL SELECT 1 FROM tasks LIMIT 1").fetchone() is None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
