"""Effects, people, time and signals: each once, whatever happens to the process in between."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import pytest

from loomd.agents.approval import Decision
from loomd.amoeba.task import Durability, Task
from loomd.daemon import System, open_system
from loomd.engine.record import TaskRecorder
from loomd.errors import Conflict, NotFound
from loomd.events.event import AnyFact, ApprovalRequested, ApprovalResolved, Event, StepCompleted, TaskMoved, ToolErred
from loomd.events.journal import Journal
from loomd.store.seal import seal_all
from tests.clocks import hold, skip
from tests.engine.copies import lose_copies
from tests.engine.world import World, outcome, task_of, until

CALL = {"toolCalls": [{"name": "mark", "arguments": {}}]}
DONE = {"text": "done"}
APPROVED = "approval: {required: always}"
HANGS = '''
import asyncio
from pathlib import Path

async def mark() -> str:
    """Add a line, and come to no end."""
    with (Path(__file__).parent / "marks").open("a") as file:
        file.write("x\\n")
    await asyncio.sleep(60)

async def steady() -> str:
    """Do nothing."""
'''


async def questions(system: System, count: int = 1, *, recorded: bool = True) -> list[str]:
    """Return the ids of the open questions, once there are so many, and it is recorded that they are asked."""
    async with asyncio.timeout(60):
        while len(found := await system.store.list_approvals(pending=True)) < count:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.01)
    for one in found if recorded else ():
        event = await until(system, partial(_asks, one.id), "")
        await system.store.durable(event.seq)
    await asyncio.sleep(0.05)  # and shown of their tasks
    return [one.id for one in found]


def _asks(approval: str, event: Event) -> bool:
    """Return whether an event tells of a question."""
    return isinstance(event.data, ApprovalRequested) and event.data.approval == approval


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world whose agent marks once and is done."""
    world = World(tmp_path)
    world.write([CALL, DONE])
    return world


# What may have happened


@pytest.mark.parametrize(
    ("policy", "ends", "more"),
    [("fail", ("Failed", "uncertain", ""), 0), ("retry", ("Succeeded", "completed", "done"), 1)],
)
async def test_an_uncertain_call(world: World, policy: str, ends: tuple[str, str, str], more: int) -> None:
    """Killed between intent and record of a write: the work ends, or the call is made again, as declared."""
    world.write([CALL, DONE, DONE], f"onUncertain: {policy}")
    world.kill_at("step.started tool:mark")
    before = len(world.marks)
    async with world.open() as system:
        (task,) = await system.engine.resume()
        result = await system.engine.result(task)
    assert outcome(result) == ends
    assert len(world.marks) == before + more
    assert result.adapted is not None
    assert bool(result.adapted.decisions) == (policy == "retry"), "a crash says nothing about the agent"


@pytest.mark.parametrize(
    ("verdict", "ends", "more"),
    [("approved", ("Succeeded", "completed", "done"), 1), ("denied", ("Succeeded", "completed", "done"), 0)],
)
async def test_a_person_decides_on_an_uncertain_call(
    world: World, verdict: str, ends: tuple[str, str, str], more: int
) -> None:
    """With `ask` a person says whether it is repeated; the model is told when it is not."""
    world.write([CALL, DONE, DONE], "onUncertain: ask")
    world.kill_at("step.started tool:mark")
    before = len(world.marks)
    async with world.open() as system:
        (task,) = await system.engine.resume()
        asked = await until(system, lambda event: isinstance(event.data, ApprovalRequested), task)
        assert isinstance(asked.data, ApprovalRequested)
        assert asked.data.question == "repeat"
        await system.engine.decide(asked.data.approval, Decision(verdict, "ann", "I looked"))  # type: ignore[arg-type]  # one of the two
        result = await system.engine.result(task)
    assert outcome(result) == ends
    assert len(world.marks) == before + more


@pytest.mark.parametrize("mode", ["steps", "task"])
async def test_an_agreement_to_repeat_a_call_is_for_one_repeat(world: World, mode: Durability) -> None:
    """Interrupted again, people are asked again; what they deny is not made, and the model is told."""
    replies: list[dict[str, object]] = [{"when": "go", **CALL, "times": None}, {"text": "done", "times": None}]
    more = "onUncertain: ask" + (f", {APPROVED}" if mode == "task" else "")
    world.write(replies, more, agent="limits: {steps: 2}")
    (world.folder / "tool.py").write_text(HANGS)

    async def interrupt(system: System, marks: int) -> None:
        async with asyncio.timeout(60):
            while len(world.marks) < marks:  # noqa: ASYNC110  # a file tells nobody
                await asyncio.sleep(0.01)
        await system.engine.drain(0)

    async with world.open() as system:
        task = await system.engine.submit(task_of(system, durability=mode))
        if mode == "task":
            (first,) = await questions(system)
            await system.engine.decide(first, Decision("approved", "ann"))
        await interrupt(system, 1)
    for number in (2, 3):
        async with world.open() as system:
            assert await system.engine.resume() == [task]
            (asked,) = await questions(system)
            assert len(world.marks) == number - 1
            await system.engine.decide(asked, Decision("approved", "ann"))
            await interrupt(system, number)
    async with world.open() as system:
        await system.engine.resume()
        (asked,) = await questions(system)
        await system.engine.drain(0)
        await system.engine.decide(asked, Decision("denied", "ann", "enough"))
    async with world.open() as system:
        await system.engine.resume()
        assert outcome(await system.engine.result(task)) == ("Succeeded", "max_steps", "done")
        errors = [
            event.data.error
            async for event in Journal(system.store).replay(task=task)
            if isinstance(event.data, ToolErred)
        ]
        assert errors == ["the call was interrupted and may have had its effect; not repeated: denied by ann: enough"]
    assert len(world.marks) == 3


@pytest.mark.parametrize("at", ["first", "second"])
async def test_a_part_that_is_recorded_is_not_done_again(world: World, at: str) -> None:
    """Killed after each part of a call: it is done once in all; the call's key, clock and draw are what they were."""
    world.write([{"toolCalls": [{"name": "steady", "arguments": {}}]}, DONE, DONE])
    world.kill_at(f"step.completed {at}")
    async with world.open() as system:
        (task,) = await system.engine.resume()
        assert outcome(await system.engine.result(task)) == ("Succeeded", "completed", "done")
    assert (world.folder / "parts").read_text().split() == [f"{task}/execute/tool/0/0"] * 2
    draws = (world.folder / "draws").read_text().splitlines()
    assert len(set(draws)) == 1


# People


async def test_a_call_waits_for_a_person(world: World) -> None:
    """Nothing is called before somebody agrees; the task shows that it waits, and who decided stays on record."""
    world.write([CALL, DONE], APPROVED)
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        asked = await until(system, lambda event: isinstance(event.data, ApprovalRequested), task)
        assert isinstance(asked.data, ApprovalRequested)
        record = await system.store.get_task(task)
        assert record is not None
        while record.phase != "WaitingApproval":
            await asyncio.sleep(0.01)
            record = await system.store.get_task(task)
            assert record is not None
        assert world.marks == []
        assert [one.id for one in await system.store.list_approvals(pending=True)] == [asked.data.approval]
        await system.engine.decide(asked.data.approval, Decision("approved", "ann", "fine"))
        with pytest.raises(Conflict, match="decided already: approved by ann: fine"):
            await system.engine.decide(asked.data.approval, Decision("denied", "bob"))
        assert outcome(await system.engine.result(task)) == ("Succeeded", "completed", "done")
        assert await system.store.list_approvals(pending=True) == []
    assert world.marks == ["x"]


@pytest.mark.parametrize(
    ("more", "verdict", "ends"),
    [
        (APPROVED, "denied", ("Succeeded", "approval_denied", "done")),
        ("approval: {required: always, onDenied: continue}", "denied", ("Succeeded", "completed", "done")),
        ("approval: {required: always, ttl: 50ms}", "", ("Succeeded", "approval_expired", "done")),
    ],
    ids=["stop", "continue", "expired"],
)
async def test_a_call_that_nobody_agrees_to_is_not_made(
    world: World, more: str, verdict: str, ends: tuple[str, str, str]
) -> None:
    """The work is wrapped up, or the model goes on; an unanswered question counts as denied."""
    world.write([CALL, DONE], more)
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        asked = await until(system, lambda event: isinstance(event.data, ApprovalRequested), task)
        assert isinstance(asked.data, ApprovalRequested)
        if verdict:
            await system.engine.decide(asked.data.approval, Decision("denied", "bob", "too dear"))
        result = await system.engine.result(task)
        if not verdict:
            with pytest.raises(Conflict, match="decided already: nobody answered in time"):
                await system.engine.decide(asked.data.approval, Decision("approved"))
    assert outcome(result) == ends
    assert world.marks == []
    assert result.executed is not None
    assert result.adapted is not None
    assert result.executed.outcome.tool_errors == 0, "that people do not agree is no error of a tool"
    assert bool(result.adapted.decisions) == (ends[1] == "completed"), "nor does it say anything about the agent"


async def test_a_question_ends_with_its_task(world: World) -> None:
    """When the task is cancelled nobody waits for an answer: the question is no longer asked, and none is taken."""
    world.write([CALL, DONE], APPROVED)
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        asked = await until(system, lambda event: isinstance(event.data, ApprovalRequested), task)
        assert isinstance(asked.data, ApprovalRequested)
        await system.engine.cancel(task)
        assert await system.store.list_approvals(pending=True) == []
        with pytest.raises(Conflict, match="is closed: its task has ended"):
            await system.engine.decide(asked.data.approval, Decision("approved", "ann"))
    assert world.marks == []


async def test_an_answer_is_in_time_when_it_is_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person who answers in time, and whose answer is stored too late, is told so, and nothing is called."""
    world.write([CALL, DONE], "approval: {required: always, ttl: 200ms}")
    async with world.open() as system:
        write = system.store._writer.write  # type: ignore[attr-defined]  # of the store on SQLite

        async def slow(operation: Callable[[], object]) -> object:
            await asyncio.sleep(0.4)
            return await write(operation)

        task = await system.engine.submit(task_of(system))
        asked = await until(system, lambda event: isinstance(event.data, ApprovalRequested), task)
        assert isinstance(asked.data, ApprovalRequested)
        with monkeypatch.context() as patch:
            patch.setattr(system.store._writer, "write", slow)  # type: ignore[attr-defined]  # of the store on SQLite
            with pytest.raises(Conflict, match=r"has expired|decided already: nobody answered in time"):
                await system.engine.decide(asked.data.approval, Decision("approved", "ann"))
        assert outcome(await system.engine.result(task))[1] == "approval_expired"
    assert world.marks == []


@pytest.mark.parametrize("change", [("tools: [mark, ", "tools: ["), ("approval: {required: always}", "timeout: 30s")])
@pytest.mark.parametrize("when", ["told", "kept"])
async def test_what_was_denied_stays_denied(world: World, change: tuple[str, str], when: str) -> None:
    """The tool is withdrawn, or nobody has to be asked any more: the call is not made, and the task goes on.

    Denied while the task ran, or while it did not.
    """
    world.write([{"when": "go", **CALL}, {"text": "done", "delay": "500ms", "times": None}], APPROVED)
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        (asked,) = await questions(system)
        if when == "kept":
            await system.engine.drain(0)
        await system.engine.decide(asked, Decision("denied", "ann"))
        if when == "told":
            await until(system, lambda event: event.key == "step/execute/tool/0/0", task)
            await system.engine.drain(0)
    world.edit(*change)
    async with world.open() as system:
        assert await system.engine.resume() == [task]
        assert (await system.engine.result(task)).phase == "Succeeded"
        (kept,) = [
            event
            async for event in Journal(system.store).replay(task=task)
            if event.key.startswith("step/execute/tool")
        ]
        assert isinstance(kept.data, StepCompleted)
        assert b"the call was not made: denied by ann" in bytes(kept.data.value)
    assert world.marks == []


async def test_what_was_denied_before_it_was_told_that_people_are_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question is on disk a moment before the journal tells of it; interrupted in between, the denial holds."""

    async def hang(self: TaskRecorder, fact: AnyFact, key: str) -> None:
        await (asyncio.Event().wait() if key.startswith("asked/") else keep(self, fact, key))

    keep = TaskRecorder._keep
    world.write([{"when": "go", **CALL}, DONE], APPROVED)
    with monkeypatch.context() as patch:
        patch.setattr(TaskRecorder, "_keep", hang)
        async with world.open() as system:
            task = await system.engine.submit(task_of(system))
            (asked,) = await questions(system, recorded=False)
            await system.engine.drain(0)
            await system.engine.decide(asked, Decision("denied", "ann"))
    world.edit("approval: {required: always}", "timeout: 30s")
    async with world.open() as system:
        assert await system.engine.resume() == [task]
        assert (await system.engine.result(task)).phase == "Succeeded"
    assert world.marks == []


async def test_parallel_questions_are_waited_for_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits grow by the time in which people were waited for, not by that of each question."""
    world.write([{"toolCalls": [{"name": "mark", "arguments": {"word": word}} for word in "abcd"]}, DONE], APPROVED)
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        asked = await questions(system, 4)
        skip(60, monkeypatch)
        for one in asked:
            await system.engine.decide(one, Decision("approved", "ann"))
        result = await system.engine.result(task)
    assert result.executed is not None
    assert 60 <= result.executed.outcome.waited <= result.executed.outcome.seconds
    assert sorted(world.marks) == ["xa", "xb", "xc", "xd"]


async def test_a_question_outlives_the_process(world: World) -> None:
    """Asked before the process is killed, answered before it starts again: asked once, and the answer counts."""
    world.write([CALL, DONE], APPROVED)
    world.kill_at("approval.requested")
    async with world.open() as system:
        (question,) = await system.store.list_approvals(pending=True)
        await system.engine.decide(question.id, Decision("approved", "ann"))
        (task,) = await system.engine.resume()
        assert outcome(await system.engine.result(task)) == ("Succeeded", "completed", "done")
        assert [one.id for one in await system.store.list_approvals()] == [question.id]
    assert world.marks == ["x"]


async def test_waiting_for_people_costs_no_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of a minute holds for the work, not for the person who takes longer; so does the task's own."""
    world.write([CALL, DONE], APPROVED, agent="limits: {time: 1m}")
    async with world.open() as system:
        task = task_of(system)
        task = msgspec.structs.replace(task, budget=msgspec.structs.replace(task.budget, seconds=60.0))
        await system.engine.submit(task)
        asked = await until(system, lambda event: isinstance(event.data, ApprovalRequested), task.id)
        assert isinstance(asked.data, ApprovalRequested)
        skip(90, monkeypatch)
        await asyncio.sleep(0.05)  # whatever came to its time would end now
        await system.engine.decide(asked.data.approval, Decision("approved"))
        result = await system.engine.result(task.id)
    assert outcome(result) == ("Succeeded", "completed", "done")
    assert result.executed is not None
    assert result.executed.outcome.waited > 89


async def test_a_question_of_a_part_reaches_the_same_people(world: World) -> None:
    """A subtask waits for its own question; its parent waits for it, and neither runs out of time."""
    plan = {"parts": [{"goal": "left", "needs": []}, {"goal": "right", "needs": []}]}
    replies: list[dict[str, object]] = [
        {"when": "split", "system": "You split a request", "json": plan},
        {"when": "left", **CALL},
        {"when": "left", "text": "L"},
        {"when": "right", "text": "R"},
    ]
    world.write(replies, APPROVED, cluster="merge: join")
    goal = "Compare and analyse, then split; then report in detail; and also conclude"
    async with world.open() as system:
        task = await system.engine.submit(task_of(system, goal))
        asked = await until(system, lambda event: isinstance(event.data, ApprovalRequested), "")
        assert isinstance(asked.data, ApprovalRequested)
        assert asked.task.startswith(f"{task}.")
        await system.engine.decide(asked.data.approval, Decision("approved"))
        result = await system.engine.result(task)
    assert outcome(result)[0] == "Succeeded"
    assert world.marks == ["x"]


# Time and signals


async def test_a_wait_goes_on_after_a_restart(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was waited before the process was stopped is not waited again."""
    world.write([{"toolCalls": [{"name": "nap", "arguments": {"seconds": 60}}]}, DONE, DONE])
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        began = system.clock.monotonic()
        await until(system, lambda event: event.type == "tool.call.started", task)
        skip(59, monkeypatch)
        await system.engine.drain(0)
    async with world.open() as system:
        again = system.clock.monotonic()
        assert await system.engine.resume() == [task]
        assert outcome(await system.engine.result(task)) == ("Succeeded", "completed", "done")
        ended = system.clock.monotonic()
    assert ended - began > 59.9
    assert ended - again < 30


@pytest.mark.parametrize("early", [True, False], ids=["before", "while-it-waits"])
async def test_a_signal_reaches_a_task(world: World, early: bool) -> None:
    """What is sent to a task by name is handed to the tool that waits for it; the first one counts."""
    world.write([{"toolCalls": [{"name": "post", "arguments": {}}]}, {"when": "*", "text": "read"}])
    async with world.open() as system:
        task = task_of(system)
        await system.engine.submit(task)
        if not early:
            await until(system, lambda event: event.type == "tool.call.started", task.id)
        await system.engine.send(task.id, "post", {"ok": True})
        with pytest.raises(Conflict, match="the first one counts"):
            await system.engine.send(task.id, "post", {"ok": False})
        completed = await until(system, lambda event: event.type == "tool.call.completed", task.id)
        await system.engine.result(task.id)
        with pytest.raises(Conflict, match="has ended"):
            await system.engine.send(task.id, "more", 1)
    assert getattr(completed.data, "result", "") == '{"ok": true}'


async def test_the_time_of_an_agent_goes_on_after_a_restart(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit in time is kept by the wall clock: what was used before a restart is used."""
    world.write(
        [{"toolCalls": [{"name": "nap", "arguments": {"seconds": 90}}]}, DONE, DONE], agent="limits: {time: 1m}"
    )
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        await until(system, lambda event: event.type == "tool.call.started", task)
        await system.engine.drain(0)
    skip(61, monkeypatch)
    async with world.open() as system:
        began = time.monotonic()
        await system.engine.resume()
        result = await system.engine.result(task)
    assert outcome(result)[1] == "budget_time"
    assert time.monotonic() - began < 30


async def test_tokens_that_were_used_stay_used(world: World) -> None:
    """A limit in tokens counts what was used before a restart, from the recorded steps."""
    world.write([CALL, {"when": "go", "text": "late", "delay": "5s"}, DONE], agent="limits: {tokens: 300}")
    async with world.open() as system:
        task = await system.engine.submit(task_of(system, "go " * 40))
        await until(system, lambda event: event.type == "tool.call.completed", task)
        await system.engine.drain(0)
    async with world.open() as system:
        await system.engine.resume()
        result = await system.engine.result(task)
    assert outcome(result)[1] == "budget_tokens"
    assert result.executed is not None
    assert (result.executed.outcome.steps, world.marks) == (1, ["x"])


async def test_a_cancellation_stays_one(world: World) -> None:
    """A task that was cancelled is not resumed after a restart; its tool was ended where it stood."""
    world.write([{"toolCalls": [{"name": "nap", "arguments": {"seconds": 60}}]}, DONE])
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        await until(system, lambda event: event.type == "tool.call.started", task)
        began = time.monotonic()
        await system.engine.cancel(task)
        assert time.monotonic() - began < 30
    async with world.open() as system:
        assert await system.engine.resume() == []
        assert (await system.engine.result(task)).phase == "Cancelled"


# What is kept


@pytest.mark.parametrize(("mode", "marks"), [("steps", 1), ("task", 2)])
async def test_how_much_is_kept(world: World, mode: Durability, marks: int) -> None:
    """With `steps` nothing is repeated, with `task` an interrupted task begins anew."""
    world.write(
        [CALL, {"when": "go", "text": "late", "delay": "300ms"}, DONE, DONE, DONE], cluster=f"durability: {mode}"
    )
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        await until(system, lambda event: event.type == "tool.call.completed", task)
        await system.engine.drain(0)
    world.write([*([CALL] if mode == "task" else []), DONE, DONE], cluster=f"durability: {mode}")
    async with world.open() as system:
        await system.reconciler.apply(world.delivery())
        assert len(await system.engine.resume()) == 1
        await system.engine.result(task)
    assert len(world.marks) == marks


async def test_an_agreement_is_for_one_call_when_steps_are_not_kept(world: World) -> None:
    """Agreed to, called, and interrupted: the task begins anew, and the same call is not made on the same agreement."""
    slow = {"when": "go", "text": "late", "delay": "1m"}
    world.write([CALL, slow, CALL, DONE], APPROVED, cluster="durability: task")
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        asked = await until(system, lambda event: isinstance(event.data, ApprovalRequested), task)
        assert isinstance(asked.data, ApprovalRequested)
        await system.engine.decide(asked.data.approval, Decision("approved", "ann"))
        await until(system, lambda event: event.type == "tool.call.completed", task)
        await system.engine.drain(0)
    async with world.open() as system:
        assert await system.engine.resume() == [task]
        assert outcome(await system.engine.result(task)) == ("Failed", "uncertain", "")
        assert len(await system.store.list_approvals()) == 1
    assert world.marks == ["x"]


async def test_nothing_is_kept_of_a_micro_task(world: World) -> None:
    """With `none` the answer is there as long as the process lives, and nothing on disk."""
    async with world.open() as system:
        before = await system.store.read(limit=10_000)
        task = await system.engine.submit(task_of(system, durability="none"))
        assert outcome(await system.engine.result(task)) == ("Succeeded", "completed", "done")
        assert outcome(await system.engine.result(task))[0] == "Succeeded"
        assert await system.store.get_task(task) is None
        rows = await system.store.read(limit=10_000)
        assert [row for row in rows[len(before) :] if row.task == task] == []
    async with world.open() as system:
        with pytest.raises(NotFound):
            await system.engine.result(task)


async def test_an_agent_may_keep_less_than_its_task(world: World) -> None:
    """The work of such an agent leaves no steps; the phases around it do."""
    world.write([CALL, DONE], agent="durability: none")
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        await system.engine.result(task)
        rows = await system.store.read(task=task, limit=1000)
    keys = {row.key for row in rows if row.key}
    assert "phase/execute" in keys
    assert not [key for key in keys if key.startswith("step/execute")]


# What a task needs to go on


async def test_a_task_goes_on_on_the_revision_that_it_began_with(world: World) -> None:
    """After a restart on other manifests an unfinished task still has its own; a new one has the new."""
    world.write([CALL, {"when": "go", "text": "old", "delay": "200ms"}, {"text": "old", "times": None}])
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        await until(system, lambda event: event.type == "tool.call.completed", task)
        await system.engine.drain(0)
    world.write([{"text": "new", "times": None}])
    async with world.open() as system:
        events: list[object] = []
        system.bus.subscribe(lambda event: events.append(event.data))
        assert await system.engine.resume() == [task]
        fresh = await system.engine.submit(task_of(system))
        assert outcome(await system.engine.result(task))[2] == "old"
        assert outcome(await system.engine.result(fresh))[2] == "new"
        assert not [one for one in events if isinstance(one, TaskMoved)]
        async with asyncio.timeout(60):
            while system.reconciler.live > 1:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.01)
    assert world.marks == ["x"]


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("maxTokens: 1000", "maxTokens: 10", ""),
        ("maxTokens: 1000", "limits: {tokens: 500, steps: 6}", ""),
        ("nap, post]", "nap]", ""),
        ("description: Does things.", "description: Does more., domains: {things: 1}", ""),
        ("maxTokens: 1000", "prompt: Be kind.", "model with other prompt than it has now"),
        ("maxTokens: 1000", "temperature: 0.7", "model with other form than it has now"),
    ],
)
async def test_what_is_recorded_answers_on_another_revision_for_what_was_asked(
    world: World,
    old: str,
    new: str,
    error: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A task is moved: less to use is no other question; with another prompt it goes back to its own revision."""
    go = hold(monkeypatch)
    world.write([CALL, {"text": "done", "delay": "1s", "times": None}])
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        await until(system, lambda event: event.key == "step/execute/tool/0/0", task)
        before = system.reconciler.topology
        path = world.folder / "manifests.yaml"
        assert path.read_text().count(old) == 1
        path.write_text(path.read_text().replace(old, new))
        await system.reconciler.apply(world.delivery())
        moves: list[TaskMoved] = []
        system.bus.subscribe(lambda event: moves.append(event.data) if isinstance(event.data, TaskMoved) else None)
        assert await system.engine.move(before) == 1
        go.set()
        result = await system.engine.result(task)
        record = await system.store.get_task(task)
        now = system.reconciler.topology.snapshot.revision
    assert (result.phase, result.output) == ("Succeeded", "done")
    assert record is not None
    assert record.reason == ""
    pinned = msgspec.json.decode(record.body, type=Task).revision
    if error:
        assert (moves, pinned) == ([], before.snapshot.revision)
        assert error in caplog.text
    else:
        assert (moves, pinned) == ([TaskMoved(before.snapshot.revision, now)], now)
    assert world.marks == ["x"]


async def test_edits_end_no_task_that_waits(world: World) -> None:
    """More revisions than may be open have tasks that wait for people: each ends on the prompt that it began with."""
    ends = {"when": "go", "text": "done", "times": None}
    tight = replace(world.settings, live_snapshots=1, drain=0.05)
    world.write([CALL, ends], APPROVED, agent="prompt: Be 0.")
    async with open_system(tight) as system:
        tasks: list[str] = []
        for number in range(4):
            world.edit(f"Be {max(0, number - 1)}.", f"Be {number}.")
            await system.reconciler.apply(world.delivery())
            tasks.append(await system.engine.submit(task_of(system)))
            await questions(system, number + 1)
            assert system.reconciler.live <= 2
        waits = {one.id: one.reason for one in await system.store.list_tasks()}
        assert ["goes on on its own once" in waits[task] for task in tasks] == [True, True, False, False]
        for asked in await system.store.list_approvals(pending=True):
            await system.engine.decide(asked.id, Decision("approved"))
        for task in tasks:
            async with asyncio.timeout(60):
                assert (await system.engine.result(task)).output == "done"
            record = await system.store.get_task(task)
            assert record is not None
            assert (record.phase, record.reason) == ("Succeeded", "")
    assert len(world.marks) == 4


async def test_a_task_of_a_newer_engine_is_left_alone(world: World) -> None:
    """What this engine cannot replay waits, says why, and can be ended."""
    world.write([{"text": "late", "delay": "5s"}])
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        await until(system, lambda event: event.type == "task.started", task)
        await system.engine.drain(0)
    with closing(sqlite3.connect(world.folder / "state" / "loomd.db")) as db, db:
        body = msgspec.json.decode(db.execute("SELECT body FROM tasks").fetchone()[0], type=Task)
        db.execute("UPDATE tasks SET body = ?", (msgspec.json.encode(msgspec.structs.replace(body, engine=99)),))
        seal_all(db)
    async with world.open() as system:
        assert await system.engine.resume() == []
        record = await system.store.get_task(task)
        assert record is not None
        assert (record.phase, record.result) == ("Pending", b"")
        assert "a newer engine recorded it (version 99" in record.reason
        with pytest.raises(Conflict, match=r"`loomd retry task/.* runs it anew"):
            await system.engine.result(task)
        await system.engine.cancel(task)
        assert (await system.engine.result(task)).phase == "Cancelled"


async def test_a_task_whose_revision_opens_again_waits_no_more(world: World) -> None:
    """What it needs was away (a package, a model) and is back: it runs, and nobody is told that it cannot."""
    world.write([{"text": "late", "delay": "5s"}])
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        await until(system, lambda event: event.type == "phase.started", task)
        await system.engine.drain(0)
        record = await system.store.get_task(task)
        assert record is not None
        await system.store.put_task(msgspec.structs.replace(record, phase="Pending", reason="it does not open"))
    async with world.open(apply=False) as system:
        assert await system.engine.resume() == [task]
        async with asyncio.timeout(60):
            while (record := await system.store.get_task(task)) and record.phase == "Pending":  # noqa: ASYNC110  # not told
                await asyncio.sleep(0.005)
        assert record is not None
        assert (record.phase, record.reason) == ("Running", "")
        await system.engine.cancel(task)


async def test_a_cancelled_task_keeps_what_there_is(world: World) -> None:
    """The result of a cancelled task holds its phases, what was used, and the text so far."""
    world.write([{**CALL, "text": "so far"}, {"when": "go", "text": "late", "delay": "1m"}])
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        await until(system, lambda event: event.type == "tool.call.completed", task)
        await system.engine.cancel(task)
        result = await system.engine.result(task)
    assert outcome(result) == ("Cancelled", "cancelled", "so far")
    assert result.matched is not None
    assert result.executed is not None
    assert result.executed.agent == "ada"
    assert result.executed.outcome.usage.total > 0


def test_who_decided_is_said() -> None:
    """A decision in words names who and why."""
    assert Decision("denied", "bob", "too dear").said() == "denied by bob: too dear"
    assert Decision("approved").said() == "approved"
    assert ApprovalResolved("a", "expired", "", "", 0.0, 1.0).verdict == "expired"


async def test_a_part_of_a_call_that_is_done_no_more_diverges(tmp_path: Path) -> None:
    """Code that has another name for what was recorded is other code: the task says so instead of going on."""
    world = World(tmp_path)
    world.write([{"when": "go", "toolCalls": [{"name": "steady", "arguments": {}}]}, {"when": "go", "text": "done"}])
    world.kill_at("step.completed first")
    code = tmp_path / "tool.py"
    code.write_text(code.read_text().replace('"first"', '"other"'))
    async with world.open() as system:
        lose_copies(world.folder / "state")
        (record,) = await system.store.list_tasks(unfinished=True)
        assert await system.engine.resume() in ([], [record.id])
        with suppress(Conflict):
            await system.engine.result(record.id)  # it waits: its revision cannot be opened any more
        await system.engine.go_on(record.id)
        result = await system.engine.result(record.id)
        assert result.phase == "Failed"
        assert "step/execute/tool/0/0/first is recorded" in result.error
