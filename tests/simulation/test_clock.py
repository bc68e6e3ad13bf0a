"""What becomes of waits, questions and deadlines when somebody sets the wall clock."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import msgspec
import pytest

from loomd.agents.approval import Decision
from loomd.amoeba.task import Budget, Task
from tests.simulation.loop import VirtualLoop
from tests.simulation.store import Disk, Faults, SimulatedStore
from tests.simulation.system import NAP, TTL, Outside, Process, WallClock

GLANCE = 30.0
"""Seconds after which whoever waits looks at the clock again."""


def live(scenario: Callable[[Process], Awaitable[None]]) -> None:
    """Run a scenario in a process of its own."""
    loop = VirtualLoop()

    async def within() -> None:
        outside, draw = Outside(), Random(1)
        clock = WallClock(loop, outside.now)
        process = Process(SimulatedStore(Disk(), draw, Faults(), clock.now, outside.tell), clock, outside, draw)
        await process.serve("r1")
        await scenario(process)
        await process.engine.drain(0)

    loop.run_until_complete(asyncio.ensure_future(within(), loop=loop))
    loop.close()


async def start(process: Process, goal: str, seconds: float | None = None) -> str:
    """Submit a task and give it time to come to its wait."""
    task = await process.engine.submit(Task("t1", goal, cluster="team", budget=Budget(seconds=seconds)))
    await asyncio.sleep(10)
    return task


@pytest.mark.parametrize(("jump", "least", "most"), [(3600.0, 0.0, GLANCE), (-3600.0, 3600.0, 3600.0 + NAP + GLANCE)])
def test_a_wait_goes_by_the_wall_clock(jump: float, least: float, most: float) -> None:
    """Set ahead it is over at the next glance, set back it takes as much longer."""

    async def scenario(process: Process) -> None:
        task = await start(process, "nap")
        process.clock.set_by(jump)
        began = process.clock.monotonic()
        result = await process.engine.result(task)
        assert result.phase == "Succeeded"
        assert least <= process.clock.monotonic() - began <= most + 5

    live(scenario)


@pytest.mark.parametrize(("jump", "verdict"), [(TTL, "expired"), (-TTL, "approved")])
def test_a_question_goes_by_the_wall_clock(jump: float, verdict: str) -> None:
    """Set ahead beyond its term it has expired, whoever answers then; set back it can be answered for longer."""

    async def scenario(process: Process) -> None:
        task = await start(process, "guard")
        (question,) = await process.store.list_approvals(pending=True)
        process.clock.set_by(jump)
        await asyncio.sleep(TTL - 1 if verdict == "approved" else GLANCE)
        if verdict == "approved":
            await process.engine.decide(question.id, Decision("approved"))
        await process.engine.result(task)
        stored = await process.store.get_approval(question.id)
        assert stored is not None
        assert msgspec.json.decode(stored.decision, type=Decision).verdict == verdict

    live(scenario)


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_running_deadline_does_not_hear_of_the_wall_clock(jump: float) -> None:
    """What a task may still take is counted while it runs: nobody's clock gives it more, or takes some away."""

    async def scenario(process: Process) -> None:
        began = process.clock.monotonic()
        task = await start(process, "late", 100.0)
        process.clock.set_by(jump)
        result = await process.engine.result(task)
        assert result.executed is not None
        assert result.executed.outcome.stop_reason == "budget_time"
        assert process.clock.monotonic() - began == pytest.approx(100.0, abs=5)

    live(scenario)
