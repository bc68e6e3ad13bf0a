"""A split works side by side, and ends: by depth, by the number of descendants, by the budget."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from loomd.amoeba.scale import cut
from loomd.amoeba.task import Budget, Result, Scaled, Subtask, Task
from loomd.daemon import System
from loomd.events.event import Fallback, PhaseCompleted
from loomd.events.journal import Journal
from loomd.replay.export import Serving, export
from loomd.replay.player import replay
from tests.clocks import be_late
from tests.engine.world import World, task_of

GOAL = "split it: first the left and then the right one, and one more"
FOUR: list[dict[str, Any]] = [{"goal": f"part {name}", "needs": []} for name in ("north", "east", "south", "west")]
FIVE: list[dict[str, Any]] = [*FOUR, {"goal": "part middle", "needs": [1, 4]}]
BITS: list[dict[str, Any]] = [{**one, "goal": str(one["goal"]).replace("part", "bit")} for one in FIVE]


def planner(plan: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    """Return a script that splits everything alike."""
    used = {"usage": {"input": 20, "output": 5}}
    split = {"system": "You split a request", "times": None, **used, **more}
    return [
        {**split, "when": "part ", "json": {"parts": BITS}},
        {**split, "json": {"parts": plan}},
        {"text": "done", "times": None, **used, **more},
    ]


async def tree(system: System, task: Task) -> tuple[Result, list[tuple[Task, Scaled]]]:
    """Run a task; return what became of it, and what was decided about each task that it was split into."""
    result = await system.engine.result(await system.engine.submit(task))
    found: list[tuple[Task, Scaled]] = []
    for record in await system.store.list_tasks(tree=task.id):
        part = msgspec.json.decode(record.body, type=Task)
        facts = [event.data async for event in Journal(system.store).replay(task=part.id)]
        phases = [fact for fact in facts if isinstance(fact, PhaseCompleted) and fact.phase == "scale"]
        found += [(part, msgspec.json.decode(fact.value, type=Scaled)) for fact in phases]
    return result, found


async def test_siblings_run_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four parts are all asked before one of them is answered; `benchmarks/split` measures what that takes."""
    together = asyncio.Barrier(4)
    monkeypatch.setattr("loomd.providers.scripted.asyncio", SimpleNamespace(sleep=lambda _: together.wait()))
    world = World(tmp_path)
    merged = {"when": "Results so far", "text": "all of it", "times": None}
    plan, part = planner(FOUR)[1:]
    cluster = "scale: {type: threshold, complexity: 0, maxDepth: 1}"
    world.write([merged, plan, {**part, "delay": "1s"}], cluster=cluster)
    async with world.open() as system, asyncio.timeout(60):
        result = await system.engine.result(await system.engine.submit(task_of(system, GOAL)))
    assert result.executed is not None
    assert len(result.executed.children) == 4
    assert result.output == "all of it"


@pytest.mark.parametrize(
    ("limit", "most", "why"),
    [
        ("maxDepth: 2, maxDescendants: 1000", 5 + 25, "depth 2 has reached the limit 2"),
        ("maxDepth: 8, maxDescendants: 40", 5 + 25, "the tree of tasks may have no parts more"),
        ("maxDepth: 8, maxDescendants: 3", 3, "the tree of tasks may have no parts more"),
        ("maxDepth: 8, maxDescendants: 1", 0, ""),
    ],
    ids=["depth", "descendants", "cut", "none"],
)
async def test_a_task_that_always_splits_ends(tmp_path: Path, limit: str, most: int, why: str) -> None:
    """Every part is complex and every plan has five parts: the tree stays within its limits, and says why."""
    world = World(tmp_path)
    world.write(planner(FIVE), cluster=f"scale: {{type: threshold, complexity: 0, childTokens: 1, {limit}}}")
    async with world.open() as system:
        result, parts = await tree(system, task_of(system, GOAL))
    assert result.phase == "Succeeded"
    assert len(parts) == most
    assert {scaled.why for _, scaled in parts if not scaled.subtasks and why in scaled.why} or not why
    assert result.scaled is not None
    if most == 3:
        assert result.scaled.why.endswith("3 parts (cut from 5: the tree of tasks may have 3 parts more)")
        assert result.scaled.subtasks[2] == Subtask("part south\npart west\npart middle", (0,))
    if not most:
        assert result.scaled.why.endswith("may have 1 part more: done alone")


async def test_a_task_that_always_splits_ends_by_its_budget(tmp_path: Path) -> None:
    """With few tokens the parts are done alone, and the whole stays within what it may use."""
    world = World(tmp_path)
    world.write(
        planner(FIVE),
        agent="maxTokens: 20",
        cluster="scale: {type: threshold, complexity: 0, maxDepth: 8, childTokens: 700, maxDescendants: 1000}",
    )
    async with world.open() as system:
        task = msgspec.structs.replace(task_of(system, GOAL), budget=Budget(tokens=8000))
        result, parts = await tree(system, task)
    assert result.executed is not None
    assert result.executed.outcome.usage.total <= 8000
    assert any("tokens cannot pay two children" in scaled.why for _, scaled in parts)


async def test_a_part_is_told_where_it_stands(tmp_path: Path) -> None:
    """Its task has the goal of the whole and the plan; a part that is split hands on its own."""
    world = World(tmp_path)
    world.write(planner(FIVE), cluster="scale: {type: threshold, complexity: 0, childTokens: 1, maxDepth: 1}")
    async with world.open() as system:
        _, parts = await tree(system, task_of(system, GOAL))
    places = [part.place for part, _ in sorted(parts, key=lambda pair: pair[0].id)]
    assert [place.at for place in places if place is not None] == [0, 1, 2, 3, 4]
    assert all(place is not None and place.goal == GOAL and place.plan[4] == "part middle" for place in places)


def test_a_plan_is_cut_without_losing_anything() -> None:
    """The surplus parts become one that needs what any of them needs of the others."""
    parts = (Subtask("a"), Subtask("b"), Subtask("c", (0, 1)), Subtask("d", (0, 2)))
    assert cut(parts, 4) == parts
    assert cut(parts, 3) == (Subtask("a"), Subtask("b"), Subtask("c\nd", (0, 1)))
    assert cut(parts, 2) == (Subtask("a"), Subtask("b\nc\nd", (0,)))


@pytest.mark.parametrize("parts", [1, 5], ids=["whole", "split"])
async def test_a_model_may_decide(tmp_path: Path, parts: int) -> None:
    """With the policy `llm` a plan of one part means that one agent does it, and a simple task asks no model."""
    plan = FIVE if parts > 1 else [{"goal": GOAL, "needs": []}]
    world = World(tmp_path)
    world.write(planner(plan), cluster="scale: {type: llm, maxDepth: 1}")
    async with world.open() as system:
        result, _ = await tree(system, task_of(system, GOAL))
        simple, _ = await tree(system, task_of(system, "go"))
    assert (result.phase, simple.phase) == ("Succeeded", "Succeeded")
    assert result.scaled is not None
    assert result.scaled.calls == 1
    assert len(result.scaled.subtasks) == (parts if parts > 1 else 0)
    assert result.scaled.why.startswith("the model decides: " + ("5 parts" if parts > 1 else "one agent does it alone"))
    assert simple.scaled is not None
    assert (simple.scaled.calls, "the model is not asked" in simple.scaled.why) == (0, True)


async def test_a_model_that_answers_nonsense_decides_nothing(tmp_path: Path) -> None:
    """The task is done alone, and the fallback is recorded."""
    world = World(tmp_path)
    nonsense = {"system": "You split a request", "text": "why not?", "times": None}
    world.write([nonsense, {"text": "done", "times": None}], cluster="scale: {type: llm}")
    async with world.open() as system:
        result, _ = await tree(system, task_of(system, GOAL))
        facts = [event.data async for event in Journal(system.store).replay(task=result.task.id)]
    assert (result.phase, result.output) == ("Succeeded", "done")
    assert [(fact.phase, fact.fallback) for fact in facts if isinstance(fact, Fallback)] == [("scale", "done alone")]


@pytest.mark.parametrize(
    ("merging", "reason", "note"),
    [
        ({"error": "permanent", "text": "it is down"}, "error", "it is down"),
        ({"text": "too late", "delay": "1h"}, "budget_time", "budget of time"),
        ({"text": ""}, "completed", ""),
    ],
)
async def test_results_that_nobody_puts_together_are_not_lost(
    merging: dict[str, Any], reason: str, note: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service goes away, the time is over, or the model says nothing: they are put under each other, told so."""
    be_late(120, monkeypatch)
    world = World(tmp_path)
    done = {"when": "part ", "text": "done", "times": None}
    parts = [*planner(FOUR)[1:2], {"when": "first the left", **merging, "times": None}, done]
    world.write(parts, cluster="scale: {type: threshold, complexity: 0.2, maxDepth: 1}")
    async with world.open() as system:
        task = msgspec.structs.replace(task_of(system, GOAL), budget=Budget(seconds=120.0))
        result, _ = await tree(system, task)
        facts = [event.data async for event in Journal(system.store).replay(task=result.task.id)]
        topology = system.reconciler.topology
        assert (await replay(await export(system.store, task.id, Serving(topology.snapshot, topology.live)))).whole
    assert result.executed is not None
    assert (result.phase, result.error, result.executed.outcome.stop_reason) == ("Succeeded", "", reason)
    assert note in result.executed.outcome.note
    assert result.output == "\n\n".join(f"part {name}\ndone" for name in ("north", "east", "south", "west"))
    (told,) = [fact for fact in facts if isinstance(fact, Fallback)]
    assert (told.phase, told.fallback) == ("execute", "they are put under each other")
    assert told.reason.startswith("the results could not be put together: ")
