"""One document as it was read: plain values, and the line and column of every value and every key.

Made by `document`, turned into an object by `convert`; knows nothing of kinds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from loomd.manifest.problem import Position

Mark = tuple[int, int]
"""Line and column, from 1."""


class Places(Mapping[str, Position]):
    """Positions by JSON pointer, made when asked for."""

    __slots__ = ("_file", "_marks")

    def __init__(self, file: str, marks: dict[str, Mark]) -> None:
        self._file = file
        self._marks = marks

    def __getitem__(self, pointer: str) -> Position:
        return Position(self._file, *self._marks[pointer])

    def __iter__(self) -> Iterator[str]:
        return iter(self._marks)

    def __len__(self) -> int:
        return len(self._marks)


@dataclass(frozen=True)
class Document:
    """One YAML document.

    Attributes:
        value: decoded JSON values.
        position: where it begins.
        places: position of every value by JSON pointer; what stands behind an alias has the alias's position.
        keys: position of every mapping key by the pointer of its value.
    """

    value: Any
    position: Position
    places: Mapping[str, Position] = field(repr=False)
    keys: Mapping[str, Position] = field(repr=False)

    def where(self, pointer: str) -> Position:
        """Return the position of the nearest known value at or above a JSON pointer."""
        while pointer and pointer not in self.places:
            pointer = pointer.rpartition("/")[0]
        return self.places.get(pointer, self.position)

    def where_key(self, pointer: str) -> Position:
        """Return the position of the key of a value, or of the value when it has no key."""
        return self.keys[pointer] if pointer in self.keys else self.where(pointer)


def escape(key: str) -> str:
    """Return a key as a segment of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1") if "~" in key or "/" in key else key
