"""An older form of a kind that is still read: which of its fields are called otherwise today, and what they say there.

The fields stand in one table per kind and version, `loomd/<family>/v1alpha1.py`. From it follow the conversion of a
document, the positions of its problems (they point at the old fields), the warning that names the new fields, and the
rewriting of a file. Pure; called by `convert` and `rewrite`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from loomd.manifest.places import Document
from loomd.manifest.problem import Position


class Move(msgspec.Struct, frozen=True):
    """A field that has another name today, or stands in a mapping of its own.

    Attributes:
        old: JSON pointer of the field in the old version; neither it nor a reference to an object is below a list.
        new: its name today, `prompt`, or a mapping beside it and its name in there, `limits/steps`.
        convert: returns today's value for an old one; raises `ValueError` with what was expected, `a number`.
    """

    old: str
    new: str
    convert: Callable[[Any], Any] | None = None

    @property
    def pointer(self) -> str:
        """Return the JSON pointer of the field today."""
        return f"{self.old.rpartition('/')[0]}/{self.new}"


class OldVersion(msgspec.Struct, frozen=True):
    """An older form of a kind.

    Attributes:
        api_version: as written in the manifest, `loomd.dev/v1alpha1`.
        moves: the fields that are found elsewhere today.
    """

    api_version: str
    moves: tuple[Move, ...]

    def added(self) -> dict[str, str]:
        """Return the JSON pointers of fields that this version does not have, with the old fields in their place."""
        found: dict[str, str] = {}
        for move in self.moves:
            place = f"{move.old.rpartition('/')[0]}/{move.new.partition('/')[0]}"
            name = move.old.rpartition("/")[2]
            found[place] = f"{found[place]}, {name}" if place in found else name
        return found


class Upgrade(msgspec.Struct, frozen=True):
    """A document in the form of today.

    Attributes:
        document: its positions are those of the old fields.
        moved: the moves that were made.
        wrong: JSON pointer in the old form, what was expected there, and the value that was not it.
    """

    document: Document
    moved: tuple[Move, ...]
    wrong: tuple[tuple[str, str, Any], ...]


def upgrade(document: Document, version: OldVersion, today: str) -> Upgrade:
    """Return a document of an old version as it would be written today.

    Args:
        document: its value is a mapping.
        version: the old version.
        today: the `apiVersion` of today.
    """
    value: dict[str, Any] = {**document.value, "apiVersion": today}
    moved: list[Move] = []
    wrong: list[tuple[str, str, Any]] = []
    for move in version.moves:
        *above, name = move.old.split("/")[1:]
        holder = _own(value, above)
        if holder is None or name not in holder:
            continue
        found = holder.pop(name)
        if move.convert is not None:
            try:
                found = move.convert(found)
            except ValueError as error:
                wrong.append((move.old, str(error), found))
                continue
        *inner, last = move.new.split("/")
        target = _own(holder, inner, make=True)
        if target is not None:
            target[last] = found
            moved.append(move)
    spelled = {move.pointer: move.old for move in moved}
    places, keys = Moved(document.places, spelled), Moved(document.keys, spelled)
    return Upgrade(replace(document, value=value, places=places, keys=keys), tuple(moved), tuple(wrong))


def _own(value: dict[str, Any], path: list[str], make: bool = False) -> Any:
    """Return the mapping at a path, copied on the way so that the document stays as it is; None when there is none."""
    for name in path:
        inner = value.get(name, {} if make else None)
        if not isinstance(inner, dict):
            return None
        value[name] = inner = dict(inner)
        value = inner
    return value


class Moved(Mapping[str, Position]):
    """Positions of an old document by the pointers of today."""

    __slots__ = ("_inner", "_spelled")

    def __init__(self, inner: Mapping[str, Position], spelled: Mapping[str, str]) -> None:
        """Take the positions by old pointers, and the old pointer for each of today that differs."""
        self._inner = inner
        self._spelled = spelled

    def written(self, pointer: str) -> str:
        """Return a pointer of today as the document writes it."""
        for new, old in self._spelled.items():
            if pointer == new or pointer.startswith(f"{new}/"):
                return old + pointer[len(new) :]
        return pointer

    def __getitem__(self, pointer: str) -> Position:
        return self._inner[self.written(pointer)]

    def __iter__(self) -> Iterator[str]:
        today = {old: new for new, old in self._spelled.items()}
        return (today.get(pointer, pointer) for pointer in self._inner)

    def __len__(self) -> int:
        return len(self._inner)
