"""Searches that ask a model within a task: on its account, in its record, and never paid twice."""

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from loomd.agents.asking import MODEL_STEP
from loomd.amoeba.task import Budget, Result
from loomd.cassette import parse, write
from loomd.daemon import System
from loomd.engine.intake import new_task
from loomd.events.event import (
    Event,
    Fallback,
    KnowledgeSearched,
    ModelCalled,
    StepCompleted,
    TaskResumed,
    ToolCompleted,
    ToolErred,
)
from loomd.events.journal import Journal
from loomd.messages import Usage
from loomd.replay.export import Serving, export
from loomd.replay.player import replay
from tests.engine.world import World, outcome

TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec:
  type: scripted
  replies: REPLIES
---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: judge}
spec:
  type: scripted
  replies: JUDGE
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
  retrieval: {topK: 2, RETRIEVAL}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: look-up}
spec: {type: knowledge, knowledge: hours, topK: 1}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: script, maxTokens: 50, AGENT}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: default}
spec: {agents: [ada], CLUSTER}
"""
RERANK = "rerank: {type: model, provider: judge, MORE}"
DAYS = ("monday", "tuesday", "wednesday")
USED = {"input": 10, "output": 5}
GRADES: dict[str, Any] = {"json": {"1": 0, "2": 1, "3": 3}, "times": None, "usage": {"input": 100, "output": 9}}
NONSENSE: dict[str, Any] = {"text": "all fine", "times": None, "usage": {"input": 100, "output": 2}}
SAYS: dict[str, Any] = {"text": "At nine [1].", "times": None, "usage": USED}
ASKS = {"toolCalls": [{"name": "look-up", "arguments": {"query": "opening hours"}}], "usage": USED}


class Library(World):
    """An agent that looks things up, and a judge of what was found."""

    def declare(
        self,
        judge: list[dict[str, Any]],
        *,
        replies: tuple[dict[str, Any], ...] = (SAYS,),
        more: str = "onFailure: keep",
        retrieval: str = RERANK,
        agent: str = "knowledge: [hours]",
        cluster: str = "merge: model",
    ) -> None:
        """Write the manifests."""
        text = TEAM.replace("REPLIES", json.dumps(list(replies))).replace("JUDGE", json.dumps(judge))
        text = text.replace("RETRIEVAL", retrieval.replace("MORE", more)).replace("AGENT", agent)
        (self.folder / "manifests.yaml").write_text(text.replace("CLUSTER", cluster))
        (self.folder / "documents").mkdir(exist_ok=True)
        for day in DAYS:
            path = self.folder / "documents" / f"{day}.md"
            path.write_text(f"# {day}\n\nThe opening hours of {day}.\n")


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Return a library whose judge grades."""
    library = Library(tmp_path)
    library.declare([GRADES])
    return library


async def run(library: Library, budget: Budget | None = None) -> tuple[Result, list[Event]]:
    """Run one task to its end."""
    async with library.open() as system:
        return await run_in(system, budget)


async def run_in(system: System, budget: Budget | None = None) -> tuple[Result, list[Event]]:
    """Run one task to its end."""
    task = new_task("opening hours", system.clock, budget=budget or Budget())
    result = await system.engine.result(await system.engine.submit(task))
    return result, [event async for event in Journal(system.store).replay(task=task.id)]


def facts(events: list[Event], kind: type) -> list[Any]:
    """Return the facts of a type."""
    return [event.data for event in events if isinstance(event.data, kind)]


async def test_the_best_by_the_judge_comes_first(library: Library) -> None:
    """The agent is offered what the judge graded best; the call is told, and booked to the task."""
    library.declare([GRADES], retrieval="minScore: 0")
    _, events = await run(library)
    (plain,) = facts(events, KnowledgeSearched)
    (third,) = {f"documents/{day}.md:3-3" for day in DAYS} - set(plain.sources)
    library.declare([GRADES])
    result, events = await run(library)
    (searched,) = facts(events, KnowledgeSearched)
    assert searched.sources == (third, plain.sources[1])
    assert [one.model for one in facts(events, ModelCalled)] == ["judge/scripted", "script/scripted"]
    assert result.executed is not None
    assert result.executed.outcome.usage == Usage(110, 14)
    assert result.executed.outcome.steps == 2
    assert result.executed.outcome.citations[0].source == third


@pytest.mark.parametrize(
    ("judge", "more", "why"),
    [
        ([NONSENSE], "onFailure: keep", "cannot be used, nor a second one: it is not a JSON object"),
        ([{**GRADES, "json": {"1": 0, "2": 1}}], "onFailure: keep", "the grade of passage 3 is missing"),
        ([{**GRADES, "json": {"1": 0, "2": 1, "3": 9}}], "onFailure: keep", "the grade of passage 3 is none of 0 to 3"),
        ([{"text": "down", "error": "permanent"}], "onFailure: keep", "judge/scripted: down"),
        ([{**GRADES, "delay": "20s"}], "timeout: 100ms", "no answer within rerank.timeout (0.1 s)"),
    ],
)
async def test_a_judge_that_fails(library: Library, judge: list[dict[str, Any]], more: str, why: str) -> None:
    """The order of the search is kept, which is told; or the task fails, when that is declared."""
    library.declare(judge, more=more)
    result, events = await run(library)
    assert outcome(result) == ("Succeeded", "completed", "At nine [1].")
    (fallback,) = facts(events, Fallback)
    assert (fallback.phase, fallback.fallback) == ("rerank", "the passages stand in the order of the search")
    assert why in fallback.reason
    library.declare(judge, more=f"{more}, onFailure: fail".replace("onFailure: keep, ", ""))
    result, events = await run(library)
    assert result.phase == "Failed"
    assert why in result.error
    assert facts(events, Fallback) == []


async def test_a_bad_answer_is_mended_once(library: Library) -> None:
    """The judge is told what is wrong with it."""
    library.declare([{**NONSENSE, "times": 1}, {**GRADES, "when": "cannot be used: it is not a JSON object"}])
    result, events = await run(library)
    assert facts(events, Fallback) == []
    assert result.executed is not None
    assert result.executed.outcome.steps == 3
    assert result.executed.outcome.usage == Usage(210, 16)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ("limits: {tokens: 150}", "budget_tokens: 0 of 150 used, too little for this call"),
        ("budgets: {daily: {tokens: 150}}", "the day's budget of Agent/ada is spent (tokens: 0 of 150 used"),
    ],
)
async def test_a_budget_without_room_for_the_judge(library: Library, limits: str, reason: str) -> None:
    """It is not asked; the order of the search is kept, or the task ends as it does at a limit."""
    library.declare([GRADES], agent=f"knowledge: [hours], {limits}")
    result, events = await run(library)
    (fallback,) = facts(events, Fallback)
    assert reason in fallback.reason
    assert [one.model for one in facts(events, ModelCalled)] == ["script/scripted"]
    assert result.phase == "Succeeded"
    library.declare([GRADES], agent=f"knowledge: [hours], {limits}", more="onFailure: fail")
    result, events = await run(library)
    assert result.executed is not None
    assert result.executed.outcome.stop_reason == "budget_tokens"
    assert facts(events, ModelCalled) == []


async def test_what_the_judge_used_is_gone_for_the_agent(library: Library) -> None:
    """Both draw on one account, that of the task: a model call more is not made."""
    result, events = await run(library, Budget(calls=1))
    assert result.executed is not None
    assert result.executed.outcome.stop_reason == "budget_calls"
    assert [one.model for one in facts(events, ModelCalled)] == ["judge/scripted"]


async def test_a_tool_asks_on_the_same_account(library: Library) -> None:
    """What a search within a tool call asks is booked to the task, told, and within the call."""
    library.declare([GRADES], replies=(ASKS, SAYS), agent="tools: [look-up]")
    result, events = await run(library)
    assert outcome(result) == ("Succeeded", "completed", "At nine [1].")
    assert result.executed is not None
    assert result.executed.outcome.usage == Usage(120, 19)
    assert result.executed.outcome.steps == 3
    keys = [event.key for event in events if isinstance(event.data, StepCompleted) and event.data.name == MODEL_STEP]
    assert keys == ["step/execute/tool/0/0/search/1/judged/rerank/0"]
    library.declare([NONSENSE], replies=(ASKS, SAYS), agent="tools: [look-up]")
    result, events = await run(library)
    (told,) = facts(events, ToolCompleted)
    assert "[note: the passages stand in the order of the search, because rerank failed: " in told.result
    library.declare([NONSENSE], replies=(ASKS, SAYS), agent="tools: [look-up]", more="onFailure: fail")
    result, events = await run(library)
    (erred,) = facts(events, ToolErred)
    assert "cannot be used, nor a second one" in erred.error
    assert result.executed is not None
    assert result.executed.outcome.usage == Usage(220, 14), "what was asked in vain is booked, too"


async def resumed(library: Library, *, changed: bool = False) -> tuple[Result, list[Event]]:
    """Let a task that was killed go on, and return its result with all that it ever left.

    Args:
        library: where it ran.
        changed: whether the documents did, so that it goes on only when somebody says so.
    """
    async with library.open() as system:
        if changed:
            (task,) = [one.id for one in await system.store.list_tasks(unfinished=True)]
            await system.engine.go_on(task)
        else:
            (task,) = await system.engine.resume()
        result = await system.engine.result(task)
        return result, [event async for event in Journal(system.store).replay(task=task)]


@pytest.mark.parametrize(
    "at", ["step.completed search:model", "knowledge.searched", "step.completed knowledge:hours", "context.assembled"]
)
async def test_a_killed_task_pays_for_no_judgement_twice(library: Library, at: str) -> None:
    """Whenever it is killed after the judge answered: the answer is taken from the record, and booked once."""
    library.kill_at(at, "opening hours")
    result, events = await resumed(library)
    assert facts(events, TaskResumed)
    assert [one.model for one in facts(events, ModelCalled)] == ["judge/scripted", "script/scripted"]
    assert result.executed is not None
    assert result.executed.outcome.usage == Usage(110, 14)
    assert result.executed.outcome.steps == 2
    assert outcome(result) == ("Succeeded", "completed", "At nine [1].")


def change_documents(library: Library) -> None:
    """Let the documents be others than those that were found."""
    for day in DAYS:
        (library.folder / "documents" / f"{day}.md").unlink()
    for name in ("january", "february"):
        path = library.folder / "documents" / f"{name}.md"
        path.write_text(f"# {name}\n\nThe opening hours, the opening hours of {name}.\n")


@pytest.mark.parametrize(
    ("replies", "agent"), [((SAYS,), "knowledge: [hours]"), ((ASKS, SAYS), "tools: [look-up]")], ids=["agent", "tool"]
)
@pytest.mark.parametrize("at", ["step.completed search:found", "step.completed search:model"])
async def test_a_killed_task_goes_on_with_what_it_found(
    library: Library, at: str, replies: tuple[dict[str, Any], ...], agent: str
) -> None:
    """The documents changed meanwhile: the judge is asked about those that were found, once, and they are cited."""
    library.declare([GRADES], replies=replies, agent=agent)
    library.kill_at(at, "opening hours")
    change_documents(library)
    result, events = await resumed(library, changed=True)
    assert outcome(result) == ("Succeeded", "completed", "At nine [1].")
    assert [one.model for one in facts(events, ModelCalled)].count("judge/scripted") == 1
    assert facts(events, Fallback) == []
    assert result.executed is not None
    assert result.executed.outcome.usage == (Usage(110, 14) if len(replies) == 1 else Usage(120, 19))
    (cited,) = result.executed.outcome.citations
    assert cited.source in {f"documents/{day}.md:3-3" for day in DAYS}


async def test_what_did_not_come_in_time_stays_away(library: Library) -> None:
    """The grades that came count, and are booked, also when the task goes on and the judge is fast by then."""
    slow = {**GRADES, "json": {"1": 3}, "when": "] monday", "delay": "20s"}
    library.declare([slow, {**GRADES, "json": {"1": 1}}], more="batch: 1, timeout: 3s")
    library.kill_at("step.completed search:judged", "opening hours")
    library.declare([{**GRADES, "json": {"1": 1}}], more="batch: 1, timeout: 3s")
    result, events = await resumed(library)
    assert outcome(result) == ("Succeeded", "completed", "At nine [1].")
    (fallback,) = facts(events, Fallback)
    assert fallback.fallback == "1 of 3 passages stand in the order of the search"
    assert fallback.reason == "no answer within rerank.timeout (3 s)"
    assert [one.model for one in facts(events, ModelCalled)] == ["judge/scripted", "judge/scripted", "script/scripted"]
    assert result.executed is not None
    assert result.executed.outcome.usage == Usage(210, 23)


HELPER = """
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: helper}
spec: {provider: helps, maxTokens: 50, tools: [look-up]}
---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: helps}
spec: {type: scripted, replies: REPLIES}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: ask-helper}
spec: {type: agent, agent: helper}
"""


async def test_a_killed_delegation_takes_a_search_with_its_call(library: Library) -> None:
    """What is recorded below a call that is recorded itself is not missed, when the call above it ends."""
    call = {"toolCalls": [{"name": "ask-helper", "arguments": {"goal": "opening hours"}}], "usage": USED}
    library.declare([GRADES], replies=(call, SAYS), agent="tools: [ask-helper]")
    path = library.folder / "manifests.yaml"
    path.write_text(path.read_text() + HELPER.replace("REPLIES", json.dumps([ASKS, SAYS])))
    library.kill_at("step.completed tool:look-up", "opening hours")
    result, events = await resumed(library)
    assert outcome(result) == ("Succeeded", "completed", "At nine [1].")
    assert [one.model for one in facts(events, ModelCalled)].count("judge/scripted") == 1


async def test_a_search_that_ends_the_work_is_booked(library: Library) -> None:
    """What the judge used before the limit was reached is in the outcome."""
    judge = {**NONSENSE, "usage": {"input": 5000, "output": 2}}
    library.declare([judge], more="onFailure: fail", agent="knowledge: [hours], limits: {tokens: 3000}")
    result, events = await run(library)
    assert [one.model for one in facts(events, ModelCalled)] == ["judge/scripted"]
    assert result.executed is not None
    assert result.executed.outcome.stop_reason == "budget_tokens"
    assert result.executed.outcome.usage == Usage(5000, 2)


async def test_a_killed_tool_call_pays_for_no_judgement_twice(library: Library) -> None:
    """The same within a tool call."""
    library.declare([GRADES], replies=(ASKS, SAYS), agent="tools: [look-up]")
    library.kill_at("step.completed search:model", "opening hours")
    result, events = await resumed(library)
    assert [one.model for one in facts(events, ModelCalled)].count("judge/scripted") == 1
    assert result.executed is not None
    assert result.executed.outcome.usage == Usage(120, 19)


async def test_a_fallback_stays_one_when_the_task_goes_on(library: Library) -> None:
    """The judge is not asked once more: the prompt must be the one that was recorded."""
    library.declare([NONSENSE])
    library.kill_at("step.completed model", "opening hours")
    library.declare([GRADES])
    result, events = await resumed(library)
    assert [one.model for one in facts(events, ModelCalled)] == ["judge/scripted", "judge/scripted", "script/scripted"]
    assert outcome(result) == ("Succeeded", "completed", "At nine [1].")


@pytest.mark.parametrize(
    ("replies", "agent"), [((SAYS,), "knowledge: [hours]"), ((ASKS, SAYS), "tools: [look-up]")], ids=["agent", "tool"]
)
async def test_a_replay_does_the_same(library: Library, replies: tuple[dict[str, Any], ...], agent: str) -> None:
    """From the cassette alone: no judge is asked, and the outcome has the same usage."""
    library.declare([GRADES], replies=replies, agent=agent)
    async with library.open() as system:
        result, _ = await run_in(system)
        topology = system.reconciler.topology
        cassette = await export(system.store, result.task.id, Serving(topology.snapshot, topology.live))
    played = await replay(parse(write(cassette), "cassette"))
    assert played.difference is None
    assert result.executed is not None
    assert played.result is not None
    assert played.result.executed is not None
    assert played.result.executed.outcome.usage == result.executed.outcome.usage


async def test_other_wordings_are_searched_and_told(library: Library) -> None:
    """What a model says to look for stands in the event; what only that finds is found."""
    (library.folder / "documents").mkdir(exist_ok=True)
    said = {"json": {"wordings": ["xylophone"]}, "times": None}
    library.declare([said], retrieval="mode: keyword, expand: {type: model, provider: judge, count: 1, weight: 2}")
    (library.folder / "documents" / "music.md").write_text("# Music\n\nA xylophone may be lent.\n")
    _, events = await run(library)
    (searched,) = facts(events, KnowledgeSearched)
    assert searched.wordings == ("xylophone",)
    assert "documents/music.md:3-3" in searched.sources


REDACTS = """
---
apiVersion: loomd.dev/v1
kind: Interceptor
metadata: {name: private}
spec: {type: redact, detectors: [email]}
"""


async def test_interceptors_see_what_the_judge_is_asked(library: Library) -> None:
    """What an agent's model may not see the judge of its searches may not see either."""
    library.declare([{**GRADES, "when": "write to [redacted]"}], agent="knowledge: [hours], interceptors: [private]")
    path = library.folder / "manifests.yaml"
    path.write_text(path.read_text() + REDACTS)
    (library.folder / "documents" / "monday.md").write_text("# monday\n\nThe opening hours: write to ann@example.com\n")
    _, events = await run(library)
    assert facts(events, Fallback) == []
    assert [one.model for one in facts(events, ModelCalled)] == ["judge/scripted", "script/scripted"]


class Service:
    """Scores documents, the later the better, and counts how often it is asked."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = 0

    async def rerank(self, request: web.Request) -> web.Response:
        """Answer."""
        self.asked += 1
        documents = (await request.json())["documents"]
        return web.json_response({"results": [{"index": at, "relevance_score": at} for at in range(len(documents))]})

    def declared(self, **more: object) -> str:
        """Return a reranker that costs a quarter of a dollar for each call."""
        spec = {"type": "cross-encoder", "baseUrl": self.url, "price": 0.25, **more}
        return f"rerank: {json.dumps(spec)}"


@pytest.fixture
async def service() -> AsyncGenerator[Service, None]:
    """Yield a service on this machine."""
    made = Service()
    app = web.Application()
    app.router.add_post("/rerank", made.rerank)
    server = TestServer(app)
    await server.start_server()
    made.url = str(server.make_url("/"))
    yield made
    await server.close()


def spent(result: Result) -> float:
    """Return the USD of a task."""
    assert result.executed is not None
    return result.executed.outcome.cost


@pytest.mark.parametrize(
    ("replies", "agent"), [((SAYS,), "knowledge: [hours]"), ((ASKS, SAYS), "tools: [look-up]")], ids=["agent", "tool"]
)
async def test_a_service_is_paid_from_the_task(
    library: Library, service: Service, replies: tuple[dict[str, Any], ...], agent: str
) -> None:
    """Its price is booked once, as money; it is no model call; the agent's day pays, too."""
    library.declare([], retrieval=service.declared(), replies=replies, agent=agent)
    async with library.open() as system:
        result, _ = await run_in(system)
        used = system.services.accounts.standing(("default", "ada"))[1]
    assert outcome(result) == ("Succeeded", "completed", "At nine [1].")
    assert service.asked == 1
    assert spent(result) == 0.25
    assert result.executed is not None
    assert result.executed.outcome.steps == len(replies)
    assert (used["cost"], used["calls"]) == (0.25, len(replies))


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ("limits: {cost: 0.2}", "budget_cost: 0 of 0.2 used, too little for this call"),
        ("budgets: {daily: {cost: 0.2}}", "the day's budget of Agent/ada is spent (cost: 0 of 0.2 used"),
    ],
)
async def test_a_service_that_costs_too_much(library: Library, service: Service, limits: str, reason: str) -> None:
    """It is not called; the order of the search is kept, or the task ends as at its limits."""
    library.declare([], retrieval=service.declared(), agent=f"knowledge: [hours], {limits}")
    result, events = await run(library)
    (fallback,) = facts(events, Fallback)
    assert reason in fallback.reason
    assert (result.phase, spent(result)) == ("Succeeded", 0.0)
    library.declare([], retrieval=service.declared(onFailure="fail"), agent=f"knowledge: [hours], {limits}")
    result, _ = await run(library)
    assert result.executed is not None
    assert result.executed.outcome.stop_reason == "budget_cost"
    assert service.asked == 0


@pytest.mark.parametrize("at", ["step.completed search:found", "step.completed search:service"])
async def test_scores_of_a_service_stay_with_their_passages(library: Library, service: Service, at: str) -> None:
    """The documents changed while the task was down: what is scored is what was found."""
    library.declare([], retrieval=service.declared())
    await asyncio.to_thread(library.kill_at, at, "opening hours")
    change_documents(library)
    result, events = await resumed(library, changed=True)
    assert outcome(result) == ("Succeeded", "completed", "At nine [1].")
    assert (service.asked, spent(result)) == (1, 0.25)
    (searched,) = facts(events, KnowledgeSearched)
    assert set(searched.sources) < {f"documents/{day}.md:3-3" for day in DAYS}


@pytest.mark.parametrize("at", ["step.completed search:service", "context.assembled"])
async def test_a_killed_task_pays_no_service_twice(library: Library, service: Service, at: str) -> None:
    """What it answered is taken from the record, and booked once."""
    library.declare([], retrieval=service.declared())
    await asyncio.to_thread(library.kill_at, at, "opening hours")
    result, events = await resumed(library)
    assert facts(events, TaskResumed)
    assert service.asked == 1
    assert spent(result) == 0.25
    assert outcome(result) == ("Succeeded", "completed", "At nine [1].")
