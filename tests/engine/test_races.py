"""What happens at the same moment: a start, an end, a move, a stop. Each is held where it would go wrong."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

import pytest

from loomd.amoeba.task import Durability
from loomd.daemon import System
from loomd.errors import Conflict, LoomdError, NotFound, RecordFailed, Temporary
from loomd.events.journal import Journal
from loomd.store.records import TaskRecord
from loomd.store.sqlite import SqliteStore
from loomd.store.writer import Writer
from tests.engine.world import World, task_of, until

MODES: tuple[Durability, ...] = ("task", "steps")
REPLIES: list[dict[str, object]] = [
    {"when": "go", "toolCalls": [{"name": "mark", "arguments": {}}]},
    {"when": "go", "text": "done"},
    {"when": "slow", "text": "late", "delay": "1m"},
]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a small system whose tool leaves marks."""
    made = World(tmp_path)
    made.write(REPLIES)
    return made


@pytest.fixture
async def system(world: World) -> AsyncGenerator[System, None]:
    """Yield the system, running."""
    async with world.open() as opened:
        yield opened


class Held:
    """Holds a call of the store at its end until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.there, self.go = asyncio.Event(), asyncio.Event()
        real = getattr(SqliteStore, name)

        async def held(store: SqliteStore, *arguments: object, **named: object) -> object:
            found = await real(store, *arguments, **named)
            if self.holds(*arguments):
                self.there.set()
                await self.go.wait()
            return found

        monkeypatch.setattr(SqliteStore, name, held)

    def holds(self, *arguments: object) -> bool:
        """Return whether a call is held: by default the first one."""
        del arguments
        return not self.there.is_set()


class HeldEnd(Held):
    """Holds the first write of a result."""

    def holds(self, *arguments: object) -> bool:
        """Return whether a call stores a result."""
        (record,) = arguments
        return isinstance(record, TaskRecord) and bool(record.result) and not self.there.is_set()


@pytest.mark.parametrize("mode", ["steps", "task"])
async def test_resume_leaves_alone_what_ended_meanwhile(
    world: World, system: System, mode: Durability, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that ended after the list was read is not run again, and nothing is journaled after its end."""
    task = await system.engine.submit(task_of(system, durability=mode))
    held = Held(monkeypatch, "list_tasks")
    resuming = asyncio.ensure_future(system.engine.resume())
    await held.there.wait()
    result = await system.engine.result(task)
    held.go.set()
    assert await resuming == []
    assert await system.engine.result(task) == result
    assert len(world.marks) == 1
    types = [event.type async for event in Journal(system.store).replay(task=task)]
    assert types[-1] == "task.completed"


async def test_resume_leaves_alone_what_is_about_to_start(
    world: World, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that is accepted on disk, and not running yet, is started once, by whoever took it; nobody ends it."""
    held = Held(monkeypatch, "create_task")
    submitting = asyncio.ensure_future(system.engine.submit(task_of(system, durability="task")))
    await held.there.wait()
    assert await system.engine.resume() == []
    (record,) = await system.store.list_tasks()
    with pytest.raises(Conflict, match="about to start"):
        await system.engine.cancel(record.id)
    held.go.set()
    await system.engine.result(await submitting)
    assert len(world.marks) == 1


async def test_many_tasks_while_all_is_looked_at(world: World, system: System) -> None:
    """Hundreds of starts and ends beside a resume that never rests: each effect once."""
    resting = asyncio.Event()

    async def look() -> int:
        count = 0
        while not resting.is_set():
            count += len(await system.engine.resume())
            await asyncio.sleep(0)
        return count

    looking = asyncio.ensure_future(look())
    tasks = [task_of(system, durability=mode) for mode in MODES for _ in range(150)]
    for task in await asyncio.gather(*(system.engine.submit(task) for task in tasks)):
        assert (await system.engine.result(task)).phase == "Succeeded"
    resting.set()
    assert await looking == 0
    assert len(world.marks) == 300


async def test_an_id_is_taken_once(world: World, system: System) -> None:
    """Of two submissions of one id at once one is refused."""
    task = task_of(system)
    ends = await asyncio.gather(system.engine.submit(task), system.engine.submit(task), return_exceptions=True)
    assert [type(end) for end in ends if not isinstance(end, str)] == [Conflict]
    await system.engine.result(task.id)
    with pytest.raises(Conflict, match="exists already"):
        await system.engine.submit(task)
    assert len(world.marks) == 1


@pytest.mark.parametrize("mode", ["steps", "task"])
async def test_an_end_is_the_end(
    world: World, system: System, mode: Durability, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A move, or a cancellation, that comes while the result is being written comes too late."""
    held = HeldEnd(monkeypatch, "put_task")
    task = await system.engine.submit(task_of(system, durability=mode))
    await held.there.wait()
    before = system.reconciler.topology
    world.edit("Does things.", "Does more things.")
    await system.reconciler.apply(world.delivery())
    moving = asyncio.ensure_future(system.engine.move(before))
    await asyncio.sleep(0.02)
    held.go.set()
    assert await moving == 0
    assert (await system.engine.result(task)).phase == "Succeeded"
    record = await system.store.get_task(task)
    assert record is not None
    assert (record.phase, len(world.marks)) == ("Succeeded", 1)


async def test_a_late_cancellation_is_told(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who cancels a task that ends in the same moment hears that it has ended."""
    held = HeldEnd(monkeypatch, "put_task")
    task = await system.engine.submit(task_of(system))
    await held.there.wait()
    cancelling = asyncio.ensure_future(system.engine.cancel(task))
    await asyncio.sleep(0.02)
    held.go.set()
    with pytest.raises(NotFound, match="has ended: Succeeded"):
        await cancelling
    assert (await system.engine.result(task)).phase == "Succeeded"


async def test_a_cancellation_that_cannot_be_written_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is answered with an error, and the task is unfinished on disk."""
    world = World(tmp_path)
    world.write(REPLIES)

    def refuse(*_: object) -> list[object]:
        raise sqlite3.DatabaseError("malformed")

    with suppress(LoomdError):  # of the store, when it closes: what it holds back was refused for good
        async with world.open() as system:
            task = await system.engine.submit(task_of(system, "slow"))
            await asyncio.sleep(0.05)
            monkeypatch.setattr(Writer, "_transaction", refuse)
            with pytest.raises(RecordFailed, match="malformed"):
                await system.engine.cancel(task)
            monkeypatch.undo()
            record = await system.store.get_task(task)
            assert record is not None
            assert (record.phase, record.result) == ("Running", b"")


async def test_what_is_accepted_in_the_last_moment_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that is accepted while the engine drains runs when it starts again, not behind the back of the drain."""
    async with world.open() as system:
        held = Held(monkeypatch, "create_task")
        submitting = asyncio.ensure_future(system.engine.submit(task_of(system)))
        await held.there.wait()
        await system.engine.drain(5)
        held.go.set()
        task = await submitting
        assert system.engine.running == 0
        assert world.marks == []
        with pytest.raises(Conflict, match="shutting down"):
            await system.engine.submit(task_of(system))
        with pytest.raises(Conflict, match="shutting down"):
            await system.engine.go_on(task)
        assert await system.engine.resume() == []
    async with world.open() as system:
        await system.engine.resume()
        assert (await system.engine.result(task)).phase == "Succeeded"
    assert len(world.marks) == 1


async def test_unkept_tasks_leave_memory(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that runs on does not keep the others from being forgotten."""
    monkeypatch.setattr("loomd.engine.ledger._UNKEPT", 5)
    slow = await system.engine.submit(task_of(system, "slow", durability="none"))
    others: list[str] = []
    for _ in range(20):
        others.append(await system.engine.submit(task_of(system, durability="none")))
        await system.engine.result(others[-1])
    known = [task for task in (slow, *others) if await system.engine.get(task) is not None]
    assert (len(known), slow in known) == (5, True)
    await system.engine.cancel(slow)


async def test_a_submission_that_is_given_up_is_not_half_done(
    world: World, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is accepted on disk runs, although nobody waits any more to hear of it."""
    held = Held(monkeypatch, "create_task")
    task = task_of(system)
    submitting = asyncio.ensure_future(system.engine.submit(task))
    await held.there.wait()
    submitting.cancel()
    await asyncio.sleep(0.01)
    held.go.set()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    assert (await system.engine.result(task.id)).phase == "Succeeded"
    assert len(world.marks) == 1


async def test_a_signal_is_waited_for_while_none_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the store cannot be read for a moment is no answer to a task that waits."""
    world = World(tmp_path)
    call = {"name": "post", "arguments": {}}
    world.write([{"when": "go", "toolCalls": [call]}, {"when": "go", "text": "done"}])
    async with world.open() as system:
        real, failed = SqliteStore.get_signal, asyncio.Event()

        async def unreadable(store: SqliteStore, task: str, name: str) -> bytes | None:
            if not failed.is_set():
                failed.set()
                raise Temporary("it cannot be read now", 0.05)
            return await real(store, task, name)

        monkeypatch.setattr(SqliteStore, "get_signal", unreadable)
        task = await system.engine.submit(task_of(system))
        await failed.wait()
        await system.engine.send(task, "post", "now")
        result = await system.engine.result(task)
        assert result.executed is not None
        assert (result.executed.outcome.output, result.executed.outcome.tool_errors) == ("done", 0)


async def test_a_part_is_not_cancelled_alone(tmp_path: Path) -> None:
    """A part that runs ends with its task, or by itself: whoever wants to end it is told which one to name."""
    world = World(tmp_path)
    plan = {"parts": [{"goal": "slow left", "needs": []}, {"goal": "slow right", "needs": []}]}
    world.write(
        [
            {"when": "split*it", "system": "You split a request", "json": plan},
            {"when": "slow", "text": "late", "delay": "1m"},
        ],
        cluster="scale: {type: threshold, complexity: 0.01, maxDepth: 1}",
    )
    async with world.open() as system:
        task = await system.engine.submit(task_of(system, "split it: first the left and then the right one"))
        async with asyncio.timeout(60):  # nobody tells
            while not (parts := [one for one in await system.store.list_tasks(tree=task) if one.id != task]):
                await until(system, lambda event: event.type == "agent.split", task)
        with pytest.raises(Conflict, match=f"is a part of Task/{task}, which runs"):
            await system.engine.cancel(parts[0].id)
        await system.engine.cancel(task)
        assert {one.phase for one in await system.store.list_tasks(tree=task)} == {"Cancelled"}
