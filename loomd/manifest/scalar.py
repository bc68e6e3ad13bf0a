"""What an unquoted YAML 1.2 word is: `no` and `12:30` are text, `0o17` is an integer. Called by `document`."""

import math
import re

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_MAX_DIGITS = 64
_MAX_PLAIN = 19
_MAX_INT = 1 << 63
_NUMERIC_START = frozenset("+-.0123456789")
NOT_TEXT = _NUMERIC_START | frozenset(word[0] for word in (*_NULL, *_BOOL) if word)
"""What a word begins with that may be something else than text."""

Scalar = str | int | float | bool | None


def resolve(text: str) -> Scalar:
    """Return the value of a plain scalar by the YAML 1.2 core schema.

    Raises:
        ValueError: it is a number that is not finite or does not fit in 64 bits.
    """
    if not text or text[0] not in _NUMERIC_START:
        if text in _NULL:
            return None
        return _BOOL.get(text, text)
    if len(text) < _MAX_PLAIN and text.isascii() and text.isdecimal():
        return int(text)
    if _INT.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if math.isfinite(number):
            return number
        raise ValueError("the number is too large")
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("expected a finite number")
    return text


def _integer(text: str) -> int:
    if len(text) <= _MAX_DIGITS:
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        number = int(text[2:] if base != 10 else text, base)
        if -_MAX_INT <= number < _MAX_INT:
            return number
    raise ValueError("the integer does not fit in 64 bits")
