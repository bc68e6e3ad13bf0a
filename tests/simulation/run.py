"""One simulated history: tasks, people, faults and deaths, all drawn from one seed, until everything has ended.

`python -m tests.simulation.run SEED` prints the history of a seed, `--count N` runs so many from that one on.
"""

import argparse
import asyncio
import hashlib
import logging
import sys
from dataclasses import dataclass, field
from random import Random

import msgspec

from loomd.agents.approval import Ask, Decision
from loomd.amoeba.task import Budget, Result, Task
from loomd.errors import Conflict, NotFound, Temporary
from loomd.events.event import StepCompleted
from loomd.events.journal import decode
from loomd.store.records import TaskRecord
from tests.simulation.loop import Killed, VirtualLoop
from tests.simulation.store import Disk, Faults, SimulatedStore
from tests.simulation.system import PARTS, SPLIT, Outside, Process, WallClock

SORTS = ("plain", "mark", "fixed", "asking", "again", "nap", "post", "guard", "pieces", "late", "split")
_DEADLINE = 20.0
"""Seconds that a task which takes too long may take."""
_PATIENCE = 36_000.0
"""Seconds of virtual time in which everything must have ended once nothing goes wrong any more."""


@dataclass
class Promises:
    """What was acknowledged.

    Attributes:
        accepted: tasks.
        cancelled: tasks that were cancelled.
        decided: verdicts by question.
        sent: signals by task.
    """

    accepted: list[str] = field(default_factory=list[str])
    cancelled: list[str] = field(default_factory=list[str])
    decided: dict[str, str] = field(default_factory=dict[str, str])
    sent: dict[str, int] = field(default_factory=dict[str, int])


class History:
    """Everything that happens under one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._draw = Random(seed)
        self.disk = Disk()
        self.outside = Outside()
        self.promises = Promises()
        self.kills = 0
        self.tasks = [self._task(at) for at in range(self._draw.choice((1, 1, 2, 2, 3)))]
        self._deaths = self._draw.choice((0, 1, 1, 2, 3, 5))
        self._faults = Faults(
            fail=self._draw.choice((0.0, 0.0, 0.05, 0.2)),
            before=self._draw.choice((0.0, 0.01)),
            after=self._draw.choice((0.0, 0.02)),
            slow=self._draw.choice((0.001, 0.02, 1.0)),
        )
        self._cancels = self._draw.random() < 0.15
        self._away = self._draw.choice((0.0, 0.0, 0.0, 0.1))

    def _task(self, at: int) -> Task:
        sort = self._draw.choice(SORTS)
        goal = SPLIT if sort == "split" else sort
        budget = Budget(seconds=_DEADLINE) if sort == "late" else Budget()
        return Task(f"t{at}", goal, cluster="team", seed=self._draw.randrange(1000), budget=budget)

    @property
    def digest(self) -> str:
        """Return what two equal histories have in common, and no others."""
        return hashlib.sha256("\n".join(self.outside.trace).encode()).hexdigest()

    def run(self) -> "History":
        """Live through it; return itself.

        Raises:
            AssertionError: something that was promised does not hold.
        """
        while self._live():
            self.kills += 1
            self.outside.now += self._draw.choice((0.0, 1.0, 100.0))
        return self

    def _live(self) -> bool:
        """Run one process; return whether it died."""
        last = self.kills >= self._deaths
        loop = VirtualLoop()
        faults = Faults(slow=self._faults.slow) if last else self._faults
        clock = WallClock(loop, self.outside.now)
        store = SimulatedStore(self.disk, self._draw, faults, clock.now, self.outside.tell)
        process = Process(store, clock, self.outside, self._draw)
        process.away = self._away
        if not last:
            loop.call_later(self._draw.expovariate(1 / 10), store.kill)
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._drive(process))
        except Killed:
            self.outside.now = process.clock.now()
            store.die()
            loop.bury()
            return True
        finally:
            asyncio.set_event_loop(None)
        self.outside.now = process.clock.now()
        loop.close()
        return False

    async def _drive(self, process: Process) -> None:
        """Submit what is not accepted yet, be the people, and wait until all has ended."""
        await process.serve("r1")
        engine, began = process.engine, process.clock.now()
        open_tasks: list[TaskRecord] = []
        wanted = [task for task in self.tasks if task.id not in self.promises.accepted]
        while True:
            try:
                await engine.resume()
                while wanted:
                    await self._submit(process, wanted[0])
                    wanted.pop(0)
                open_tasks = await process.store.list_tasks(unfinished=True)
                if not open_tasks:
                    break
                await self._tend(process, open_tasks)
            except Temporary:
                pass  # again, a little later
            assert process.clock.now() < began + _PATIENCE, f"these never ended: {open_tasks}"
            await asyncio.sleep(self._draw.random() * 5)
        await engine.drain(0)

    async def _submit(self, process: Process, task: Task) -> None:
        try:
            await process.engine.submit(task)
        except Conflict:
            assert task.id in self.disk.tasks, "it exists, and is not there"  # accepted, and killed before it was said
        self.promises.accepted.append(task.id)
        self.outside.tell(f"accepted {task.id}", process.clock.now())

    async def _tend(self, process: Process, tasks: list[TaskRecord]) -> None:
        """Answer questions, send what tasks wait for, cancel one."""
        engine, draw = process.engine, self._draw
        for asked in await process.store.list_approvals(pending=True):
            if draw.random() < 0.3:
                continue
            verdict = draw.choice(("approved", "denied"))
            try:
                await engine.decide(asked.id, Decision(verdict))  # type: ignore[arg-type]  # one of the two
            except Conflict:
                continue  # it expired meanwhile, or was decided and nobody was told
            self.promises.decided[asked.id] = verdict
        for record in tasks:
            goal = msgspec.json.decode(record.body, type=Task).goal
            if goal == "post" and record.id not in self.promises.sent and draw.random() < 0.5:
                value = draw.randrange(1000)
                try:
                    await engine.send(record.id, "post", value)
                except Conflict:
                    continue
                self.promises.sent[record.id] = value
        if self._cancels and draw.random() < 0.3:
            self._cancels = False
            name = tasks[0].id.split(".", 1)[0]
            try:
                await engine.cancel(name)
            except NotFound:
                return
            if self.disk.tasks[name].phase == "Cancelled":
                self.promises.cancelled.append(name)


def verify(history: History) -> None:
    """Check what must hold at the end of a history.

    Raises:
        AssertionError: it does not.
    """
    disk, outside, promises = history.disk, history.outside, history.promises
    assert not disk.wrong, disk.wrong
    results = {name: msgspec.json.decode(record.result, type=Result) for name, record in disk.tasks.items()}
    assert sorted(promises.accepted) == sorted(task.id for task in history.tasks)
    assert set(promises.accepted) == {name for name in results if "." not in name}
    for name in promises.cancelled:
        assert results[name].phase == "Cancelled", name
    for name, verdict in promises.decided.items():
        assert msgspec.json.decode(disk.approvals[name].decision, type=Decision).verdict == verdict, name
    for key, told in outside.told.items():
        assert len(told) == 1, f"{key} was done for what the model said before it was recorded: {told}"
    for key, times in outside.effects.items():
        _verify_effect(history, key, times)
    for result in results.values():
        _verify_result(history, result)
    counted = sum(one.count for one in disk.scores.values())
    taught = sum(count for count in disk.learned.values())
    assert counted == taught, f"{taught} rewards were stored, the scores count {counted}"
    _verify_accounts(history)


def _verify_accounts(history: History) -> None:
    """A model call that is recorded is counted once, and no other is."""
    facts = [decode(row).data for row in history.disk.rows if row.type == "step.completed"]
    calls = sum(isinstance(fact, StepCompleted) and fact.name in {"model", "plan"} for fact in facts)
    booked = sum(one.calls for one in history.disk.charges)
    assert booked == calls, f"{calls} model calls are recorded, {booked} are booked"
    moved = sum(one.count for one in history.disk.averages.values() if one.name == "characters")
    assert moved <= calls, f"{calls} model calls taught, the averages moved {moved} times"


def _verify_effect(history: History, key: str, times: list[float]) -> None:
    """An effect is not had again once it is recorded; one that may not happen twice does not."""
    disk = history.disk
    task, _, step = key.partition("/")
    recorded = disk.since.get((task, f"step/{step}"))
    assert recorded is None or times[-1] <= recorded, f"{key} was recorded at {recorded} and happened at {times}"
    if (task, f"intent/{step}") not in disk.keys:
        return
    allowed = 1
    goal = msgspec.json.decode(disk.tasks[task].body, type=Task).goal
    if goal == "again":
        allowed += history.kills
    if goal == "asking":
        questions = [one for one in disk.approvals.values() if one.task == task]
        assert all(msgspec.json.decode(one.body, type=Ask).question == "repeat" for one in questions)
        allowed += sum(b"approved" in one.decision for one in questions)
    assert len(times) <= allowed, f"{key} happened at {times}, {allowed} times are allowed"


def _verify_result(history: History, result: Result) -> None:
    """A task ended as it had to."""
    disk, name, goal = history.disk, result.task.id, result.task.goal
    assert "recorded under" not in result.error, result.error
    assert "Error" not in result.error, result.error
    if result.phase == "Cancelled":
        return
    assert result.executed is not None, (name, result.error)
    end = result.executed.outcome.stop_reason
    allowed = {"completed"}
    if goal in {"mark", "left mark", "asking", "pieces"}:
        allowed = {"completed", "uncertain"}
    elif goal == "guard":
        allowed = {"completed", "uncertain", "approval_denied", "approval_expired"}
    elif goal == "late":
        allowed = {"budget_time"}
    if "the model is away" in result.error:
        allowed.add("error")
    assert end in allowed, f"{name} ({goal}) ended as {end}: {result.error}"
    if goal == SPLIT:
        assert result.scaled is not None
        assert [one.goal for one in result.scaled.subtasks] in ([], list(PARTS))
        parts = sorted(one for one in disk.tasks if one.startswith(f"{name}.") and "-" not in one)  # no second attempts
        assert parts == [f"{name}.{at + 1}" for at in range(len(result.scaled.subtasks))]
        goals = [msgspec.json.decode(disk.tasks[part].body, type=Task).goal for part in parts]
        assert goals == [one.goal for one in result.scaled.subtasks]
    if goal == "guard" and end == "completed":
        (question,) = [one for one in disk.approvals.values() if one.task == name]
        assert b"approved" in question.decision
        assert len(history.outside.effects[f"{name}/execute/tool/0/0"]) == 1
    if goal == "mark" and end == "completed":
        keys = [f"{name}/execute/tool/{at}" for at in ("0/0", "0/1", "1/0")]
        assert [key for key in keys if key in history.outside.effects] == keys


def live(seed: int) -> History:
    """Return the history of a seed, which is checked.

    Raises:
        AssertionError: something does not hold; it says how to see the history.
    """
    history = History(seed)
    try:
        verify(history.run())
    except BaseException as error:
        error.add_note(f"reproduce: python -m tests.simulation.run {seed}")
        raise
    return history


def main() -> None:
    """Print the history of a seed, or run many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--count", type=int, default=1)
    asked = parser.parse_args()
    if asked.count > 1:
        kills = sum(live(seed).kills for seed in range(asked.seed, asked.seed + asked.count))
        sys.stdout.write(f"seeds {asked.seed} to {asked.seed + asked.count - 1}: all hold, after {kills} kills\n")
        return
    history = History(asked.seed)
    try:
        verify(history.run())
    finally:
        sys.stdout.write("\n".join([*history.outside.trace, history.digest, ""]))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    main()
