"""What failed is begun anew by somebody else: whole tasks and parts of a split, exactly once, within one budget."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loomd.amoeba.execute import explain
from loomd.amoeba.task import Budget, Result, Task
from loomd.cluster.cluster import Cluster
from loomd.daemon import System
from loomd.events.cluster import AgentRetired, PartRetried
from loomd.events.event import TaskFailed
from loomd.events.journal import Journal
from loomd.manifest.object import Ref
from tests.engine.world import World, task_of

BROKEN = """---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: broken}
spec: {type: scripted, replies: [{error: permanent, text: the press is broken, times: null}]}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: bob}
spec: {description: Breaks things., provider: broken, domains: {general: 1.0}}
"""
GOAL = "split it: first the left and then the right one, and one more"
SPLIT = "merge: join, planner: script, scale: {type: threshold, complexity: 0.01, maxDepth: 1, childTokens: 1, RETRIES}"
PLAN = [{"goal": "part left", "needs": []}, {"goal": "part right", "needs": [1]}]


def team(folder: Path, replies: list[dict[str, Any]], cluster: str = "") -> World:
    """Return a world in which bob wins and fails, and ada says what the script has."""
    world = World(folder)
    world.write([{"times": None, **one} for one in replies], cluster=cluster)
    world.edit("agents: [ada]", "agents: [bob, ada]")
    path = folder / "manifests.yaml"
    path.write_text(path.read_text() + BROKEN)
    return world


async def attempts(system: System, first: str) -> list[tuple[Result, Task]]:
    """Return what became of a task and of the attempts that followed."""
    found: list[tuple[Result, Task]] = []
    while first:
        result = await system.engine.result(first)
        record = await system.engine.get(first)
        assert record is not None
        found.append((result, msgspec.json.decode(record.body, type=Task)))
        first = result.retried
    return found


async def test_a_failed_task_is_begun_anew_by_another(tmp_path: Path) -> None:
    """The attempt has an id of its own, what is left of the budget and the time, and teaches on its own."""
    world = team(tmp_path, [{"text": "done", "usage": {"input": 10, "output": 5}}])
    async with world.open() as system:
        task = msgspec.structs.replace(task_of(system, "general work"), retries=2, budget=Budget(tokens=5000))
        ((first, one), (second, two)) = await attempts(system, await system.engine.submit(task))
        failed = [event.data async for event in Journal(system.store).replay(task=task.id)]
    assert (first.phase, second.phase, second.output) == ("Failed", "Succeeded", "done")
    assert (two.id, two.attempt, two.avoid, two.deadline) == (f"{task.id}-2", 2, ("bob",), one.deadline)
    assert second.matched is not None
    assert second.matched.why.endswith("without bob, who failed")
    assert [fact.retried for fact in failed if isinstance(fact, TaskFailed)] == [two.id]
    assert second.retried == ""


async def test_attempts_end(tmp_path: Path) -> None:
    """A task that always fails has one attempt more than retries; without retries it has one."""
    world = team(tmp_path, [{"error": "permanent", "text": "no ink"}])
    async with world.open() as system:
        for retries in (0, 3):
            task = msgspec.structs.replace(task_of(system), retries=retries)
            ended = await attempts(system, await system.engine.submit(task))
            assert [result.phase for result, _ in ended] == ["Failed"] * (retries + 1)
            assert len({one.id for _, one in ended}) == retries + 1


@pytest.mark.parametrize("at", ["phase.completed", "task.failed", "task.started"])
async def test_killed_between_attempts_none_is_lost_and_none_is_twice(tmp_path: Path, at: str) -> None:
    """Whenever the process is killed: two attempts, one effect."""
    mark = {"when": "go", "toolCalls": [{"name": "mark", "arguments": {}}], "times": 1}
    world = team(tmp_path, [mark, {"text": "done"}])
    world.kill_at(at, retries=1)
    async with world.open() as system:
        await system.engine.resume()
        records = await system.store.list_tasks()
        first = next(one.id for one in records if not one.id.endswith("-2"))
        ended = await attempts(system, first)
        assert [result.phase for result, _ in ended] == ["Failed", "Succeeded"]
        assert len(await system.store.list_tasks()) == 2
    assert world.marks == ["x"]


async def test_a_failed_part_goes_to_another(tmp_path: Path) -> None:
    """On the part's own share; who failed does not get it again; what was tried is told and counted."""
    world = team(
        tmp_path,
        [
            {"system": "You split a request", "json": {"parts": PLAN}},
            {"when": "own part:*left", "text": "L", "usage": {"input": 10, "output": 5}},
            {"when": "own part:*right", "text": "R", "usage": {"input": 10, "output": 5}},
        ],
        SPLIT.replace("RETRIES", "retries: 1"),
    )
    async with world.open() as system:
        result = await system.engine.result(await system.engine.submit(task_of(system, GOAL)))
        facts = [event.data async for event in Journal(system.store).replay(task=result.task.id)]
    assert result.executed is not None
    executed = result.executed
    told = [fact for fact in facts if isinstance(fact, PartRetried)]
    assert executed.missing == ()
    assert executed.again
    assert [(one.failed, one.agent, one.task) for one in executed.again] == [
        (fact.part, fact.by, fact.child) for fact in told
    ]
    assert {one.agent for one in executed.again} == {"bob"}
    assert all(one.task == f"{one.failed}-2" and one.why.endswith("the press is broken") for one in executed.again)
    assert set(executed.children) >= {one.task for one in executed.again}
    assert "R" in result.output
    assert "L" in result.output


async def test_a_part_that_was_given_to_another_stays_with_it(tmp_path: Path) -> None:
    """Killed once it was, and nobody else is there when the task goes on: what was begun in its place is not lost."""
    plan = [{"goal": "part left", "needs": []}, {"goal": "part right", "needs": []}]
    replies: list[dict[str, Any]] = [
        {"system": "You split a request", "json": {"parts": plan}},
        {"when": "own part:*left", "text": "L"},
        {"when": "own part:*right", "text": "R"},
    ]
    split = SPLIT.replace("RETRIES", "retries: 1")
    world = team(tmp_path, replies, f"{split}, match: {{type: auction, exploration: 0}}")
    world.kill_at("part.retried", GOAL)
    async with world.open(apply=False) as system:
        cluster = system.reconciler.topology.live[Ref("Cluster", "default")]
        assert isinstance(cluster, Cluster)
        (name,) = await system.engine.resume()
        retired = AgentRetired("ada", cluster.agents["ada"].digest, "default", system.clock.now() + 1000, "so it is")
        system.bus.emit(retired)
        result = await system.engine.result(name)
        told = [event.data async for event in Journal(system.store).replay(task=name)]
    assert result.executed is not None
    retried = [fact.child for fact in told if isinstance(fact, PartRetried)]
    assert [one.task for one in result.executed.again] == retried
    assert set(retried) <= set(result.executed.children)


async def test_without_retries_a_failed_part_is_missing(tmp_path: Path) -> None:
    """`retries: 0` keeps the part with who failed at it."""
    replies: list[dict[str, Any]] = [
        {"system": "You split a request", "json": {"parts": PLAN}},
        {"when": "own part:", "text": "L"},
    ]
    world = team(tmp_path, replies, SPLIT.replace("RETRIES", "retries: 0"))
    async with world.open() as system:
        result = await system.engine.result(await system.engine.submit(task_of(system, GOAL)))
    assert result.executed is not None
    assert result.executed.again == ()
    assert result.executed.missing


async def test_a_missing_part_is_named_in_the_answer(tmp_path: Path) -> None:
    """Put under each other, the results leave its place, and a line says why it is empty; EXECUTE names it, too."""
    world = World(tmp_path)
    replies: list[dict[str, Any]] = [
        {"system": "You split a request", "json": {"parts": PLAN}},
        {"when": "own part:*part left", "error": "permanent", "text": "the press is broken"},
        {"when": "own part:*part right", "text": "R"},
    ]
    world.write(replies, cluster=SPLIT.replace("RETRIES", "retries: 0"))
    async with world.open() as system:
        result = await system.engine.result(await system.engine.submit(task_of(system, GOAL)))
    assert result.executed is not None
    assert re.fullmatch(
        r"part left\n\[This part is missing: .*the press is broken.*\]\n\npart right\nR", result.output
    ), result.output
    assert '1 of 2 parts done; missing: "part left"' in explain(result.executed)


@pytest.mark.parametrize(("effects", "tried"), [("write", False), ("external", False), ("read", True)])
async def test_what_has_acted_is_not_begun_anew(tmp_path: Path, effects: str, tried: bool) -> None:
    """Somebody else would do it twice: neither the task nor its parts, whoever called the tool for them."""
    world = team(tmp_path, [{"text": "done"}])
    call = "{toolCalls: [{name: mark, arguments: {}}], times: 1}, {error: permanent, text: the press is broken}"
    world.edit("{error: permanent, text: the press is broken, times: null}", call)
    world.edit("Breaks things., provider: broken", "Breaks things., tools: [mark], provider: broken")
    world.edit("function: mark, effects: write", f"function: mark, effects: {effects}")
    async with world.open() as system:
        task = msgspec.structs.replace(task_of(system, "general work"), retries=2)
        found = await attempts(system, await system.engine.submit(task))
    first = found[0][0]
    assert first.executed is not None
    assert (first.phase, first.executed.outcome.tools) == ("Failed", ("mark",))
    assert first.executed.outcome.acted is not tried
    assert len(found) == 1 + tried
    assert (world.folder / "marks").read_text() == "x\n"


async def test_who_writes_the_answer_is_told_what_is_missing(tmp_path: Path) -> None:
    """So that it can say so, in place of an answer that looks whole."""
    world = World(tmp_path)
    plan = [{"goal": "part left", "needs": []}, {"goal": "part right", "needs": []}]
    replies: list[dict[str, Any]] = [
        {"system": "You split", "json": {"parts": plan}},
        {"when": 'Result of "part right":*[This part is missing: *the press is broken', "text": "left, and no right"},
        {"when": "first the left", "text": "all of it"},
        {"when": "part left", "text": "left"},
        {"when": "part right", "error": "permanent", "text": "the press is broken"},
    ]
    cluster = SPLIT.replace("merge: join", "merge: model").replace("RETRIES", "retries: 0")
    world.write([{"times": None, **one} for one in replies], cluster=cluster)
    async with world.open() as system:
        result = await system.engine.result(await system.engine.submit(task_of(system, GOAL)))
    assert result.executed is not None
    assert result.executed.missing == ("part right",)
    assert result.output == "left, and no right"
