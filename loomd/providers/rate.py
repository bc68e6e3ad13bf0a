"""Rate limit: how many calls, and how many tokens, go to a service a minute, and how many calls at once.

Calls wait in the order in which they came, within their deadline, instead of being refused by the service. Requests and
tokens are each a token bucket that holds one minute's worth (J. Turner, New Directions in Communications, IEEE
Communications Magazine 24(10), 1986): a burst may use a whole minute, and then the rate holds. Tokens are reserved
before a call by an estimate, and corrected by what the service reports.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass

from pydantic import Field

from loomd.clock import Clock
from loomd.errors import RateLimited
from loomd.manifest.kind import Spec
from loomd.messages import Request
from loomd.providers.base import estimate_tokens, request_characters


class RateFields(Spec):
    """How much may go to a service; what is more waits. Nothing is limited by default."""

    concurrency: int | None = Field(default=None, ge=1, examples=[8])
    """Calls at once."""
    requests: int | None = Field(default=None, ge=1, examples=[60])
    """Calls a minute; each attempt is one."""
    tokens: int | None = Field(default=None, ge=1, examples=[100000])
    """Tokens a minute, in and out together."""


class Rate:
    """The limits of one provider. All methods belong to one event loop."""

    def __init__(self, owner: str, fields: RateFields, clock: Clock) -> None:
        self._owner = owner
        self._room = asyncio.Semaphore(fields.concurrency) if fields.concurrency else None
        self._requests = _Bucket(fields.requests, clock) if fields.requests else None
        self._tokens = _Bucket(fields.tokens, clock) if fields.tokens else None
        self._turn = asyncio.Lock()
        self._limited = bool(self._room or self._requests or self._tokens)

    def call(self, request: Request, end: float) -> AbstractAsyncContextManager["Booking"]:
        """Return what waits for a place, and holds it for one call.

        Args:
            request: what is asked; its tokens are estimated, and the whole answer that it allows is added.
            end: time of the event loop's clock until which it may wait.

        Raises:
            RateLimited: when entered, there is no place by then.
        """
        return self._hold(request, end) if self._limited else _FREE

    @asynccontextmanager
    async def _hold(self, request: Request, end: float) -> AsyncGenerator["Booking", None]:
        tokens = estimate_tokens(request_characters(request)) + request.max_tokens if self._tokens else 0
        booking = Booking()
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout_at(end):
                    if self._room is not None:
                        await held.enter_async_context(self._room)
                    async with self._turn:  # who came first goes first, however little the next one needs
                        if self._tokens is not None:
                            await self._tokens.take(tokens, end)
                            held.callback(self._settle, tokens, booking)
                        if self._requests is not None:
                            await self._requests.take(1, end)
            except TimeoutError:
                raise self._too_late(0.0) from None
            except _TooLate as late:
                raise self._too_late(late.seconds) from None
            yield booking

    def _settle(self, reserved: int, booking: "Booking") -> None:
        """Give back what was reserved for a call and not used."""
        if self._tokens is not None:
            self._tokens.put_back(reserved - booking.tokens)

    def _too_late(self, seconds: float) -> RateLimited:
        when = f"the next one is in {seconds:.0f} s" if seconds else "all are taken"
        return RateLimited(f"{self._owner}: no place within spec.deadline, {when}: see spec.rate", seconds or None)


@dataclass
class Booking:
    """A place in the rate.

    Attributes:
        tokens: how many the call took; whoever holds the place sets that when it was answered.
    """

    tokens: int = 0


_FREE = nullcontext(Booking())
"""The place of a call that nothing limits."""


class _TooLate(Exception):
    """What is missing comes after the end, in so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class _Bucket:
    """Fills evenly, up to one minute's worth."""

    def __init__(self, size: int, clock: Clock) -> None:
        self._size = float(size)
        self._level = float(size)
        self._clock = clock
        self._at = clock.monotonic()

    async def take(self, amount: int, end: float) -> None:
        """Take an amount out, waiting until it is there; more than it ever holds waits for a full one.

        Raises:
            _TooLate: it will be there after the end.
        """
        needed = min(float(amount), self._size)
        while (missing := needed - self._filled()) > 0:
            seconds = missing * 60.0 / self._size
            if asyncio.get_running_loop().time() + seconds > end:
                raise _TooLate(seconds)
            await asyncio.sleep(seconds)
        self._level -= amount

    def put_back(self, amount: int) -> None:
        """Give back what was not used; a negative amount takes more."""
        self._level = min(self._size, self._filled() + amount)

    def _filled(self) -> float:
        now = self._clock.monotonic()
        self._level = min(self._size, self._level + (now - self._at) * self._size / 60.0)
        self._at = now
        return self._level
