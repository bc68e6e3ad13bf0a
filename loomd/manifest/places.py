"""One document as it was read: plain values, and the line and column of every value and every key.

Marks stand in a tree beside the values and pointers are looked up in it, so that a place costs a few bytes however
long the names on the way to it are. Made by `build`, turned into an object by `convert`; knows nothing of kinds.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from loomd.manifest.problem import Position
from loomd.manifest.wording import escape

BREAKS = "\r\n\x85\u2028\u2029"
"""What ends a line for the YAML parser, and so for every position; the first two together end one."""
LINE_BREAK = re.compile(f"\r\n|[{BREAKS}]")

Marks = list[Any]
"""The mark of a list or mapping, then that of each item, or those of each key and its value. The mark of a list or
mapping that was written out is again such a list, any other mark is a number."""

COLUMN_BITS = 23
"""Bits of a mark that hold the column: no file has a longer line."""
_MAX_DIGITS = 9


def pack(line: int, column: int) -> int:
    """Return a mark: line and column, from 1."""
    return line << COLUMN_BITS | column


def unpack(file: str, mark: int) -> Position:
    """Return the position that a mark stands for."""
    return Position(file, mark >> COLUMN_BITS, mark & (1 << COLUMN_BITS) - 1)


def counted(mark: Any, text: str) -> tuple[int, int]:
    """Return the line and column, from 0, of a mark of the parser.

    Behind a last line that does not end, the parser counts one that is not there.
    """
    if text and mark.index >= len(text) and not mark.column and text[-1] not in BREAKS:
        return mark.line - 1, len(text) - max(text.rfind(char) for char in BREAKS) - 1
    return mark.line, mark.column


class Places(Mapping[str, Position]):
    """Positions of values by JSON pointer, made when asked for.

    Args:
        file: name of the file.
        value: the root of the document.
        marks: its marks.
    """

    __slots__ = ("_file", "_marks", "_order", "_value")

    def __init__(self, file: str, value: Any, marks: Marks | int) -> None:
        self._file = file
        self._value = value
        self._marks = marks
        self._order: dict[int, dict[str, int]] = {}

    def __getitem__(self, pointer: str) -> Position:
        return unpack(self._file, self._find(pointer)[1])

    def __iter__(self) -> Iterator[str]:
        pending = [("", self._value, self._marks)]
        while pending:
            pointer, value, marks = pending.pop()
            yield pointer
            if isinstance(marks, list):
                inside = value.items() if isinstance(value, dict) else enumerate(value)
                step = 2 if isinstance(value, dict) else 1
                found = zip(inside, marks[step::step], strict=True)
                pending += ((f"{pointer}/{escape(str(key))}", item, mark) for (key, item), mark in found)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, pointer: object) -> bool:
        return self._seek(str(pointer)) is not None

    def _find(self, pointer: str) -> tuple[int, int]:
        """Return the marks of the key and of the value at a pointer; that of the key is 0 when there is none.

        Raises:
            KeyError: nothing is written there; it may stand behind an alias.
        """
        found = self._seek(pointer)
        if found is None:
            raise KeyError(pointer)
        return found

    def _seek(self, pointer: str) -> tuple[int, int] | None:
        value, marks, key = self._value, self._marks, 0
        for part in pointer.split("/")[1:]:
            if not isinstance(marks, list):
                return None
            if isinstance(value, dict):
                name = part.replace("~1", "/").replace("~0", "~") if "~" in part else part
                if name not in value:
                    return None
                index = self._index(value, marks)[name]
                key, marks, value = marks[2 * index + 1], marks[2 * index + 2], value[name]
            else:
                index = int(part) if part.isdecimal() and len(part) < _MAX_DIGITS else len(value)
                if index >= len(value):
                    return None
                key, marks, value = 0, marks[index + 1], value[index]
        return key, marks[0] if isinstance(marks, list) else marks

    def _index(self, value: dict[str, Any], marks: Marks) -> dict[str, int]:
        order = self._order.get(id(marks))
        if order is None:
            order = self._order[id(marks)] = {key: index for index, key in enumerate(value)}
        return order


class Keys(Places):
    """Positions of mapping keys by the pointer of their value."""

    __slots__ = ()

    def __getitem__(self, pointer: str) -> Position:
        key = self._find(pointer)[0]
        if not key:
            raise KeyError(pointer)
        return unpack(self._file, key)

    def __contains__(self, pointer: object) -> bool:
        found = self._seek(str(pointer))
        return found is not None and found[0] > 0

    def __iter__(self) -> Iterator[str]:
        return (pointer for pointer in super().__iter__() if self._find(pointer)[0])


@dataclass(frozen=True)
class Document:
    """One YAML document.

    Attributes:
        value: decoded JSON values.
        position: where it begins.
        places: position of every value by JSON pointer; what stands behind an alias has the alias's position.
        keys: position of every mapping key by the pointer of its value.
        nodes: number of values and keys, each alias counted as all that it stands for.
        texts: mark of a text that may be a template -> mark of its first letter, if it stands there letter by letter.
    """

    value: Any
    position: Position
    places: Mapping[str, Position] = field(repr=False)
    keys: Mapping[str, Position] = field(repr=False)
    nodes: int = 0
    texts: Mapping[int, int] = field(default_factory=dict, repr=False)

    def where(self, pointer: str) -> Position:
        """Return the position of the nearest known value at or above a JSON pointer."""
        while pointer and pointer not in self.places:
            pointer = pointer.rpartition("/")[0]
        return self.places.get(pointer, self.position)

    def where_inside(self, pointer: str, line: int, column: int) -> Position:
        """Return the position of a place inside a text, as exactly as its spelling in the file allows.

        Args:
            pointer: of the text.
            line: line of the text, from 1.
            column: column of that line, from 1.
        """
        at = self.where(pointer)
        start = self.texts.get(pack(at.line, at.column)) if pointer in self.places else None
        if start is None:
            return at
        first = unpack(at.file, start)
        return Position(at.file, first.line + line - 1, first.column + column - 1)

    def where_key(self, pointer: str) -> Position:
        """Return the position of the key of a value, or of the value when it has no key."""
        return self.keys[pointer] if pointer in self.keys else self.where(pointer)
