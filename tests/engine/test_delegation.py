"""Agents that ask each other: below one task, on one account, in one record, whatever happens to the process."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from loomd.agents.approval import Decision
from loomd.agents.work import Outcome
from loomd.amoeba.task import Result
from loomd.cassette import requests
from loomd.daemon import System
from loomd.events.event import (
    ApprovalRequested,
    Event,
    ModelCalled,
    PhaseStarted,
    StepCompleted,
    ToolCompleted,
    ToolErred,
    ToolStarted,
)
from loomd.events.journal import Journal
from loomd.events.room import BudgetExceeded
from loomd.messages import Usage
from loomd.replay.export import Serving, export
from loomd.replay.player import replay
from tests.clocks import hold, skip
from tests.engine.world import TOOL, World, outcome, task_of, until

TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec:
  type: scripted
  replies: REPLIES
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: mark}
spec: {type: python, file: tool.py, function: mark, effects: write, MARK}
---
apiVersion: loomd.dev/v1
kind: Embedder
metadata: {name: words}
spec: {type: hash}
---
apiVersion: loomd.dev/v1
kind: KnowledgeBase
metadata: {name: hours}
spec:
  sources: [{type: files, path: documents}]
  embedder: words
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: look-up}
spec: {type: knowledge, knowledge: hours, topK: 1}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: ask-worker}
spec: {type: agent, agent: worker, ASK}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: worker}
spec: {description: Does the work., provider: script, prompt: You are the worker., tools: [mark, look-up], WORKER}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: boss}
spec: {provider: script, prompt: You are the boss., tools: [ask-worker, mark], BOSS}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: default}
spec: {agents: [boss]}
"""
USED = {"input": 10, "output": 5}


def says(who: str, text: str = "", *calls: tuple[str, Mapping[str, object]], **more: object) -> dict[str, Any]:
    """Return a scripted reply of one agent: a text, or calls."""
    wanted = [{"name": name, "arguments": arguments} for name, arguments in calls]
    return {"system": who, "text": text, "toolCalls": wanted, "usage": USED, **more}


ASKS = ("ask-worker", {"goal": "make a mark"})
WORKS = [
    says("boss", "I delegate.", ASKS),
    says("boss", "All done."),
    says("worker", "", ("mark", {"word": "w"})),
    says("worker", "It is marked."),
]


class Team(World):
    """A boss that asks a worker."""

    def declare(
        self,
        replies: list[dict[str, Any]],
        *,
        boss: str = "maxTokens: 500",
        worker: str = "maxTokens: 500",
        ask: str = "maxDepth: 3",
        mark: str = "timeout: 30s",
        more: str = "",
    ) -> None:
        """Write the manifests; what is given goes into the agents and the tools."""
        text = TEAM.replace("REPLIES", json.dumps(replies)).replace("BOSS", boss).replace("WORKER", worker)
        (self.folder / "manifests.yaml").write_text(text.replace("ASK}", f"{ask}}}").replace("MARK", mark) + more)
        (self.folder / "tool.py").write_text(TOOL)
        (self.folder / "documents").mkdir(exist_ok=True)
        (self.folder / "documents" / "hours.md").write_text("# Opening hours\n\nThe library opens at nine.\n")


@pytest.fixture
def team(tmp_path: Path) -> Team:
    """Return a team in which the worker marks once."""
    team = Team(tmp_path)
    team.declare(WORKS)
    return team


async def facts(system: System, task: str, kind: type) -> list[Any]:
    """Return the facts of a type that a task left."""
    return [event.data async for event in Journal(system.store).replay(task=task) if isinstance(event.data, kind)]


def done(result: Result) -> Outcome:
    """Return what an agent brought back."""
    assert result.executed is not None, result
    return result.executed.outcome


async def run(team: Team) -> tuple[Result, list[Event]]:
    """Run one task to its end."""
    async with team.open() as system:
        task = await system.engine.submit(task_of(system))
        result = await system.engine.result(task)
        return result, [event async for event in Journal(system.store).replay(task=task)]


# What comes back


async def test_another_agent_does_a_part_of_the_work(team: Team) -> None:
    """Its answer is the result of the call; what it used and called is booked to whoever asked."""
    result, events = await run(team)
    assert outcome(result) == ("Succeeded", "completed", "All done.")
    assert team.marks == ["xw"]
    assert done(result).usage == Usage(40, 20)
    assert done(result).tools == ("ask-worker", "mark")
    assert done(result).steps == 4
    told = [event.data.result for event in events if isinstance(event.data, ToolCompleted)]
    assert told == ["marked", "It is marked."]


async def test_events_say_where_they_happened(team: Team) -> None:
    """What another agent did has its name, the same task, and the key of the delegation."""
    _, events = await run(team)
    at = "execute/tool/0/0/agent/1"
    called = [(event.agent, event.within) for event in events if isinstance(event.data, ModelCalled)]
    assert called == [("boss", ""), ("worker", at), ("worker", at), ("boss", "")]
    began = [(event.agent, event.data.tool, event.within) for event in events if isinstance(event.data, ToolStarted)]
    assert began == [("boss", "ask-worker", ""), ("worker", "mark", at)]
    keys = [event.key for event in events if isinstance(event.data, StepCompleted) and event.data.name == "model"]
    boss, worker = "step/execute/model", f"step/{at}/model"
    assert keys == [f"{boss}/0", f"{worker}/0", f"{worker}/1", f"{boss}/1"]


async def test_citations_come_back_with_the_answer(team: Team) -> None:
    """The passages that the other one cites are citable here, numbered through."""
    team.declare(
        [
            says("boss", "", ASKS, ("ask-worker", {"goal": "say it again"})),
            says("boss", "At nine [1], really [1]. Not [2]."),
            says("worker", "", ("look-up", {"query": "opening hours"})),
            says("worker", "It opens at nine [1]; see [7]."),
        ]
    )
    result, events = await run(team)
    (cited,) = done(result).citations
    assert (cited.number, cited.source, cited.knowledge) == (1, "documents/hours.md:3-3", "hours")
    assert done(result).unknown_citations == (2,)
    assert done(result).grounding > 0
    told = [event.data.tool for event in events if isinstance(event.data, ToolCompleted)]
    assert sorted(told) == ["ask-worker", "ask-worker", "look-up", "look-up"]


async def test_an_agent_that_has_no_answer(team: Team) -> None:
    """The caller is told why, and goes on."""
    team.declare(
        [says("boss", "", ASKS), says("boss", "Then not."), says("worker", "no more", error="permanent")],
    )
    result, events = await run(team)
    assert outcome(result) == ("Succeeded", "completed", "Then not.")
    (erred,) = [event.data.error for event in events if isinstance(event.data, ToolErred)]
    assert erred == "Agent/worker: script/scripted: no more"
    assert done(result).tool_errors == 1


async def test_a_partial_answer_says_that_it_is_one(team: Team) -> None:
    """What another one brings at a limit is a result, with the reason."""
    replies = [
        says("boss", "", ASKS),
        says("boss", "So far."),
        says("worker", "", ("mark", {})),
        says("worker", "half of it", times=None),
    ]
    team.declare(replies, worker="limits: {steps: 2}")
    _, events = await run(team)
    told = [event.data.result for event in events if isinstance(event.data, ToolCompleted)]
    assert told[-1] == "half of it\n[not all of it: Agent/worker ended as max_steps]"


# Limits


async def test_both_draw_on_one_account(team: Team) -> None:
    """When the other one has used up the caller's tokens, both end with what there is."""
    team.declare(
        [says("boss", "I delegate.", ASKS), says("boss", "never"), says("worker", "", ("mark", {}), times=None)],
        boss="limits: {tokens: 250}, maxTokens: 5",
        worker="limits: {repeats: 100, steps: 100}, maxTokens: 5",
    )
    result, events = await run(team)
    assert outcome(result) == ("Succeeded", "budget_tokens", "I delegate.")
    assert 50 <= done(result).usage.total <= 250
    assert [event.agent for event in events if isinstance(event.data, BudgetExceeded)] == ["worker", "boss"]


async def test_calls_side_by_side_draw_on_one_account(team: Team) -> None:
    """Two workers at the same time use no more together than the caller may."""
    team.declare(
        [
            says("boss", "I delegate.", ASKS, ("ask-worker", {"goal": "make another"})),
            says("boss", "never"),
            says("worker", "", ("mark", {}), times=None),
        ],
        boss="limits: {tokens: 350}, maxTokens: 5",
        worker="limits: {repeats: 100, steps: 100}, maxTokens: 5",
    )
    result, _ = await run(team)
    assert done(result).stop_reason == "budget_tokens"
    assert 150 <= done(result).usage.total <= 350


async def test_tool_calls_are_counted_together(team: Team) -> None:
    """The limit of whoever asked holds for all that is done for it."""
    team.declare(
        [
            says("boss", "", ASKS),
            says("boss", "So far."),
            says("worker", "", *(("mark", {"word": str(n)}) for n in range(9))),
            says("worker", "some of it", times=None),
        ],
        boss="limits: {toolCalls: 4}",
    )
    result, _ = await run(team)
    assert len(team.marks) == 3
    assert done(result).tools == ("ask-worker", *["mark"] * 3)


async def test_tool_calls_side_by_side_are_counted_together(team: Team) -> None:
    """Work that is delegated at once shares what is left: the calls under way count before they have ended."""
    two = [("mark", {"word": "a"}), ("mark", {"word": "b"})]
    team.declare(
        [
            says("boss", "", ASKS, ("ask-worker", {"goal": "make another"}), ("ask-worker", {"goal": "and another"})),
            says("boss", "All done."),
            says("worker", "", *two),
            says("worker", "It is marked."),
        ],
        boss="limits: {toolCalls: 5}",
    )
    await run(team)
    assert len(team.marks) == 2


async def test_the_time_of_the_caller_holds(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is over, the other one is ended at once."""
    team.declare([says("boss", "I delegate.", ASKS), says("worker", "late", delay="1h")], boss="limits: {time: 2m}")
    async with asyncio.timeout(200), team.open() as system:
        task = await system.engine.submit(task_of(system))
        await until(system, lambda event: isinstance(event.data, ToolStarted), task)
        skip(120, monkeypatch)
        result = await system.engine.result(task)
    assert outcome(result) == ("Succeeded", "budget_time", "I delegate.")


async def test_the_time_of_a_call(team: Team) -> None:
    """The tool says how long one call may take; the caller goes on after it."""
    replies = [says("boss", "", ASKS), says("boss", "Without."), says("worker", "late", delay="1m")]
    team.declare(replies, ask="timeout: 200ms")
    async with asyncio.timeout(60):
        result, events = await run(team)
    assert outcome(result) == ("Succeeded", "completed", "Without.")
    (erred,) = [event.data.error for event in events if isinstance(event.data, ToolErred)]
    assert erred == "Agent/worker: there is no answer: the work ended as budget_time"


async def test_cancelling_reaches_whoever_works(team: Team) -> None:
    """The task ends at once, with what there is."""
    team.declare([says("boss", "I delegate.", ASKS), says("worker", "late", delay="1m")])
    async with asyncio.timeout(60), team.open() as system:
        task = await system.engine.submit(task_of(system))
        await until(system, lambda event: isinstance(event.data, ToolStarted), task)
        await asyncio.sleep(0.05)
        await system.engine.cancel(task)
        result = await system.engine.result(task)
    assert outcome(result) == ("Cancelled", "cancelled", "I delegate.")


NESTED = """
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: ask-helper}
spec: {type: agent, agent: helper, DEPTH}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: helper}
spec: {provider: script, prompt: You are the helper., tools: [mark]}
"""


@pytest.mark.parametrize(("depth", "helped"), [(1, False), (2, True)])
async def test_delegations_above_each_other_are_bounded(team: Team, depth: int, helped: bool) -> None:
    """A tool says how deep it may be used; the model is told when that is too deep."""
    team.declare(
        [
            says("boss", "", ASKS),
            says("boss", "Done."),
            says("worker", "", ("ask-helper", {"goal": "help"})),
            says("worker", "Worked."),
            says("helper", "", ("mark", {})),
            says("helper", "Helped."),
        ],
        more=NESTED.replace("DEPTH", f"maxDepth: {depth}"),
    )
    path = team.folder / "manifests.yaml"
    path.write_text(path.read_text().replace("tools: [mark, look-up]", "tools: [mark, ask-helper]"))
    result, events = await run(team)
    assert outcome(result) == ("Succeeded", "completed", "Done.")
    assert bool(team.marks) is helped
    errors = [event.data.error for event in events if isinstance(event.data, ToolErred)]
    assert errors == ([] if helped else ["Agent/helper is not asked: at most 1 delegations stand above each other"])
    if helped:
        assert done(result).tools == ("ask-worker", "ask-helper", "mark")
        assert done(result).usage == Usage(60, 30)


# Safety


async def test_no_tool_that_acts_beyond_those_of_the_caller(team: Team) -> None:
    """Reading is the other one's own affair; what it may change, the caller must be allowed to change."""
    team.declare([*WORKS[:2], says("worker", "", ("mark", {}), ("look-up", {"query": "hours"})), WORKS[3]])
    path = team.folder / "manifests.yaml"
    path.write_text(path.read_text().replace("tools: [ask-worker, mark]", "tools: [ask-worker]"))
    result, events = await run(team)
    assert team.marks == []
    (erred,) = [event.data.error for event in events if isinstance(event.data, ToolErred)]
    assert erred == 'there is no tool "mark"; available: look-up'
    assert outcome(result)[0] == "Succeeded"


FORBIDS = """
---
apiVersion: loomd.dev/v1
kind: Interceptor
metadata: {name: no-marks}
spec: {type: guard, deny: [w], places: [toolArguments]}
"""


async def test_what_stands_around_the_caller_stands_around_those_it_asks(team: Team) -> None:
    """A call that an interceptor of the boss refuses is refused when the worker makes it, too."""
    team.declare(WORKS, boss="interceptors: [no-marks]", more=FORBIDS)
    result, events = await run(team)
    assert result.phase == "Succeeded"
    assert team.marks == []
    refused = [event.data.error for event in events if isinstance(event.data, ToolErred)]
    assert refused[0].startswith("Interceptor/no-marks refused the call")
    team.declare(WORKS, worker="interceptors: [no-marks]", more=FORBIDS)
    await run(team)
    assert team.marks == []
    team.declare(WORKS, more=FORBIDS)
    await run(team)
    assert team.marks == ["xw"]


async def test_no_tool_that_acts_by_way_of_a_third(team: Team) -> None:
    """What the caller may not do, nobody below it may do, however many stand between."""
    team.declare(
        [
            says("boss", "", ASKS),
            says("boss", "Done."),
            says("worker", "", ("ask-helper", {"goal": "help"})),
            says("worker", "Worked."),
            says("helper", "", ("mark", {})),
            says("helper", "Could not."),
        ],
        more=NESTED.replace("DEPTH", "maxDepth: 2"),
    )
    path = team.folder / "manifests.yaml"
    text = path.read_text().replace("tools: [ask-worker, mark]", "tools: [ask-worker]")
    text = text.replace("tools: [mark, look-up]", "tools: [mark, ask-helper]")
    path.write_text(text.replace("helper., tools: [mark]", "helper., tools: [mark, look-up]"))
    _, events = await run(team)
    assert team.marks == []
    (erred,) = [event.data.error for event in events if isinstance(event.data, ToolErred)]
    assert erred == 'there is no tool "mark"; available: look-up'


async def test_a_tool_that_is_taken_from_the_caller_meanwhile(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a newer revision takes from the caller, nobody it asks from then on gets."""
    go = hold(monkeypatch)
    team.declare(
        [
            says("boss", "", ("ask-worker", {"goal": "first"}), delay="1s"),
            says("boss", "Done."),
            says("worker", "", ("mark", {})),
            says("worker", "Could not."),
        ]
    )
    async with team.open() as system:
        task = await system.engine.submit(task_of(system))
        await until(system, lambda event: isinstance(event.data, PhaseStarted) and event.data.phase == "execute", task)
        team.edit("tools: [ask-worker, mark]", "tools: [ask-worker]")
        await system.reconciler.apply(team.delivery())
        go.set()
        result = await system.engine.result(task)
    assert outcome(result) == ("Succeeded", "completed", "Done.")
    assert team.marks == []


async def test_people_are_asked_in_delegated_work_and_time_stands_still(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question says what is called; the time in which nobody answers counts against neither agent."""
    team.declare(WORKS, mark="approval: {required: always}", boss="limits: {time: 1m}", worker="limits: {time: 1m}")
    async with team.open() as system:
        task = await system.engine.submit(task_of(system))
        asked = await until(system, lambda event: isinstance(event.data, ApprovalRequested), task)
        assert isinstance(asked.data, ApprovalRequested)
        skip(90, monkeypatch)
        await asyncio.sleep(0.05)  # whatever came to its time would end now
        await system.engine.decide(asked.data.approval, Decision("approved", "ann"))
        result = await system.engine.result(task)
    assert outcome(result) == ("Succeeded", "completed", "All done.")
    assert team.marks == ["xw"]


# Whatever happens to the process


@pytest.mark.parametrize(
    "at",
    [
        "step.completed model",
        "tool.call.started",
        "step.started tool:mark",
        "step.completed tool:mark",
        "step.completed tool:ask-worker",
    ],
)
async def test_killed_anywhere_it_goes_on_inside_the_delegation(team: Team, at: str) -> None:
    """Nothing is done twice, the answer is the same, and so is what it took."""
    team.declare(WORKS, mark="onUncertain: retry" if at == "step.started tool:mark" else "timeout: 30s")
    whole, _ = await run(team)
    team.kill_at(at)
    before = len(team.marks)
    async with team.open() as system:
        (task,) = await system.engine.resume()
        result = await system.engine.result(task)
        models = [one for one in await facts(system, task, StepCompleted) if one.name == "model"]
    assert outcome(result) == outcome(whole)
    for field in ("usage", "cost", "steps", "tools", "tool_errors"):
        assert getattr(done(result), field) == getattr(done(whole), field)
    assert len(models) == 4
    assert len(team.marks) in {2, before + 1} if "mark" in at else len(team.marks) == 2


async def test_a_delegation_that_is_said_to_act_goes_on_alike(team: Team) -> None:
    """It is never uncertain itself: what it comes to is recorded inside."""
    team.declare(WORKS, ask="effects: write")
    team.kill_at("step.completed tool:mark")
    async with team.open() as system:
        (task,) = await system.engine.resume()
        result = await system.engine.result(task)
    assert outcome(result) == ("Succeeded", "completed", "All done.")
    assert team.marks == ["xw"]


async def test_an_uncertain_call_in_delegated_work_ends_all_of_it(team: Team) -> None:
    """Whoever asked may not ask again: that could repeat the effect."""
    team.kill_at("step.started tool:mark")
    before = len(team.marks)
    async with team.open() as system:
        (task,) = await system.engine.resume()
        result = await system.engine.result(task)
    assert outcome(result)[:2] == ("Failed", "uncertain")
    assert len(team.marks) == before


async def test_interrupted_side_by_side(team: Team) -> None:
    """Two delegations of one turn go on each in its own work."""
    team.declare(
        [
            says("boss", "", ("ask-worker", {"goal": "first"}), ("ask-worker", {"goal": "second"})),
            says("boss", "Both."),
            says("worker", "", ("mark", {"word": "1"}), when="first"),
            says("worker", "One.", when="first", delay="2s"),  # the other has made its mark by then
            says("worker", "", ("mark", {"word": "2"}), when="second"),
            says("worker", "Two.", when="second", delay="5s"),
        ]
    )
    team.kill_at("step.completed tool:ask-worker")
    async with team.open() as system:
        (task,) = await system.engine.resume()
        result = await system.engine.result(task)
        told = [one.result for one in await facts(system, task, ToolCompleted)]
    assert outcome(result) == ("Succeeded", "completed", "Both.")
    assert sorted(team.marks) == ["x1", "x2"]
    assert sorted(set(told)) == ["One.", "Two.", "marked"]
    assert done(result).usage == Usage(60, 30)


async def test_a_recorded_delegation_can_be_replayed(team: Team) -> None:
    """The work of both agents is done again and held against what was recorded."""
    async with team.open() as system:
        task = await system.engine.submit(task_of(system))
        await system.engine.result(task)
        topology = system.reconciler.topology
        cassette = await export(system.store, task, Serving(topology.snapshot, topology.live))
    assert (await replay(cassette)).whole
    asked = [request for _, request in requests(cassette.tasks[0], cassette.tools)]
    assert [request.messages[0].text for request in asked] == [
        "You are the boss.",
        "You are the worker.",
        "You are the worker.",
        "You are the boss.",
    ]
