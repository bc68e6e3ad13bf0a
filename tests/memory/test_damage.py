"""A memory whose file is damaged: it is set aside under a name that is told, the memory begins anew, tasks go on."""

import logging
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from loomd.errors import Damaged
from loomd.events.event import Fallback
from loomd.memory.item import Which, Whose
from loomd.testing import run_manifests
from tests.memory.test_failing import DESK
from tests.memory.test_memory import ON, turn

ADA = Whose("ada")


async def _filled(memory: Any, folder: Path) -> Path:
    """Return the file of a memory of 40 texts, which is closed."""
    async with memory(ON) as live:
        for number in range(40):
            await live.remember(ADA, turn(str(number), f"harbour {number} " + "lighthouse " * 20))
    return next(folder.rglob("recall.db"))  # noqa: ASYNC240  # a look at a local folder


def _overwrite(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:13_096] = os.urandom(9000)
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["pages", "text", "header"])
async def test_a_damaged_file_makes_way(
    memory: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """Opening finds it; log and condition name where it is now, until that is deleted; what comes is remembered."""
    path = await _filled(memory, tmp_path)
    if how == "pages":
        _overwrite(path)
    else:
        path.write_bytes(b"not a database at all" * 100 if how == "text" else b"SQLite format 3\0" + b"\xff" * 5000)
    before, aside = path.read_bytes(), path
    with caplog.at_level(logging.ERROR, "loomd.memory"):
        for _ in range(2):
            async with memory(ON) as live:
                (told,) = live.health()
                (aside,) = path.parent.glob("recall.db.damaged-*")
                assert (told.condition, told.status, told.reason) == ("Degraded", "True", "FileDamaged")
                assert str(aside) in told.message
                assert aside.read_bytes() == before
                assert await live.remember(ADA, turn("new", "harbour of today"))
                assert await live.recall(ADA, "harbour") == ["harbour of today"]
        assert [str(aside) in one.getMessage() for one in caplog.records] == [True]
    async with memory(ON) as live:
        aside.unlink()
        assert list(live.health()) == []


async def test_only_the_word_index_is_damaged(memory: Any, tmp_path: Path) -> None:
    """It is made anew from the texts: nothing is lost."""
    path = await _filled(memory, tmp_path)
    db = sqlite3.connect(path)
    db.execute("UPDATE item_word_data SET block = x'0102030405060708090a' WHERE id > 10")
    db.commit()
    db.close()
    async with memory(ON) as live:
        assert list(live.health()) == []
        assert len(await live.items(Which())) == 40
        assert len(await live.recall(ADA, "lighthouse")) == 3


async def test_a_file_in_use_stays(memory: Any, tmp_path: Path) -> None:
    """A file that is damaged while it is open is told, and stays until the daemon starts again; tasks go on."""
    path = await _filled(memory, tmp_path)
    async with memory(ON) as live:
        other = sqlite3.connect(path)
        other.execute("UPDATE item SET told = told + 1")  # or what is in memory would be read
        other.commit()
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.close()
        _overwrite(path)
        with pytest.raises(Damaged, match="damaged"):
            await live.items(Which())
        (told,) = live.health()
        assert (told.condition, told.reason) == ("Degraded", "FileDamaged")
        assert not list(path.parent.glob("recall.db.damaged-*"))
    async with memory(ON) as live:
        assert await live.items(Which()) == []


async def test_a_task_goes_on_without_what_it_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is recalled is nothing, and that is told as a fallback."""

    def broken(*_: object) -> list[str]:
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr("loomd.memory.shelf.Shelf.find", broken)
    ran = await run_manifests(DESK.replace(", embedder: away", ""), "When does the harbour open?", tmp_path)
    assert ran.result.output == "The harbour opens at seven."
    assert [(one.phase, one.fallback) for one in ran.facts(Fallback)] == [("recall", "nothing is recalled")]
