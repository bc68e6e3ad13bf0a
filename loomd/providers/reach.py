"""What a provider's calls say of it: whether it answers, since when, and why not. No call is made to find out.

A refused request (too long, a field that the service does not know) says nothing of the provider, because the next one
may do; a call that is given up says nothing either. Called by the live models around each call.
"""

from collections.abc import Callable
from typing import Self

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
    """The condition `ProviderReachable` of one provider; as a context it watches one call."""

    def __init__(
        self, clock: Clock, admit: Callable[[], None] = lambda: None, rest: Callable[[], str] = lambda: ""
    ) -> None:
        """Know nothing of the provider yet.

        Args:
            clock: tells the time.
            admit: raises when the provider may not be called any more, which says nothing of it.
            rest: says after a failure that it is left alone for a while, or nothing.
        """
        self._clock = clock
        self._admit = admit
        self._rest = rest
        self._health = Health("ProviderReachable", "Unknown", "NotCalled", "it was not called yet", clock.now())

    def health(self) -> tuple[Health, ...]:
        """Return what the latest calls said."""
        return (self._health,)

    def __enter__(self) -> Self:
        """Begin a call, if the provider may be called."""
        self._admit()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Note how a call ended; what it raised is raised on."""
        if error is None:
            if self._health.status != "True":
                self._health = self._health.turn("True", "Answered", "the last call was answered", self._clock.now())
        elif isinstance(error, LoomdError) and (reason := _REASONS.get(type(error))) is not None:
            said = f"{error}; {rest}" if (rest := self._rest()) else str(error)
            self._health = self._health.turn("False", reason, said, self._clock.now())
