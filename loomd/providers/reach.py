"""What a provider's calls say of it: whether it answers, since when, and why not. No call is made to find out.

A refused request (too long, a field that the service does not know) says nothing of the provider, because the next one
may do; a call that is given up says nothing either. Called by the live models around each call.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from loomd.clock import Clock
from loomd.errors import (
    BadReply,
    LoomdError,
    NotFound,
    Overloaded,
    QuotaExceeded,
    RateLimited,
    Unauthorized,
    Unreachable,
)
from loomd.topology import Health, HealthReason

_REASONS: dict[type[LoomdError], HealthReason] = {
    Unreachable: "Unreachable",
    Overloaded: "Overloaded",
    RateLimited: "Overloaded",
    Unauthorized: "Unauthorized",
    QuotaExceeded: "QuotaExceeded",
    NotFound: "NotFound",
    BadReply: "BadReply",
}


class Reach:
    """The condition `ProviderReachable` of one provider."""

    def __init__(self, clock: Clock, admit: Callable[[], None] = lambda: None) -> None:
        """Take the time; `admit` raises when the provider may not be called any more, which says nothing of it."""
        self._clock = clock
        self._admit = admit
        self._health = Health("ProviderReachable", "Unknown", "NotCalled", "it was not called yet", clock.now())

    def health(self) -> tuple[Health, ...]:
        """Return what the latest calls said."""
        return (self._health,)

    @contextmanager
    def call(self) -> Generator[None]:
        """Watch one call; what it raises is raised on."""
        self._admit()
        try:
            yield
        except LoomdError as error:
            reason = _REASONS.get(type(error))
            if reason is not None:
                self._health = self._health.turn("False", reason, str(error), self._clock.now())
            raise
        if self._health.status != "True":
            self._health = self._health.turn("True", "Answered", "the last call was answered", self._clock.now())
