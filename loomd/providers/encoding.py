"""Requests as JSON bytes, at the cost of what is new.

Messages and tool schemas are frozen, so that the bytes of one can be kept for as long as it lives. Knows no protocol;
called by the translations.
"""

from collections.abc import Mapping
from functools import cache

from loomd.encoded import to_json


class Envelope:
    """The body of every request to one service: what is the same for all is encoded once."""

    def __init__(self, fixed: Mapping[str, object], overriding: Mapping[str, object]) -> None:
        """Take what every body has.

        Args:
            fixed: fields that each request may replace.
            overriding: fields that win over those of a request.
        """
        self._fixed = {_name(name): to_json(value) for name, value in fixed.items()}
        self._overriding = {_name(name): to_json(value) for name, value in overriding.items()}

    def seal(self, fields: Mapping[str, bytes]) -> bytes:
        """Return a whole body from the fields of one request, given as JSON by name."""
        whole = {**self._fixed, **{_name(name): data for name, data in fields.items()}, **self._overriding}
        pieces: list[bytes] = []
        for name, data in whole.items():
            pieces += (b",", name, data)
        pieces[0] = b"{"
        pieces.append(b"}")
        return b"".join(pieces)


def array(items: list[bytes]) -> bytes:
    """Return a JSON array of encoded items."""
    return b"[" + b",".join(items) + b"]"


@cache
def _name(name: str) -> bytes:
    return b"%b:" % to_json(name)
