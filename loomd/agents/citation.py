"""Marks `[n]` in an answer: which passages they name, which name nothing, and how much of the answer stands there."""

import re
from collections.abc import Mapping

from loomd.agents.work import Citation

_MARK = re.compile(r"(?<![\w\])])\[(\d{1,4})\]")
"""`[n]`, but not the index in `xs[1]`, `f()[1]` or `a[0][1]`."""
_WORD = re.compile(r"[a-z0-9_]{3,}")
_STEM = 5


def marks(text: str) -> list[int]:
    """Return the numbers of the marks in a text, each once, in order of appearance."""
    return list(dict.fromkeys(int(number) for number in _MARK.findall(text)))


def resolve(text: str, citable: Mapping[int, Citation]) -> tuple[tuple[Citation, ...], tuple[int, ...]]:
    """Return the passages that a text cites, and the marks that name none."""
    found = marks(text)
    return tuple(citable[n] for n in found if n in citable), tuple(n for n in found if n not in citable)


def renumber(text: str, numbers: Mapping[int, int]) -> str:
    """Return the text with every mark rewritten to its new number; a mark without one names nothing and is dropped."""

    def rewrite(match: re.Match[str]) -> str:
        number = numbers.get(int(match[1]))
        return "" if number is None else f"[{number}]"

    return _MARK.sub(rewrite, text)


def unmarked(text: str) -> str:
    """Return the text without marks, for where their passages are out of sight."""
    return re.sub(r" +(?=[.,;:!?]|$)", "", _MARK.sub("", text))


def grounding(text: str, citations: tuple[Citation, ...]) -> float:
    """Return the share (0 to 1) of a text's content words that stand in the passages it cites.

    Words are compared by their first five letters, a crude stem that needs no language data.
    """
    words = {word[:_STEM] for word in _WORD.findall(_MARK.sub("", text).lower())}
    if not words or not citations:
        return 0.0
    known = {word[:_STEM] for c in citations for word in _WORD.findall(c.text.lower())}
    return len(words & known) / len(words)
