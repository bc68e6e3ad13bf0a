"""Durations as text: `30s`, `1h30m`, `250ms`. Needs nothing but text, so that the command line may use it at no cost.

`quantity` makes a type of it for manifests.
"""

import re

DURATION = re.compile(r"([0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h|d)){1,8}")
"""What a duration looks like."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")


def parse_duration(text: str) -> float:
    """Return seconds for `30s`, `1h30m`, `250ms`.

    Raises:
        ValueError: the text is not a duration.
    """
    if not DURATION.fullmatch(text):
        raise ValueError("expected a duration such as 30s, 5m or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def format_duration(seconds: float) -> str:
    """Return the shortest exact text for a duration: 90 -> `90s`, 120 -> `2m`, 0.25 -> `250ms`."""
    for unit in ("d", "h", "m", "s"):
        count = seconds / _UNITS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    if seconds == int(seconds):
        return f"{int(seconds)}s"
    return f"{seconds * 1000:.9f}".rstrip("0").rstrip(".") + "ms"
