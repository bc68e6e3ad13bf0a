"""A task with all its parts and all that is delegated in it is one account, also after a restart."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from loomd.amoeba.task import Budget, Result
from loomd.daemon import System
from loomd.events.event import StepCompleted, StepFailed
from loomd.events.journal import Journal
from loomd.messages import Usage
from loomd.replay.export import Serving, export
from loomd.replay.player import replay
from tests.engine.test_delegation import Team, done, says
from tests.engine.world import World, outcome, task_of

GOAL = "split it: first the left and then the right one, and one more"
CLUSTER = "scale: {type: threshold, complexity: 0.01, maxDepth: 1, childTokens: 1}"
PARTS = [{"goal": f"part {name}", "needs": []} for name in ("left", "right", "other")]
USED = {"input": 20, "output": 5}


def replies(plan: list[dict[str, Any]], *parts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a script in which a task is split, and every part marks and then answers."""
    planned = {"when": "split*it", "system": "You split a request", "json": {"parts": plan}, "usage": USED}
    marked = [
        {"when": one["goal"], "toolCalls": [{"name": "mark", "arguments": {"word": one["goal"][5:]}}], "usage": USED}
        for one in plan
    ]
    said = [{"when": one["goal"], "text": f"{one['goal']} done", "usage": USED, "delay": "5ms"} for one in plan]
    merged = {"when": "Results so far", "text": "all of it", "usage": USED}
    alone = {"when": "split", "text": "alone", "usage": USED}
    endless = [{"times": None, **one} for one in (planned, merged, alone, *said)]
    return [*endless[:3], *parts, *marked, *endless[3:]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world in which a task is split into three parts that mark."""
    world = World(tmp_path)
    world.write(replies(PARTS), more="onUncertain: retry", agent="maxTokens: 20", cluster=CLUSTER)
    return world


async def run(system: System, budget: Budget) -> Result:
    """Run one task to its end."""
    task = msgspec.structs.replace(task_of(system, GOAL), budget=budget)
    return await system.engine.result(await system.engine.submit(task))


async def made(system: System, task: str) -> int:
    """Return how many model calls are recorded of a task and its parts."""
    records = [task, *(one.id for one in await system.store.list_tasks(tree=task))]
    facts = [event.data for one in records async for event in Journal(system.store).replay(task=one)]
    return len([fact for fact in facts if isinstance(fact, StepCompleted) and fact.name in {"model", "plan"}])


# Parts of a split


@pytest.mark.parametrize("calls", range(1, 10))
async def test_parts_make_no_more_calls_than_the_task_may(world: World, calls: int) -> None:
    """However few model calls there are for however many parts: with the plan and the final answer no more are made."""
    async with world.open() as system:
        result = await run(system, Budget(calls=calls))
        assert done(result).steps <= calls
        assert await made(system, result.task.id) <= calls
    assert result.phase == "Succeeded"
    assert (result.scaled is not None and len(result.scaled.subtasks) == 3) is (calls >= 5)


@pytest.mark.parametrize("tokens", [100, 200, 300, 400, 600, 800, 1000, 1500])
async def test_parts_use_no_more_tokens_than_the_task_may(world: World, tokens: int) -> None:
    """Where calls use no more than was estimated, the limit is never passed, planning included."""
    async with world.open() as system:
        result = await run(system, Budget(tokens=tokens))
    assert done(result).usage.total <= tokens


async def test_a_part_cannot_use_up_what_the_final_answer_needs(world: World) -> None:
    """One that used far more than was estimated leaves later ones nothing, and they say so; what is there counts."""
    plan: list[dict[str, Any]] = [{"goal": "part greedy", "needs": []}, {"goal": "part late", "needs": [1]}]
    greedy = {"when": "part greedy", "text": "much", "usage": {"input": 5900, "output": 100}}
    world.write(replies(plan, greedy), agent="maxTokens: 20", cluster=CLUSTER)
    async with world.open() as system:
        result = await run(system, Budget(tokens=8000))
    assert outcome(result) == ("Succeeded", "budget_tokens", "all of it")
    assert result.executed is not None
    assert result.executed.missing == ("part late",)
    assert done(result).usage.total <= 8000


@pytest.mark.parametrize("at", ["step.completed plan", "step.completed model", "step.completed tool:mark"])
async def test_killed_while_parts_run(world: World, at: str) -> None:
    """What was used before counts once, what was under way is set aside for again, and nothing stays held."""
    world.kill_at(at, GOAL)
    async with world.open() as system:
        (task,) = await system.engine.resume()
        result = await system.engine.result(task)
        assert await made(system, task) == 8
    assert outcome(result) == ("Succeeded", "completed", "all of it")
    assert done(result).usage == Usage(8 * 20, 8 * 5)


# Delegated work


SEVERAL = [("ask-worker", {"goal": f"make mark {n}"}) for n in range(6)]


@pytest.fixture
def team(tmp_path: Path) -> Team:
    """Return a team in which six workers mark at once, each as long as it may."""
    team = Team(tmp_path)
    declare(team, "tokens: 600")
    return team


def declare(team: Team, limits: str, mark: str = "onUncertain: retry") -> None:
    """Write the manifests of a boss with limits; the calls of its workers use about what they are estimated to."""
    team.declare(
        [
            says("boss", "I delegate.", *SEVERAL, usage={"input": 143, "output": 5}),
            says("boss", "All done.", times=None),
            says("worker", "I mark.", ("mark", {}), times=None, delay="2ms", usage={"input": 130, "output": 5}),
            says("worker", "It is marked.", times=None, usage={"input": 70, "output": 5}),
        ],
        boss=f"limits: {{{limits}}}, maxTokens: 5",
        worker="limits: {repeats: 4, steps: 100}, maxTokens: 5",
        mark=mark,
    )


@pytest.mark.parametrize("tokens", [100, 180, 400, 700, 1000, 6000])
async def test_delegations_at_once_stay_within_the_tokens(team: Team, tokens: int) -> None:
    """Six workers at the same time use no more together than the caller may, and each says why it ends."""
    declare(team, f"tokens: {tokens}")
    async with team.open() as system:
        result = await system.engine.result(await system.engine.submit(task_of(system)))
    assert done(result).usage.total <= tokens
    assert done(result).stop_reason == ("completed" if tokens >= 5000 else "budget_tokens")


@pytest.mark.parametrize("marks", [0, 1, 4, 7])
async def test_delegations_at_once_stay_within_the_money(team: Team, marks: int) -> None:
    """What tools cost is on one account, too: as many calls are made as can be paid, down to none."""
    declare(team, f"cost: {marks * 0.25}, toolErrors: 100", mark="cost: 0.25")
    async with team.open() as system:
        result = await system.engine.result(await system.engine.submit(task_of(system)))
    assert len(team.marks) == marks
    assert done(result).cost == marks * 0.25


@pytest.mark.parametrize("calls", [2, 3, 5, 8])
async def test_delegations_at_once_stay_within_the_calls(team: Team, calls: int) -> None:
    """So it is with model calls of the whole task."""
    async with team.open() as system:
        task = msgspec.structs.replace(task_of(system), budget=Budget(calls=calls))
        result = await system.engine.result(await system.engine.submit(task))
        assert await made(system, result.task.id) == done(result).steps <= calls


async def test_one_waits_for_the_other_where_both_do_not_fit(team: Team) -> None:
    """Answers may be long and are short: near the limit calls are made one after another, and none fails."""
    team.declare(
        [
            says("boss", "I delegate.", *SEVERAL),
            says("boss", "All done."),
            says("worker", "It is done.", times=None, delay="2ms"),
        ],
        boss="limits: {tokens: 800}, maxTokens: 5",
        worker="maxTokens: 500",
    )
    async with team.open() as system:
        result = await system.engine.result(await system.engine.submit(task_of(system)))
        failed = [e async for e in Journal(system.store).replay(task=result.task.id) if isinstance(e.data, StepFailed)]
    assert outcome(result) == ("Succeeded", "completed", "All done.")
    assert done(result).tool_errors == 0
    assert failed == []


@pytest.mark.parametrize(
    ("at", "tokens"),
    [
        ("step.completed model", 400),
        ("step.completed model", 5000),
        ("step.completed tool:mark", 400),
        ("step.completed tool:mark", 5000),
        ("step.completed tool:ask-worker", 5000),
    ],
)
async def test_killed_while_delegations_run(team: Team, at: str, tokens: int) -> None:
    """After a restart, too, no more is used than the caller may; with enough for all of them all come to their end."""
    declare(team, f"tokens: {tokens}")
    team.kill_at(at)
    async with team.open() as system:
        (task,) = await system.engine.resume()
        result = await system.engine.result(task)
    assert done(result).usage.total <= tokens
    assert done(result).stop_reason == ("completed" if tokens >= 5000 else "budget_tokens")


async def test_an_end_at_once_can_be_replayed(team: Team) -> None:
    """Which of them found no room is recorded, so a replay ends in the same places."""
    declare(team, "tokens: 400")
    async with team.open() as system:
        task = await system.engine.submit(task_of(system))
        result = await system.engine.result(task)
        topology = system.reconciler.topology
        cassette = await export(system.store, task, Serving(topology.snapshot, topology.live))
        refused = [e.data async for e in Journal(system.store).replay(task=task) if isinstance(e.data, StepFailed)]
    assert done(result).stop_reason == "budget_tokens"
    assert {one.ended for one in refused} == {"budget_tokens"}
    assert (await replay(cassette)).whole
