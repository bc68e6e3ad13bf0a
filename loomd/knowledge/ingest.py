"""The documents of a knowledge base: what its sources have, each once, and what they hold as text.

What cannot be read is told, the rest is kept. A source fits by shape: it knows what it has without reading it. Blocks:
called in the thread of a knowledge base, but for `refresh`.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from loomd.knowledge.formats.base import Content, Limits
from loomd.knowledge.formats.isolated import Reader


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it is kept somewhere.

    Attributes:
        path: what it is cited by: relative to the root with `/`, or an address.
        data: its bytes.
        format: name of the format that it is written in.
        limits: what reading it may take.
    """

    path: str
    data: bytes
    format: str
    limits: Limits

    @property
    def digest(self) -> str:
        """Return what changes with its content."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A document that was left out, and a sentence that says why and what to do."""

    path: str
    reason: str


Load = Callable[[], Document | Unreadable]
"""Reads one document."""


class Source(Protocol):
    """Where documents are, once it is open."""

    async def refresh(self) -> None:
        """Look again, where that means to ask somebody."""
        ...

    def find(self) -> Mapping[str, Load]:
        """Return what reads each document, by path.

        Raises:
            NotFound: there is nothing at all.
        """
        ...

    def missed(self) -> Iterable[Unreadable]:
        """Return what could not be looked at the last time; what is kept of it may be old."""
        ...


class Library:
    """The documents of some sources.

    Args:
        sources: of two that have a document of one path, the first one counts.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._reader = Reader()

    def documents(self) -> Iterator[Document | Unreadable]:
        """Yield every document once, by path, and whatever had to be left out.

        Raises:
            NotFound: a source has no document at all.
        """
        found: dict[str, Load] = {}
        for source in self._sources:
            for path, load in source.find().items():
                found.setdefault(path, load)
        try:
            for _, load in sorted(found.items()):
                yield load()
            for source in self._sources:
                yield from source.missed()
        finally:
            self._reader.close()

    def content(self, document: Document) -> Content:
        """Return what a document holds.

        Raises:
            BadDocument: it cannot be read.
        """
        return self._reader.read(document.format, document.path, document.data, document.limits)
