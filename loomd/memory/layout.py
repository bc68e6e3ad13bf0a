"""The tables of a memory's file, and how files of earlier versions become such ones. Called by `shelf`."""

import json
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from loomd.memory.facts import key_of
from loomd.memory.item import Whose, id_of

VERSION = 4
"""Of the layout; 1 had texts by scope and key, and said nothing of where they came from; 2 did not number vectors; 3
kept what two tasks said in the same words twice."""
CHARACTERS_PER_TOKEN = 4
"""How text is measured without a tokenizer."""

_TABLES = (
    """CREATE TABLE item (
        row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, home TEXT NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL,
        what TEXT NOT NULL, level TEXT NOT NULL, scope TEXT NOT NULL, importance REAL NOT NULL, tokens INTEGER NOT NULL,
        created REAL NOT NULL, told REAL NOT NULL, agent TEXT NOT NULL, tenant TEXT NOT NULL, user TEXT NOT NULL,
        session TEXT NOT NULL, task TEXT NOT NULL, step TEXT NOT NULL, absorbed INTEGER NOT NULL DEFAULT 0,
        replaces TEXT NOT NULL DEFAULT '[]', next_home TEXT NOT NULL DEFAULT '', said TEXT NOT NULL DEFAULT '',
        also TEXT NOT NULL DEFAULT '[]', count INTEGER NOT NULL DEFAULT 1, UNIQUE (home, key))""",
    "CREATE INDEX item_level ON item (level, home, told)",
    "CREATE INDEX item_told ON item (told)",
    """CREATE VIRTUAL TABLE item_word USING fts5 (
        text, content='item', content_rowid='row', tokenize='porter unicode61')""",
    """CREATE TRIGGER item_word_add AFTER INSERT ON item BEGIN
        INSERT INTO item_word (rowid, text) VALUES (new.row, new.text); END""",
    """CREATE TRIGGER item_word_drop AFTER DELETE ON item BEGIN
        INSERT INTO item_word (item_word, rowid, text) VALUES ('delete', old.row, old.text); END""",
    "CREATE TABLE gone (id TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID",
)
_VECTORS = (
    """CREATE TABLE vector (
        id INTEGER PRIMARY KEY AUTOINCREMENT, item INTEGER NOT NULL, made_by TEXT NOT NULL, vector BLOB NOT NULL)""",
    "CREATE UNIQUE INDEX vector_item ON vector (item, made_by)",
    "CREATE INDEX vector_made_by ON vector (made_by)",
    "CREATE TABLE left_vector (change INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER NOT NULL)",
    """CREATE TRIGGER vector_left AFTER DELETE ON vector BEGIN
        INSERT INTO left_vector (id) VALUES (old.id);
        DELETE FROM left_vector WHERE change <= last_insert_rowid() - 10000; END""",
    "CREATE TRIGGER vector_drop AFTER DELETE ON item BEGIN DELETE FROM vector WHERE item = old.row; END",
    """CREATE TRIGGER vector_move AFTER UPDATE OF home ON item WHEN new.home != old.home BEGIN
        INSERT INTO vector (item, made_by, vector)
            SELECT -new.row, made_by, vector FROM vector WHERE item = new.row;
        DELETE FROM vector WHERE item = new.row;
        UPDATE vector SET item = new.row WHERE item = -new.row; END""",
)
"""Vectors by numbers that are never given again: a text that moves to another home leaves one and gets another.

The numbers of the last 10,000 that left are kept, for whoever holds some in memory: see `near`.
"""
_SAID = (
    "CREATE INDEX item_said ON item (home, said)",
    """CREATE TABLE replaced (
        name TEXT NOT NULL, summary TEXT NOT NULL, told REAL NOT NULL, PRIMARY KEY (name, summary)) WITHOUT ROWID""",
    "CREATE INDEX replaced_summary ON replaced (summary)",
    "CREATE TRIGGER replaced_drop AFTER DELETE ON item BEGIN DELETE FROM replaced WHERE summary = old.id; END",
)
"""What says the same, and the ids of facts for which a summary stands, with when they were told last."""
_UNSAID = (
    "ALTER TABLE item ADD COLUMN said TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE item ADD COLUMN also TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE item ADD COLUMN count INTEGER NOT NULL DEFAULT 1",
    *_SAID,
    "UPDATE item SET said = key_of(text)",
)
_UNNUMBERED = (
    "DROP TRIGGER vector_drop",
    "DROP INDEX vector_item",
    "ALTER TABLE vector RENAME TO old_vector",
    *_VECTORS,
    "INSERT INTO vector (item, made_by, vector) SELECT item, made_by, vector FROM old_vector ORDER BY item",
    "DROP TABLE old_vector",
)
_STEPS = {2: (*_UNNUMBERED, *_UNSAID), 3: _UNSAID}
"""What makes this layout of an earlier one."""
_REFILL = "CREATE TABLE refill (items INTEGER, lacking INTEGER NOT NULL)"
"""How many items a new file has from the journal, nothing as long as that was not looked through; and how many the
journal only names. Files of this layout that were made before there was such a table have none, and need nothing."""
_OLD = (
    "TRIGGER word_add",
    "TRIGGER word_drop",
    "TRIGGER embedding_drop",
    "TABLE word",
    "TABLE embedding",
    "TABLE memory",
)


@contextmanager
def writing(db: sqlite3.Connection) -> Generator[sqlite3.Connection]:
    """Do all that is done within in one transaction, or nothing of it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def prepare(db: sqlite3.Connection, owner: str, now: float) -> None:
    """Make the tables, or bring those of an earlier version into this form.

    Raises:
        DatabaseError: it is no database, or one of a later version.
    """
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA secure_delete = ON")
    with writing(db):
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise sqlite3.DatabaseError(f"a later loomd made it: layout {version}, known is {VERSION}")
        if version == VERSION:
            return
        db.create_function("key_of", 1, key_of, deterministic=True)
        for statement in _STEPS.get(version, (*_TABLES, *_VECTORS, *_SAID)):
            db.execute(statement)
        old = version > 0 or has(db, "memory")
        if not has(db, "refill"):
            db.execute(_REFILL)
            db.execute("INSERT INTO refill VALUES (?, 0)", (0 if old else None,))
        if has(db, "memory"):
            _bring_over(db, owner, now)
        db.execute(f"PRAGMA user_version = {VERSION}")


def tokens_of(text: str) -> int:
    """Return the size of a text in tokens, estimated."""
    return max(1, len(text) // CHARACTERS_PER_TOKEN)


def has(db: sqlite3.Connection, table: str) -> bool:
    """Return whether there is such a table."""
    found = db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone()
    return found is not None


def _bring_over(db: sqlite3.Connection, owner: str, now: float) -> None:
    """Take over all texts of layout 1, with their vectors; they count as told now."""
    made_by = "made_by, vector" if "vector" in _columns(db, "memory") else "'', NULL"
    for row, scope, key, text, mark, vector in db.execute(
        f"SELECT id, scope, key, text, {made_by} FROM memory ORDER BY id"  # noqa: S608  # one of two constants
    ).fetchall():
        agent, tenant, user = (*scope.split("/", 2), "", "")[:3]
        whose = Whose(agent, tenant, user)
        home = whose.home("agent")
        told = (now, now, agent, tenant, user, key, key_of(text))
        db.execute(
            "INSERT INTO item VALUES (?, ?, ?, ?, ?, 'answer', 'long', 'agent', 0.5, ?, ?, ?, ?, ?, ?, '', ?, '', 0,"
            " '[]', '', ?, '[]', 1)",
            (row, id_of(owner, home, key), home, key, text, tokens_of(text), *told),
        )
        if vector is not None:
            db.execute("INSERT INTO vector (item, made_by, vector) VALUES (?, ?, ?)", (row, mark, vector))
    if has(db, "embedding"):
        db.execute(
            "INSERT OR IGNORE INTO vector (item, made_by, vector) SELECT memory, made_by, vector FROM embedding"
            " WHERE memory IN (SELECT row FROM item)"
        )
    for old in _OLD:
        kind, name = old.split()
        db.execute(f"DROP {kind} IF EXISTS {name}")


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {str(column[1]) for column in db.execute(f"PRAGMA table_info({json.dumps(table)})")}
