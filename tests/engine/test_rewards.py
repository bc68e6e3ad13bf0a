"""What tasks teach counts once each, however they are interrupted and whatever ends beside them."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from loomd.agents.approval import Decision
from loomd.amoeba.task import Durability
from loomd.daemon import System
from loomd.events.cluster import CapabilityUpdated
from loomd.events.event import Event
from tests.clocks import skip
from tests.engine.world import World, task_of, until

SLOW = {"times": None, "text": "done", "delay": "200ms"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world whose agent takes a moment to answer."""
    world = World(tmp_path)
    world.write([SLOW])
    return world


async def counted(system: System) -> int:
    """Return how many tasks the stored scores rest on."""
    return sum(one.count for one in await system.store.capabilities())


async def test_interrupted_tasks_that_end_together_all_count(world: World) -> None:
    """Five tasks that go on after a restart end at the same time, beside a new one: six are learned from."""
    async with world.open() as system:
        for _ in range(5):
            await until(system, lambda event: event.type == "task.started", await system.engine.submit(task_of(system)))
        await system.engine.drain(0)
    async with world.open() as system:
        tasks = await system.engine.resume()
        tasks.append(await system.engine.submit(task_of(system)))
        results = await asyncio.gather(*(system.engine.result(task) for task in tasks))
        assert [result.phase for result in results] == ["Succeeded"] * 6
        assert await counted(system) == 6


@pytest.mark.parametrize("mode", ["steps", "task"])
async def test_a_task_counts_once(world: World, mode: Durability) -> None:
    """Killed after it was learned from: the same is not learned again, and the result says what was."""
    world.write([SLOW], cluster=f"durability: {mode}")
    world.kill_at("capability.updated")
    async with world.open() as system:
        heard: list[Event] = []
        system.bus.subscribe(heard.append)
        (task,) = await system.engine.resume()
        result = await system.engine.result(task)
        assert not [event for event in heard if isinstance(event.data, CapabilityUpdated)]
        assert await counted(system) == 1
        (score,) = await system.store.capabilities()
        assert result.adapted is not None
        assert [(one.after, one.count) for one in result.adapted.moves] == [(score.score, 1)]
        second = await system.engine.result(await system.engine.submit(task_of(system)))
        assert second.adapted is not None
        assert second.adapted.moves[0].before == pytest.approx(score.score, abs=1e-4)
        assert await counted(system) == 2


async def test_waiting_for_people_is_no_merit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Efficiency and scores stay within 0 and 1 although the task waited while nobody ran it."""
    replies: list[dict[str, Any]] = [
        {"when": "go", "toolCalls": [{"name": "mark", "arguments": {}}]},
        {"when": "go", "text": "done"},
    ]
    world.write(replies, more="approval: {required: always, ttl: 1h}")
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        await until(system, lambda event: event.type == "approval.requested", task)
        await system.engine.drain(0)
    skip(60, monkeypatch)
    async with world.open() as system:
        await system.engine.resume()
        (question,) = await system.store.list_approvals(pending=True)
        await system.engine.decide(question.id, Decision("approved", "ann"))
        result = await system.engine.result(task)
        assert result.evaluated is not None
        assert result.executed is not None
        outcome = result.executed.outcome
        assert outcome.seconds >= outcome.waited >= 60
        assert 0 <= result.evaluated.efficiency <= 1
        assert 0 <= result.evaluated.reward <= 1
        assert all(0 <= one.score <= 1 for one in await system.store.capabilities())
