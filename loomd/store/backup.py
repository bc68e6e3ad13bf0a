"""A copy of a database before its schema changes, beside it and named by the schema that it has. Called by `schema`."""

import sqlite3
from contextlib import closing
from pathlib import Path

from loomd.store.directory import settle


def save(db: sqlite3.Connection, database: Path, version: int) -> Path:
    """Copy an open database and return the path of the copy, which is on disk then; one of before is replaced.

    Raises:
        sqlite3.Error: the copy cannot be written; none is left then.
    """
    copy = backup_of(database, version)
    fresh = copy.with_name(f"{copy.name}.new")
    fresh.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(fresh)) as target:
            fresh.chmod(0o600)
            db.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # all in one file, which nobody needs a second one for
        settle(fresh, copy)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    return copy


def backup_of(database: Path, version: int) -> Path:
    """Return where the copy of a database with an older schema is."""
    return database.with_name(f"{database.name}.schema-{version}")
