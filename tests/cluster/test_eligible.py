"""What MATCH looks at is real: budgets that are used up, services that are left alone, permissions, prices."""

from pathlib import Path

import msgspec
import pytest

from loomd.amoeba.task import Matched
from loomd.daemon import System
from tests.engine.world import TOOL, World, task_of
from tests.ports import free_port

TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: [{text: It is done., times: null}]}
---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: remote}
spec:
  type: openai
  model: m
  baseUrl: "http://127.0.0.1:PORT/v1"
  retry: {attempts: 1}
  breaker: {failures: 1, cooldown: 10m}
  pricing: {input: 2.0, output: 10.0}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: mark}
spec: {type: python, file: tool.py, function: mark, effects: write}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: a}
spec: {description: Does the work best., provider: script, domains: {work: 0.95}, SPEC}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: b}
spec: {description: Does the work., provider: script, domains: {work: 0.3}, tools: [mark]}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: default}
spec: {agents: [a, b], match: {type: auction, exploration: 0, filters: {tools: true}}, scale: {type: never}}
"""


class Pair(World):
    """Two agents, of which one is the better."""

    def declare(self, spec: str) -> None:
        """Write the manifests with more of the better one's spec; at the remote provider's address nobody listens."""
        text = TEAM.replace("SPEC", spec).replace("PORT", str(free_port()))
        (self.folder / "manifests.yaml").write_text(text)
        (self.folder / "tool.py").write_text(TOOL)


async def matched(system: System, goal: str = "work", agent: str = "") -> Matched:
    """Return what MATCH made of a task."""
    task = msgspec.structs.replace(task_of(system, goal), agent=agent)
    result = await system.engine.result(await system.engine.submit(task))
    assert result.matched is not None, result
    return result.matched


@pytest.mark.parametrize(
    ("spec", "goal", "why"),
    [
        pytest.param("budgets: {daily: {tokens: 0}}", "work", "its daily budget is used up", id="budget"),
        pytest.param("maxTokens: 100", "mark the work: add a line to the file", "it lacks mark", id="tool"),
        pytest.param(
            "tools: [mark], permissions: {deny: [mark]}",
            "mark the work: add a line to the file",
            "it may not call mark",
            id="permission",
        ),
    ],
)
async def test_who_cannot_take_it_is_left_out(spec: str, goal: str, why: str, tmp_path: Path) -> None:
    """The reason is kept with the task."""
    pair = Pair(tmp_path)
    pair.declare(spec)
    async with pair.open() as system:
        found = await matched(system, goal)
    assert (found.winner, found.refused) == ("b", {"a": why})


async def test_who_can_take_it_does(tmp_path: Path) -> None:
    """The better one, as long as nothing speaks against it; tool calls that are used up do not."""
    pair = Pair(tmp_path)
    pair.declare("budgets: {daily: {toolCalls: 0, tokens: 1000000}}")
    async with pair.open() as system:
        assert (await matched(system)).winner == "a"


async def test_a_service_that_fails_is_passed_over_and_has_its_price(tmp_path: Path) -> None:
    """Until its breaker lets a call through again."""
    pair = Pair(tmp_path)
    pair.declare("maxTokens: 100")
    pair.edit("Does the work best., provider: script", "Does the work best., provider: remote")
    async with pair.open() as system:
        first = await matched(system)
        second = await matched(system)
    assert first.winner == "a"
    assert first.bids[0].factors["price"] > 0 == first.bids[1].factors["price"]
    assert second.winner == "b"
    assert "Provider/remote is not called: its last 1 calls failed" in second.refused["a"]
