"""When something is due: a cron expression in a time zone, as wall-clock seconds. Pure; reads no clock.

The library reads the expression and knows the days on which clocks change; here its moments become an increasing
sequence of which any part can be had at a cost that does not grow with the time between. Called by `kind` to check an
expression, and by `runner`.
"""

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from loomd.manifest.wording import did_you_mean, quoted

NAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""Names of common expressions."""

_FIRST_SPAN = 3600.0
_GROWTH = 8
_SOME_DAY = 1_700_000_000.0
"""A moment from which an expression is tried, so that the verdict on it is the same every day."""


class Due(NamedTuple):
    """Times that are due, oldest first, and whether there were more before them."""

    times: tuple[float, ...]
    more: bool


class Timetable:
    """The due times of one expression.

    Args:
        expression: five fields, or one of `NAMES`.
        zone: IANA name of a time zone.

    Raises:
        ValueError: the expression or the zone is none; the text says which part.
    """

    def __init__(self, expression: str, zone: str) -> None:
        self._zone = _zone(zone)
        self._fields = NAMES.get(expression, expression)
        try:
            CronSim(self._fields, datetime.fromtimestamp(_SOME_DAY, UTC))
        except CronSimError as error:
            raise ValueError(str(error)) from error

    @property
    def is_ever_due(self) -> bool:
        """Return whether there is any due time; 31 February never comes."""
        return self.after(_SOME_DAY) is not None

    def after(self, moment: float) -> float | None:
        """Return the first due time after a moment, or None when there is none in 50 years."""
        return next(self._from(moment), None)

    def between(self, after: float, until: float, most: int) -> Due:
        """Return the newest due times that are later than `after` and not later than `until`, at most `most`.

        The work does not grow with the time between: it begins near the end and goes back as far as needed.
        """
        span = _FIRST_SPAN
        while True:
            start = max(after, until - span)
            newest = deque(takewhile(lambda due: due <= until, self._from(start)), maxlen=most + 1)
            if len(newest) > most:
                newest.popleft()
                return Due(tuple(newest), more=True)
            if start <= after:
                return Due(tuple(newest), more=False)
            span *= _GROWTH

    def _from(self, moment: float) -> Iterator[float]:
        """Yield the due times after a moment, each later than the one before.

        On days on which the clock changes the library may give a moment twice, or one that is over.
        """
        last = moment
        for due in CronSim(self._fields, datetime.fromtimestamp(moment, self._zone)):
            seconds = due.timestamp()
            if seconds > last:
                last = seconds
                yield seconds


@lru_cache(maxsize=1024)
def timetable(expression: str, zone: str) -> Timetable:
    """Return the due times of an expression; see `Timetable`."""
    return Timetable(expression, zone)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # also a folder of zones, or a file that is none
        hint = did_you_mean(name, available_timezones()) or "this machine has no zone of that name"
        raise ValueError(f"expected the name of a time zone, got {quoted(name)}: {hint}") from error
