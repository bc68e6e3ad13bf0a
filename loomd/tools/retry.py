"""Further attempts of a call that failed and may work later. Called by the guard that every call passes."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TypeVar

from pydantic import Field

from loomd.errors import Temporary
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Duration

T = TypeVar("T")


class Retries(Spec):
    """How often a call is made again when it failed and may work later: a busy or unreachable service, exit code 75."""

    count: int = Field(default=0, ge=0, le=10)
    """Most further attempts, all within the tool's `timeout`; only for calls that may be made twice."""
    wait: Duration = Field(default=0.5, gt=0)
    """Time before the second attempt; it doubles with each. What a service asks for counts when it is longer."""
    longest_wait: Duration = Field(default=10.0, gt=0)
    """Longest time before an attempt; a call whose service asks for more fails at once."""

    async def call(self, do: Callable[[], Awaitable[T]]) -> T:
        """Return what an attempt gives.

        Raises:
            Temporary: of the last attempt, which says how many there were.
        """
        for made in count(1):
            try:
                return await do()
            except Temporary as error:
                wait = max(self.wait * 2 ** (made - 1), error.retry_after or 0.0)
                asked_for_more = (error.retry_after or 0.0) > self.longest_wait
                if made > self.count or asked_for_more:
                    raise Temporary(f"{error} (after {made} attempts)" if made > 1 else str(error)) from error
            await asyncio.sleep(min(wait, self.longest_wait))
        raise AssertionError("unreachable")  # the count never ends
