"""What is known of schedules: one record each, by the identity of the object. SQL only; called by `sqlite`."""

import sqlite3
from collections.abc import Sequence

from loomd.store.records import ScheduleRecord


def keep(db: sqlite3.Connection, records: Sequence[ScheduleRecord], gone: Sequence[str]) -> None:
    """Create or replace records, and remove those of schedules that are gone."""
    db.executemany("INSERT OR REPLACE INTO schedules VALUES (?, ?)", [(one.uid, one.body) for one in records])
    db.executemany("DELETE FROM schedules WHERE uid = ?", [(uid,) for uid in gone])


def schedules(db: sqlite3.Connection) -> list[ScheduleRecord]:
    """Return all records."""
    return [ScheduleRecord(*row) for row in db.execute("SELECT uid, body FROM schedules ORDER BY uid")]
