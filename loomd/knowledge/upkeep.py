"""Brings a knowledge base up to its documents in the background, and tries again when that fails.

Whoever has documents is not asked anew for that: what was fetched stays. Two sets that share an index are not both at
work on it: it is brought up to the documents of the one that serves. Called by a knowledge base.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from loomd.errors import LoomdError

SOON, SELDOM = 5.0, 300.0
"""Seconds after which what failed is tried again: twice as many each time, up to these."""

_log = logging.getLogger("loomd.knowledge")


@asynccontextmanager
async def beside(work: Coroutine[object, object, None]) -> AsyncGenerator[None, None]:
    """Let something be done for as long as the context lasts, to its end or until then."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


class Turn(NamedTuple):
    """When it is a knowledge base's turn, beside another version of it that may be open.

    Attributes:
        first: whether to bring its index up to its documents before it opens, whatever is stored.
        serves: returns whether it serves: where two share an index, that one keeps it up.
        keep: called once something was embedded and stored: that is kept though it never serves.
    """

    first: bool = True
    serves: Callable[[], bool] = lambda: True
    keep: Callable[[], object] = lambda: None


class Upkeep:
    """Keeps an index up to its documents.

    Args:
        name: whose it is, for the log.
        refresh: brings it up to them once.
        failed: told what went wrong, and in how many seconds it is tried again.
        may: returns whether it may be changed now.
    """

    def __init__(
        self,
        name: str,
        refresh: Callable[[], Awaitable[object]],
        failed: Callable[[Exception, float], object],
        may: Callable[[], bool],
    ) -> None:
        self._name = name
        self._refresh = refresh
        self._failed = failed
        self._may = may
        self._due = asyncio.Event()
        self._rests = asyncio.Event()
        self._rests.set()
        self._held = False
        """Whether it was due when it might not be changed."""
        self._error: Exception | None = None
        """Why it was not brought up to its documents the last time."""

    def wake(self) -> None:
        """Have it brought up to its documents soon."""
        self._rests.clear()
        self._due.set()

    def mend(self) -> None:
        """Have it brought up to its documents soon, unless that is under way: then what fails is tried again anyway."""
        if self._rests.is_set():
            self.wake()

    def served(self) -> None:
        """Make up for what might not be done, now that another set serves."""
        if self._held:
            self.wake()

    def mended(self) -> None:
        """Note that somebody else brought it up to its documents."""
        self._error = None

    async def once(self) -> None:
        """Have it brought up to what its documents are now, and wait for the end of that, whatever it is."""
        self.wake()
        await self._rests.wait()

    async def settled(self) -> None:
        """Wait until it is up to its documents; it is not waited for another set to serve.

        Raises:
            Exception: that failed, and is tried again later.
        """
        await self._rests.wait()
        if self._error is not None:
            raise self._error

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Keep it up for as long as the context lasts."""
        task = asyncio.ensure_future(self._work())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            self._rests.set()

    async def _work(self) -> None:
        wait: float | None = None
        soon = SOON
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._due.wait()
            self._due.clear()
            self._held = not self._may()
            if self._held:
                wait = None
            elif error := await self._try():
                wait, soon = soon, min(2 * soon, SELDOM)
                self._failed(error, wait)
                whole = None if isinstance(error, LoomdError) else error
                _log.warning("KnowledgeBase/%s: %s; it is tried again in %g s", self._name, error, wait, exc_info=whole)
            else:
                wait, soon = None, SOON
            if not self._due.is_set():
                self._rests.set()

    async def _try(self) -> Exception | None:
        """Bring it up to its documents, and return what went wrong."""
        self._rests.clear()
        try:
            await self._refresh()
        except Exception as error:  # whatever it is, it is tried again
            self._error = error
        else:
            self._error = None
        return self._error
