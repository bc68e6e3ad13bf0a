"""The history of what served: revisions, the files of each, what is known of objects and sources. SQL only.

A row of `files` says from which revision on a source has a file with these contents, and from which on no longer. So a
revision costs what changed in it, and contents are stored once, by digest, however many revisions share them. Called
by `sqlite`, writes on the writer's thread inside its transaction.
"""

import sqlite3
from typing import Any

import msgspec

from loomd.errors import Damaged
from loomd.store.blob import digest_of, drop, keep
from loomd.store.records import Commit, ObjectRecord, RevisionRecord, SourceRecord, StoredFile

OPEN = 2**63 - 1
"""Stands in `files.until` for a file that the newest revision has."""

_OBJECT = "kind, namespace, name, uid, generation, version, created, digest, source, manager, conditions"
_PUT_OBJECT = f"INSERT OR REPLACE INTO objects ({_OBJECT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608  # constant text
_DROP_OBJECT = "DELETE FROM objects WHERE kind = ? AND namespace = ? AND name = ?"
_END_FILE = "UPDATE files SET until = ? WHERE source = ? AND root = ? AND path = ? AND until = ?"
_END_ALL = "UPDATE files SET until = ? WHERE source = ? AND until = ?"
_NEEDED = """
SELECT min(number) FROM revisions WHERE revision IN (SELECT body ->> '$.revision' FROM tasks WHERE result = x'')
"""
_PUT_FILE = "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_FILES = """
SELECT source, root, path, data, base, digest FROM files LEFT JOIN blobs USING (digest)
WHERE since <= ?1 AND until > ?1 AND source = coalesce(?2, source) AND target = '' ORDER BY source, root, path
"""
_COPIES = """
SELECT source, root, path, data, base, target, digest FROM files JOIN blobs USING (digest)
WHERE since <= ?1 AND until > ?1 AND target != '' ORDER BY source, root, path
"""


def commit(db: sqlite3.Connection, change: Commit) -> None:
    """Carry out a change; see `Store.commit`."""
    record = change.record
    if record is not None:
        row = (record.number, record.revision, record.at, record.cause, record.source)
        db.execute("INSERT INTO revisions VALUES (?, ?, ?, ?, ?, ?)", (*row, msgspec.json.encode(record.changes)))
    _change_files(db, last(db) if record is None else record.number, change)
    db.executemany(_PUT_OBJECT, [msgspec.structs.astuple(one) for one in change.objects])
    db.executemany(_DROP_OBJECT, change.gone)
    db.executemany("INSERT OR REPLACE INTO sources VALUES (?, ?)", [(one.name, one.body) for one in change.sources])
    db.executemany("DELETE FROM sources WHERE name = ?", [(name,) for name in change.forgotten])
    if record is not None:
        _forget(db, record.number - change.keep)


def last(db: sqlite3.Connection) -> int:
    """Return the number of the newest revision, 0 when there is none."""
    return int(db.execute("SELECT coalesce(max(number), 0) FROM revisions").fetchone()[0])


def revisions(db: sqlite3.Connection) -> list[RevisionRecord]:
    """Return all revisions, newest first; one whose list of changes is damaged says so in it."""
    rows = db.execute("SELECT number, revision, at, cause, source, changes FROM revisions ORDER BY number DESC")
    return [
        RevisionRecord(number, revision, at, cause, source, _changes(changes))
        for number, revision, at, cause, source, changes in rows
    ]


def holders(db: sqlite3.Connection, number: int) -> list[str]:
    """Return the names of the sources that have files in a revision."""
    query = "SELECT DISTINCT source FROM files WHERE since <= ?1 AND until > ?1 AND target = '' ORDER BY source"
    return [source for (source,) in db.execute(query, (number,))]


def files(db: sqlite3.Connection, number: int, only: str | None) -> list[StoredFile]:
    """Return the manifest files of a revision, or those of one source in it, ordered by source and path.

    Raises:
        Damaged: the contents of one are not what was stored.
    """
    found: list[StoredFile] = []
    for source, root, path, data, base, digest in db.execute(_FILES, (number, only)):
        if data is None or digest_of(data) != digest:
            raise Damaged(
                f"revision {number}: the stored contents of {path} ({source}) are damaged: apply it again, or restore "
                "a backup of the state directory"
            )
        found.append(StoredFile(source, root, path, data, base))
    return found


def copies(db: sqlite3.Connection, number: int) -> list[StoredFile]:
    """Return what is kept in a revision of the files that objects name; without what is damaged."""
    rows = db.execute(_COPIES, (number,))
    return [StoredFile(*row) for *row, digest in rows if digest_of(row[3]) == digest]


def objects(db: sqlite3.Connection) -> list[ObjectRecord]:
    """Return what is known of all objects."""
    rows = db.execute(f"SELECT {_OBJECT} FROM objects ORDER BY kind, namespace, name")  # noqa: S608  # constant text
    return [ObjectRecord(*row) for row in rows]


def sources(db: sqlite3.Connection) -> list[SourceRecord]:
    """Return what is known of all sources, ordered by name."""
    return [SourceRecord(*row) for row in db.execute("SELECT name, body FROM sources ORDER BY name")]


def _change_files(db: sqlite3.Connection, number: int, change: Commit) -> None:
    """End the files that are dropped or replaced with a revision, and begin the new ones with it."""
    db.executemany(_END_ALL, [(number, source, OPEN) for source in change.anew])
    ended = [*change.dropped, *((one.source, one.root, one.path) for one in change.files)]
    db.executemany(_END_FILE, [(number, *key, OPEN) for key in ended])
    never: list[tuple[str]] = []
    if change.record is None:  # what the newest revision had so far, no revision ever had
        query = "DELETE FROM files WHERE until = ?1 AND since >= ?1 RETURNING digest"
        never = db.execute(query, (number,)).fetchall()
    rows = [
        (one.source, one.root, one.path, number, OPEN, one.base, keep(db, one.data), one.target) for one in change.files
    ]
    db.executemany(_PUT_FILE, rows)
    drop(db, (digest for (digest,) in never))


def _forget(db: sqlite3.Connection, number: int) -> None:
    """Remove the revisions up to a number, with the contents that only they have.

    One that a task has not ended on stays, with all after it.
    """
    needed = db.execute(_NEEDED).fetchone()[0]
    if needed is not None:
        number = min(number, needed - 1)
    if not db.execute("DELETE FROM revisions WHERE number <= ?", (number,)).rowcount:
        return
    ended = db.execute("DELETE FROM files WHERE until <= ? RETURNING digest", (number + 1,)).fetchall()
    drop(db, (digest for (digest,) in ended))


def _changes(data: Any) -> tuple[str, ...]:
    try:
        return msgspec.json.decode(data, type=tuple[str, ...])
    except (msgspec.MsgspecError, TypeError, UnicodeDecodeError) as error:
        return (f"the list of changes is damaged: {error}",)
