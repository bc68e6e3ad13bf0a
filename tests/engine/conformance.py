"""What every engine must do, whatever it keeps its journal in: a second engine adds one `Bench` and one class of tests.

The port is `loomd.engine.base.Engine`. An engine is started and killed through its bench, which also tells what the
tools of the tasks did outside.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec
import pytest

from loomd.agents.approval import Decision
from loomd.amoeba.task import Result, Task
from loomd.clock import Clock
from loomd.engine.base import Engine
from loomd.engine.intake import new_task
from loomd.errors import Conflict, NotFound
from loomd.store.records import ApprovalRecord, TaskRecord

SPLIT = "Compare and analyse, then split; then report in detail; and also conclude"
MARKS = ("execute/tool/0/0", "execute/tool/0/1", "execute/tool/1/0")
"""The writes of a task `mark`: two side by side, then one more."""


class Living(Protocol):
    """One process: an engine that serves a cluster whose agents know these goals.

    `plain` answers, `mark` writes three times, `fixed` writes twice in a way that may be repeated, `nap` waits, `post`
    waits for the signal of that name, `guard` writes when a person agrees, `slow` takes longer than anybody waits,
    and what begins with `SPLIT` is split into three parts, of which the first two write once each.
    """

    @property
    def engine(self) -> Engine:
        """Return the engine."""
        ...

    @property
    def clock(self) -> Clock:
        """Return its clock."""
        ...

    async def questions(self) -> list[ApprovalRecord]:
        """Return what people are asked and nobody answered."""
        ...

    async def records(self) -> list[TaskRecord]:
        """Return all tasks."""
        ...

    async def change(self) -> int:
        """Let another revision serve, and move the tasks of the one before to it; return how many."""
        ...


class Bench(Protocol):
    """A disk, and processes that live on it one after the other."""

    def run(self, scenario: Callable[[], Awaitable[None]]) -> None:
        """Run a scenario to its end."""
        ...

    def open(self, *, changed: bool = False) -> AbstractAsyncContextManager[Living]:
        """Start a process, and end it orderly when the context ends.

        Args:
            changed: another revision serves, and the one before cannot be opened any more.
        """
        ...

    def kill_after(self, goal: str, count: int) -> bool:
        """Run a task of that goal on an empty disk; kill the process once so much was committed.

        Returns:
            whether it was killed; False when the task ended before.
        """
        ...

    @property
    def moment(self) -> float:
        """Return the seconds in which a task ends that waits for nobody."""
        ...

    @property
    def effects(self) -> Counter[str]:
        """Return how often each call had its effect, by the key of the call."""
        ...


async def submit(living: Living, goal: str) -> str:
    """Submit a task."""
    return await living.engine.submit(new_task(goal, living.clock))


async def asked(living: Living) -> ApprovalRecord:
    """Return the first question, once it is asked."""
    while not (questions := await living.questions()):  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(0.01)
    return questions[0]


async def known(living: Living, task: str) -> TaskRecord:
    """Return what is known of a task."""
    record = await living.engine.get(task)
    assert record is not None
    return record


async def running(living: Living, task: str, goal: str) -> TaskRecord:
    """Return a part of a task, once it runs."""
    while True:
        for record in await living.records():
            if record.id.startswith(f"{task}.") and msgspec.json.decode(record.body, type=Task).goal.startswith(goal):
                return record
        await asyncio.sleep(0.01)


def end(result: Result) -> str:
    """Return how a task ended."""
    assert result.executed is not None, result
    return result.executed.outcome.stop_reason


class Conformance:
    """The suite. Subclass it, and give it a fixture `bench`."""

    def test_a_task_is_accepted_and_ends(self, bench: Bench) -> None:
        """Its id comes when it is kept; its result can be had while it runs, afterwards, and by another process."""

        async def scenario() -> None:
            async with bench.open() as living:
                task = await submit(living, "plain")
                assert living.engine.running == 1
                record = await living.engine.get(task)
                assert record is not None
                assert (record.phase, record.result) == ("Running", b"")
                result = await living.engine.result(task)
                assert (result.phase, end(result)) == ("Succeeded", "completed")
                assert living.engine.running == 0
            async with bench.open() as living:
                assert await living.engine.resume() == []
                assert await living.engine.result(task) == result

        bench.run(scenario)

    def test_what_is_not_there_is_not_found(self, bench: Bench) -> None:
        """Nothing is made of an id that nobody knows."""

        async def scenario() -> None:
            async with bench.open() as living:
                engine = living.engine
                assert await engine.get("nothing") is None
                acts = (engine.result, engine.cancel, engine.retry, engine.go_on)
                for act in acts:
                    with pytest.raises(NotFound):
                        await act("nothing")
                with pytest.raises(NotFound):
                    await engine.send("nothing", "post", 1)
                with pytest.raises(NotFound):
                    await engine.decide("nothing", Decision("approved"))
                stray = msgspec.structs.replace(new_task("plain", living.clock), namespace="nowhere")
                with pytest.raises(NotFound):
                    await engine.submit(stray)

        bench.run(scenario)

    def test_an_id_is_taken_once(self, bench: Bench) -> None:
        """A task that was accepted is not accepted again, running or ended."""

        async def scenario() -> None:
            async with bench.open() as living:
                task = new_task("plain", living.clock)
                await living.engine.submit(task)
                with pytest.raises(Conflict, match="exists already"):
                    await living.engine.submit(task)
                await living.engine.result(task.id)
                with pytest.raises(Conflict, match="exists already"):
                    await living.engine.submit(task)

        bench.run(scenario)

    @pytest.mark.parametrize("early", [True, False], ids=["before", "while-it-waits"])
    def test_a_signal_arrives(self, bench: Bench, early: bool) -> None:
        """The first of a name counts, also across a restart; nobody listens after the end."""

        async def scenario() -> None:
            async with bench.open() as living:
                task = await submit(living, "post")
                if early:
                    await living.engine.send(task, "post", 7)
            async with bench.open() as living:
                assert await living.engine.resume() == [task]
                if not early:
                    await asyncio.sleep(0.2)
                    await living.engine.send(task, "post", 7)
                with pytest.raises(Conflict):
                    await living.engine.send(task, "post", 8)
                assert end(await living.engine.result(task)) == "completed"
                with pytest.raises(Conflict):
                    await living.engine.send(task, "other", 8)

        bench.run(scenario)

    @pytest.mark.parametrize(("verdict", "count"), [("approved", 1), ("denied", 0)])
    def test_people_decide(self, bench: Bench, verdict: str, count: int) -> None:
        """A question outlives the process that asked it; the first answer counts, and is heeded."""

        async def scenario() -> None:
            async with bench.open() as living:
                task = await submit(living, "guard")
                question = await asked(living)
                while (await known(living, task)).phase != "WaitingApproval":  # noqa: ASYNC110  # nobody tells
                    await asyncio.sleep(0.01)
            async with bench.open() as living:
                decided = await living.engine.decide(question.id, Decision(verdict, "ann"))  # type: ignore[arg-type]  # one of the two
                assert decided.decision
                assert await living.engine.decide(question.id, Decision(verdict, "ann")) == decided  # type: ignore[arg-type]  # one of the two
                with pytest.raises(Conflict):
                    await living.engine.decide(question.id, Decision("approved", "bob"))
                assert await living.engine.resume() == [task]
                result = await living.engine.result(task)
                assert end(result) == ("completed" if verdict == "approved" else "approval_denied")
                assert await living.questions() == []
            assert bench.effects.total() == count

        bench.run(scenario)

    def test_a_wait_goes_on(self, bench: Bench) -> None:
        """Time that goes by while no process lives counts."""

        async def scenario() -> None:
            async with bench.open() as living:
                task = await submit(living, "nap")
                await asyncio.sleep(0.1)
            async with bench.open() as living:
                assert await living.engine.resume() == [task]
                assert end(await living.engine.result(task)) == "completed"

        bench.run(scenario)

    def test_cancel_reaches_everything(self, bench: Bench) -> None:
        """A task ends with all its parts, as cancelled, and nothing of it goes on later; once is enough."""

        async def scenario() -> None:
            async with bench.open() as living:
                slow = await submit(living, "slow")
                split = await submit(living, f"{SPLIT} slow")
                await running(living, split, "left")
                for task in (slow, split):
                    await living.engine.cancel(task)
                    assert (await living.engine.result(task)).phase == "Cancelled"
                    with pytest.raises(NotFound):
                        await living.engine.cancel(task)
            async with bench.open() as living:
                assert await living.engine.resume() == []
                records = await living.records()
                assert {record.phase for record in records if record.id in {slow, split}} == {"Cancelled"}
                assert all(record.result for record in records)

        bench.run(scenario)

    def test_what_rests_can_be_cancelled(self, bench: Bench) -> None:
        """A task that no process runs ends with all its parts, too."""

        async def scenario() -> None:
            async with bench.open() as living:
                task = await submit(living, f"{SPLIT} slow")
                await running(living, task, "left")
            async with bench.open() as living:
                await living.engine.cancel(task)
                assert (await living.engine.result(task)).phase == "Cancelled"
                assert all(record.result for record in await living.records())
                assert await living.engine.resume() == []

        bench.run(scenario)

    @pytest.mark.parametrize("pause", [0.0, 0.005, 0.05])
    def test_what_just_went_on_can_be_cancelled(self, bench: Bench, pause: float) -> None:
        """A task ends with the parts that an earlier process began, also those that this one has not come to."""

        async def scenario() -> None:
            async with bench.open() as living:
                task = await submit(living, f"{SPLIT} slow")
                await running(living, task, "right")
            async with bench.open() as living:
                assert await living.engine.resume() == [task]
                await asyncio.sleep(pause)
                await living.engine.cancel(task)
                assert all(record.phase == "Cancelled" for record in await living.records())

        bench.run(scenario)

    def test_retry_is_another_task(self, bench: Bench) -> None:
        """An ended task is run anew under an id of its own; one that runs is not, nor is a part."""

        async def scenario() -> None:
            async with bench.open() as living:
                first = await submit(living, SPLIT)
                await living.engine.result(first)
                second = await living.engine.retry(first)
                assert second != first
                assert (await living.engine.result(second)).phase == "Succeeded"
                with pytest.raises(Conflict, match="is a part of"):
                    await living.engine.retry(f"{first}.1")
                slow = await submit(living, "slow")
                with pytest.raises(Conflict, match="runs"):
                    await living.engine.retry(slow)
                await living.engine.cancel(slow)

        bench.run(scenario)

    def test_a_task_waits_for_its_own_revision(self, bench: Bench) -> None:
        """When that cannot be opened any more the task rests and says why, until it is told to go on elsewhere."""

        async def scenario() -> None:
            async with bench.open() as living:
                task = await submit(living, "post")
                await asyncio.sleep(0.2)
                with pytest.raises(Conflict, match="runs"):
                    await living.engine.go_on(task)
            async with bench.open(changed=True) as living:
                await living.engine.resume()
                with pytest.raises(Conflict):
                    await living.engine.result(task)
                record = await living.engine.get(task)
                assert record is not None
                assert (record.phase, record.result) == ("Pending", b"")
                assert "does not open" in record.reason
                await living.engine.go_on(task)
                await living.engine.send(task, "post", 1)
                assert end(await living.engine.result(task)) == "completed"
                with pytest.raises(Conflict, match="has ended"):
                    await living.engine.go_on(task)

        bench.run(scenario)

    def test_a_task_moves_to_another_revision(self, bench: Bench) -> None:
        """It goes on there after its last recorded step, in the same process; nothing is done again."""

        async def scenario() -> None:
            async with bench.open() as living:
                task = await submit(living, "guard")
                question = await asked(living)
                assert await living.change() == 1
                await living.engine.decide(question.id, Decision("approved"))
                assert end(await living.engine.result(task)) == "completed"
                assert await living.change() == 0
            assert set(bench.effects.values()) == {1}

        bench.run(scenario)

    def test_draining_loses_nothing(self, bench: Bench) -> None:
        """A drained engine takes no more tasks, waits for those that end in time, and leaves the others resumable."""

        async def scenario() -> None:
            async with bench.open() as living:
                quick, slow = await submit(living, "fixed"), await submit(living, "post")
                await living.engine.drain(bench.moment)
                with pytest.raises(Conflict, match="takes no more tasks"):
                    await submit(living, "plain")
                assert (await living.engine.result(quick)).phase == "Succeeded"
                with pytest.raises(Conflict, match="interrupted"):
                    await living.engine.result(slow)
            async with bench.open() as living:
                assert await living.engine.resume() == [slow]
                await living.engine.send(slow, "post", 1)
                assert (await living.engine.result(slow)).phase == "Succeeded"

        bench.run(scenario)

    @pytest.mark.timeout(600)
    @pytest.mark.parametrize("goal", ["mark", "fixed", "split"])
    def test_killed_at_every_step(self, bench: Bench, goal: str) -> None:
        """Wherever the process dies, the next one ends the task: nothing recorded is done again, no write twice."""
        words = SPLIT if goal == "split" else goal
        count = 0
        while bench.kill_after(words, count := count + 1):

            async def scenario() -> None:
                async with bench.open() as living:
                    roots = [record for record in await living.records() if "." not in record.id]
                    assert await living.engine.resume() == [record.id for record in roots if not record.result]
                    for record in roots:
                        _check_end(await living.engine.result(record.id), goal, bench.effects)
                    _check_parts(await living.records(), goal)

            bench.run(scenario)
        assert count > 5


def _check_end(result: Result, goal: str, effects: Counter[str]) -> None:
    task = result.task.id
    if end(result) == "uncertain":
        assert goal == "mark"
    else:
        assert (result.phase, end(result)) == ("Succeeded", "completed"), result.error
    if goal == "mark":
        assert all(count == 1 for count in effects.values()), effects
        assert end(result) == "uncertain" or set(effects) == {f"{task}/{step}" for step in MARKS}
    if goal == "fixed":
        assert set(effects) == {f"{task}/{step}" for step in MARKS[:2]}
    if goal == "split":
        assert effects[f"{task}.1/{MARKS[0]}"] <= 1
        assert result.scaled is not None
        assert len(result.scaled.subtasks) == 3


def _check_parts(records: list[TaskRecord], goal: str) -> None:
    parts = sorted(record.id.rpartition(".")[2] for record in records if "." in record.id)
    assert parts == (["1", "2", "3"] if goal == "split" and records else [])
    assert all(record.result for record in records)
