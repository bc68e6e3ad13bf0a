"""Steps that are done and not recorded, for work that begins anew when it is interrupted; fits `agents.base.Steps`.

Only what people decided outlives an interruption, and that it was acted on: their agreement to a call holds for one.
Made by the recorder.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from loomd.agents.approval import Ask, Decision
from loomd.agents.transient import TransientSteps
from loomd.agents.work import Outcome
from loomd.clock import Clock
from loomd.engine.mailbox import Mailbox

T = TypeVar("T")


class People(Protocol):
    """The part of a task's record that is kept in any case."""

    async def approve(self, key: str, ask: Ask, *, anew: bool = False) -> Decision:
        """Return what a person decides; with `anew` other questions than before may be asked."""
        ...

    async def denied(self, key: str, ask: Ask) -> Decision | None:
        """Return what people decided about a step when they did not agree to it."""
        ...

    async def consume(self, key: str, name: str, asked: str, *, again: int) -> None:
        """Record that a step is begun to which people agreed."""
        ...

    def waited(self, prefix: str = "") -> float:
        """Return how many seconds were spent waiting for people."""
        ...

    def leave(self, outcome: Outcome) -> None:
        """Note what there is of the work when it is cancelled."""
        ...


class Loose(TransientSteps):
    """Steps of one piece of work."""

    def __init__(self, people: People, task: str, mailbox: Mailbox, clock: Clock) -> None:
        super().__init__(clock, task)
        self._task = task
        self._mailbox = mailbox
        self._people = people

    async def step(
        self,
        key: str,
        name: str,
        do: Callable[[], Awaitable[T]],
        result: type[T],
        *,
        asked: str = "",
        once: bool = False,
        again: int = 0,
    ) -> T:
        """Do a step.

        Raises:
            RecordFailed: people agreed to it, and it could not be written that it is begun.
            Uncertain: people agreed to it, and it was begun before an interruption.
        """
        del result
        if once:
            await self._people.consume(key, name, asked, again=again)
        return await do()

    async def approve(self, key: str, ask: Ask) -> Decision:
        """Return what a person decides; begun anew, it may ask other questions than before."""
        return await self._people.approve(key, ask, anew=True)

    async def denied(self, key: str, ask: Ask) -> Decision | None:
        """Return what people decided about a step when they did not agree to it."""
        return await self._people.denied(key, ask)

    def waited(self, prefix: str = "") -> float:
        """Return how many seconds were spent waiting for people."""
        return self._people.waited(prefix)

    def leave(self, outcome: Outcome) -> None:
        """Note what there is of the work when it is cancelled."""
        self._people.leave(outcome)

    async def sleep(self, key: str, seconds: float) -> None:
        """Return when so many seconds have gone by."""
        await self._mailbox.sleep(self.now(key) + seconds)

    async def receive(self, key: str, name: str, seconds: float) -> object:
        """Return what was sent to the task under a name.

        Raises:
            TimeoutError: nothing came within so many seconds.
        """
        return await self._mailbox.receive(self._task, name, self.now(key) + seconds)
