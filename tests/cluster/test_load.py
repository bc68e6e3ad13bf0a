"""The load of an agent is real: from MATCH to the end of a task, however long it waits, and on whatever revision."""

import json
from collections import Counter
from pathlib import Path

import pytest

from loomd.accounts.load import Loads
from loomd.daemon import System
from loomd.events.cluster import AuctionAwarded
from loomd.events.event import Event, PhaseCompleted, ToolStarted
from tests.clocks import hold
from tests.engine.test_delegation import WORKS, Team
from tests.engine.world import World, task_of, until

GOAL = "split it: first the left and then the right one, and one more"
PARTS = [{"goal": f"part {name}", "needs": []} for name in ("left", "right")]
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
spec: {description: Does one half., provider: script, domains: {work: 0.6}, maxTokens: TOKENS}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: b}
spec: {description: Does one half., provider: script, domains: {work: 0.6}, maxTokens: TOKENS}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: default}
spec:
  agents: [a, b]
  match: {type: auction, exploration: 0}
  scale: {type: threshold, complexity: 0.01, maxDepth: 1, childTokens: 1}
"""


def says(what: object, **more: str) -> dict[str, object]:
    """Return a scripted reply that never ends."""
    return {"text" if isinstance(what, str) else "json": what, "times": None, **more}


class Pair(World):
    """Two equal agents that split what they are told to, slowly."""

    def declare(self, tokens: int = 500) -> None:
        """Write the manifests; each answer takes a moment."""
        delay = "100ms"
        plan: dict[str, object] = {
            "when": "split*it",
            "system": "You split a request",
            "json": {"parts": PARTS},
            "delay": delay,
        }
        said: list[dict[str, object]] = [
            {"when": "Results so far", "text": "all of it"},
            {"text": "done", "delay": delay},
        ]
        replies = json.dumps([plan, *said])
        (self.folder / "manifests.yaml").write_text(TEAM.replace("REPLIES", replies).replace("TOKENS", str(tokens)))


def loads(system: System, one: str = "a", other: str = "b") -> tuple[int, int]:
    """Return how much work two agents have in hand."""
    return system.services.loads.of("default", one), system.services.loads.of("default", other)


async def test_tasks_that_are_planned_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six tasks that are split at once are led three by each of two equals."""
    go = hold(monkeypatch)
    pair = Pair(tmp_path)
    pair.declare()
    async with pair.open() as system:
        tasks = [await system.engine.submit(task_of(system, GOAL)) for _ in range(6)]
        for task in tasks:
            await until(system, lambda event: isinstance(event.data, AuctionAwarded), task)
        go.set()
        results = [await system.engine.result(task) for task in tasks]
        assert loads(system) == (0, 0)
    assert all(result.scaled and len(result.scaled.subtasks) == 2 for result in results), results
    assert Counter(result.matched.winner for result in results if result.matched) == {"a": 3, "b": 3}


async def test_for_a_part_its_own_task_does_not_count(tmp_path: Path) -> None:
    """Who leads it waits for the part: of one task, both agents look idle to the first part."""
    pair = Pair(tmp_path)
    pair.declare()
    async with pair.open() as system:
        result = await system.engine.result(await system.engine.submit(task_of(system, GOAL)))
        assert result.executed is not None
        parts = [await system.engine.result(part) for part in result.executed.children]
    idle = [{bid.agent: bid.factors["availability"] for bid in part.matched.bids} for part in parts if part.matched]
    assert {"a": 1.0, "b": 1.0} in idle
    assert all(part.task.leads == (result.executed.agent,) for part in parts)


async def test_a_reload_does_not_forget_what_is_in_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the agents of the revision before still do counts for those of the next."""
    go = hold(monkeypatch)
    pair = Pair(tmp_path)
    pair.declare()
    async with pair.open() as system:
        tasks = [await system.engine.submit(task_of(system, GOAL)) for _ in range(4)]
        for task in tasks:
            await until(system, lambda event: isinstance(event.data, AuctionAwarded), task)
        assert min(loads(system)) >= 2
        pair.declare(tokens=501)
        await system.reconciler.apply(pair.delivery())
        alone = await system.engine.submit(task_of(system, "part alone"))
        await until(system, lambda event: isinstance(event.data, AuctionAwarded), alone)
        go.set()
        last = await system.engine.result(alone)
        assert last.matched is not None
        assert all(bid.factors["availability"] <= 1 / 3 for bid in last.matched.bids), last.matched
        assert {(await system.engine.result(task)).phase for task in tasks} == {"Succeeded"}
        assert loads(system) == (0, 0)


async def test_a_resumed_task_counts(tmp_path: Path) -> None:
    """Who won before a crash has it in hand after it."""
    pair = Pair(tmp_path)
    pair.declare()
    pair.kill_at("step.completed plan", GOAL)
    async with pair.open() as system:
        (task,) = await system.engine.resume()
        await until(system, lambda event: isinstance(event.data, PhaseCompleted) and event.data.phase == "scale", task)
        assert sum(loads(system)) >= 1
        await system.engine.result(task)
        assert loads(system) == (0, 0)


async def test_delegated_work_counts_once(tmp_path: Path) -> None:
    """While the worker works, it has one piece in hand, and who asked it the task; of itself nobody asks twice."""
    team = Team(tmp_path)
    team.declare(WORKS)
    seen: list[tuple[int, int]] = []
    async with team.open() as system:

        def look(event: Event) -> None:
            if isinstance(event.data, ToolStarted) and event.data.tool == "mark":
                seen.append(loads(system, "boss", "worker"))

        system.bus.subscribe(look)
        await system.engine.result(await system.engine.submit(task_of(system)))
        assert loads(system, "boss", "worker") == (0, 0)
    assert seen == [(1, 1)]


def test_a_load_ends_with_the_work() -> None:
    """Also when the work fails; other namespaces have their own."""
    loads = Loads()

    def fail() -> None:
        with loads.bearing("x", "a"), loads.bearing("x", "a"):
            assert (loads.of("x", "a"), loads.of("y", "a")) == (2, 0)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert loads.of("x", "a") == 0
