"""Revisions that cannot be opened any more: what was kept of the files that they name is taken away."""

import sqlite3
from contextlib import closing
from pathlib import Path

from loomd.store.history import OPEN


def lose_copies(state: Path) -> None:
    """Remove from an open store what is kept of files that manifests name, but for what serves now."""
    with closing(sqlite3.connect(state / "loomd.db")) as db, db:
        serving = f"SELECT digest FROM files WHERE until = {OPEN}"  # noqa: S608  # constant text
        ended = f"SELECT digest FROM files WHERE target != '' EXCEPT {serving}"  # noqa: S608  # constant text
        assert db.execute(f"DELETE FROM blobs WHERE digest IN ({ended})").rowcount  # noqa: S608  # constant text
