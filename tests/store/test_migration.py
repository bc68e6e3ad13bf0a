"""Older state directories: `states/` holds what earlier versions of loomd wrote when they ran two tasks."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from loomd.errors import Damaged
from loomd.store.check import check
from loomd.store.schema import VERSION
from loomd.store.sqlite import open_store

STATES = Path(__file__).parent / "states"
OLDER = range(1, VERSION)
ROWS = {1: 40, 2: 40, 3: 41, 4: 43, 5: 45}
"""How many rows of the journal each wrote."""


def make(folder: Path, version: int) -> list[str]:
    """Make the state directory of an older version and return the text of its database."""
    folder.mkdir()
    with closing(sqlite3.connect(folder / "loomd.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript((STATES / f"schema-{version}.sql").read_text(encoding="utf-8"))
        (identity,) = db.execute("SELECT value FROM meta WHERE key = 'id'").fetchone()
    (folder / "identity.json").write_text(json.dumps({"format": "loomd-state", "id": identity}))
    return text_of(folder / "loomd.db")


def text_of(database: Path) -> list[str]:
    """Return schema version and contents of a database as text."""
    with closing(sqlite3.connect(database)) as db:
        return [str(db.execute("PRAGMA user_version").fetchone()[0]), *db.iterdump()]


def test_every_older_version_is_tried() -> None:
    """A new schema needs what the version before it wrote."""
    assert sorted(path.name for path in STATES.iterdir()) == [f"schema-{version}.sql" for version in OLDER]


@pytest.mark.parametrize("version", OLDER)
async def test_an_older_state_goes_on(tmp_path: Path, version: int) -> None:
    """What an older loomd wrote is all there, verifies and goes on; a copy of it is kept beside it, and made once."""
    folder = tmp_path / "state"
    before = make(folder, version)
    async with open_store(folder) as store:
        assert [record.phase for record in await store.list_tasks()] == ["Succeeded"] * 2
        rows = await store.read()
        assert len(rows) == ROWS[version]
        assert rows[-1].type == "task.completed"
        (revision,) = await store.revisions()
        (file,) = await store.files(revision.number)
        assert b"The answer is 42." in file.data
        assert [score.agent for score in await store.capabilities()] == ["ada"]
        assert await store.verify() == ROWS[version]
        assert await store.sweep(before=0, keep=0) == 2
    copy = folder / f"loomd.db.schema-{version}"
    assert text_of(copy) == before
    assert copy.stat().st_mode & 0o777 == 0o600
    assert check(folder).findings == ()
    copy.unlink()
    async with open_store(folder):
        pass
    assert sorted(path.name for path in folder.iterdir()) == ["identity.json", "lock", "loomd.db"]


@pytest.mark.parametrize("version", OLDER)
async def test_a_copy_can_be_put_back(tmp_path: Path, version: int) -> None:
    """The copy alone in the place of the database is the older state again."""
    folder = tmp_path / "state"
    before = make(folder, version)
    async with open_store(folder):
        pass
    (folder / f"loomd.db.schema-{version}").replace(folder / "loomd.db")
    assert text_of(folder / "loomd.db") == before
    async with open_store(folder) as store:
        assert await store.verify() == ROWS[version]


async def test_a_failed_migration_changes_nothing(tmp_path: Path) -> None:
    """When the new tables cannot be made the database is as it was, and the message says what to do."""
    folder = tmp_path / "state"
    make(folder, 2)
    with closing(sqlite3.connect(folder / "loomd.db")) as db:
        db.execute("CREATE TABLE schedules (mine TEXT)")
    before = text_of(folder / "loomd.db")
    with pytest.raises(Damaged, match=r"table schedules already exists: restore a backup"):
        async with open_store(folder):
            pass
    assert text_of(folder / "loomd.db") == before
    assert text_of(folder / "loomd.db.schema-2") == before


async def test_what_is_older_is_not_checked(tmp_path: Path) -> None:
    """Whoever wants to look at an older state is told what reads it."""
    folder = tmp_path / "state"
    make(folder, 2)
    with pytest.raises(Exception, match=rf"has schema 2, this loomd reads {VERSION}: `loomd serve` brings it to that"):
        check(folder)
