"""Circuit breaker: a service whose calls fail again and again is left alone for a while, and asked once before all.

Closed, calls pass. After some failures in a row it opens: calls end at once, without a connection. After the cool-down
it is half-open: one call, the probe, goes through; its success closes the breaker, its failure opens it again (M.
Nygard, Release It!, 2nd edition, 2018, "Circuit Breaker").
"""

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
    def rest(self) -> str:
        """Return for how long the service is left alone each time, whatever time it is now; empty when it is not."""
        if not self._tripped:
            return ""
        return f"after {self._failures} failures in a row no call is made for {self._fields.cooldown:g} s, then one"

    @property
    def _left(self) -> float:
        """Return the seconds until a call is let through again."""
        return max(0.0, self._until - self._clock.monotonic())

    def refuse(self) -> None:
        """Refuse a call while none is let through.

        Raises:
            Overloaded: says why, and when the next one will be.
        """
        if self._failures and (why := self.why):
            raise Overloaded(why, max(1.0, self._left))

    def call(self) -> "_Call":
        """Return what watches one call; what it raises is raised on. One that is given up says nothing of the service.

        Raises:
            Overloaded: it is not made; see `refuse`.
        """
        self.refuse()
        return _Call(self)

    def begin(self) -> bool:
        """Note that a call begins; return whether it is the probe."""
        if not self._failures or not self._tripped:
            return False
        self._probing = True
        return True

    def end(self, error: BaseException | None, *, probe: bool) -> None:
        """Note how a call ended.

        Args:
            error: what it raised, or None.
            probe: whether it was the probe.
        """
        if probe:
            self._probing = False
        if isinstance(error, Temporary) and not isinstance(error, RateLimited):  # that one works, asked too much
            self._failures += 1
            self._last = str(error).removeprefix(f"{self._owner}: ")
            self._until = self._clock.monotonic() + self._fields.cooldown
        elif error is None or (isinstance(error, LoomdError) and not isinstance(error, RateLimited)):
            self._failures = 0  # it answered, however badly


class _Call:
    """One call, as a context."""

    __slots__ = ("_breaker", "_probe")

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._probe = False

    def __enter__(self) -> None:
        self._probe = self._breaker.begin()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._breaker.end(error, probe=self._probe)
