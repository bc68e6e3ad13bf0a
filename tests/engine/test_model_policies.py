"""SENSE and MATCH may ask a model: what it says counts, and nonsense ends in the heuristic and the auction, told so."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from loomd.amoeba.task import Budget, Result
from loomd.daemon import System
from loomd.events.event import Event, Fallback
from loomd.events.journal import Journal
from loomd.replay.export import Serving, export
from loomd.replay.player import replay
from tests.engine.world import World, task_of

TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec:
  type: scripted
  replies: REPLIES
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: a}
spec: {description: Drafts contracts., provider: script, domains: {law: 0.9}}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: b}
spec: {description: Cooks soups., provider: script, domains: {cooking: 0.9}}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: default}
spec:
  agents: [a, b]
  sense: SENSE
  match: MATCH
  scale: {type: never}
"""
AUCTION = "{type: auction, exploration: 0}"
JUDGE, CHOOSE = "You judge a request", "You choose who works"
JUDGED = {"complexity": 0.7, "domains": ["cooking"], "tools": []}


class Pair(World):
    """Two agents, and a model that judges and chooses."""

    def declare(self, judged: list[object], chosen: list[object], sense: str = "{type: llm}", match: str = "") -> None:
        """Write the manifests; what the model says is JSON, or a text."""
        said: list[dict[str, Any]] = [
            {"system": who, **({"text": one} if isinstance(one, str) else {"json": one})}
            for who, all_ in ((JUDGE, judged), (CHOOSE, chosen))
            for one in all_
        ]
        text = TEAM.replace("REPLIES", json.dumps([*said, {"text": "done", "times": None}]))
        text = text.replace("SENSE", sense).replace("MATCH", match or f"{{type: llm, auction: {AUCTION}}}")
        (self.folder / "manifests.yaml").write_text(text)


async def ran(system: System, goal: str = "draft a contract") -> tuple[Result, list[Fallback]]:
    """Run a task that replays exactly; return it with the fallbacks that were told."""
    result = await system.engine.result(await system.engine.submit(task_of(system, goal)))
    events: list[Event] = [event async for event in Journal(system.store).replay(task=result.task.id)]
    topology = system.reconciler.topology
    assert (await replay(await export(system.store, result.task.id, Serving(topology.snapshot, topology.live)))).whole
    return result, [event.data for event in events if isinstance(event.data, Fallback)]


async def test_a_task_without_time_asks_no_model(tmp_path: Path) -> None:
    """A time of 0 is none at all: neither who judges, nor who chooses, nor who works is asked."""
    pair = Pair(tmp_path)
    pair.declare([JUDGED], ["b"])
    async with pair.open() as system:
        task = replace(task_of(system), budget=Budget(seconds=0))
        result = await system.engine.result(await system.engine.submit(task))
        types = {event.type async for event in Journal(system.store).replay(task=task.id)}
        assert "model.called" not in types
        assert result.executed is not None
        assert result.executed.outcome.stop_reason == "budget_time"


async def test_what_the_model_says_counts(tmp_path: Path) -> None:
    """The domain that it names, and the agent that it names against the auction; both are billed and recorded."""
    pair = Pair(tmp_path)
    pair.declare([JUDGED], [{"agent": "a"}])
    async with pair.open() as system:
        result, told = await ran(system)
    assert result.sensed is not None
    assert result.matched is not None
    assert (result.sensed.complexity, result.sensed.domains, result.sensed.method) == (0.7, {"cooking": 1.0}, "llm")
    assert (result.sensed.calls, result.matched.calls) == (1, 1)
    assert result.matched.bids[0].agent == "b"
    assert result.matched.winner == "a"
    assert "chosen by a model among 2 bids; the auction's winner is b" in result.matched.why
    assert told == []


@pytest.mark.parametrize(
    ("judged", "chosen"),
    [
        pytest.param("hm", "me", id="no-json"),
        pytest.param({**JUDGED, "complexity": 7}, {"agent": "nobody"}, id="out-of-range"),
        pytest.param({**JUDGED, "domains": ["astrology"]}, {"agent": ""}, id="unknown"),
    ],
)
async def test_nonsense_ends_in_the_fallbacks(judged: object, chosen: object, tmp_path: Path) -> None:
    """Said twice it is given up; said once it is mended."""
    pair = Pair(tmp_path)
    pair.declare([judged] * 2, [chosen] * 2)
    async with pair.open() as system:
        result, told = await ran(system)
    assert result.phase == "Succeeded"
    assert [(one.phase, one.fallback) for one in told] == [
        ("sense", "judged by the heuristic"),
        ("match", "a takes it, who won the auction"),
    ]
    assert result.sensed is not None
    assert result.matched is not None
    assert (list(result.sensed.domains), result.sensed.method, result.sensed.calls) == (["law"], "heuristic", 2)
    assert (result.matched.winner, result.matched.calls) == ("a", 2)


async def test_nonsense_is_mended(tmp_path: Path) -> None:
    """The second answer counts."""
    pair = Pair(tmp_path)
    pair.declare(["hm", JUDGED], ["me", {"agent": "a"}])
    async with pair.open() as system:
        result, told = await ran(system)
    assert told == []
    assert result.sensed is not None
    assert result.matched is not None
    assert (result.sensed.domains, result.matched.winner) == ({"cooking": 1.0}, "a")


@pytest.mark.parametrize(
    ("goal", "calls"),
    [
        pytest.param("draft a contract", 0, id="sure"),
        pytest.param("what rhymes with orange?", 1, id="fits-no-domain"),
        pytest.param("draft a contract; compare it", 1, id="unsure-how-hard"),
    ],
)
async def test_hybrid_asks_only_when_it_is_unsure(goal: str, calls: int, tmp_path: Path) -> None:
    """About what fits nothing, and about what is neither simple nor hard."""
    pair = Pair(tmp_path)
    pair.declare([JUDGED], [], "{type: hybrid}", AUCTION)
    async with pair.open() as system:
        result, _ = await ran(system, goal)
    assert result.sensed is not None
    assert (result.sensed.calls, result.sensed.method) == (calls, "llm" if calls else "heuristic")
