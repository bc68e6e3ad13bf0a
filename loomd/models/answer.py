"""Reads what a constrained model writes: the answer's text while it comes, and the whole object at the end.

Pure; called by the `local` provider. The output is `{"answer": ...}` or `{"tool": ..., "args": ...}`.
"""

import json
import re
from typing import Any

_START = re.compile(r'\s*\{\s*(?:"sources?"\s*:\s*(?:\[[^\]]*\]|\d+)\s*,\s*)?"answer"\s*:\s*"')
_HIGH, _LOW = r"[dD][89abAB][0-9a-fA-F]{2}", r"[dD][c-fC-F][0-9a-fA-F]{2}"
_WHOLE = re.compile(rf'(?:[^"\\]|\\[^u]|\\u{_HIGH}\\u{_LOW}|\\u(?!{_HIGH})[0-9a-fA-F]{{4}})*')


class StepReader:
    """Takes output piece by piece; of a step, gives out only the string under `answer`.

    Attributes:
        raw: everything that came.
        text: the answer's text so far.
    """

    def __init__(self, stepwise: bool) -> None:
        self.raw = ""
        self.text = ""
        self._stepwise = stepwise
        self._at = -1
        self._ended = False

    def feed(self, piece: str) -> str:
        """Take the next piece of output and return what it adds to the answer's text."""
        self.raw += piece
        if not self._stepwise:
            self.text += piece
            return piece
        if self._at < 0:
            start = _START.match(self.raw)
            if start is None:
                return ""
            self._at = start.end()
        if self._ended:
            return ""
        whole = _WHOLE.match(self.raw, self._at)
        added = decode_string(whole.group()) if whole else ""
        self._at = whole.end() if whole else self._at
        self._ended = self.raw.startswith('"', self._at)
        self.text += added
        return added

    def step(self) -> dict[str, Any] | None:
        """Return the whole step, or None when it was cut off or is no object."""
        try:
            value = json.loads(self.raw, strict=False)
        except json.JSONDecodeError:
            return None
        return value if isinstance(value, dict) else None


def decode_string(inner: str) -> str:
    """Return the text of the inside of a JSON string; lone surrogates are replaced."""
    text: str = json.loads(f'"{inner}"', strict=False)
    return printable(text)


def printable(text: str) -> str:
    """Return the text with lone surrogates replaced, so that it can be encoded."""
    return text.encode("utf-8", "replace").decode("utf-8")
