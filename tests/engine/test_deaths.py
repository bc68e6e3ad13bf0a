"""A task in whose step the process ends again and again: it is set aside, and everything else goes on."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from loomd.daemon import System
from loomd.errors import Conflict
from loomd.events.bus import Scope
from loomd.events.event import Event, TaskAttempted, TaskSetAside
from loomd.events.journal import Journal
from tests.engine.world import TOOL, World, outcome, task_of

HANGS = '''
import asyncio
from pathlib import Path

async def mark() -> str:
    """Do nothing."""

async def steady() -> str:
    """Add a line, and come to no end."""
    with (Path(__file__).parent / "marks").open("a") as file:
        file.write("x\\n")
    await asyncio.sleep(60)
'''


async def facts(system: System, task: str, kind: type[TaskAttempted] | type[TaskSetAside]) -> list[Event]:
    """Return the events of one sort that are recorded of a task."""
    return [event async for event in Journal(system.store).replay(task=task) if isinstance(event.data, kind)]


async def die(system: System, task: str, step: str, times: int) -> None:
    """Leave the record that processes leave that ended in a step of a task."""
    scope, rows = Scope(system.bus, task), len(await Journal(system.store).checkpoints(task))
    for row in range(rows, rows + times):
        await system.store.durable(scope.emit(TaskAttempted(step), key=f"attempted/{row + 1}").seq)


async def marked(world: World, marks: int) -> None:
    """Wait until the tool was called so often."""
    async with asyncio.timeout(60):
        while len(world.marks) < marks:  # noqa: ASYNC110  # a file tells nobody
            await asyncio.sleep(0.01)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world whose agent calls a tool that hangs, and is done."""
    world = World(tmp_path)
    call = {"toolCalls": [{"name": "steady", "arguments": {}}]}
    world.write([{"when": "go", **call}, {"text": "done", "times": None}])
    (tmp_path / "tool.py").write_text(HANGS)
    return world


async def test_a_task_that_ends_the_process_is_set_aside(world: World) -> None:
    """It waits for a person after three times, says why, and goes on from its steps when it is told to."""
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        await marked(world, 1)
        await system.engine.drain(0)
        assert await facts(system, task, TaskAttempted) == []  # it never ran before
    async with world.open() as system:
        assert await system.engine.resume() == [task]
        await marked(world, 2)
        assert [event.data for event in await facts(system, task, TaskAttempted)] == [TaskAttempted("tool:steady")]
        await system.engine.drain(0)
    async with world.open() as system:
        last = (await facts(system, task, TaskAttempted))[-1]
        assert last.data == TaskAttempted("")  # it was stopped in good order, which counts for nothing
        await die(system, task, "tool:steady", 2)
        assert await system.engine.resume() == [task]
        await marked(world, 3)
        await system.engine.drain(0)
        await die(system, task, "tool:steady", 3)
    async with world.open() as system:
        for _ in range(2):
            await system.engine.resume()
            with pytest.raises(Conflict, match=r"ended 3 times in a row while it was in tool:steady.*loomd resume"):
                await system.engine.result(task)
        record = await system.engine.get(task)
        assert record is not None
        assert (record.phase, record.result) == ("Pending", b"")
        (told,) = await facts(system, task, TaskSetAside)
        assert isinstance(told.data, TaskSetAside)
        assert (told.data.step, told.data.times, told.data.reason) == ("tool:steady", 3, record.reason)
        assert len(world.marks) == 3
        (world.folder / "tool.py").write_text(TOOL)
        await system.reconciler.apply(world.delivery())
        await system.engine.go_on(task)
        assert outcome(await system.engine.result(task)) == ("Succeeded", "completed", "done")


async def test_what_is_seldom_the_cause_is_set_aside_later(world: World) -> None:
    """A task that asks a model while another one ends the process goes on for twice as long."""
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        await marked(world, 1)
        await system.engine.drain(0)
        await die(system, task, "model", 5)
    async with world.open() as system:
        await system.engine.resume()
        await marked(world, 2)
        await system.engine.drain(0)
        await die(system, task, "model", 6)
    async with world.open() as system:
        await system.engine.resume()
        with pytest.raises(Conflict, match="ended 6 times in a row while it was in model"):
            await system.engine.result(task)


HOOK = """
---
apiVersion: loomd.dev/v1
kind: Interceptor
metadata: {name: hook}
spec: {type: python, file: hook.py, function: look, at: [beforeModel], timeout: 60s}
"""
LOOKS = """
import asyncio
from pathlib import Path

async def look(call: dict) -> None:
    with (Path(__file__).parent / "marks").open("a") as file:
        file.write("x\\n")
    await asyncio.sleep(60)
"""


async def test_a_hook_that_ends_the_process_is_the_one_that_is_named(tmp_path: Path) -> None:
    """Inside a model's step a hook is told by its name, and suspected as soon as a tool."""
    world = World(tmp_path)
    world.write([{"text": "done", "times": None}], agent="interceptors: [hook]")
    manifest = tmp_path / "manifests.yaml"
    manifest.write_text(manifest.read_text("utf-8") + HOOK, "utf-8")
    (tmp_path / "hook.py").write_text(LOOKS, "utf-8")
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        await marked(world, 1)
        await system.engine.drain(0)
    async with world.open() as system:
        await system.engine.resume()
        await marked(world, 2)
        rows = [event.data for event in await facts(system, task, TaskAttempted)]
        assert rows == [TaskAttempted("model"), TaskAttempted("Interceptor/hook", within=True)]
        await system.engine.drain(0)
        scope = Scope(system.bus, task)
        for life in range(3):
            for at, row in enumerate(rows):
                await system.store.durable(scope.emit(row, key=f"attempted/{100 + 2 * life + at}").seq)
    async with world.open() as system:
        await system.engine.resume()
        with pytest.raises(Conflict, match="ended 3 times in a row while it was in Interceptor/hook"):
            await system.engine.result(task)


@pytest.mark.parametrize("end", ["return", "raise ValueError(1)", "raise SystemExit(1)", "await asyncio.sleep(60)"])
async def test_a_hook_that_came_back_is_not_named(tmp_path: Path, end: str) -> None:
    """When it came back, however, and the process ends afterwards, the step itself is told again."""
    world = World(tmp_path)
    world.write([{"text": "done", "times": None, "delay": "60s"}], agent="interceptors: [hook]")
    manifest = tmp_path / "manifests.yaml"
    hook = HOOK.replace("timeout: 60s", "timeout: 1s, onError: skip")
    manifest.write_text(manifest.read_text("utf-8") + hook, "utf-8")
    (tmp_path / "hook.py").write_text(LOOKS.replace("await asyncio.sleep(60)", end), "utf-8")
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        await marked(world, 1)
        await system.engine.drain(0)
    async with world.open() as system:
        await system.engine.resume()
        async with asyncio.timeout(60):
            while len(rows := await facts(system, task, TaskAttempted)) < 3:  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0.01)
        names = [event.data.step for event in rows if isinstance(event.data, TaskAttempted)]
        assert names == ["model", "Interceptor/hook", "model"]
        await system.engine.drain(0)


async def test_a_cancellation_that_nobody_asked_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task fails and says so; it does not stay as one that runs."""

    async def run(*_: object) -> None:
        raise asyncio.CancelledError

    def cluster(*_: object) -> object:
        return SimpleNamespace(run=run)

    async with world.open() as system:
        monkeypatch.setattr("loomd.engine.local.cluster_of", cluster)
        result = await system.engine.result(await system.engine.submit(task_of(system)))
    assert (result.phase, result.error) == ("Failed", "it was cancelled from within, by something that is not loomd's")
