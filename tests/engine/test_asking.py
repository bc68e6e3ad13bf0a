"""Every phase may ask a model: its answers are recorded, billed to the task, bounded by its budget, and mended."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from loomd.amoeba.asking import Asking
from loomd.amoeba.policies.auction import Auction
from loomd.amoeba.policies.base import Case
from loomd.amoeba.policies.heuristic import Heuristic
from loomd.amoeba.policies.rules import Rules
from loomd.amoeba.question import Question
from loomd.amoeba.task import Budget, Matched, Opinion, Result, Sensed
from loomd.amoeba.world import Signals, Standing
from loomd.daemon import System
from loomd.events.event import Event, Fallback, ModelCalled, StepCompleted
from loomd.events.journal import Journal
from loomd.messages import Usage
from loomd.replay.export import Serving, export
from loomd.replay.player import replay
from tests.engine.world import World, outcome, task_of

USED = {"input": 20, "output": 5}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"value": {"type": "number"}}, "required": ["value"]}


class _Value(msgspec.Struct):
    value: float


def read(text: str) -> float:
    """Return the number of an answer.

    Raises:
        ValueError: it is none from 0 to 1.
    """
    value = msgspec.json.decode(text, type=_Value).value
    if not 0 <= value <= 1:
        raise ValueError(f"{value:g} is not from 0 to 1")
    return value


def question(phase: str) -> Question[float]:
    """Return what a phase asks."""
    return Question(f"You {phase}.", lambda goal: f"{phase}: {goal}", SCHEMA, read, "by rules")


async def sense(self: Heuristic, signals: Signals, asking: Asking) -> Sensed:
    """Ask how complex a task is."""
    del self, signals
    answer = await asking.ask(question("sense"))
    return Sensed(0.5 if answer.value is None else answer.value, {"ada": 1.0}, evidence=(answer.why,))


async def choose(self: Auction, sensed: Sensed, agents: Sequence[Standing], draw: Random, asking: Asking) -> Matched:
    """Ask who does it."""
    del self, sensed, draw
    answer = await asking.ask(question("match"))
    return Matched(agents[0].agent, why=f"{answer.value}")


async def evaluate(self: Rules, case: Case, asking: Asking) -> Opinion:
    """Ask how good it is."""
    del self, case
    answer = await asking.ask(question("evaluate"))
    value = 0.5 if answer.value is None else answer.value
    return Opinion("rules", value, value, value, value)


def replies(**said: list[Any]) -> list[dict[str, Any]]:
    """Return a script; `said` are the answers of phases, one after the other."""
    asked = {phase: said.get(phase, [{"json": {"value": 0.25}}]) for phase in ("sense", "match", "evaluate")}
    of_phases = [
        {"system": f"You {phase}.", "usage": USED, **one} for phase, answers in asked.items() for one in answers
    ]
    return [{"when": "go", "usage": USED, "times": None, **one} for one in [*of_phases, {"text": "done"}]]


def scripted(world: World, said: list[dict[str, Any]]) -> None:
    """Let a world's model say what it is told."""
    world.write([{**one, "times": 1} for one in said])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a world in which three phases ask a model."""
    monkeypatch.setattr(Heuristic, "sense", sense)
    monkeypatch.setattr(Auction, "choose", choose)
    monkeypatch.setattr(Rules, "evaluate", evaluate)
    world = World(tmp_path)
    scripted(world, replies())
    return world


async def ran(system: System, calls: int | None = None) -> tuple[Result, list[Event]]:
    """Run a task; return it with its events."""
    task = msgspec.structs.replace(task_of(system), budget=Budget(calls=calls))
    result = await system.engine.result(await system.engine.submit(task))
    return result, [event async for event in Journal(system.store).replay(task=result.task.id)]


async def test_what_phases_ask_is_recorded_and_billed(world: World) -> None:
    """What three phases ask is in their outputs, with the answer itself in the outcome, and on disk."""
    async with world.open() as system:
        result, events = await ran(system)
    assert outcome(result) == ("Succeeded", "completed", "done")
    assert result.sensed is not None
    assert result.matched is not None
    assert result.evaluated is not None
    for phase in (result.sensed, result.matched, result.evaluated):
        assert (phase.usage, phase.calls) == (Usage(20, 5), 1)
    assert result.sensed.complexity == result.evaluated.reward == 0.25
    assert result.executed is not None
    assert result.executed.outcome.usage == Usage(80, 20)
    assert result.executed.outcome.steps == 1
    keys = [event.key for event in events if isinstance(event.data, StepCompleted) and event.data.name == "model"]
    assert keys == ["step/sense/model/0", "step/match/model/0", "step/execute/model/0", "step/evaluate/model/0"]
    askers = [event.agent for event in events if isinstance(event.data, ModelCalled)]
    assert askers == ["cluster/default", "cluster/default", "ada", "cluster/default"]


async def test_what_is_wrong_is_mended_or_a_fallback_is_told(world: World) -> None:
    """One is asked again with what was wrong; after that the fallback is taken, and an event says so."""
    bad = {"json": {"value": 7}}
    scripted(world, replies(sense=[bad, {"json": {"value": 0.4}}], evaluate=[bad, {"text": "nonsense"}]))
    async with world.open() as system:
        result, events = await ran(system)
    assert result.phase == "Succeeded"
    assert result.sensed is not None
    assert result.evaluated is not None
    assert (result.sensed.complexity, result.sensed.calls) == (0.4, 2)
    assert (result.evaluated.reward, result.evaluated.calls) == (0.5, 2)
    told = [event.data for event in events if isinstance(event.data, Fallback)]
    (fallback,) = told
    assert (fallback.phase, fallback.fallback) == ("evaluate", "by rules")


@pytest.mark.parametrize("error", ["permanent", "temporary"])
async def test_a_model_that_fails_stops_no_task(world: World, error: str) -> None:
    """Whatever phase asks it."""
    away = [{"error": error, "text": "away", "times": None}]
    scripted(world, replies(sense=away, match=away, evaluate=away))
    async with world.open() as system:
        result, events = await ran(system)
    assert outcome(result) == ("Succeeded", "completed", "done")
    told = [event.data.phase for event in events if isinstance(event.data, Fallback)]
    assert told == ["sense", "match", "evaluate"]


@pytest.mark.parametrize("calls", [1, 2, 3, 4])
async def test_phases_keep_to_the_budget(world: World, calls: int) -> None:
    """However few model calls there are, no more are made."""
    async with world.open() as system:
        result, events = await ran(system, calls)
    made = [event for event in events if isinstance(event.data, ModelCalled)]
    assert len(made) <= calls
    assert result.evaluated is not None
    assert result.evaluated.calls == (1 if calls == 4 else 0)


async def test_it_is_replayed(world: World) -> None:
    """What SENSE and MATCH asked is taken from the recording, what EVALUATE asks is held against it."""
    async with world.open() as system:
        result, _ = await ran(system)
        topology = system.reconciler.topology
        cassette = await export(system.store, result.task.id, Serving(topology.snapshot, topology.live))
    assert (await replay(cassette)).whole


async def test_an_interrupted_phase_asks_nothing_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What EVALUATE was told before the daemon stopped it is not told again, and it counts."""
    asked = asyncio.Event()

    async def evaluate_and_stay(self: Rules, case: Case, asking: Asking) -> Opinion:
        evaluated = await evaluate(self, case, asking)
        asked.set()
        await asyncio.Event().wait()
        return evaluated

    monkeypatch.setattr(Rules, "evaluate", evaluate_and_stay)
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        async with asyncio.timeout(60):
            await asked.wait()
    monkeypatch.setattr(Rules, "evaluate", evaluate)
    async with world.open() as system:
        assert await system.engine.resume() == [task]
        result = await system.engine.result(task)
        events = [event async for event in Journal(system.store).replay(task=task)]
    assert result.executed is not None
    assert result.executed.outcome.usage == Usage(80, 20)
    assert len([event for event in events if isinstance(event.data, ModelCalled)]) == 4
