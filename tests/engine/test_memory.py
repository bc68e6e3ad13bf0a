"""What a memory keeps of a conversation and of tasks, told to the models that answer; over kills, and in replays."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loomd.agents.work import Outcome
from loomd.amoeba.task import Result, Task
from loomd.cassette import requests
from loomd.daemon import System
from loomd.engine.intake import Wish, new_task
from loomd.events.event import Event, Fallback
from loomd.events.journal import Journal
from loomd.events.room import MemoryCondensed, MemoryRemembered
from loomd.manifest.object import Ref
from loomd.memory.item import Item, Which
from loomd.replay.export import Serving, export
from loomd.replay.player import replay
from tests.engine.world import World

MANIFESTS = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: REPLIES}
---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: short}
spec: {type: scripted, replies: SUMMARIES}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: notary}
spec: {provider: short, prompt: You are the notary.}
---
apiVersion: loomd.dev/v1
kind: Memory
metadata: {name: notes}
spec: {window: {tokens: 100}, recall: {enabled: true, topK: 5}, working: {tokens: 30}, MORE}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: script, memory: notes}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: default}
spec: {agents: [ada]}
"""
ALL = Which()
SAID = [
    "The spare key lies under the blue pot.",
    "We decided to hire Ann on 3 March.",
    "The harbour of Leith opens at 7.",
    "My sister keeps 12 bees.",
    "The garden gate is painted green and squeaks badly.",
]


TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: REPLIES}
---
apiVersion: loomd.dev/v1
kind: Memory
metadata: {name: notes}
spec: {recall: {enabled: true, topK: 5}, CHILDREN}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: ask-worker}
spec: {type: agent, agent: worker}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: worker}
spec: {provider: script, prompt: You are the worker.}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: boss}
spec: {description: Leads and plans., provider: script, prompt: You are the boss., memory: notes, tools: [ask-worker]}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: default}
spec: {agents: [boss], CLUSTER}
"""


class Noted(World):
    """A world in which an agent has a memory."""

    def declare(self, more: str = "", summaries: list[dict[str, Any]] | None = None) -> None:
        """Write the manifests; `more` goes into the memory."""
        text = MANIFESTS.replace("REPLIES", json.dumps([{"text": "Noted.", "times": None}]))
        text = text.replace("SUMMARIES", json.dumps(summaries or [{"text": "Nothing.", "times": None}]))
        (self.folder / "manifests.yaml").write_text(text.replace(", MORE", f", {more}" if more else ""))


@pytest.fixture
def noted(tmp_path: Path) -> Noted:
    """Return the world, with a memory that works by rules."""
    world = Noted(tmp_path)
    world.declare()
    return world


def done(result: Result) -> Outcome:
    """Return the outcome of a task."""
    assert result.executed is not None
    return result.executed.outcome


async def say(system: System, goal: str, user: str = "", session: str = "s1") -> Result:
    """Say something in a session, and return what became of it."""
    task = new_task(goal, system.clock, **Wish(session=session, user=user))
    result = await system.engine.result(await system.engine.submit(task))
    assert done(result).stop_reason == "completed"
    return result


async def asked(system: System, result: Result) -> list[str]:
    """Return the last turns that models were sent in a task, after it was replayed."""
    topology = system.reconciler.topology
    cassette = await export(system.store, result.task.id, Serving(topology.snapshot, topology.live))
    assert (await replay(cassette)).whole
    return [request.messages[-1].text for _, request in requests(cassette.tasks[0], cassette.tools)]


async def events(system: System, result: Result) -> list[Event]:
    """Return what happened in a task."""
    return [one async for one in Journal(system.store).replay(task=result.task.id)]


async def kept(system: System, which: Which = ALL) -> list[Item]:
    """Return what is remembered."""
    live: Any = system.reconciler.topology.live[Ref("Memory", "notes")]
    return list(await live.items(which))


async def test_what_left_the_window_comes_back_as_facts(noted: Noted) -> None:
    """A fact of a turn that is not shown any more stands in the prompt of a question that it fits; others do not."""
    async with noted.open() as system:
        for said in SAID:
            await say(system, said)
        (last,) = await asked(system, await say(system, "Where does the spare key lie?"))
        assert last == "From memory:\n- The spare key lies under the blue pot.\n\nWhere does the spare key lie?"
        assert await asked(system, await say(system, "Where does the spare key lie?", user="eve")) == [
            "Where does the spare key lie?"
        ]


async def test_what_is_in_the_window_is_not_said_twice(noted: Noted) -> None:
    """A fact whose turn is still shown is left out."""
    async with noted.open() as system:
        await say(system, SAID[0])
        assert await asked(system, await say(system, "Where does the spare key lie?")) == [
            "Where does the spare key lie?"
        ]


@pytest.mark.parametrize("by", ["provider: short", "agent: notary"])
async def test_a_summarizer(noted: Noted, by: str) -> None:
    """Facts that are too many are put into fewer words, linked to what they replace; what these do not say is kept."""
    summary = "Spare key: under the blue pot. Ann was hired on 3 March."
    noted.declare(f"compaction: {{{by}}}", [{"text": summary, "times": None}])
    async with noted.open() as system:
        results = [await say(system, said) for said in SAID]
        last = await say(system, "Hello there, my friends.")
        told = [one.data for result in (*results, last) for one in await events(system, result)]
        condensed = [one for one in told if isinstance(one, MemoryCondensed)]
        assert condensed
        summaries = [one for one in await kept(system) if one.what == "summary"]
        assert summaries
        places = {place for one in summaries for place in one.replaces}
        assert {place.partition("/")[0] for place in places} <= {one.task.id for one in results}
        assert places == {place for one in condensed for place in one.places}
        for place in places:
            task, _, key = place.partition("/")
            assert key in await Journal(system.store).checkpoints(task)
        texts = " ".join(one.text for one in await kept(system))
        for word in ("blue pot", "3 March", "Leith", "12 bees", "green"):
            assert word in texts
        assert done(last).steps + sum(done(one).steps for one in results) > len(SAID) + 1
        await asked(system, last)


async def test_a_summarizer_that_fails_loses_nothing(noted: Noted) -> None:
    """When nothing comes of it, the facts become long-term as they are, and that is told."""
    noted.declare("compaction: {provider: short}", [{"text": "All is well.", "times": None}])
    async with noted.open() as system:
        results = [await say(system, said) for said in (*SAID, "Hello there, my friends.")]
        told = [one.data for result in results for one in await events(system, result)]
        why = "of the summary is left out: 'All is well.': it says none of the facts"
        assert Fallback("condense", why, "what no other line says becomes long-term as it is") in told
        texts = {one.text for one in await kept(system)}
        assert set(SAID) <= texts
        assert await kept(system, Which(level="long"))


async def test_what_a_summarizer_invents_is_left_out_and_told(noted: Noted) -> None:
    """Nonsense and inventions become no memories beside a line that says a fact; a line links to its own facts."""
    said = "Spare key: under the blue pot. Bob was hired on 3 March. All is well. The harbour of Leith closes at 7."
    noted.declare("compaction: {provider: short}", [{"text": said, "times": None}])
    async with noted.open() as system:
        results = [await say(system, one) for one in (*SAID, "Hello there, my friends.")]
        items = await kept(system)
        told = [one.data for result in results for one in await events(system, result)]
        assert {one.text for one in items} == {
            "Spare key: under the blue pot.",
            "Hello there, my friends.",
            *SAID[1:],
        }
        (summary,) = [one for one in items if one.what == "summary"]
        assert [place.partition("/")[0] for place in summary.replaces] == [results[0].task.id]
        (condensed,) = [one for one in told if isinstance(one, MemoryCondensed)]
        assert [(one.item, one.facts) for one in condensed.lines] == [(summary.id, condensed.items)]
        reasons = [one.reason for one in told if isinstance(one, Fallback)]
        assert any("'Bob was hired on 3 March.'" in one and "closes at 7.'" in one for one in reasons)


@pytest.mark.parametrize("at", ["step.completed recall", "step.completed model", "memory.remembered"])
async def test_killed_anywhere_it_is_remembered_once(noted: Noted, at: str) -> None:
    """A task that goes on after a kill remembers its answer once, and what was told as remembered is there."""
    noted.kill_at(at, "The spare key lies under the blue pot.")
    async with noted.open() as system:
        (task,) = await system.engine.resume()
        result = await system.engine.result(task)
        (item,) = await kept(system)
        assert (item.task, item.text) == (task, "The spare key lies under the blue pot.\nNoted.")
        told = [one.data for one in await events(system, result) if isinstance(one.data, MemoryRemembered)]
        assert [one.items for one in told] == [(item.id,)]


def team(noted: Noted, replies: list[dict[str, Any]], cluster: str = "merge: model", seed: int = 3) -> None:
    """Write the manifests of an agent with a memory that asks another one without."""
    text = TEAM.replace("REPLIES", json.dumps([{"times": None, **one} for one in replies])).replace("CLUSTER", cluster)
    text = text.replace("CHILDREN", f"children: {{seed: {seed}, boost: 2}}")
    (noted.folder / "manifests.yaml").write_text(text)


DELEGATES: list[dict[str, Any]] = [
    {"system": "worker", "text": "The pot is blue, and the key is there."},
    {
        "system": "boss",
        "when": "ask the worker",
        "toolCalls": [{"name": "ask-worker", "arguments": {"goal": "spare key"}}],
    },
    {"system": "boss", "text": "Noted."},
]


@pytest.mark.parametrize("seed", [3, 0])
async def test_an_agent_that_is_asked_is_told_what_fits_and_gives_back_what_it_found(noted: Noted, seed: int) -> None:
    """What the asking agent remembers of the goal is told; the answer is remembered as more important, once."""
    once = [{**DELEGATES[1], "times": 1}]
    team(noted, [DELEGATES[0], *once, DELEGATES[2]], seed=seed)
    async with noted.open() as system:
        await say(system, "The spare key lies in the shed.", session="")
        result = await say(system, "Please ask the worker about it", session="")
        asked_of = await asked(system, result)
        told = "From memory:\n- The spare key lies in the shed.\nNoted.\n\nspare key" if seed else "spare key"
        assert told in asked_of
        (item,) = [one for one in await kept(system) if one.absorbed]
        assert (item.text, item.importance, item.agent) == (
            "spare key\nThe pot is blue, and the key is there.",
            1.0,
            "boss",
        )
        assert item.place.startswith(f"{result.task.id}/step/execute/tool/")


async def test_parts_of_a_split_are_told_what_fits_and_give_back_what_they_found(noted: Noted) -> None:
    """Each part gets what fits its own goal; what came of it is remembered under the part's id."""
    parts = [{"goal": "where is the spare key", "needs": []}, {"goal": "who is the gardener", "needs": []}]
    team(
        noted,
        [
            {"system": "You split", "json": {"parts": parts}},
            {"when": "where is the spare key", "text": "In the shed."},
            {"when": "who is the gardener", "text": "It is Ann."},
            {"text": "Noted."},
        ],
        cluster="scale: {type: threshold, complexity: 0.3}",
    )
    async with noted.open() as system:
        await say(system, "The spare key lies in the shed.", session="")
        result = await say(
            system, "Tell where the key is and then compare it with who the gardener is, and explain why"
        )
        assert result.scaled is not None
        assert len(result.scaled.subtasks) == 2
        seeds: list[tuple[str, ...]] = []
        for ordinal in (1, 2):
            row = await system.store.get_task(f"{result.task.id}.{ordinal}")
            assert row is not None
            seeds.append(msgspec.json.decode(row.body, type=Task).seeds)
        assert seeds[0] == ("The spare key lies in the shed.\nNoted.",)
        back = {one.task: one for one in await kept(system) if one.importance == 1.0}
        assert {one.text.partition("\n")[2] for one in back.values()} == {"In the shed.", "It is Ann."}
        assert set(back) == {f"{result.task.id}.{ordinal}" for ordinal in (1, 2)}
        assert len(await kept(system)) == len({one.id for one in await kept(system)})


@pytest.mark.parametrize("at", ["step.completed seed", "step.completed tool:ask-worker", "memory.remembered"])
async def test_killed_around_a_delegation_nothing_is_remembered_twice(noted: Noted, at: str) -> None:
    """What the asked agent brought back is there once, whenever the process was killed."""
    team(noted, [DELEGATES[0], {**DELEGATES[1], "times": 1}, DELEGATES[2]])
    noted.kill_at(at, "Please ask the worker about it")
    team(noted, [DELEGATES[0], DELEGATES[2]])
    async with noted.open() as system:
        (task,) = await system.engine.resume()
        await system.engine.result(task)
        items = await kept(system)
        assert [one.absorbed for one in items].count(True) == 1
        assert len(items) == 2


@pytest.mark.parametrize("at", ["step.completed crowded", "memory.condensed", "step.completed recall"])
async def test_killed_while_facts_are_summarised_nothing_is_lost_or_twice(noted: Noted, at: str) -> None:
    """A turn that goes on after a kill replaces the facts that it set out to, once; all that was said is there."""
    noted.declare("compaction: {provider: short}", [{"text": "Spare key: under the blue pot.", "times": None}])
    async with noted.open() as system:
        for said in SAID[:4]:
            await say(system, said)
    noted.kill_at(at, "My boat is called Albatros.", "s1")
    async with noted.open() as system:
        (task,) = await system.engine.resume()
        await system.engine.result(task)
        items = await kept(system)
        assert len([one for one in items if one.what == "summary"]) == 1
        texts = [one.text for one in items]
        assert len(texts) == len(set(texts))
        for word in ("blue pot", "3 March", "Leith", "12 bees", "Albatros"):
            assert len([text for text in texts if word in text]) == 1
