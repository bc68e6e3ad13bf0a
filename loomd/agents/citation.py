"""Marks `[n]` in an answer: which passages they name, which name nothing, and how much of the answer stands there."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from loomd.agents.work import Citation

_MARK = re.compile(r"(?<![\w\])])\[(\d{1,4})\]")
"""`[n]`, but not the index in `xs[1]`, `f()[1]` or `a[0][1]`."""
_ASIDE = re.compile(r"\u27e6(\d{1,4})\u27e7")
"""A mark whose number is given later, in the result of a tool: `\u27e6n\u27e7`."""
_WORD = re.compile(r"[a-z0-9_]{3,}")
_STEM = 5


def marks(text: str) -> list[int]:
    """Return the numbers of the marks in a text, each once, in order of appearance."""
    return list(dict.fromkeys(int(number) for number in _MARK.findall(text)))


def resolve(text: str, citable: Mapping[int, Citation]) -> tuple[tuple[Citation, ...], tuple[int, ...]]:
    """Return the passages that a text cites, and the marks that name none."""
    if "[" not in text:
        return (), ()
    found = marks(text)
    return tuple(citable[n] for n in found if n in citable), tuple(n for n in found if n not in citable)


def renumber(text: str, numbers: Mapping[int, int]) -> str:
    """Return the text with every mark rewritten to its new number; a mark without one names nothing and is dropped."""

    def rewrite(match: re.Match[str]) -> str:
        number = numbers.get(int(match[1]))
        return "" if number is None else f"[{number}]"

    return _MARK.sub(rewrite, text)


def aside(number: int) -> str:
    """Return the mark of a passage in the result of a tool, where its number in the answer is not known yet."""
    return f"\u27e6{number}\u27e7"


def put_aside(text: str, numbers: Mapping[int, int]) -> str:
    """Return an answer as the result of a tool; a mark that names nothing is dropped."""
    return _MARK.sub(lambda match: aside(numbers[int(match[1])]) if int(match[1]) in numbers else "", text)


def number(text: str, numbers: Mapping[int, int]) -> str:
    """Return the result of a tool with the numbers that its passages have in the answer."""
    return _ASIDE.sub(lambda match: f"[{numbers[int(match[1])]}]" if int(match[1]) in numbers else match[0], text)


@dataclass(slots=True)
class Passages:
    """The passages that an answer may cite, numbered through in the order in which the model is shown them.

    Attributes:
        citable: what each number stands for.
        offered: how many the model was shown.
    """

    citable: dict[int, Citation] = field(default_factory=dict[int, Citation])
    offered: int = 0

    def take(self, text: str, found: Sequence[Citation]) -> str:
        """Return the result of a tool with the numbers that its passages have from now on; one that is known keeps its.

        Args:
            text: the result, with the passages' marks in it put aside.
            found: its passages, by their numbers in it.
        """
        numbers = {(c.knowledge, c.source, c.text): c.number for c in self.citable.values()}
        moved: dict[int, int] = {}
        for cited in found:
            new = numbers.setdefault((cited.knowledge, cited.source, cited.text), max(self.citable, default=0) + 1)
            self.citable[new] = msgspec.structs.replace(cited, number=new)
            moved[cited.number] = new
        self.offered += len(found)
        return number(text, moved)


def unmarked(text: str) -> str:
    """Return the text without marks, for where their passages are out of sight."""
    return re.sub(r" +(?=[.,;:!?]|$)", "", _MARK.sub("", text))


def grounding(text: str, citations: tuple[Citation, ...]) -> float:
    """Return the share (0 to 1) of a text's content words that stand in the passages it cites.

    Words are compared by their first five letters, a crude stem that needs no language data.
    """
    if not citations:
        return 0.0
    words = {word[:_STEM] for word in _WORD.findall(_MARK.sub("", text).lower())}
    if not words:
        return 0.0
    known = {word[:_STEM] for c in citations for word in _WORD.findall(c.text.lower())}
    return len(words & known) / len(words)
