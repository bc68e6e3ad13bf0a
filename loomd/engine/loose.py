"""Steps that are done and not recorded, for work that begins anew when it is interrupted; fits `agents.base.Steps`.

Only what people decided outlives an interruption, and that it was acted on: their agreement to a call holds for one.
Made by the recorder.
"""

import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

from loomd.agents.approval import Ask, Decision
from loomd.agents.budget import NOTHING, Spent
from loomd.agents.work import Outcome
from loomd.clock import Clock
from loomd.engine.mailbox import Mailbox
from loomd.events.fact import Fact

T = TypeVar("T")
F = TypeVar("F", bound=Fact)


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


class Loose:
    """Steps of one piece of work."""

    def __init__(self, people: People, task: str, mailbox: Mailbox, clock: Clock) -> None:
        self._task = task
        self._mailbox = mailbox
        self._clock = clock
        self._consume = people.consume
        self.approve = partial(people.approve, anew=True)
        self.denied = people.denied
        self.waited = people.waited
        self.leave = people.leave

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
            await self._consume(key, name, asked, again=again)
        return await do()

    async def skip(self, key: str, name: str, value: T, *, asked: str = "") -> T:
        """Return what stands for a step to which people did not agree."""
        del key, name, asked
        return value

    def now(self, key: str) -> float:
        """Return the wall-clock time."""
        del key
        return self._clock.now()

    def random(self, key: str) -> float:
        """Return a number from 0 to 1."""
        return random.Random(f"{self._task}/{key}").random()  # noqa: S311  # no secret

    def recorded(self, prefix: str) -> Spent:
        """Return that nothing was used: what is not recorded begins anew."""
        del prefix
        return NOTHING

    def draw(self, key: str, name: str, take: Callable[[], T], result: type[T]) -> T:
        """Return what is known in this moment."""
        del key, name, result
        return take()

    def told(self, key: str, fact: type[F]) -> F | None:
        """Return nothing: what is not recorded begins anew."""
        del key, fact
        return None

    async def sleep(self, key: str, seconds: float) -> None:
        """Return when so many seconds have gone by."""
        await self._mailbox.sleep(self.now(key) + seconds)

    async def receive(self, key: str, name: str, seconds: float) -> object:
        """Return what was sent to the task under a name.

        Raises:
            TimeoutError: nothing came within so many seconds.
        """
        return await self._mailbox.receive(self._task, name, self.now(key) + seconds)
