"""Conversations: what an agent is told of earlier turns, kept apart by agent, tenant and user, and for how long."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loomd.amoeba.task import Durability, Result, Task
from loomd.cassette import requests
from loomd.clock import SystemClock
from loomd.daemon import System
from loomd.engine.intake import Wish, anew, is_same_wish, new_task
from loomd.errors import Permanent
from loomd.messages import Request
from loomd.replay.export import Serving, export
from loomd.replay.player import replay
from loomd.store.records import SessionKey
from tests.clocks import hold
from tests.engine.world import World, outcome

TALK = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec:
  type: scripted
  replies: REPLIES
---
apiVersion: loomd.dev/v1
kind: Memory
metadata: {name: notes}
spec: {window: {tokens: WINDOW}, recall: {enabled: RECALL}}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: script, memory: notes, AGENT}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: bob}
spec: {provider: script}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: default}
spec: {agents: [ada], CLUSTER}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: other}
spec: {agents: [bob]}
"""
OTHERS: list[dict[str, str]] = [{"tenant": "globex"}, {"tenant": "acme", "user": "bob"}, {}]
TASK = Task("t1", "One?")
ECHO: list[dict[str, Any]] = [{"text": f"Answer {number}.", "times": 1} for number in range(1, 20)]


class Talk(World):
    """A world in which an agent answers turn after turn."""

    def declare(
        self,
        replies: list[dict[str, Any]],
        agent: str = "maxTokens: 500",
        window: int = 6000,
        recall: str = "false",
        cluster: str = "merge: model",
    ) -> None:
        """Write the manifests."""
        text = TALK.replace("REPLIES", json.dumps(replies)).replace("AGENT", agent).replace("WINDOW", str(window))
        text = text.replace("RECALL", recall).replace("CLUSTER", cluster)
        (self.folder / "manifests.yaml").write_text(text)


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    """Return a world in which the n-th answer in a conversation is said to be the n-th."""
    talk = Talk(tmp_path)
    talk.declare(ECHO)
    return talk


async def say(
    system: System,
    goal: str,
    session: str = "s1",
    *,
    tenant: str = "",
    user: str = "",
    cluster: str = "default",
    durability: Durability | None = None,
) -> Result:
    """Say something in a session and return what became of it."""
    wish = Wish(cluster=cluster, durability=durability, session=session, tenant=tenant, user=user)
    task = new_task(goal, system.clock, **wish)
    return await system.engine.result(await system.engine.submit(task))


async def asked(system: System, result: Result) -> Request:
    """Return what the model was asked first in a task."""
    topology = system.reconciler.topology
    cassette = await export(system.store, result.task.id, Serving(topology.snapshot, topology.live))
    assert (await replay(cassette)).whole
    (first, *_) = [request for _, request in requests(cassette.tasks[0], cassette.tools)]
    return first


def said(request: Request) -> list[str]:
    """Return the texts of a request behind the system turn."""
    return [message.text for message in request.messages if message.role != "system"]


async def test_earlier_turns_enter_the_conversation(talk: Talk) -> None:
    """They stand before what is wanted now, oldest first, and the recorded task says so again when it is replayed."""
    async with talk.open() as system:
        answers = [outcome(await say(system, goal))[2] for goal in ("One?", "Two?")]
        third = await say(system, "Three?")
        assert [*answers, outcome(third)[2]] == ["Answer 1.", "Answer 2.", "Answer 3."]
        assert said(await asked(system, third)) == ["One?", "Answer 1.", "Two?", "Answer 2.", "Three?"]
        alone = await say(system, "Alone?", "")
        assert said(await asked(system, alone)) == ["Alone?"]


async def test_a_conversation_outlives_the_process(talk: Talk) -> None:
    """It is on disk when its answer is there."""
    async with talk.open() as system:
        await say(system, "One?")
    async with talk.open() as system:
        assert outcome(await say(system, "Two?"))[2] == "Answer 2."


@pytest.mark.parametrize(
    "other",
    [
        {"session": "s2"},
        {"tenant": "acme"},
        {"tenant": "globex", "user": "ann"},
        {"tenant": "acme", "user": "bob"},
        {"user": "ann"},
        {"tenant": "acme/ann"},
        {"cluster": "other", "tenant": "acme", "user": "ann"},
    ],
    ids=["session", "no-user", "tenant", "user", "no-tenant", "glued", "agent"],
)
async def test_nobody_hears_of_the_conversations_of_others(talk: Talk, other: dict[str, str]) -> None:
    """Whichever of session, tenant, user and agent differs: it is another conversation."""
    async with talk.open() as system:
        await say(system, "My secret is 7.", tenant="acme", user="ann")
        if other.get("tenant") == "acme/ann":
            with pytest.raises(Permanent, match=r"^tenant: expected up to 200 letters"):
                await say(system, "What is it?", **other)  # type: ignore[arg-type]  # names alone
            return
        result = await say(system, "What is it?", **other)  # type: ignore[arg-type]  # names alone
        assert outcome(result)[2] == "Answer 1."
        assert said(await asked(system, result)) == ["What is it?"]


@pytest.mark.parametrize("whose", OTHERS, ids=["tenant", "user", "none"])
async def test_nobody_is_reminded_of_the_answers_for_others(talk: Talk, whose: dict[str, str]) -> None:
    """What a memory recalls is kept apart as conversations are."""
    talk.declare([{"text": "The secret is seven.", "times": None}], recall="true")
    async with talk.open() as system:
        await say(system, "Tell the secret number", "", tenant="acme", user="ann")
        mine = await say(system, "Tell the secret number", "", tenant="acme", user="ann")
        assert "From memory:" in said(await asked(system, mine))[0]
        result = await say(system, "Tell the secret number", "", **whose)  # type: ignore[arg-type]  # names alone
        assert said(await asked(system, result)) == ["Tell the secret number"]


async def test_only_so_many_turns_enter(talk: Talk) -> None:
    """The newest ones, each question with its answer; with 0 none."""
    talk.declare(ECHO, "history: 2")
    async with talk.open() as system:
        *_, last = [await say(system, f"Question {number}?") for number in range(4)]
        questions = said(await asked(system, last))[::2]
        assert questions == ["Question 1?", "Question 2?", "Question 3?"]
    talk.declare(ECHO, "history: 0")
    async with talk.open() as system:
        assert said(await asked(system, await say(system, "And now?"))) == ["And now?"]


async def test_only_what_fits_the_window_enters(talk: Talk) -> None:
    """The oldest turns leave first, and what is wanted now stays."""
    talk.declare(ECHO, window=100)
    async with talk.open() as system:
        *_, last = [await say(system, f"Question {number}? {'word ' * 10}") for number in range(6)]
        texts = said(await asked(system, last))
    assert texts[-1].startswith("Question 5?")
    assert texts[0].startswith("Question 3?")
    assert len(texts) == 5


async def test_what_has_no_answer_is_no_turn(talk: Talk) -> None:
    """A failed task leaves nothing that a later one could go on from."""
    talk.declare([{"when": "fail", "text": "no", "error": "permanent"}, *ECHO])
    async with talk.open() as system:
        assert (await say(system, "fail")).phase == "Failed"
        assert outcome(await say(system, "One?"))[2] == "Answer 1."
        (session,) = await system.store.sessions()
        assert (session.turns, session.agents) == (1, ("ada",))


async def test_a_turn_of_which_nothing_is_kept_is_refused(talk: Talk) -> None:
    """A conversation is kept, or there is none."""
    async with talk.open() as system:
        with pytest.raises(Permanent, match=r'the session "s1" keeps its turns.*durability: none'):
            await say(system, "One?", durability="none")
        assert outcome(await say(system, "One?", durability="task"))[2] == "Answer 1."
        assert outcome(await say(system, "Two?", durability="task"))[2] == "Answer 2."


async def test_an_interrupted_turn_goes_on_with_what_it_was_told(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns that others add meanwhile change nothing, and it becomes one turn itself."""
    go = hold(monkeypatch)
    talk.declare([{"when": "slow", "text": "Slow.", "delay": "1s", "times": None}, *ECHO])
    async with talk.open() as system:
        await say(system, "One?")
        task = new_task("slow?", system.clock, cluster="default", session="s1")
        await system.engine.submit(task)
        await asyncio.sleep(0.1)
        await say(system, "Between?")
        await system.engine.drain(0)
    go.set()
    async with talk.open() as system:
        assert await system.engine.resume() == [task.id]
        result = await system.engine.result(task.id)
        assert result.phase == "Succeeded"
        assert said(await asked(system, result)) == ["One?", "Answer 1.", "slow?"]
        turns = await system.store.turns(SessionKey("default", "s1"))
        assert [turn.goal for turn in turns] == ["One?", "slow?", "Between?"]


async def test_a_conversation_goes_with_its_tasks(talk: Talk) -> None:
    """What retention removes is forgotten here, too; and it can be forgotten alone."""
    async with talk.open() as system:
        for goal in ("One?", "Two?", "Three?"):
            await say(system, goal)
        await say(system, "Mine?", tenant="acme")
        assert await system.store.sweep(before=0, keep=2) == 2
        turns = await system.store.turns(SessionKey("default", "s1"))
        assert [turn.goal for turn in turns] == ["Three?"]
        assert await system.store.forget(SessionKey("default", "s1"))
        assert not await system.store.forget(SessionKey("default", "s1"))
        (left,) = await system.store.sessions(session="s1")
        assert left.key == SessionKey("default", "s1", "acme")
        assert len(await system.store.list_tasks()) == 2


async def test_parts_of_a_turn_are_no_turns(talk: Talk) -> None:
    """A task that is split is one turn, and its parts do not hear of the conversation."""
    parts = [{"goal": "what is red", "needs": []}, {"goal": "what is blue", "needs": []}]
    talk.declare(
        [
            {"system": "You split", "json": {"parts": parts}, "times": None},
            {"when": "what is red", "text": "Roses.", "times": None},
            {"text": "All.", "times": None},
        ],
        cluster="scale: {type: threshold, complexity: 0.0}",
    )
    async with talk.open() as system:
        await say(system, "Tell what is red and then compare it with what is blue, step by step")
        result = await say(system, "Tell what is red and then compare it with what is blue, and explain why")
        assert result.scaled is not None
        assert len(result.scaled.subtasks) == 2
        (session,) = await system.store.sessions()
        assert session.turns == 2
        rows = [row for row in await system.store.read(task=result.task.id, tree=True) if row.key.endswith("/history")]
        assert [row.key for row in rows] == ["step/execute/merge/history"]


@pytest.mark.parametrize("name", ["-x", "a b", "a/b", "ü", "x" * 201, "a\n"])
def test_names_are_checked(talk: Talk, name: str) -> None:
    """A session is named with what fits an address and a log line."""
    del talk
    for field, wish in (("session", Wish(session=name)), ("tenant", Wish(tenant=name)), ("user", Wish(user=name))):
        with pytest.raises(Permanent, match=f"^{field}: expected up to 200 letters"):
            new_task("One?", SystemClock(), **wish)
    named = new_task("One?", SystemClock(), session="a-1", tenant="auth0|x", user="ann@example.org")
    assert named.user == "ann@example.org"


def test_a_retry_and_a_key_know_the_conversation() -> None:
    """The same words in another conversation are another wish."""
    turn = msgspec.structs.replace(TASK, session="s1", tenant="acme", user="ann")
    again = anew(turn, SystemClock())
    assert (again.session, again.tenant, again.user) == ("s1", "acme", "ann")
    assert is_same_wish(turn, turn)
    assert not is_same_wish(TASK, turn)
