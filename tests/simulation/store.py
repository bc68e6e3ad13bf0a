"""A store in memory that keeps the promises of the real one and no more: what was not committed dies with the process.

It groups commits as the real one does, takes its time, fails when told to, and kills the process before or after a
commit. Fits the part of `loomd.store.base.Store` that the engine needs.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import msgspec

from loomd.errors import Temporary
from loomd.store.finish import Written
from loomd.store.records import ApprovalRecord, Average, Capability, Charge, Extent, Learned, Row, TaskRecord
from tests.simulation.loop import Killed

T = TypeVar("T")

_CLOSED = b'{"verdict":"expired","reason":"its task has ended"}'


@dataclass
class Disk:
    """What outlives a process.

    Attributes:
        wrong: what was stored and must not be: a result in place of another, or a second value of a checkpoint.
        since: when each checkpoint was committed, by task and key, in wall-clock seconds.
    """

    rows: list[Row] = field(default_factory=list[Row])
    keys: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    tasks: dict[str, TaskRecord] = field(default_factory=dict[str, TaskRecord])
    signals: dict[tuple[str, str], bytes] = field(default_factory=dict[tuple[str, str], bytes])
    approvals: dict[str, ApprovalRecord] = field(default_factory=dict[str, ApprovalRecord])
    learned: dict[str, int] = field(default_factory=dict[str, int])
    scores: dict[tuple[str, str, str], Capability] = field(default_factory=dict[tuple[str, str, str], Capability])
    since: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])
    charges: list[Charge] = field(default_factory=list[Charge])
    averages: dict[tuple[str, str], Average] = field(default_factory=dict[tuple[str, str], Average])
    last: int = 0
    wrong: list[str] = field(default_factory=list[str])


@dataclass
class Faults:
    """How often what goes wrong, each from 0 to 1.

    Attributes:
        fail: a commit fails; all that is in it waits or is refused.
        before: the process dies before a commit.
        after: the process dies after a commit, before anybody knows of it.
        slow: longest time of a commit, in seconds.
        commits: the process dies after so many; 0 for never.
        failing: the number of a commit that fails when it is first tried; 0 for none.
    """

    fail: float = 0.0
    before: float = 0.0
    after: float = 0.0
    slow: float = 0.01
    commits: int = 0
    failing: int = 0


_Work = tuple[Callable[[], Any], "asyncio.Future[Any] | None"]


class SimulatedStore:
    """One process's view of a disk."""

    def __init__(
        self, disk: Disk, draw: Random, faults: Faults, now: Callable[[], float], tell: Callable[[str, float], None]
    ) -> None:
        self.disk = disk
        self.dead = False
        self._draw = draw
        self._faults = faults
        self._now = now
        self._note_down = tell
        self._last = disk.last
        self._durable = disk.last
        self._work: list[_Work] = []
        self._joined: list[tuple[int, asyncio.Future[None]]] = []
        self._refused: list[asyncio.Future[Any]] = []
        self._waiters: list[Written[Any]] = []
        """Who waits for something that stays when the commit fails."""
        self._due = False
        self._commits = self._tried = 0

    @property
    def tried(self) -> int:
        """Return how many commits were tried."""
        return self._tried

    @property
    def directory(self) -> Path:
        """Return no real directory."""
        return Path("/nowhere")

    @property
    def broken(self) -> str:
        """Return that nothing is broken for good."""
        return ""

    def note(self, row: Row) -> int:
        """Queue a row."""
        self._live()
        self._last += 1
        seq = self._last
        self._work.append((lambda: self._insert(seq, row), None))
        self._soon()
        return seq

    def charge(self, charge: Charge) -> None:
        """Queue what was used."""
        self._live()
        self._work.append((lambda: self.disk.charges.append(charge), None))
        self._soon()

    async def usage(self, day: str) -> list[Charge]:
        """Return what was used on a day, call by call."""
        return await self._ask(lambda: [one for one in self.disk.charges if one.day == day])

    def average(self, average: Average) -> None:
        """Queue a moving average."""
        self._live()
        self._work.append((lambda: self.disk.averages.update({(average.subject, average.name): average}), None))
        self._soon()

    async def averages(self) -> list[Average]:
        """Return all moving averages."""
        return await self._ask(lambda: list(self.disk.averages.values()))

    async def durable(self, seq: int) -> None:
        """Wait for a row."""
        self._live()
        if seq > self._durable:
            waiter: Written[None] = self._waiter()
            self._joined.append((seq, waiter))
            self._soon()
            await waiter

    async def settled(self) -> None:
        """Wait for all that was handed in before."""
        await self._write(lambda: None)

    async def read(
        self, after: int = 0, task: str = "", limit: int = 1000, tree: bool = False, strict: bool = False
    ) -> list[Row]:
        """Return rows."""
        del tree
        if strict:
            await self.durable(self._last)
        else:
            await self._settle()
        return [row for row in self.disk.rows if row.seq > after and task in {"", row.task}][:limit]

    async def extent(self) -> Extent:
        """Return how far the journal reaches."""
        await self._settle()
        return Extent(self.disk.last)

    async def create_task(self, record: TaskRecord) -> bool:
        """Keep a task of which nothing is known."""
        return await self._write(lambda: record.id not in self.disk.tasks and self._keep(record))

    async def put_task(self, record: TaskRecord) -> bool:
        """Keep a task; one that has ended stays as it is, and that somebody wants another end of it is wrong."""

        def put() -> bool:
            old = self.disk.tasks.get(record.id)
            if old is None or not old.result:
                return self._keep(record)
            if old.result != record.result:
                self.disk.wrong.append(f"{record.id} had ended: {old.result!r} became {record.phase} {record.result!r}")
            return False

        return await self._write(put)

    async def get_task(self, task: str) -> TaskRecord | None:
        """Return a task."""
        return await self._ask(lambda: self.disk.tasks.get(task))

    async def list_tasks(
        self,
        unfinished: bool = False,
        namespace: str = "",
        tree: str = "",
        limit: int = 0,
        before: tuple[float, str] | None = None,
    ) -> list[TaskRecord]:
        """Return tasks, newest first; the engine needs no part of them but a tree."""
        assert (namespace, limit, before) == ("", 0, None)
        records = await self._ask(lambda: list(self.disk.tasks.values()))
        chosen = [
            one for one in records if not (unfinished and one.result) and (not tree or one.id.startswith(f"{tree}."))
        ]
        return sorted(chosen, key=lambda one: (one.created, one.id), reverse=True)

    async def put_signal(self, task: str, name: str, body: bytes, at: float) -> bool:
        """Keep a signal."""
        del at

        def put() -> bool:
            return self.disk.signals.setdefault((task, name), body) is body

        return await self._write(put)

    async def get_signal(self, task: str, name: str) -> bytes | None:
        """Return a signal."""
        return await self._ask(lambda: self.disk.signals.get((task, name)))

    async def ask(self, record: ApprovalRecord) -> ApprovalRecord:
        """Keep a question."""
        return await self._write(lambda: self.disk.approvals.setdefault(record.id, record))

    async def decide(
        self, approval: str, decision: bytes, now: Callable[[], float] | None = None
    ) -> ApprovalRecord | None:
        """Keep a decision."""

        def put() -> ApprovalRecord | None:
            record = self.disk.approvals.get(approval)
            if record is not None and not record.decision and (now is None or record.expires > now()):
                record = self.disk.approvals[approval] = msgspec.structs.replace(record, decision=decision)
                self._tell(f"decided {approval} {decision!r}")
            return record

        return await self._write(put)

    async def get_approval(self, approval: str) -> ApprovalRecord | None:
        """Return a question."""
        return await self._ask(lambda: self.disk.approvals.get(approval))

    async def list_approvals(self, pending: bool = False) -> list[ApprovalRecord]:
        """Return questions."""
        records = await self._ask(lambda: list(self.disk.approvals.values()))
        return [one for one in records if not (pending and one.decision)]

    async def learn(self, task: str, change: Learned) -> bool:
        """Keep scores, once per task."""

        def put() -> bool:
            if task in self.disk.learned:
                return False
            self.disk.learned[task] = len(change.scores)
            self.disk.scores |= {(one.agent, one.spec, one.domain): one for one in change.scores}
            self._tell(f"learned {task} {[one.count for one in change.scores]}")
            return True

        return await self._write(put, insist=True)

    async def learned_from(self, task: str) -> bool:
        """Return whether scores were kept for a task."""
        return await self._ask(lambda: task in self.disk.learned)

    async def capabilities(self) -> list[Capability]:
        """Return all scores."""
        await self._settle()
        return list(self.disk.scores.values())

    def kill(self) -> None:
        """End the process here.

        Raises:
            Killed: always.
        """
        self.die()
        self._tell("killed")
        raise Killed

    def _keep(self, record: TaskRecord) -> bool:
        self.disk.tasks[record.id] = record
        for asked in self.disk.approvals.values() if record.result else ():
            if asked.task == record.id and not asked.decision:
                self.disk.approvals[asked.id] = msgspec.structs.replace(asked, decision=_CLOSED)
        self._tell(f"task {record.id} {record.phase} {bool(record.result)} {record.reason}")
        return True

    def _tell(self, what: str) -> None:
        self._note_down(what, self._now())

    def _live(self) -> None:
        if self.dead:
            raise Temporary("the process is gone")

    def _insert(self, seq: int, row: Row) -> None:
        self.disk.last = seq
        if row.key:
            if (row.task, row.key) in self.disk.keys:
                return
            self.disk.keys.add((row.task, row.key))
            self.disk.since[row.task, row.key] = self._now()
        self.disk.rows.append(msgspec.structs.replace(row, seq=seq))
        self._tell(f"row {seq} {row.task} {row.key} {row.type}")

    async def _write(self, act: Callable[[], T], *, insist: bool = False) -> T:
        self._live()
        caller: Written[T] = self._waiter()
        if insist:
            self._work.append((lambda: _answer(caller, act()), None))
            self._refused.append(caller)
        else:
            self._work.append((act, caller))
        self._soon()
        return await caller

    def _waiter(self) -> Written[Any]:
        """Return what waits for a commit."""
        waiter: Written[Any] = Written(loop=asyncio.get_running_loop())
        self._waiters.append(waiter)
        return waiter

    def die(self) -> None:
        """Be gone: nobody waits for what was not committed."""
        self.dead = True
        for waiter in self._waiters:
            waiter.held = False

    async def _ask(self, look: Callable[[], T]) -> T:
        self._live()
        await asyncio.sleep(self._draw.random() * self._faults.slow / 2)
        self._live()
        return look()

    async def _settle(self) -> None:
        try:
            await self.durable(self._last)
        except Temporary:
            self._live()

    def _soon(self) -> None:
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(self._draw.random() * self._faults.slow, self._commit)

    def _commit(self) -> None:
        """Write what waits, or fail, or die."""
        if self.dead:
            return
        self._due = False
        chance = self._draw.random()
        if chance < self._faults.before:
            self.kill()
        self._tried += 1
        if chance > 1 - self._faults.fail or self._tried == self._faults.failing:
            self._fail()
            return
        work, self._work = self._work, []
        values = [act() for act, _ in work]
        self._durable = self._last
        self._commits += 1
        died = self._faults.before <= chance < self._faults.before + self._faults.after
        if died or self._commits == self._faults.commits:
            self.kill()
        for (_, caller), value in zip(work, values, strict=True):
            if caller is not None and not caller.done():
                caller.set_result(value)
        joined, self._joined, self._refused = self._joined, [], []
        for _, waiter in joined:
            if not waiter.done():
                waiter.set_result(None)

    def _fail(self) -> None:
        self._tell("a commit failed")
        refused = [caller for _, caller in self._work if caller is not None] + [waiter for _, waiter in self._joined]
        refused += self._refused
        self._work = [(act, None) for act, caller in self._work if caller is None]
        self._joined, self._refused = [], []
        for waiter in refused:
            if not waiter.done():
                waiter.set_exception(Temporary("no space", 1.0))
        if self._work:
            self._soon()


def _answer(caller: "asyncio.Future[T]", value: T) -> None:
    if not caller.done():
        caller.set_result(value)
