"""Budgets of a day from manifest to result: met, told, lowered, raised, and still there after a restart."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loomd.agents.work import Outcome
from loomd.amoeba.decision import ScoreMove
from loomd.amoeba.task import Budget, Result
from loomd.daemon import Settings, System, open_system
from loomd.engine.intake import new_task
from loomd.events.event import Event
from loomd.events.fact import Fact
from loomd.events.room import BudgetExceeded, BudgetWarning
from loomd.manifest.delivery import Delivery
from loomd.manifest.source import SourceFile
from loomd.replay.export import export
from loomd.replay.player import replay
from loomd.testing import VirtualClock
from tests.clocks import be_late
from tests.engine.world import until

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
SAYS = {"text": "Hello.", "times": None, "usage": {"input": 80, "output": 20}}
CALLS = [
    {"toolCalls": [{"name": "mark", "arguments": {"at": at}}], "usage": {"input": 80, "output": 20}} for at in (1, 2)
]
MANIFESTS = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: REPLIES}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: mark}
spec: {type: python, file: mark.py, function: mark, effects: read, cost: 0.3}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: ask}
spec: {type: agent, agent: bob}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: word}
spec: {type: signal, signal: word, description: Waits.}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: script, tools: [mark, word], maxTokens: 20, budgets: {daily: ADA}}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: bob}
spec: {provider: script, maxTokens: 20}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: a}
spec: {agents: [ada], budgets: {daily: ALL}}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: b}
spec: {agents: [bob]}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: eve}
spec: {provider: script, tools: [ask], maxTokens: 20}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: c}
spec: {agents: [eve]}
"""
TOOL = '''
async def mark(at: int) -> str:
    """Return a number."""
    return f"at {at}"
'''


@dataclass
class House:
    """A system over several lives, with a clock that is turned by hand."""

    folder: Path
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(NOON))
    events: list[Event] = field(default_factory=list[Event])

    async def apply(
        self, system: System, ada: str = "{}", everybody: str = "{}", replies: object = (SAYS,), text: str = MANIFESTS
    ) -> None:
        """Let manifests serve with these budgets."""
        (self.folder / "mark.py").write_text(TOOL)
        text = text.replace("REPLIES", json.dumps(list(replies)))  # type: ignore[call-overload]  # a list
        text = text.replace("ADA", ada).replace("ALL", everybody)
        await system.reconciler.apply(Delivery("test", (SourceFile(self.folder, "m.yaml", text.encode()),)))

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[System, None]:
        """Open the system."""
        settings = Settings(self.folder / "state", self.folder / "models", self.folder / "s")
        async with open_system(settings, self.clock) as system:
            system.bus.subscribe(self.events.append)
            yield system

    def facts(self, kind: type[Fact]) -> list[Fact]:
        """Return the facts of a type."""
        return [event.data for event in self.events if isinstance(event.data, kind)]


async def run(system: System, cluster: str = "a") -> Result:
    """Run a task."""
    return await system.engine.result(await system.engine.submit(new_task("go", system.clock, cluster=cluster)))


def outcome(result: Result) -> Outcome:
    """Return what came of a task's work."""
    assert result.executed is not None
    return result.executed.outcome


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Return a house."""
    return House(tmp_path)


async def test_a_spent_budget_ends_tasks_until_midnight(house: House) -> None:
    """The next task ends as `budget_tokens` and says when it may go on, also after a restart; at midnight it does."""
    async with house.open() as system:
        await house.apply(system, "{tokens: 200}")
        assert [(await run(system)).phase for _ in range(2)] == ["Succeeded"] * 2
        assert house.facts(BudgetWarning) == [BudgetWarning("Agent/ada", "tokens", 200, 200)]
    async with house.open() as system:
        await house.apply(system, "{tokens: 200}")
        refused = await run(system)
        assert (refused.phase, outcome(refused).stop_reason, outcome(refused).steps) == ("Failed", "budget_tokens", 0)
        assert "budget of Agent/ada is spent (tokens: 200 of 200 used" in refused.error
        assert "opens again at 2026-12-01T00:00:00Z" in refused.error
        assert refused.adapted is not None
        assert refused.adapted.decisions == (), "a spent budget says nothing about the agent"
        exceeded = BudgetExceeded("budget_tokens", 200, 200, "Agent/ada", NOON + 12 * 3600)
        assert house.facts(BudgetExceeded) == [exceeded]
        house.clock.advance(12 * 3600)
        assert (await run(system)).phase == "Succeeded"


async def test_agents_of_a_namespace_share_its_budget(house: House) -> None:
    """What an agent of another cluster used counts as well, and ends its tasks, too."""
    async with house.open() as system:
        await house.apply(system, everybody="{calls: 2}")
        assert [(await run(system, cluster)).phase for cluster in "ab"] == ["Succeeded"] * 2
        for cluster in "ab":
            result = await run(system, cluster)
            assert outcome(result).stop_reason == "budget_calls"
            assert "budget of namespace default is spent (calls: 2 of 2 used" in result.error


async def test_fifty_tasks_at_once_do_not_overshoot(house: House) -> None:
    """Those for which there is something left are done, the others end; nothing more than the budget is used."""
    slow = {**SAYS, "delay": "20ms", "usage": {"input": 10, "output": 20}}
    async with house.open() as system:
        await house.apply(system, "{tokens: 400}", replies=[slow])
        results = await asyncio.gather(*(run(system) for _ in range(50)))
        used = system.services.accounts.standing(("default", "ada"))[1]
    done = [one for one in results if one.phase == "Succeeded"]
    assert used["tokens"] == 30 * len(done)
    assert 200 < used["tokens"] <= 400
    assert {outcome(one).stop_reason for one in results} == {"completed", "budget_tokens"}


@pytest.mark.parametrize(
    ("before", "after", "ends"),
    [(1000, 150, "budget_tokens"), (150, 1000, "completed"), (150, 150, "budget_tokens")],
    ids=["lowered", "raised", "neither"],
)
async def test_a_changed_budget_holds_at_once(house: House, before: int, after: int, ends: str) -> None:
    """A running task meets a lowered one at its next call, and one that was raised lets it go on."""
    wait = {"toolCalls": [{"name": "word", "arguments": {}}], "usage": {"input": 80, "output": 20}}
    async with house.open() as system:
        await house.apply(system, f"{{tokens: {before}}}", replies=[wait, SAYS])
        task = new_task("go", system.clock, cluster="a")
        await system.engine.submit(task)
        await until(system, lambda event: event.type == "tool.call.started", task.id)
        await house.apply(system, f"{{tokens: {after}}}", replies=[wait, SAYS])
        await system.engine.send(task.id, "word", "go on")
        result = await system.engine.result(task.id)
    assert outcome(result).stop_reason == ends


async def test_a_tool_call_too_many_is_told_to_the_model(house: House) -> None:
    """It is not made, the model goes on without it, and the task ends with an answer."""
    async with house.open() as system:
        await house.apply(system, "{toolCalls: 1}", replies=[*CALLS, SAYS])
        result = await run(system)
        used = system.services.accounts.standing(("default", "ada"))[1]
    assert (outcome(result).stop_reason, outcome(result).output) == ("completed", "Hello.")
    assert (outcome(result).tool_errors, used["tool_calls"]) == (1, 1)
    errors = [event.data for event in house.events if event.type == "tool.call.failed"]
    assert "opens again at 2026-12-01" in str(errors[0])


async def test_what_tools_cost_is_on_the_account(house: House) -> None:
    """A call that costs more than what is left of the day is not made, and the model is told when there is more."""
    async with house.open() as system:
        await house.apply(system, "{cost: 0.5}", replies=[*CALLS, SAYS])
        result = await run(system)
        used = system.services.accounts.standing(("default", "ada"))[1]
    assert (outcome(result).stop_reason, outcome(result).cost, used["cost"]) == ("completed", 0.3, 0.3)
    (error,) = [event.data for event in house.events if event.type == "tool.call.failed"]
    assert "the call costs 0.3 USD, and the day's budget of Agent/ada is spent" in str(error)


async def test_delegated_work_is_on_the_account_of_whoever_does_it(house: House) -> None:
    """Each agent pays for its own calls, the namespace for all of them once, and the task's calls are one number."""
    asks = {"toolCalls": [{"name": "ask", "arguments": {"goal": "help"}}], "usage": {"input": 80, "output": 20}}
    async with house.open() as system:
        await house.apply(system, everybody="{calls: 10}", replies=[asks, SAYS])
        result = await run(system, "c")
        calls = [system.services.accounts.standing(("default", name))[1]["calls"] for name in ("eve", "bob", "")]
        assert (calls, outcome(result).steps, outcome(result).usage.total) == ([2, 1, 3], 3, 300)
        await house.apply(system, everybody="{calls: 10}", replies=[asks, {**SAYS, "text": "Hello!"}])
        task = new_task("go", system.clock, cluster="c", budget=Budget(calls=2))
        result = await system.engine.result(await system.engine.submit(task))
    assert (outcome(result).stop_reason, outcome(result).steps) == ("budget_calls", 2)


async def test_an_end_by_budget_is_replayed_alike(house: House) -> None:
    """A task that met a spent budget in its middle is played again without one and ends in the same way."""
    async with house.open() as system:
        await house.apply(system, "{calls: 2}", replies=[*CALLS, SAYS])
        result = await run(system)
        assert (outcome(result).stop_reason, outcome(result).steps) == ("budget_calls", 2)
        cassette = await export(system.store, result.task.id)
    played = await replay(cassette)
    assert played.difference is None
    assert played.result is not None
    assert outcome(played.result).note == outcome(result).note
    assert outcome(played.result).temporary


@pytest.mark.parametrize(
    ("limits", "budget", "ends", "told"),
    [
        ("{}", Budget(tokens=60), "budget_tokens", "the task's budget of tokens is used up (0 of 60 used, too little"),
        ("{tokens: 60}", Budget(), "budget_tokens", "limits.tokens of Agent/ada is used up (0 of 60 used, too little"),
        ("{}", Budget(seconds=120), "budget_time", "the task's budget of time is used up (120 s are over): raise"),
        ("{time: 2m}", Budget(), "budget_time", "limits.time of Agent/ada is used up (120 s are over): raise spec"),
        ("{}", Budget(seconds=0), "budget_time", "the task's budget of time is used up (0 s are over): raise what it"),
        ("{time: 0s}", Budget(), "budget_time", "limits.time of Agent/ada is used up (0 s are over): raise spec."),
        ("{steps: 0}", Budget(), "max_steps", ""),
        ("{tokens: 0}", Budget(), "budget_tokens", "limits.tokens of Agent/ada is used up (0 of 0 used, too little"),
        (
            "{}",
            Budget(tokens=0),
            "budget_tokens",
            "(--max-tokens, or spec.budget.tokens of a declared task), or spec.limits.tokens",
        ),
        (
            "{}",
            Budget(calls=0),
            "budget_calls",
            "calls is used up (0 of 0 used, too little for this call): raise spec.li",
        ),
        ("{}", Budget(tool_calls=1), "max_tool_calls", ""),
        ("{toolCalls: 1}", Budget(), "max_tool_calls", ""),
    ],
)
async def test_whose_limit_it_was(
    house: House, limits: str, budget: Budget, ends: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named with what to raise; of a limit that was not the agent's nothing is learned, in a replay too."""
    be_late(120, monkeypatch)
    text = MANIFESTS.replace("budgets: {daily: ADA}", f"limits: {limits}")
    async with house.open() as system:
        both = {"toolCalls": [{"name": "mark", "arguments": {"at": at}} for at in (1, 2)]}
        slow = {**SAYS, "delay": "1h"} if "time" in ends else SAYS
        await house.apply(system, replies=[both, slow], text=text)
        task = new_task("go " * (60 if "tokens" in ends else 1), system.clock, cluster="a", budget=budget)
        result = await system.engine.result(await system.engine.submit(task))
        cassette = await export(system.store, result.task.id)
    assert outcome(result).stop_reason == ends
    assert told in outcome(result).note
    if any(said in told + limits for said in ("(0 s", "of 0 used", "steps: 0")):
        assert outcome(result).steps == 0, "0 is none at all"
    own = limits != "{}"
    assert outcome(result).foreign is not own
    assert result.adapted is not None
    assert bool([one for one in result.adapted.decisions if isinstance(one, ScoreMove)]) == own
    played = await replay(cassette)
    assert (played.difference, played.result and outcome(played.result).note) == (None, outcome(result).note)


async def test_planning_counts(house: House) -> None:
    """What a split takes to be planned, done and merged is on the accounts, call by call."""
    plan: dict[str, object] = {
        "when": "Do*",
        "system": "You split",
        "times": None,
        "json": {"parts": [{"goal": g, "needs": []} for g in ("one", "two")]},
    }
    async with house.open() as system:
        await house.apply(system, replies=[plan, SAYS])
        goal = "1. Compare one and two?\n2. Design three and four?\n3. Explain five?"
        task = new_task(f"Do {goal}", system.clock, cluster="a")
        result = await system.engine.result(await system.engine.submit(task))
        used = system.services.accounts.standing(("default", ""))[1]
    assert result.executed is not None
    assert len(result.executed.children) == 2
    assert used["calls"] == 4
    assert used["tokens"] == outcome(result).usage.total
