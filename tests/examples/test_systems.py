"""22-runtime, 23-phases and 24-whole-system, offline as they are: their replies are scripted."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Unpack

import pytest

from loomd.amoeba.task import Result
from loomd.daemon import Settings, System, open_system
from loomd.engine.intake import Wish, new_task
from loomd.events.cluster import AgentSplit, AuctionBid, CapabilityUpdated
from loomd.events.event import Event, ModelRetried, PhaseCompleted, ToolCompleted
from loomd.events.skill import SkillActivated
from loomd.manifest.delivery import Delivery
from loomd.manifest.source import read_folder
from tests.engine.world import until
from tests.examples.test_examples import EXAMPLES

PHASES = ["sense", "match", "scale", "execute", "evaluate", "adapt"]


@asynccontextmanager
async def serving(number: str, state: Path) -> AsyncGenerator[tuple[System, list[Event]]]:
    """Yield a system that serves an example as it is, and the events from its first task on."""
    folder = next(path for path in EXAMPLES if path.name.startswith(number))
    async with open_system(Settings(state / "state", state / "models", state / "socket")) as system:
        await system.reconciler.apply(Delivery("example", tuple(read_folder(folder))))
        await system.reconciler.topology.settled()
        events: list[Event] = []
        system.bus.subscribe(events.append)
        yield system, events


async def asked(system: System, goal: str, **wish: Unpack[Wish]) -> Result:
    """Return the result of a task."""
    wish.setdefault("seed", 1)
    return await system.engine.result(await system.engine.submit(new_task(goal, system.clock, **wish)))


def winner(result: Result) -> str:
    """Return who did it."""
    assert result.matched is not None
    return result.matched.winner


def begins_work(event: Event) -> bool:
    """Return whether an agent begins with a task."""
    return isinstance(event.data, PhaseCompleted) and event.data.phase == "scale"


async def test_a_daemon_does_several_things_at_once(tmp_path: Path) -> None:
    """A lamp is repaired while a heating waits; Ann's second turn knows her first, and Bob's knows nothing of it."""
    async with serving("22", tmp_path) as (system, events):
        heating = await system.engine.submit(
            new_task("The heating in room 3 needs to be repaired.", system.clock, seed=1)
        )
        await until(system, begins_work, heating)
        lamp = await asked(system, "Please repair the lamp in room 7.")
        assert (winner(lamp), lamp.output) == ("workshop", "The lamp shines again.")
        told = await asked(system, "We have room 12.", session="ann")
        again = await asked(system, "When is our breakfast?", session="ann")
        other = await asked(system, "When is our breakfast?", session="bob")
        assert [one.output for one in (told, again, other)] == [
            "Welcome to room 12.",
            "Breakfast for room 12 is at eight.",
            "Which room do you have?",
        ]
        assert {winner(one) for one in (told, again, other)} == {"reception"}
        running = await system.engine.get(heating)
        assert running is not None
        assert running.phase == "Running"
        await system.engine.cancel(heating)
        assert (await system.engine.result(heating)).phase == "Cancelled"
        ends = [(event.type, event.task) for event in events if event.type in {"task.completed", "task.failed"}]
        assert ends == [("task.completed", one.task.id) for one in (lamp, told, again, other)] + [
            ("task.failed", heating)
        ]


async def test_each_phase_is_seen_and_learned_from(tmp_path: Path) -> None:
    """The request and both parts go through all six; who boasted loses the next task of its domain."""
    async with serving("23", tmp_path) as (system, events):
        whole = await asked(system, "How long is the soup cooked, and how long is the cake baked?")
        assert "40 minutes" in whole.output
        for task in (whole.task.id, f"{whole.task.id}.1", f"{whole.task.id}.2"):
            seen = [e.data.phase for e in events if isinstance(e.data, PhaseCompleted) and e.task == task]
            assert seen == PHASES, task
        assert [event.task for event in events if isinstance(event.data, AgentSplit)] == [whole.task.id]
        cake = f"{whole.task.id}.2"
        bids = [event.data for event in events if isinstance(event.data, AuctionBid) and event.task == cake]
        assert [one.bidder for one in bids] == ["boaster", "baker", "cook"]
        moved = {
            (event.data.owner, event.data.domain): (event.data.before, event.data.after)
            for event in events
            if isinstance(event.data, CapabilityUpdated) and event.task == cake
        }
        before, after = moved["boaster", "baking"]
        assert before == pytest.approx(0.8)
        assert after == pytest.approx(0.685, abs=0.005)
        next_one = await asked(system, "How long is the cake baked?")
        assert (winner(next_one), next_one.output) == ("baker", "The cake is baked for 50 minutes.")


async def test_a_whole_system_works_together(tmp_path: Path) -> None:
    """The spare model answers, each agent has what it needs, no address leaves, and what is rude is refused."""
    async with serving("24", tmp_path) as (system, events):
        rent = await asked(system, "What is the rent for 200 square metres? Write to ann@example.com.")
        assert (winner(rent), rent.output) == ("treasurer", "The rent of 200 square metres is 84 euros a year.")
        assert [event.data.result for event in events if isinstance(event.data, ToolCompleted)] == ["84.00 euros"]
        retried = [event.data for event in events if isinstance(event.data, ModelRetried)]
        assert [one.after for one in retried] == ["", "spare/scripted"]
        tomatoes = await asked(system, "When are tomatoes planted out?")
        assert tomatoes.executed is not None
        assert [one.source for one in tomatoes.executed.outcome.citations] == ["handbook/planting.md:3-5"]
        await asked(system, "We have plot 14 of the society.")
        assert (await asked(system, "Which plot do we have?")).output == "You have plot 14."
        minutes = await asked(system, "Make minutes of this meeting: Ben cuts the hedge on Saturday.")
        assert minutes.output == "- The hedge is cut on Saturday - Ben"
        assert [event.data.skill for event in events if isinstance(event.data, SkillActivated)] == ["minutes"]
        rude = await asked(system, "Shut up and tell me when beans are planted.")
        assert rude.error == "Interceptor/polite refused the work: the request breaks spec.deny[0]"
    (book,) = await asyncio.to_thread(lambda: list((tmp_path / "state").rglob("audit.jsonl")))
    text = book.read_text()
    assert "rent" in text
    assert "ann@example.com" not in text
