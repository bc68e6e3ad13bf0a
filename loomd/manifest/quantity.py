"""Units as types: `Duration` "30s", `Bytes` "2Mi". A manifest says the unit, the code gets a plain number.

A value is written back in its canonical form, so that two spellings of one quantity have one digest.
"""

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from loomd.manifest.duration import DURATION, format_duration, parse_duration
from loomd.manifest.rule import PATTERN_MESSAGE

UNIT = "x-loomd-unit"
"""Keyword that says what a text with a unit measures: `time` or `size`."""
NO_NEWLINE = r"(?!\n)"
"""Follows `$` in a pattern of a schema, which some validators take for the place before a last newline too."""

_BYTE_UNITS = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "k": 10**3, "M": 10**6, "G": 10**9}
_BYTES = re.compile(r"([0-9]{1,12})(Ki|Mi|Gi|k|M|G)?")


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


def _written(pattern: str, unit: str, words: str, *examples: str) -> WithJsonSchema:
    """Return the JSON Schema of a text with a unit."""
    text = {"type": "string", "pattern": f"^{pattern}${NO_NEWLINE}", "examples": list(examples), UNIT: unit}
    return WithJsonSchema({**text, PATTERN_MESSAGE: f"expected {words} such as {' or '.join(examples)}"})


def _from(parse: Callable[[str], float]) -> Callable[[object], object]:
    """Return a validator that parses text and refuses everything else, a plain number too: it says no unit."""

    def read(value: object) -> object:
        if isinstance(value, str):
            return parse(value)
        raise PydanticCustomError("string_type", "expected text with a unit")

    return read


Duration = Annotated[
    float,
    BeforeValidator(_from(parse_duration)),
    PlainSerializer(format_duration, return_type=str),
    _written(DURATION.pattern, "time", "a duration", "30s", "1h30m"),
]
"""Seconds; written `30s`, `5m`, `1h30m`, `250ms`."""

Bytes = Annotated[
    int,
    BeforeValidator(_from(parse_bytes)),
    PlainSerializer(format_bytes, return_type=str),
    _written(_BYTES.pattern, "size", "a size", "64Ki", "2Mi"),
]
"""Bytes; written `64Ki`, `2Mi`."""

Tokens = Annotated[int, Field(ge=1)]
"""A count of model tokens, at least 1."""

TokenBudget = Annotated[int, Field(ge=0)]
"""Most model tokens that may be used; 0 is none at all."""

Usd = Annotated[float, Field(ge=0)]
"""An amount of money in US dollars."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1."""
