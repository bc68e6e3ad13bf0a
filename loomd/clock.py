"""What time it is. Everything that needs a time takes a `Clock`, so that tests can turn the hands."""

import time
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def now(self) -> float:
        """Return the wall-clock time in seconds since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never run backwards, for durations."""
        ...


class SystemClock:
    """The machine's clock."""

    now = staticmethod(time.time)  # noqa: TID251  # the one place where the machine's time is read
    """Returns the wall-clock time in seconds since 1970-01-01 UTC."""
    monotonic = staticmethod(time.monotonic)
    """Returns seconds that never run backwards."""
