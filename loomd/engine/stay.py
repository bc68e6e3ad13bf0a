"""A task's time on one topology: which revision it is pinned to there, and whether it may still go back.

Called by the local engine.
"""

import asyncio
from dataclasses import dataclass
from functools import partial

import msgspec

from loomd.amoeba.task import Result, Task
from loomd.engine.ending import scope_of
from loomd.engine.interruption import recorded
from loomd.engine.ledger import Ledger
from loomd.events.bus import Bus
from loomd.events.event import TaskMoved
from loomd.topology import Topology


@dataclass
class Stay:
    """A task's time on one topology.

    Attributes:
        topology: what it runs on and holds open.
        ledger: where it is kept what it is pinned to.
        bus: where a move is told.
        back: the revision that it goes back to if what is recorded does not fit here; empty once it fits.
        urged: whether a person lets it go on, however often the process ended in it.
        moving: whether it is interrupted to go on elsewhere.
        moved: whether it goes on elsewhere.
        unfit: the revision that it came back from, because what is recorded does not fit there; empty for none.
        parked: whether it is on disk that it waits.
    """

    topology: Topology
    ledger: Ledger
    bus: Bus
    back: str = ""
    urged: bool = False
    moving: bool = False
    moved: bool = False
    unfit: str = ""
    parked: bool = False
    _over: asyncio.Event | None = None
    _ended: bool = False

    def end(self) -> None:
        """Note that it let go of the topology."""
        self._ended = True
        if self._over is not None:
            self._over.set()

    async def over(self) -> None:
        """Wait until it let go of the topology."""
        if not self._ended:
            self._over = self._over or asyncio.Event()
            await self._over.wait()

    async def pin(self, task: Task, *, resumed: bool) -> Task:
        """Return the task with the revision that it runs on, which is on disk; tell everybody when that is another.

        One that may have to go back is on disk with its earlier one until it does something new: see `settle`.

        Args:
            task: the task.
            resumed: whether it ran before.

        Raises:
            RecordFailed: it could not be written.
        """
        before, after = task.revision, self.topology.snapshot.revision
        if before == after:
            self.back = ""
            return task
        task = msgspec.structs.replace(task, revision=after)
        if task.durability != "steps":
            self.back = ""  # it begins anew
        if not self.back:
            await self._put(task, before if resumed else "")
        return task

    async def enter(self, task: Task) -> None:
        """Let it be on disk that a task runs, where it is that it waits; one that may go back says so when it settles.

        Raises:
            RecordFailed: it could not be written.
        """
        if self.parked and not self.back and not task.parent:
            await self._put(task)
            self.parked = False

    def behind(self, serving: Topology) -> bool:
        """Return whether a revision serves on which the task was not yet."""
        return serving.snapshot.revision not in {self.topology.snapshot.revision, self.unfit}

    def follow(self, running: "asyncio.Task[Result]") -> None:
        """Interrupt a task, so that it goes on on what serves."""
        self.moving = True
        running.cancel()

    async def settle(self, task: Task) -> None:
        """Let a task stay where it was moved to: what it had recorded fits, and it is about to do something new.

        Raises:
            RecordFailed: that could not be written.
        """
        if self.back:
            back, self.back = self.back, ""
            await self._put(task, back)

    async def _put(self, task: Task, before: str = "") -> None:
        await recorded(task, partial(self.ledger.put, task, "Running"))
        if before:
            scope_of(self.bus, task).emit(TaskMoved(before, task.revision))
