"""What must not be left half done is finished, whoever is cancelled meanwhile."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from loomd.errors import Conflict, NotFound, Temporary
from loomd.store.finish import finish
from loomd.store.records import TaskRecord
from loomd.store.sqlite import SqliteStore, open_store

Work = Callable[[SqliteStore, list[str]], Coroutine[Any, Any, str]]


def record(name: str) -> TaskRecord:
    """Return a task."""
    return TaskRecord(name, "default", "team", "Running", b"{}")


async def only_writes(store: SqliteStore, done: list[str]) -> str:
    """Wait for commits alone."""
    for name in ("a", "b"):
        assert await store.create_task(record(name))
        done.append(name)
    return "done"


async def reads_between(store: SqliteStore, done: list[str]) -> str:
    """Wait for a commit, for a read, for time to go by, and for a commit within a time."""
    assert await store.create_task(record("a"))
    done.append("a")
    assert await store.get_task("a") is not None
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        assert await store.create_task(record("b"))
        await asyncio.sleep(0.01)
    done.append("b")
    return "done"


async def fails_late(store: SqliteStore, done: list[str]) -> str:
    """Fail after what was written."""
    await only_writes(store, done)
    raise NotFound("gone")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[SqliteStore]:
    """Yield a store that has committed something, so that it knows how long that takes."""
    async with open_store(tmp_path / "state") as opened:
        yield opened


@pytest.mark.parametrize("steps", range(4))
@pytest.mark.parametrize("work", [only_writes, reads_between])
async def test_it_goes_on_when_its_caller_is_cancelled(store: SqliteStore, work: Work, steps: int) -> None:
    """Once or several times, before it has begun to wait or later; the caller hears of it in the end."""
    done: list[str] = []
    after: list[str] = []

    async def call() -> None:
        try:
            await finish(work(store, done))
        finally:
            after.extend(done)
        raise AssertionError("it was cancelled")

    task = asyncio.ensure_future(call())
    await asyncio.sleep(0)
    task.cancel()
    for _ in range(steps):
        await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert after == ["a", "b"]
    assert {one.id for one in await store.list_tasks()} == {"a", "b"}


@pytest.mark.parametrize("work", [only_writes, reads_between])
async def test_nobody_is_cancelled(store: SqliteStore, work: Work) -> None:
    """Its value is returned; in a task of its own or not, a time that it sets is its own."""
    assert await finish(work(store, [])) == "done"


async def test_its_time_is_over(store: SqliteStore) -> None:
    """A time within it ends what is within, and not who waits for it."""

    async def work() -> str:
        await store.get_task("a")
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(20)
        except TimeoutError:
            return "late"
        raise AssertionError("it was in time")

    assert await finish(work()) == "late"


async def test_it_fails(store: SqliteStore) -> None:
    """Its failure is raised; a cancellation that came meanwhile matters more."""
    with pytest.raises(NotFound, match="gone"):
        await finish(fails_late(store, []))
    for name in ("a", "b"):
        await store.put_task(record(name))
    task: asyncio.Task[Any] = asyncio.ensure_future(_failing(store))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("reads", [False, True])
async def test_a_commit_fails(store: SqliteStore, monkeypatch: pytest.MonkeyPatch, reads: bool) -> None:
    """It is raised where that is awaited: the work hears of it, and goes on or puts things straight."""
    heard: list[str] = []

    async def work() -> str:
        if reads:
            await store.get_task("a")
        for number in range(3):
            try:
                await store.put_task(record("a"))
                heard.append("written")
            except Temporary:
                heard.append(f"full {number}")
        return "done"

    commit, tries = store._writer._commit, 0

    def full(work: Any, values: Any) -> None:
        nonlocal tries
        tries += 1
        if tries == 2:
            raise sqlite3.OperationalError("database or disk is full")
        commit(work, values)

    monkeypatch.setattr(store._writer, "_commit", full)
    assert await finish(work()) == "done"
    assert heard == ["written", "full 1", "written"]


async def test_what_is_waited_for_fails() -> None:
    """So it is with the first thing that it waits for, and is no commit."""
    refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(refused.set_exception, NotFound("gone"))

    async def work() -> str:
        try:
            await refused
        except NotFound as error:
            await asyncio.sleep(0)
            return str(error)
        raise AssertionError("it was refused")

    assert await finish(work()) == "gone"


def test_the_event_loop_ends() -> None:
    """Then the rest of the work is cancelled as any task is, and may put things straight."""
    put: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            put.append("straight")
            raise

    async def main() -> None:
        task = asyncio.ensure_future(_finishing(work))
        await asyncio.sleep(0)
        put.append("begun")
        del task

    asyncio.run(main())
    assert put == ["begun", "straight"]


async def _finishing(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    await finish(work())


async def _failing(store: SqliteStore) -> None:
    async def work() -> None:
        await store.put_task(record("c"))
        raise NotFound("gone")

    await finish(work())


async def test_who_is_not_held_is_cancelled_at_once(store: SqliteStore) -> None:
    """Outside of it a caller gives up waiting, and what was asked for is written all the same."""
    task = asyncio.ensure_future(store.create_task(record("a")))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert task.cancelled()
    assert {one.id for one in await store.list_tasks()} in (set(), {"a"})
    await store.create_task(record("b"))
    assert {one.id for one in await store.list_tasks()} == {"a", "b"}


@pytest.mark.parametrize("turns", range(6))
async def test_who_writes_while_it_closes_is_told(tmp_path: Path, turns: int) -> None:
    """It is written or refused, and waits for nothing: what is held could not be cancelled."""
    async with open_store(tmp_path / "state") as store:
        await store.create_task(record("a"))
        closing = asyncio.ensure_future(store.close())
        for _ in range(turns):
            await asyncio.sleep(0)
        late = asyncio.ensure_future(_creating(store, "b"))
        await closing
        after = asyncio.ensure_future(_creating(store, "c"))
        done, _ = await asyncio.wait([late, after], timeout=60)
        assert done == {late, after}
        with pytest.raises(Conflict, match="is closed: nothing is written any more"):
            after.result()
    refused = isinstance(late.exception(), Conflict)
    async with open_store(tmp_path / "state") as store:
        assert {one.id for one in await store.list_tasks()} == ({"a"} if refused else {"a", "b"})


async def _creating(store: SqliteStore, name: str) -> bool:
    return await finish(store.create_task(record(name)))
