"""JSON in and out; the bytes of frozen things are made once: a growing conversation is not encoded with every turn.

Knows no message and no protocol; called by the translations of model services, and by whoever tells requests apart.
"""

import json
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")

_ENCODER = msgspec.json.Encoder()
ANYTHING: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
"""Reads JSON of any shape."""
NO_JSON = (msgspec.DecodeError, RecursionError, UnicodeError)
"""What a decoder raises for JSON that others wrote; `why_not` says what it means."""


def to_json(value: object) -> bytes:
    """Return a value as JSON; text that is no Unicode (lone surrogates) is sent with `?` for what cannot be sent."""
    try:
        return _ENCODER.encode(value)
    except (UnicodeEncodeError, OverflowError):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def read_json(data: str | bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Return JSON that others wrote, as what the decoder makes of it.

    What is returned can be encoded again: lone surrogates are refused, like everything else that is no JSON.

    Args:
        data: what they wrote.
        decoder: of the shape that it must have.

    Raises:
        ValueError: it is no JSON, of another shape, or nested too deeply; the text says what and where.
    """
    try:
        return decoder.decode(data)
    except NO_JSON as error:
        raise ValueError(why_not(error)) from None


def why_not(error: BaseException) -> str:
    """Return why JSON could not be read, from what its decoder raised."""
    if isinstance(error, RecursionError):
        return "JSON is nested too deeply"
    return "JSON is malformed: it holds what is no Unicode" if isinstance(error, UnicodeError) else str(error)


def unfenced(text: str) -> str:
    """Return what a model wrote without the fence of Markdown around it."""
    bare = text.strip()
    if not bare.startswith("```"):
        return bare
    return bare.removeprefix("```").removeprefix("json").removesuffix("```").strip()


class _Kept(weakref.ref[T]):
    """The bytes of a thing, without keeping the thing."""

    __slots__ = ("data", "place")

    data: bytes
    place: int


class Encoded(Generic[T]):
    """Encodes frozen things, each once: the same object has the same bytes for as long as it lives.

    Things are told apart by identity, because to compare two long messages costs as much as to encode one. A thing that
    goes takes its bytes along before another one can be in its place.
    """

    def __init__(self, encode: Callable[[T], bytes]) -> None:
        """Take the function that encodes one of them."""
        self._encode = encode
        self._kept: dict[int, _Kept[T]] = {}
        self._gone = self._forget

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._kept)

    def all(self, things: Iterable[T]) -> list[bytes]:
        """Return the bytes of each, encoding those that were not seen before."""
        known, keep = self._kept.get, self._keep
        return [keep(thing) if (entry := known(id(thing))) is None else entry.data for thing in things]

    def _keep(self, thing: T) -> bytes:
        entry = _Kept(thing, self._gone)
        entry.data = self._encode(thing)
        entry.place = id(thing)
        self._kept[entry.place] = entry
        return entry.data

    def _forget(self, entry: weakref.ref[T]) -> None:
        place = getattr(entry, "place", 0)  # of a module that an ending interpreter has emptied nothing is named here
        if self._kept.get(place) is entry:
            del self._kept[place]
