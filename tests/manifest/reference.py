"""YAML 1.2 read in the plainest way: recursion, the rules of the specification, no limits and no hurry.

What the reader of manifests says is compared with this. Called by the tests that make files up.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import yaml
from yaml import events

_WORDS = {
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBERS: tuple[tuple[str, Callable[[str], Any]], ...] = (
    (r"[-+]?[0-9]+", int),
    (r"0o[0-7]+", lambda text: int(text, 8)),
    (r"0x[0-9a-fA-F]+", lambda text: int(text, 16)),
    (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", float),
)
"""Chapter 10.3.2 of YAML 1.2.2: the core schema."""

Place = tuple[int, int]
"""Line and column, from 1."""


class Read(NamedTuple):
    """A document.

    Attributes:
        value: decoded JSON.
        places: where each value begins, by the way to it; what stands behind an alias is not there.
    """

    value: Any
    places: dict[tuple[str | int, ...], Place]


def read(text: str) -> list[Read]:
    """Return the documents of a text, empty ones left out.

    Raises:
        YAMLError: it is not YAML.
        LookupError: an alias has no anchor.
        ValueError: a key is no scalar, or stands twice.
    """
    stream = iter(list(yaml.parse(text, yaml.CBaseLoader)))
    found: list[Read] = []
    for event in stream:
        if isinstance(event, events.DocumentStartEvent):
            reader = _Reader(stream)
            value = reader.value(next(stream), ())
            if value is not None:
                found.append(Read(value, reader.places))
    return found


class _Reader:
    """Reads one document."""

    def __init__(self, stream: Iterator[Any]) -> None:
        self._stream = stream
        self._anchors: dict[str | None, Any] = {}
        self.places: dict[tuple[str | int, ...], Place] = {}

    def value(self, event: Any, path: tuple[str | int, ...]) -> Any:
        """Return the value that begins with an event."""
        if isinstance(event, events.AliasEvent):
            return self._anchors[event.anchor]
        self.places[path] = (event.start_mark.line + 1, event.start_mark.column + 1)
        found: Any
        if isinstance(event, events.ScalarEvent):
            found = plain(event.value) if event.implicit[0] else event.value
        elif isinstance(event, events.SequenceStartEvent):
            found = [self.value(one, (*path, index)) for index, one in enumerate(self._inside())]
        else:
            found = self._mapping(path)
        if event.anchor is not None:
            self._anchors[event.anchor] = found
        return found

    def _mapping(self, path: tuple[str | int, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key in self._inside():
            name = key.value if isinstance(key, events.ScalarEvent) else None
            if name is None or name in found:
                raise ValueError(key)
            if key.anchor is not None:
                self._anchors[key.anchor] = name
            found[name] = self.value(next(self._stream), (*path, name))
        return found

    def _inside(self) -> Iterator[Any]:
        for event in self._stream:
            if isinstance(event, events.CollectionEndEvent):
                return
            yield event


def plain(text: str) -> Any:
    """Return the value of a scalar without quotes."""
    if text in _WORDS:
        return _WORDS[text]
    return next((make(text) for form, make in _NUMBERS if re.fullmatch(form, text)), text)
