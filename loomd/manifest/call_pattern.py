r"""Patterns of tool calls: `files`, `files(action=write)`, `shell-git(command=push *)`. Globs, and nothing else.

A pattern is the name of a tool, alone or with conditions on arguments in parentheses, separated by commas, all of which
must hold. In names and values `*` stands for any text, an empty one too; every other character stands for itself. In a
value a backslash stands before a `*`, `,` or `\` that is meant itself; a dot in the name of an argument leads into a
mapping. No pattern makes matching slow. Called by permissions and interceptors.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Annotated

import msgspec
from pydantic import Field, JsonValue

from loomd.manifest.rule import PATTERN_MESSAGE

_RULE: dict[str, JsonValue] = {PATTERN_MESSAGE: "expected a tool, alone or with arguments: files(action=write)"}
_VALUE = r"(?:\\[,*\\]|[^\\,])*"
_CONDITION = rf" *[A-Za-z0-9_.-]+={_VALUE}"

CallPattern = Annotated[
    str,
    Field(
        pattern=rf"^[A-Za-z0-9_.*-]+(?:\({_CONDITION}(?:,{_CONDITION})*\))?$",
        max_length=1000,
        json_schema_extra=_RULE,
        examples=["files(action=write)"],
    ),
]
"""A pattern of tool calls, as written in a manifest."""

_EXACT = 2.0**53
"""Whole numbers below this have one spelling as float."""

_encode = msgspec.json.Encoder(order="deterministic").encode


class _Missing:
    """Stands for an argument that a call does not have; it fits nothing."""


class Glob(msgspec.Struct, frozen=True):
    """A text in which some places stand for any text: the pieces between these."""

    pieces: tuple[str, ...]

    def fits(self, text: str) -> bool:
        """Return whether a text fits."""
        first, *middle = self.pieces
        if not middle:
            return text == first
        last = middle.pop()
        if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
            return False
        at, end = len(first), len(text) - len(last)
        for piece in middle:
            found = text.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True

    def meets(self, other: "Glob") -> bool:
        """Return whether a text may fit both, as far as their beginnings tell."""
        if len(self.pieces) == 1:
            return other.fits(self.pieces[0])
        if len(other.pieces) == 1:
            return self.fits(other.pieces[0])
        first, second = self.pieces[0], other.pieces[0]
        return first.startswith(second) or second.startswith(first)


class Calls(msgspec.Struct, frozen=True):
    """Which tool calls are meant.

    Attributes:
        tool: names of the tools.
        conditions: dotted name of an argument, and the values that it may have.
    """

    tool: Glob
    conditions: tuple[tuple[str, Glob], ...] = ()

    @property
    def exact(self) -> str:
        """Return the one tool that is meant, or an empty string when it may be several."""
        return self.tool.pieces[0] if len(self.tool.pieces) == 1 else ""

    def fits(self, tool: str, arguments: Mapping[str, object]) -> bool:
        """Return whether a call is meant; of an argument that is a list one item must fit."""
        return self.tool.fits(tool) and all(
            any(_fits(glob, one) for one in _values(arguments, path.split("."))) for path, glob in self.conditions
        )

    def fits_whole(self, tool: str, arguments: Mapping[str, object]) -> bool:
        """Return whether all of a call is meant; of an argument that is a list all items must fit."""
        return self.tool.fits(tool) and all(
            (found := list(_values(arguments, path.split(".")))) and all(_fits(glob, one) for one in found)
            for path, glob in self.conditions
        )


@lru_cache(maxsize=4096)
def read_calls(pattern: str) -> Calls:
    """Return what a `CallPattern` means."""
    name, opened, rest = pattern.partition("(")
    conditions = [one.partition("=") for one in _split(rest[:-1])] if opened else []
    return Calls(Glob(tuple(name.split("*"))), tuple((path.lstrip(), _glob(value)) for path, _, value in conditions))


def _split(text: str) -> Iterator[str]:
    """Yield the conditions in parentheses, with what is escaped in them."""
    begin = at = 0
    while at < len(text):
        if text[at] == ",":
            yield text[begin:at]
            begin = at + 1
        at += 2 if text[at] == "\\" else 1
    yield text[begin:]


def _glob(text: str) -> Glob:
    pieces, at = [""], 0
    while at < len(text):
        if text[at] == "*":
            pieces.append("")
        else:
            at += text[at] == "\\"
            pieces[-1] += text[at]
        at += 1
    return Glob(tuple(pieces))


def _values(value: object, path: list[str]) -> Iterator[object]:
    """Yield all that stands at a place in a JSON value; items of lists each for themselves."""
    if isinstance(value, list):
        for item in value:
            yield from _values(item, path)
    elif not path:
        yield value
    elif isinstance(value, Mapping) and path[0] in value:
        yield from _values(value[path[0]], path[1:])
    else:
        yield _Missing


def _fits(glob: Glob, value: object) -> bool:
    """Return whether a value fits: text as it is, anything else as JSON with sorted keys; 200.0 is the number 200."""
    if value is _Missing:
        return False
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        value = int(value)
    return glob.fits(value if isinstance(value, str) else _encode(value).decode())
