"""Retry: when a failed call is made again, and after how long.

Only what may work later (`Temporary`) is tried again; a refused key, an empty account or a wrong request never is. The
wait doubles from one attempt to the next, and its second half is drawn at random ("equal jitter"), so that many who
failed together do not come back together (M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015).
"""

import random

from pydantic import Field

from loomd.errors import LoomdError, Temporary
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Duration


class Retry(Spec):
    """When a failed call is made again; all attempts together stay within `spec.deadline`."""

    attempts: int = Field(default=3, ge=1, le=100)
    """How often a model is called for one answer at most, the first call included; 1 never calls again."""
    backoff: Duration = Field(default=0.5, ge=0)
    """Longest wait before the second attempt; it doubles with each further one. Half of it is the least."""
    max_backoff: Duration = Field(default=20.0, ge=0)
    """Longest wait between two attempts, unless the service asks for a longer one."""

    def wait(self, attempt: int, error: LoomdError) -> float | None:
        """Return the seconds until the next attempt; None when there is none.

        Args:
            attempt: how many there were.
            error: how the last one ended.
        """
        if attempt >= self.attempts or not isinstance(error, Temporary):
            return None
        longest = min(self.max_backoff, self.backoff * 2.0 ** (attempt - 1))
        drawn = longest * random.uniform(0.5, 1.0)  # noqa: S311  # no secret
        return drawn if error.retry_after is None else error.retry_after + drawn
