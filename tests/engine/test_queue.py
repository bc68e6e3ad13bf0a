"""Tasks that nobody takes wait: until somebody does, they are cancelled, or it takes too long; over restarts."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from loomd.amoeba.task import Matched, Result, Task
from loomd.cluster import stirring
from loomd.cluster.forge import BlueprintForge
from loomd.daemon import System
from loomd.engine.intake import new_task
from loomd.events.bus import Scope
from loomd.events.cluster import AgentRetired, CapabilityUpdated, TaskQueued
from loomd.events.event import Event, Fallback, ModelCalled, PhaseCompleted
from loomd.events.journal import Journal
from tests.clocks import hold
from tests.engine.test_learning import BOB, team
from tests.engine.world import World, until

QUEUE = "match: {type: auction, noWinner: queue, reserve: 0.95, exploration: 0}, scale: {type: never}"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world in which nobody bids enough."""
    world = World(tmp_path)
    world.write([{"times": None, "text": "done"}], cluster=f"{QUEUE}, queue: {{every: 1h, longest: 1h}}")
    return world


async def waiting(system: System, goal: str = "go") -> str:
    """Submit a task; return its id once it waits."""
    task = await system.engine.submit(new_task(goal, system.clock))
    await until(system, lambda event: isinstance(event.data, TaskQueued), task)
    await phase(system, task, "Queued")
    return task


async def phase(system: System, task: str, wanted: str) -> None:
    """Wait until a task is in a phase."""
    async with asyncio.timeout(60):
        while (record := await system.engine.get(task)) is None or record.phase != wanted:  # noqa: ASYNC110  # not told
            await asyncio.sleep(0.005)


async def told(system: System, task: str) -> list[TaskQueued]:
    """Return what was told of how a task waits."""
    events = [event.data async for event in Journal(system.store).replay(task=task)]
    return [one for one in events if isinstance(one, TaskQueued)]


def good(system: System, domain: str = "general") -> None:
    """Let the cluster believe that its agent is good."""
    digest = team(system).agents["ada"].digest
    system.bus.emit(CapabilityUpdated("ada", digest, domain, 0.3, 1.0, 0.0, 10_000, "good", 1.0))


def has_matched(task: str, event: Event) -> bool:
    """Return whether an event says that MATCH of a task is over."""
    return event.task == task and isinstance(event.data, PhaseCompleted) and event.data.phase == "match"


def matched(result: Result) -> Matched:
    """Return what MATCH said."""
    assert result.matched is not None, result
    return result.matched


async def test_a_task_waits_until_somebody_takes_it(world: World) -> None:
    """It is woken when what is believed changes, goes on waiting after a restart, and says why it waited."""
    async with world.open() as system:
        task, other = await waiting(system), await waiting(system)
        (queued,) = await told(system, task)
    async with world.open() as system:
        assert sorted(await system.engine.resume()) == sorted([task, other])
        await phase(system, task, "Queued")
        assert await told(system, task) == [queued], "it does not wait longer for that"
        await system.engine.cancel(other)
        assert (await system.engine.result(other)).phase == "Cancelled"
        good(system)
        result = await system.engine.result(task)
        said = matched(result)
        assert (result.phase, said.winner, said.path, result.output) == ("Succeeded", "ada", "queue", "done")
        assert "below the reserve" in said.nobody
        assert "it waited, because" in said.why


async def test_tasks_that_are_woken_together_spread_over_equals(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes one is busy with it before the next auction is held."""
    go = hold(monkeypatch)
    terms = QUEUE.replace("0.95", "0.7")
    cluster = f"{terms}, queue: {{every: 1h, longest: 1h}}"
    world.write([{"times": None, "text": "done", "delay": "1s"}], agent="domains: {general: 0.3}", cluster=cluster)
    world.edit("agents: [ada]", "agents: [ada, bob]")
    path = world.folder / "manifests.yaml"
    path.write_text(path.read_text() + BOB.replace("provider: fine", "provider: script, domains: {general: 0.3}"))
    async with world.open() as system:
        tasks = [await waiting(system) for _ in range(4)]
        for name in ("ada", "bob"):
            digest = team(system).agents[name].digest
            system.bus.emit(CapabilityUpdated(name, digest, "general", 0.3, 1.0, 0.0, 10_000, "good", 1.0))
        for task in tasks:
            await until(system, partial(has_matched, task), task)
        go.set()
        results = await asyncio.gather(*map(system.engine.result, tasks))
        assert sorted(matched(one).winner for one in results) == ["ada", "ada", "bob", "bob"]


async def test_it_misses_no_revision_that_came_before_it_waited(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as while a specialist was designed, in vain."""
    go = hold(monkeypatch)
    design = {"system": "You design a specialist", "times": None, "text": "no", "delay": "1s"}
    match = "match: {type: auction, noWinner: forge, exploration: 0}, scale: {type: never}"
    terms = "forge: {every: 0s, fallback: queue, attempts: 1}, queue: {every: 1h, longest: 1h}"
    world.write([design, {"times": None, "text": "done"}], cluster=f"{match}, {terms}")
    async with world.open() as system:
        task = await system.engine.submit(new_task("go", system.clock))
        await until(system, lambda event: isinstance(event.data, PhaseCompleted) and event.data.phase == "sense", task)
        world.edit("agents: [ada]", "agents: [ada, bob]")
        path = world.folder / "manifests.yaml"
        path.write_text(path.read_text() + BOB.replace("provider: fine", "provider: fine, domains: {general: 1.0}"))
        await system.reconciler.apply(world.delivery())
        go.set()
        async with asyncio.timeout(60):
            result = await system.engine.result(task)
        assert (matched(result).winner, result.output) == ("bob", "ok")


async def test_a_model_chooses_once_somebody_may_win(world: World) -> None:
    """It is not asked while the task waits, and the task goes on after a restart with other bids."""
    choice = {"system": "You choose who works", "times": None, "json": {"agent": "ada"}}
    match = "match: {type: llm, auction: {noWinner: forge, exploration: 0}}, scale: {type: never}"
    terms = "forge: {fallback: queue}, learning: {modes: {forge: 'off'}}, queue: {every: 1h, longest: 1h}"
    replies: list[dict[str, Any]] = [choice, {"times": None, "text": "done"}]
    world.write(replies, agent="domains: {cooking: 0.3}", cluster=f"{match}, {terms}")
    world.edit("agents: [ada]", "agents: [ada, bob]")
    path = world.folder / "manifests.yaml"
    path.write_text(path.read_text() + BOB)
    async with world.open() as system:
        asked: list[Event] = []
        system.bus.subscribe(asked.append, ModelCalled)
        task = await waiting(system, "cooking")
        digest = team(system).agents["bob"].digest
        for mean in (0.1, 0.2):
            system.bus.emit(CapabilityUpdated("bob", digest, "cooking", 0.3, mean, 0.0, 10, "no better", mean))
            await asyncio.sleep(0)
        assert asked == []
    async with world.open() as system:
        system.bus.subscribe(asked.append, ModelCalled)
        await system.engine.resume()
        await phase(system, task, "Queued")
        good(system, "cooking")
        result = await system.engine.result(task)
        assert (result.phase, matched(result).winner, matched(result).calls) == ("Succeeded", "ada", 1)
        assert "chosen by a model" in matched(result).why
        assert len(asked) == 2, "one call chooses, one works"


async def test_a_denial_is_told_once_however_often_the_task_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """People denied the specialist that fits; the task waits for somebody else, and after a restart, too."""
    heard = asyncio.Event()
    answers = 0

    async def denied(_: BlueprintForge, __: Task) -> str:
        nonlocal answers
        answers += 1
        if answers > 1:  # what was answered before is told by now
            heard.set()
        return "cook, which fits, is not to join: no"

    monkeypatch.setattr(BlueprintForge, "denied", denied)
    terms = "forge: {fallback: queue}, learning: {modes: {forge: 'off'}}, queue: {every: 10ms, longest: 1h}"
    match = "match: {type: auction, noWinner: forge, exploration: 0}, scale: {type: never}"
    world.write([], agent="domains: {cooking: 0.3}", cluster=f"{match}, {terms}")
    async with asyncio.timeout(60):
        async with world.open() as system:
            task = await waiting(system, "cooking")
            await heard.wait()
        heard.clear()
        answers = 0
        async with world.open() as system:
            await system.engine.resume()
            await heard.wait()
            await system.engine.cancel(task)
            await system.engine.result(task)
            events = [event.data async for event in Journal(system.store).replay(task=task)]
    said = [one.reason for one in events if isinstance(one, Fallback) and one.fallback == "it waits for somebody else"]
    assert said == ["cook, which fits, is not to join: no"]


async def test_only_what_concerns_it_wakes_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not other namespaces, clusters and agents; and what happens at once wakes it once."""
    monkeypatch.setattr(stirring, "_BURST", 3600.0)
    async with world.open() as system:
        with team(system).stirring() as one:

            async def woken(within: float = 0.02) -> bool:
                try:
                    async with asyncio.timeout(within):
                        return await one.wait(system.clock.now() + 3600, 3600)
                except TimeoutError:
                    return False

            for owner, where in (("ada", "elsewhere"), ("zoe", "default")):
                fact = CapabilityUpdated(owner, "x", "general", 0.3, 0.4, 0.0, 2, "of others")
                system.bus.emit(fact, Scope(system.bus, "", namespace=where))
            system.bus.emit(AgentRetired("ada", "x", "other", 0.0, "of others"))
            assert not await woken()
            good(system)
            assert await woken(20.0)
            good(system)
            assert not await woken()


async def test_it_goes_on_on_a_revision_that_can_do_it(world: World) -> None:
    """Whoever sees it wait adds an agent."""
    async with world.open() as system:
        task = await waiting(system)
        world.edit("agents: [ada]", "agents: [ada, bob]")
        world.edit("reserve: 0.95", "reserve: 0.7")
        path = world.folder / "manifests.yaml"
        path.write_text(path.read_text() + BOB.replace("provider: fine", "provider: fine, domains: {general: 1.0}"))
        await system.reconciler.apply(world.delivery())
        result = await system.engine.result(task)
        assert (matched(result).winner, result.output, matched(result).path) == ("bob", "ok", None)
        record = await system.engine.get(task)
        assert record is not None
        assert record.phase == "Succeeded"


@pytest.mark.parametrize("sense", ["heuristic", "hybrid", "llm"])
async def test_it_is_taken_by_the_specialist_whom_it_waited_for(sense: str, world: World) -> None:
    """No domain was there for it when SENSE looked; somebody adds an agent who has one, which learns from it."""
    world.edit("scale: {type: never}", f"scale: {{type: never}}, sense: {{type: {sense}}}")
    async with world.open() as system:
        task = await waiting(system, "a question of tenancy")
        world.edit("agents: [ada]", "agents: [ada, bob]")
        path = world.folder / "manifests.yaml"
        path.write_text(path.read_text() + BOB.replace("provider: fine", "provider: fine, domains: {tenancy: 1.0}"))
        await system.reconciler.apply(world.delivery())
        async with asyncio.timeout(60):
            result = await system.engine.result(task)
        said = matched(result)
        assert (said.winner, result.output, said.domains) == ("bob", "ok", {"tenancy": 1.0})
        assert "it fits tenancy, which it did not before an interruption" in said.why
        assert result.adapted is not None
        assert [(one.agent, one.domain) for one in result.adapted.moves] == [("bob", "tenancy")]


@pytest.mark.parametrize(("then", "phase"), [("fail", "Failed"), ("best_available", "Succeeded")])
async def test_it_does_not_wait_for_ever(world: World, then: str, phase: str) -> None:
    """Then it fails, or the best bid takes it."""
    world.edit("every: 1h, longest: 1h", f"every: 10ms, longest: 30ms, then: {then}")
    async with world.open() as system:
        result = await system.engine.result(await system.engine.submit(new_task("go", system.clock)))
        assert (result.phase, matched(result).path) == (phase, "queue")
        assert "it waited too long" in matched(result).why
