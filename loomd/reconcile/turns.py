"""Lets those who change what serves act one at a time; an opening that takes long gives way to whoever comes later.

Whoever gave way begins anew once it is its turn again, and may then take twice as long before it gives way once more,
so that all come to their end. Called by the reconciler; knows nothing of what is done.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, Protocol, TypeVar, cast

from loomd.errors import Temporary
from loomd.store.finish import finish

PATIENCE = 2.0
"""Seconds for which an opening goes on though others wait; twice as many each time that it has given way."""

T = TypeVar("T")


class GaveWay(Exception):  # no error: it is done anew
    """An opening was ended, because somebody waits for a turn."""


class Turns:
    """Whose turn it is.

    Attributes:
        number: counts who came; it is the number of the one whose turn it is, however often it has given way.
    """

    def __init__(self) -> None:
        self.number = 0
        self._count = 0
        self._turn = asyncio.Lock()
        self._still = asyncio.Lock()
        """Held while nothing else may change; not while things are opened."""
        self._newcomers = 0
        self._patience = math.inf
        self._opening: asyncio.Timeout | None = None
        self._until = math.inf
        self._closed = False

    async def take(self, act: Callable[[], Awaitable[T]]) -> T:
        """Return what comes of an act once it is its turn; it is called again after it gave way.

        Raises:
            Temporary: nothing is changed any more.
        """
        self._count += 1
        number, patience, gave_way = self._count, PATIENCE, False
        while True:
            async with self._entered(number, patience, newcomer=not gave_way):
                if self._closed:
                    raise Temporary("nothing is changed any more: the daemon ends")
                try:
                    return await act()
                except GaveWay:
                    patience, gave_way = 2 * patience, True

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None, None]:
        """Wait for a turn that gives way to nobody, and have it as long as the context lasts."""
        self._count += 1
        async with self._entered(self._count, math.inf, newcomer=True):
            yield

    def look(self) -> asyncio.Lock:
        """Return what is held by whoever only looks: nothing changes meanwhile, but things may be opened."""
        return self._still

    async def open(self, work: Awaitable[None]) -> None:
        """Let things be opened within a turn, while others may look.

        Raises:
            GaveWay: it took long, and somebody came; what was opened is closed again.
        """
        self._still.release()
        try:
            async with asyncio.timeout(None) as self._opening:
                self._until = 0.0 if self._closed else asyncio.get_running_loop().time() + self._patience
                self._hurry()
                await work
        except TimeoutError:
            if self._opening is not None and self._opening.expired():
                raise GaveWay from None
            raise
        finally:
            self._opening = None
            await finish(_acquire(self._still))

    def keep(self) -> None:
        """Give way to nobody in this turn."""
        self._patience = math.inf

    def close(self) -> None:
        """Let nobody act any more who waits for a turn, or gave way; an opening ends as soon as somebody waits."""
        self._closed = True
        self._until = 0.0
        self._hurry()

    @asynccontextmanager
    async def _entered(self, number: int, patience: float, *, newcomer: bool) -> AsyncGenerator[None, None]:
        self._newcomers += newcomer
        self._hurry()
        try:
            await self._turn.acquire()
        finally:
            self._newcomers -= newcomer
            self._hurry()
        try:
            self.number, self._patience = number, patience
            async with self._still:
                yield
        finally:
            self._turn.release()

    def _hurry(self) -> None:
        """Let an opening end when its time is over, if somebody waits."""
        if self._opening is not None and not self._opening.expired():
            self._opening.reschedule(self._until if self._newcomers and self._until < math.inf else None)


async def _acquire(lock: asyncio.Lock) -> None:
    await lock.acquire()


class _HasTurns(Protocol):
    turns: Turns


Method = TypeVar("Method", bound=Callable[..., Awaitable[Any]])


def in_turn(act: Method) -> Method:
    """Let a method of what has turns run once it is its turn; see `Turns.take`."""

    @wraps(act)
    async def run(self: _HasTurns, /, *args: Any, **kwargs: Any) -> Any:
        return await self.turns.take(lambda: act(self, *args, **kwargs))

    return cast("Method", run)
