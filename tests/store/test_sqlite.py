"""The SQLite store: what was acknowledged is there, once, in order, and a changed byte is found."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from loomd.errors import Conflict, Damaged, Temporary
from loomd.store.base import Capability, Row, StoredFile, TaskRecord
from loomd.store.sqlite import SqliteStore, open_store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[SqliteStore, None]:
    """Yield a store in a fresh directory."""
    async with open_store(tmp_path / "state") as opened:
        yield opened


def row(task: str, number: int, key: str = "") -> Row:
    """Return a row with a recognisable body."""
    return Row(task, "phase.completed", f'{{"n":{number}}}'.encode(), key)


async def append(store: SqliteStore, *rows: Row) -> int:
    """Note rows, wait until they are on disk, and return the last number."""
    seq = 0
    for item in rows:
        seq = store.note(item)
    await store.durable(seq)
    return seq


async def test_rows_come_back_in_order(store: SqliteStore) -> None:
    """Rows are numbered from 1 in the order of their appends and can be read from any place."""
    assert await append(store, row("a", 1), row("b", 2)) == 2
    assert await append(store, row("a", 3)) == 3
    assert [(r.seq, r.task) for r in await store.read()] == [(1, "a"), (2, "b"), (3, "a")]
    assert [r.seq for r in await store.read(after=1, task="a")] == [3]
    assert [r.seq for r in await store.read(limit=2)] == [1, 2]


async def test_notes_keep_their_place(store: SqliteStore) -> None:
    """A note made before an append is stored before it, one made after it behind."""
    store.note(row("a", 1))
    saved = asyncio.ensure_future(store.save_files("a", [], "r"))
    await asyncio.sleep(0)
    await append(store, row("a", 2))
    store.note(row("a", 3))
    await saved
    assert [r.body for r in await store.read()] == [b'{"n":1}', b'{"n":2}', b'{"n":3}']


async def test_a_read_sees_notes(store: SqliteStore) -> None:
    """A read returns what was noted before it, without any append."""
    store.note(row("a", 1))
    assert len(await store.read()) == 1


async def test_a_key_is_stored_once(store: SqliteStore) -> None:
    """A second row with the same task and key is skipped; another task may use the key."""
    await append(store, row("a", 1, "phase/sense"), row("a", 2, "phase/sense"), row("b", 3, "phase/sense"))
    await append(store, row("a", 4, "phase/sense"))
    assert [r.body for r in await store.read()] == [b'{"n":1}', b'{"n":3}']
    assert await store.verify() == 2


async def test_many_callers_share_commits(store: SqliteStore) -> None:
    """Concurrent callers each find their rows stored, in their own order."""

    async def caller(name: str) -> None:
        for number in range(50):
            seq = await append(store, row(name, number))
            assert seq > 0

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(caller(f"t{number}"))
    rows = await store.read(limit=10_000)
    assert [r.seq for r in rows] == list(range(1, 1001))
    for number in range(20):
        mine = [r.body for r in rows if r.task == f"t{number}"]
        assert mine == [f'{{"n":{n}}}'.encode() for n in range(50)]
    assert await store.verify() == 1000


async def test_a_tree_is_a_task_and_its_descendants(store: SqliteStore) -> None:
    """A tree holds the rows of a task and what it split into, and of no other task."""
    await append(store, row("t1", 1), row("t1.0", 2), row("t10", 3), row("t1.0.1", 4), row("t0", 5))
    assert [r.task for r in await store.read(task="t1", tree=True)] == ["t1", "t1.0", "t1.0.1"]
    assert [r.task for r in await store.read(task="t1")] == ["t1"]


async def test_verify_finds_a_flipped_byte(tmp_path: Path) -> None:
    """A changed body is found and the row named."""
    async with open_store(tmp_path / "state") as store:
        await append(store, *(row("a", number) for number in range(5)))
        assert await store.verify() == 5
    with sqlite3.connect(tmp_path / "state" / "loomd.db") as db:
        db.execute("UPDATE journal SET body = ? WHERE seq = 3", (b'{"n":9}',))
    db.close()
    async with open_store(tmp_path / "state") as store:
        with pytest.raises(Damaged, match="row 3 of task a"):
            await store.verify()


async def test_learning_happens_once(store: SqliteStore) -> None:
    """The same task cannot move a score twice."""
    first = Capability("ada", "abc", "math", 0.5, 0.1, 1, 10.0)
    assert await store.learn("t1", [first])
    assert not await store.learn("t1", [Capability("ada", "abc", "math", 0.9, 0.1, 2, 11.0)])
    assert await store.capabilities() == [first]


async def test_tasks_are_kept(store: SqliteStore) -> None:
    """Records are replaced by id, listed newest first, and unfinished ones alone on request."""
    old = TaskRecord("t1", "default", "team", "Running", b"{}", created=1.0)
    new = TaskRecord("t2", "default", "team", "Running", b"{}", created=2.0)
    await store.put_task(old)
    await store.put_task(new)
    done = TaskRecord("t1", "default", "team", "Succeeded", b"{}", b'{"x":1}', created=1.0)
    await store.put_task(done)
    assert await store.get_task("t1") == done
    assert await store.get_task("t9") is None
    assert await store.list_tasks() == [new, done]
    assert await store.list_tasks(unfinished=True) == [new]


async def test_files_are_replaced_per_source(store: SqliteStore) -> None:
    """Saving one source's set leaves the other's alone."""
    a1, a2 = StoredFile("a", "/r", "1.yaml", b"1"), StoredFile("a", "/r", "2.yaml", b"2")
    b1 = StoredFile("b", "/r", "1.yaml", b"x")
    await store.save_files("a", [a1, a2], "r1")
    await store.save_files("b", [b1], "r2")
    await store.save_files("a", [a2], "r3")
    assert await store.load_files() == [a2, b1]


async def test_a_full_disk_is_a_typed_error_and_passes(store: SqliteStore, caplog: pytest.LogCaptureFixture) -> None:
    """While there is no space every waiting caller is told so, notes are kept, and later writes work again."""
    await append(store, row("a", 0))
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    store.note(row("a", 1))
    big = Row("a", "phase.completed", b"x" * 1_000_000)
    with pytest.raises(Temporary, match="full"):
        await append(store, big)
    with pytest.raises(Temporary, match="full"):
        await store.save_files("a", [StoredFile("a", "/r", "1.yaml", b"x" * 1_000_000)], "r")
    assert "is full" in caplog.text
    assert len(await store.read()) == 1
    store._db.execute("PRAGMA max_page_count = 1000000")
    await append(store, row("a", 2))
    assert [len(r.body) for r in await store.read()] == [7, 7, 1_000_000, 7]
    assert await store.load_files() == []
    assert await store.verify() == 4


async def test_a_faulty_write_fails_alone(store: SqliteStore) -> None:
    """A caller whose write cannot work does not take those in the same transaction with it."""
    twice = StoredFile("a", "/r", "1.yaml", b"1")
    async with asyncio.TaskGroup() as group:
        good = group.create_task(append(store, row("a", 1)))

        async def bad() -> None:
            with pytest.raises(Damaged, match="UNIQUE"):
                await store.save_files("a", [twice, twice], "r")

        group.create_task(bad())
    assert good.result() == 1
    assert await store.load_files() == []


async def test_a_second_open_names_the_holder(store: SqliteStore) -> None:
    """A held directory is refused with the id of the process that holds it."""
    with pytest.raises(Conflict, match=f"process {os.getpid()}"):
        async with open_store(store.directory):
            pass
    assert store.directory.stat().st_mode & 0o777 == 0o700


async def test_a_foreign_directory_is_refused(tmp_path: Path) -> None:
    """A directory with somebody else's files is left untouched."""
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(Conflict, match=r"thesis\.txt"):
        async with open_store(tmp_path):
            pass
    assert os.listdir(tmp_path) == ["thesis.txt"]  # noqa: PTH208  # a plain listing


async def test_a_swapped_or_lost_database_is_refused(tmp_path: Path) -> None:
    """A database from another directory, another program's, garbage or none at all is not opened as fresh."""
    for name in ("one", "two"):
        async with open_store(tmp_path / name) as store:
            await append(store, row("a", 1))
    database = tmp_path / "one" / "loomd.db"
    database.write_bytes((tmp_path / "two" / "loomd.db").read_bytes())
    with pytest.raises(Damaged, match="swapped"):
        async with open_store(tmp_path / "one"):
            pass
    database.write_bytes(b"garbage" * 1000)
    with pytest.raises(Damaged, match="not a database"):
        async with open_store(tmp_path / "one"):
            pass
    database.unlink()
    with pytest.raises(Damaged, match=r"lost its loomd\.db"):
        async with open_store(tmp_path / "one"):
            pass


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A store written by a newer version is not touched."""
    async with open_store(tmp_path / "state"):
        pass
    with sqlite3.connect(tmp_path / "state" / "loomd.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(Conflict, match="schema 99"):
        async with open_store(tmp_path / "state"):
            pass


_KILLED = """
import asyncio, sys
from pathlib import Path
from loomd.store.base import Row
from loomd.store.sqlite import open_store

async def main():
    async with open_store(Path(sys.argv[1])) as store:
        for number in range(1000000):
            seq = store.note(Row("t", "phase.completed", b"{}", f"step/{number}"))
            await store.durable(seq)
            print(seq, flush=True)

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_kill(tmp_path: Path) -> None:
    """Every row that was acknowledged before kill -9 is there when the store opens again."""
    child = subprocess.Popen([sys.executable, "-c", _KILLED, str(tmp_path / "s")], stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220, S603  # our own script
    assert child.stdout is not None
    last = 0
    for _ in range(200):
        last = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read().splitlines()
    child.stdout.close()
    child.wait()
    acknowledged = max([last, *(int(line) for line in rest if line)])
    async with open_store(tmp_path / "s") as store:
        rows = await store.read(limit=1_000_000)
        assert len(rows) >= acknowledged
        assert await store.verify() == len(rows)
