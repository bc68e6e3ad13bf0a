"""Units as types: `Duration` "30s", `Bytes` "2Mi". A manifest says the unit, the code gets a plain number.

A value is written back in its canonical form, so that two spellings of one quantity have one digest.
"""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTE_UNITS = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "k": 10**3, "M": 10**6, "G": 10**9}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_BYTES = re.compile(r"([0-9]+)(Ki|Mi|Gi|k|M|G)?")


def parse_duration(text: str) -> float:
    """Return seconds for `30s`, `1h30m`, `250ms`.

    Raises:
        ValueError: the text is not a duration.
    """
    if not _DURATION.fullmatch(text):
        raise ValueError("expected a duration such as 30s, 5m or 1h30m")
    return sum(float(number) * _DURATION_UNITS[unit] for number, unit in _DURATION_PART.findall(text))


def format_duration(seconds: float) -> str:
    """Return the shortest exact text for a duration: 90 -> `90s`, 120 -> `2m`, 0.25 -> `250ms`."""
    for unit in ("d", "h", "m", "s"):
        count = seconds / _DURATION_UNITS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    if seconds == int(seconds):
        return f"{int(seconds)}s"
    return f"{seconds * 1000:g}ms"


def parse_bytes(text: str) -> int:
    """Return bytes for `512`, `64Ki`, `2Mi`.

    Raises:
        ValueError: the text is not a size.
    """
    match = _BYTES.fullmatch(text)
    if not match:
        raise ValueError("expected a size such as 512, 64Ki or 2Mi")
    return int(match[1]) * _BYTE_UNITS[match[2] or ""]


def format_bytes(count: int) -> str:
    """Return the shortest exact text for a size: 65536 -> `64Ki`."""
    for unit in ("Gi", "Mi", "Ki"):
        if count and count % _BYTE_UNITS[unit] == 0:
            return f"{count // _BYTE_UNITS[unit]}{unit}"
    return str(count)


def _from(parse: Any, kind: type) -> Any:
    """Return a validator that parses text and lets numbers through (they come from defaults only)."""

    def read(value: object) -> object:
        if isinstance(value, str):
            return parse(value)
        if type(value) in (int, float) and kind is float:
            return float(value)  # type: ignore[arg-type]  # narrowed by the check above
        return value

    return read


Duration = Annotated[
    float,
    BeforeValidator(_from(parse_duration, float)),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^([0-9]+(\\.[0-9]+)?(ms|s|m|h|d))+$", "examples": ["30s", "1h30m"]}),
]
"""Seconds; written `30s`, `5m`, `1h30m`, `250ms`."""

Bytes = Annotated[
    int,
    BeforeValidator(_from(parse_bytes, int)),
    PlainSerializer(format_bytes, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]+(Ki|Mi|Gi|k|M|G)?$", "examples": ["64Ki", "2Mi"]}),
]
"""Bytes; written `64Ki`, `2Mi`."""

Tokens = Annotated[int, Field(ge=1)]
"""A count of model tokens, at least 1."""

Usd = Annotated[float, Field(ge=0)]
"""An amount of money in US dollars."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1."""
