"""A cluster goes on whatever its models and judges say, and shares work among equals."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loomd.amoeba.expect import Expect
from loomd.amoeba.task import Result
from loomd.daemon import System
from loomd.events.cluster import AuctionAwarded
from loomd.events.event import Event, Fallback
from loomd.events.journal import Journal
from tests.clocks import hold
from tests.engine.world import World, task_of

HEAD = """
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: default}
spec: SPEC
---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: REPLIES}
"""
AGENT = """---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: NAME}
spec: {description: Does it., provider: script, prompt: I am NAME., domains: {work: 0.6}}
"""
EQUALS = ["a", "b", "c", "d"]


def declare(folder: Path, spec: str, *replies: dict[str, Any], agents: list[str]) -> World:
    """Return a world of a cluster with agents that differ by their names alone; replies never end."""
    said = json.dumps([{"times": None, **one} for one in replies])
    members = "".join(AGENT.replace("NAME", name) for name in agents)
    text = HEAD.replace("SPEC", f"{{agents: {json.dumps(agents)}, {spec}}}").replace("REPLIES", said)
    (folder / "manifests.yaml").write_text(text + members)
    return World(folder)


async def run(system: System, goal: str = "do the work", expect: Expect | None = None, seed: int = 0) -> Result:
    """Run a task."""
    task = msgspec.structs.replace(task_of(system, goal), expect=expect or Expect(), seed=seed)
    return await system.engine.result(await system.engine.submit(task))


@pytest.mark.parametrize(
    ("match", "most"),
    [
        pytest.param("{type: auction, exploration: 0}", 6, id="by-load"),
        pytest.param("{type: auction}", 11, id="by-load-and-draws"),
    ],
)
async def test_tasks_that_come_together_are_shared_among_equals(
    tmp_path: Path, match: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 at once for four equals: six each without draws, and with them nobody has twice a fair share."""
    world = declare(
        tmp_path, f"match: {match}, scale: {{type: never}}", {"text": "done", "delay": "200ms"}, agents=EQUALS
    )
    go, awarded = hold(monkeypatch), asyncio.Queue[Event]()
    async with world.open() as system:
        system.bus.subscribe(awarded.put_nowait, AuctionAwarded)
        running = asyncio.gather(*(run(system, seed=number) for number in range(24)))
        for _ in range(24):
            await awarded.get()
        go.set()
        results = await running
    won = Counter(result.matched.winner for result in results if result.matched)
    assert sum(won.values()) == 24
    assert set(won) == set(EQUALS)
    assert max(won.values()) <= most


async def test_a_judge_that_praises_everything_is_seen_through(tmp_path: Path) -> None:
    """It says 10 of 10 of whatever it is shown: that is taken away, and the rules beside it tell the two apart."""
    world = declare(
        tmp_path,
        "scale: {type: never}, "
        "evaluate: [{type: rules, checks: {expected: 3}}, {type: judge, provider: script, every: 1}]",
        {"system": "You judge", "json": {"reason": "Perfect.", "score": 10, "low": 10, "high": 10}},
        {"system": "I am b.", "text": "It costs 5 euros."},
        {"text": "Ask somebody else."},
        agents=["a", "b"],
    )
    winners, leaning = list[str](), list[float]()
    async with world.open() as system:
        for number in range(40):
            result = await run(system, expect=Expect(contains=("euros",)), seed=number)
            assert result.matched is not None
            assert result.evaluated is not None
            winners.append(result.matched.winner)
            leaning.append(next(one.bias for one in result.evaluated.opinions if one.evaluator == "judge"))
    assert winners[-20:].count("b") >= 15, winners
    assert max(leaning) > 0.1


async def test_a_model_that_answers_nonsense_everywhere_stops_nothing(tmp_path: Path) -> None:
    """Asked to sense, to choose, to plan and to judge it says the same; something else counts, and is told."""
    world = declare(
        tmp_path,
        "sense: {type: llm}, match: {type: llm}, scale: {type: llm, complexity: 0}, "
        "evaluate: {type: judge, provider: script, every: 1}",
        {"text": "Colourless green ideas sleep furiously."},
        agents=["a", "b"],
    )
    async with world.open() as system:
        result = await run(system, "Compare the press with the old one, and say what each costs.")
        events: list[Event] = [event async for event in Journal(system.store).replay(task=result.task.id)]
    assert (result.phase, result.error) == ("Succeeded", "")
    assert result.executed is not None
    assert result.executed.outcome.output == "Colourless green ideas sleep furiously."
    told = [event.data.phase for event in events if isinstance(event.data, Fallback)]
    assert told == ["sense", "match", "scale", "evaluate"]
