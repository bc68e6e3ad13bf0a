"""How often in a row the process ended while a task was in one step, and the task that is set aside for it.

What is looked at is the task's own record. One that goes on after an interruption writes down which step it is in
before it begins the first one that is not recorded; a row of that sort with nothing after it means that the process
ended there. Called by the local engine and the record of a task.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from loomd.agents.suspicion import listening
from loomd.amoeba.task import Result, Task
from loomd.engine.ending import HERE, WAYS, scope_of
from loomd.engine.ledger import Ledger, record_of
from loomd.errors import RecordFailed
from loomd.events.bus import Bus, Scope
from loomd.events.event import Event, TaskAttempted, TaskSetAside
from loomd.manifest.raised import is_cancelled

T = TypeVar("T")

_MOST = 3
"""Times that the process may end in what somebody else wrote: a tool call, an interceptor, also in a model's step."""
_MOST_ELSE = 6
"""Times that it may end in any other: it is seldom the cause, and what is one is set aside before it."""
_FOREIGN = ("tool:", "interceptors", "Interceptor/")


class SetAside(RecordFailed):
    """A task does not go on by itself, because the process ended in its step too often.

    Attributes:
        name: the step.
        times: how often.
    """

    def __init__(self, name: str, times: int) -> None:
        super().__init__(f"the process ended {times} times in a row while it was in {name}, so it is set aside")
        self.name = name
        self.times = times


class Deaths:
    """The ends of the process in one task.

    Args:
        known: what is recorded under keys, oldest first.
        scope: the envelope of the task's events.
        steps: whether its steps are recorded.
        counts: whether the task ran before, and anything is kept of it.
    """

    def __init__(self, known: dict[str, Event], scope: Scope, *, steps: bool, counts: bool) -> None:
        self._scope = scope
        self._steps = steps
        self._counts = counts
        self._rows = len(known)
        self._inside = False
        self._step = ""
        self._name, self._times = "", 0
        for event in reversed(known.values()):
            if not isinstance(event.data, TaskAttempted) or not event.data.step:
                break
            self._name = self._name or event.data.step
            self._times += not event.data.within

    def refuse(self) -> None:
        """Refuse to go on when the process ended too often where the task stands.

        Raises:
            SetAside: so it did.
        """
        suspect = self._steps and self._name.startswith(_FOREIGN)
        if self._times >= (_MOST if suspect else _MOST_ELSE):
            raise SetAside(self._name, self._times)

    async def enter(self, name: str, keep: Callable[[TaskAttempted, str], Awaitable[None]]) -> None:
        """Write down that a step begins, once until `leave`; what comes after it in the record says that it went well.

        Args:
            name: of the step.
            keep: puts a fact on disk under a key.
        """
        if self._counts and not self._inside:
            self._inside = True
            self._step = name
            await keep(TaskAttempted(name), self._key())

    async def watch(self, do: Callable[[], Awaitable[T]], keep: Callable[[TaskAttempted, str], Awaitable[None]]) -> T:
        """Return what a step comes to; when it is the one that was entered, whose code runs in it is written down.

        Args:
            do: the step.
            keep: see `enter`.
        """
        if not (self._steps and self._step):
            return await do()

        @asynccontextmanager
        async def runs(name: str) -> AsyncGenerator[None, None]:
            await keep(TaskAttempted(name, within=True), self._key())
            try:
                yield
            finally:  # what it raised came back, too
                if self._step and not is_cancelled():
                    await keep(TaskAttempted(self._step, within=True), self._key())

        with listening(runs):
            value = await do()
        self._step = ""
        return value

    def leave(self) -> None:
        """Write down that the task waits, or is interrupted in good order: the process may end now."""
        if self._inside:
            self._inside = False
            self._step = ""
            self._scope.emit(TaskAttempted(""), key=self._key())

    def _key(self) -> str:
        self._rows += 1
        return f"attempted/{self._rows}"


async def or_set_aside(run: Awaitable[Result], ledger: Ledger, bus: Bus, task: Task) -> Result:
    """Return what a task comes to, or let it wait until a person lets it go on, and tell that once.

    Raises:
        CancelledError: it waits.
    """
    try:
        return await run
    except SetAside as error:
        why = f"{error}; {HERE.format(task.id)}{WAYS.format(task.id)}"
        record = await ledger.get(task.id) or record_of(task, "Running")
        if record.reason != why:
            scope_of(bus, task).emit(TaskSetAside(error.name, error.times, why))
        await ledger.park(record, why)
        raise asyncio.CancelledError from error
