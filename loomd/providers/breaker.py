"""Circuit breaker: a service whose calls fail again and again is left alone for a while, and asked once before all.

Closed, calls pass. After some failures in a row it opens: calls end at once, without a connection. After the cool-down
it is half-open: one call, the probe, goes through; its success closes the breaker, its failure opens it again (M.
Nygard, Release It!, 2nd edition, 2018, "Circuit Breaker").
"""

from collections.abc import Generator
from contextlib import contextmanager

from pydantic import Field

from loomd.clock import Clock
from loomd.errors import LoomdError, Overloaded, RateLimited, Temporary
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Duration


class BreakerFields(Spec):
    """When a service that fails is left alone."""

    failures: int = Field(default=5, ge=0)
    """Failed calls in a row after which no more are made; 0 never stops. A rate limit is no failure."""
    cooldown: Duration = Field(default=30.0, gt=0)
    """How long no call is made; then one goes through, and its end decides."""


class Breaker:
    """The breaker of one provider."""

    def __init__(self, owner: str, fields: BreakerFields, clock: Clock) -> None:
        self._owner = owner
        self._fields = fields
        self._clock = clock
        self._failures = 0
        self._until = 0.0
        self._probing = False
        self._last = ""

    @property
    def open(self) -> bool:
        """Return whether no call is let through now."""
        return self._tripped and (self._probing or self._clock.monotonic() < self._until)

    @property
    def _tripped(self) -> bool:
        """Return whether so many calls failed that none is made but a probe."""
        return 0 < self._fields.failures <= self._failures

    @property
    def why(self) -> str:
        """Return why no call is let through now, and when the next one will be; empty when one is."""
        if not self.open:
            return ""
        when = (
            "one call is asking whether it works again" if self._probing else f"the next call is in {self._left:.0f} s"
        )
        return f"{self._owner} is not called: its last {self._failures} calls failed ({self._last}); {when}"

    @property
    def _left(self) -> float:
        """Return the seconds until a call is let through again."""
        return max(0.0, self._until - self._clock.monotonic())

    def refuse(self) -> None:
        """Refuse a call while none is let through.

        Raises:
            Overloaded: says why, and when the next one will be.
        """
        if why := self.why:
            raise Overloaded(why, max(1.0, self._left))

    @contextmanager
    def call(self) -> Generator[None]:
        """Watch one call; what it raises is raised on. One that is given up says nothing of the service.

        Raises:
            Overloaded: it is not made; see `refuse`.
        """
        self.refuse()
        probe = self._tripped
        self._probing = self._probing or probe
        try:
            yield
        except RateLimited:  # it works, and is asked too much
            raise
        except Temporary as error:
            self._failures += 1
            self._last = str(error).removeprefix(f"{self._owner}: ")
            self._until = self._clock.monotonic() + self._fields.cooldown
            raise
        except LoomdError:  # it answered, however badly
            self._failures = 0
            raise
        else:
            self._failures = 0
        finally:
            if probe:
                self._probing = False
