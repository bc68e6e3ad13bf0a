"""Retention: what is old goes with all that belongs to it, what is not stays, and what is left verifies."""

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path

import pytest

from loomd.store import retention
from loomd.store.check import check
from loomd.store.records import (
    ApprovalRecord,
    BlueprintRecord,
    Capability,
    Commit,
    Descent,
    Learned,
    ProposalRecord,
    RevisionRecord,
    Row,
    StoredFile,
    TaskRecord,
)
from loomd.store.sqlite import SqliteStore, open_store

LARGE = b'{"ts":1,"value":"' + b"x" * 150_000 + b'"}'


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[SqliteStore, None]:
    """Yield a store in a fresh directory."""
    async with open_store(tmp_path / "state") as opened:
        yield opened


async def put(store: SqliteStore, name: str, at: float, *, ended: bool = True, rows: int = 3) -> None:
    """Store a task that began, did something and maybe ended at a time."""
    body = f'{{"id":"{name}","parent":"{name.rpartition(".")[0]}"}}'.encode()
    phase, result = ("Succeeded", b"{}") if ended else ("Running", b"")
    await store.put_task(TaskRecord(name, "default", "team", phase, body, result, at - 1000))
    for number in range(rows):
        store.note(Row(name, "step.completed", b'{"ts":%f}' % at, f"step/{number}"))
    await store.put_signal(name, "go", b"{}", at)
    await store.ask(ApprovalRecord(f"a-{name}", name, "default", b"{}", at, at))
    await store.learn(name, Learned(scores=[Capability("ada", "spec", "math", 0.5, 0.1, 1, at)]))


def left(store: SqliteStore) -> dict[str, list[str]]:
    """Return what is there of tasks, by table."""
    tables = {"journal": "task", "tasks": "id", "signals": "task", "approvals": "task", "learned": "task"}
    return {
        table: sorted({str(name) for (name,) in store._db.execute(f"SELECT {column} FROM {table}") if name})  # noqa: S608  # tables of ours
        for table, column in tables.items()
    }


async def test_old_tasks_go_with_all_that_is_theirs(store: SqliteStore) -> None:
    """A task that ended long ago is removed with its whole tree; one that ended lately, or never, stays whole."""
    for name in ("old", "old.0", "old.0.1", "old-er"):
        await put(store, name, 100)
    for name in ("late", "late.0"):
        await put(store, name, 300)
    await put(store, "going", 100, ended=False)
    await put(store, "going.0", 100)
    assert await store.sweep(before=200, keep=100) == 2
    stays = ["going", "going.0", "late", "late.0"]
    assert left(store) == dict.fromkeys(["journal", "tasks", "signals", "approvals", "learned"], stays)
    assert await store.capabilities() != [], "what was learned is no part of the task"
    await store.close()
    assert check(store.directory).findings == ()


async def test_a_long_task_is_as_old_as_its_end(store: SqliteStore) -> None:
    """When a task was accepted does not count, also when it ran for longer than tasks are kept."""
    await store.put_task(TaskRecord("t1", "default", "team", "Succeeded", b"{}", b"{}", created=1))
    store.note(Row("t1", "task.completed", b'{"ts":500}', "ended"))
    assert await store.sweep(before=400, keep=100) == 0
    assert await store.sweep(before=501, keep=100) == 1


async def test_the_oldest_of_too_many_go(store: SqliteStore) -> None:
    """Subtasks do not count, and those that have not ended neither."""
    for number in range(10):
        await put(store, f"t{number}", 100 + number)
        await put(store, f"t{number}.0", 100 + number)
    await put(store, "going", 50, ended=False)
    assert await store.sweep(before=0, keep=4) == 6
    assert left(store)["tasks"] == ["going", *itertools.chain(*((f"t{n}", f"t{n}.0") for n in range(6, 10)))]


async def test_large_values_go_with_the_last_who_has_them(store: SqliteStore) -> None:
    """A value that another task or a file of a revision has stays; one that nobody has any more leaves."""
    await put(store, "one", 100)
    await put(store, "two", 300)
    other, filed = LARGE.replace(b"x", b"y"), LARGE.replace(b"x", b"z")
    for task, body in (("one", LARGE), ("two", LARGE), ("one", other), ("one", filed)):
        store.note(Row(task, "step.completed", body, f"big/{body[20]}"))
    files = [StoredFile("a", "/r", "1.yaml", filed)]
    await store.commit(Commit(record=RevisionRecord(1, "r1", 1.0, "apply", "a"), files=files))
    store.note(Row("one", "task.completed", b'{"ts":100}', "ended"))
    store.note(Row("two", "task.completed", b'{"ts":300}', "ended"))
    assert await store.sweep(before=200, keep=100) == 1
    assert store._db.execute("SELECT count(*) FROM blobs").fetchone()[0] == 2
    assert [row.body for row in await store.read(task="two")][-2] == LARGE
    assert (await store.files(1))[0].data == filed
    await store.commit(Commit(record=RevisionRecord(2, "r2", 2.0, "apply", "a"), anew=["a"], keep=1))
    assert store._db.execute("SELECT count(*) FROM blobs").fetchone()[0] == 1
    await store.close()
    assert check(store.directory).findings == ()


async def test_what_tasks_leave_that_are_not_kept_goes(store: SqliteStore) -> None:
    """A task without a record leaves nothing for ever; what it left lately stays, and what is of one that runs."""
    for name, at in (("lost", 100), ("lost.0", 100), ("new", 300)):
        await store.put_signal(name, "go", b"{}", at)
        await store.ask(ApprovalRecord(f"a-{name}", name, "default", b"{}", at - 50, at))
        await store.learn(name, Learned(scores=[Capability("ada", "spec", "math", 0.5, 0.1, 1, at)]))
    await put(store, "going", 100, ended=False)
    assert await store.sweep(before=200, keep=0) == 0
    assert left(store) == {
        "journal": ["going"],
        "tasks": ["going"],
        "signals": ["going", "new"],
        "approvals": ["going", "new"],
        "learned": ["going", "new"],
    }
    await store.close()
    assert check(store.directory).findings == ()


async def test_a_change_without_a_task_is_as_old_as_what_it_changed(store: SqliteStore) -> None:
    """That an agent got other instructions is not stored twice as long as what belongs to no task is kept."""
    version = BlueprintRecord("default", "ada", 2, b"{}", 1, 300, "reverted")
    descent = Descent("default", "ada", "ada", "reverted in team", "", 300)
    asked = ProposalRecord("p-1", "default", "team", "evolve", b"{}", 300, 900)
    changes = [Learned(blueprints=[version]), Learned(lineage=[descent]), Learned(proposals=[asked])]
    for number, change in enumerate(changes):
        await store.learn(f"ada#revert/{number}", change)
    await store.sweep(before=200, keep=100)
    assert left(store)["learned"] == ["ada#revert/0", "ada#revert/1", "ada#revert/2"]
    await store.sweep(before=301, keep=100)
    assert left(store)["learned"] == []


async def test_the_chain_of_the_system_begins_later(store: SqliteStore) -> None:
    """Old facts about the system are removed; the rest verifies, damage in it is found, and numbers go on."""
    for at in range(1000):
        store.note(Row("", "config.loaded", b'{"ts":%d}' % at))
    assert await store.sweep(before=600, keep=100) == 0
    assert [row.seq for row in await store.read()] == list(range(601, 1001))
    assert (await store.extent()).trimmed == 600
    assert await store.verify() == 400
    assert await store.sweep(before=5000, keep=100) == 0
    assert await store.read() == []
    seq = store.note(Row("", "config.loaded", b'{"ts":5000}'))
    assert seq == 1001
    await store.durable(seq)
    await store.close()
    assert check(store.directory).findings == ()
    with closing(sqlite3.connect(store.directory / "loomd.db")) as db, db:
        db.execute("DELETE FROM chains")
    db.close()
    assert {one.code for one in check(store.directory).findings} == {"chain", "seal"}


async def test_a_name_may_come_again(store: SqliteStore) -> None:
    """A task with the name of a removed one begins a chain and keys of its own."""
    await put(store, "t1", 100)
    await store.sweep(before=200, keep=100)
    await put(store, "t1", 300)
    assert len(await store.read(task="t1")) == 3
    await store.close()
    assert check(store.directory).findings == ()


async def test_what_was_begun_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an end at any moment of a sweep the state verifies, and the next sweep leaves nothing behind."""
    monkeypatch.setattr(retention, "_CHUNK", 7)
    for cut in range(1, 200, 3):
        folder = tmp_path / str(cut)
        async with open_store(folder) as store:
            for name in ("old", "old.0", "old.1"):
                await put(store, name, 100, rows=12)
            await put(store, "late", 300)
            with monkeypatch.context() as broken:
                broken.setattr(store._writer, "write", broken_after(store, cut))
                try:
                    removed = await store.sweep(before=200, keep=100)
                except InterruptedError:
                    removed = -1
        assert check(folder).findings == ()
        if removed >= 0:
            assert cut > 10
            break
        async with open_store(folder) as store:
            await store.sweep(before=200, keep=100)
            assert set(map(tuple, left(store).values())) == {("late",)}
    else:
        pytest.fail("the sweep never came to its end")


def broken_after(store: SqliteStore, count: int) -> object:
    """Return a `write` that works so many times, and then never again until the store is closed."""
    write, calls = store._writer.write, itertools.count()

    async def broken(operation: object) -> object:
        if next(calls) == count:
            raise InterruptedError
        return await write(operation)  # type: ignore[arg-type]  # handed through

    return broken


async def test_commits_go_on_meanwhile(store: SqliteStore) -> None:
    """While thousands of rows are removed, no step waits for more than a few chunks of it."""
    for number in range(15):
        await put(store, f"t{number}", 100, rows=250)
    await store.durable(store.note(Row("going", "task.started", b"{}")))
    loop, waits = asyncio.get_running_loop(), list[float]()
    sweeping = asyncio.ensure_future(store.sweep(before=200, keep=100))
    while not sweeping.done():
        started = loop.time()
        await store.durable(store.note(Row("going", "step.completed", b"{}", f"step/{len(waits)}")))
        waits.append(loop.time() - started)
    assert await sweeping == 15
    assert len(waits) > 10
    assert sorted(waits)[len(waits) // 2] < 0.2


async def test_space_is_given_back(store: SqliteStore) -> None:
    """The file of a store from which most was removed becomes smaller, in small steps."""
    await put(store, "t1", 100, rows=1)
    for at in range(10, 30):
        store.note(Row("t1", "step.completed", LARGE.replace(b"x", b"%d" % at), f"big/{at}"))
    store.note(Row("t1", "task.completed", b'{"ts":100}', "ended"))
    await store.durable(store._writer.last)
    before = int(store._db.execute("PRAGMA page_count").fetchone()[0])
    assert await store.sweep(before=200, keep=100) == 1
    assert int(store._db.execute("PRAGMA page_count").fetchone()[0]) < before / 2
    await store.verify()
