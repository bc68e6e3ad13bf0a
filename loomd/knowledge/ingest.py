"""The documents of a knowledge base: what its sources have, each once, and what they hold as text.

What cannot be read is told, the rest is kept. A source fits by shape: it knows what it has without reading it. Blocks:
called in the thread of a knowledge base, but for `refresh`.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from loomd.errors import LoomdError
from loomd.knowledge.formats.base import Content, Limits
from loomd.knowledge.formats.isolated import Reader

_log = logging.getLogger("loomd.knowledge")


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it is kept somewhere.

    Attributes:
        path: what it is cited by: relative to the root with `/`, or an address.
        data: its bytes.
        format: name of the format that it is written in.
        limits: what reading it may take.
        properties: what its source says of it.
    """

    path: str
    data: bytes
    format: str
    limits: Limits
    properties: Mapping[str, str]

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

    @property
    def interval(self) -> float | None:
        """Return the seconds after which it is asked again; None when there is nobody to ask."""
        ...

    async def refresh(self) -> None:
        """Look again, where that means to ask somebody; what is kept stays when nobody answers.

        Raises:
            LoomdError: nobody answers, and nothing is kept.
        """
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

    async def refresh(self) -> None:
        """Ask everybody who has documents.

        Raises:
            LoomdError: one does not answer, and nothing of what it has is kept.
        """
        for source in self._sources:
            await source.refresh()

    @asynccontextmanager
    async def following(self, index: Callable[[], Awaitable[object]], name: str) -> AsyncGenerator[None, None]:
        """Ask again at the intervals of the sources, for as long as the context lasts.

        Args:
            index: takes over what is new.
            name: whose documents they are, for the log.
        """
        timed = [(source, source.interval) for source in self._sources if source.interval is not None]
        running = [asyncio.ensure_future(_follow(source, interval, index, name)) for source, interval in timed]
        try:
            yield
        finally:
            for one in running:
                one.cancel()
            if running:
                await asyncio.wait(running)

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
        finally:
            self._reader.close()

    def missed(self) -> Iterator[Unreadable]:
        """Yield what could not be looked at the last time; what is kept of it is among the documents."""
        for source in self._sources:
            yield from source.missed()

    def content(self, document: Document) -> Content:
        """Return what a document holds.

        Raises:
            BadDocument: it cannot be read.
        """
        return self._reader.read(document.format, document.path, document.data, document.limits)


async def _follow(source: Source, interval: float, index: Callable[[], Awaitable[object]], name: str) -> None:
    """Ask a source again and again; what goes wrong is told, and tried again the next time."""
    while True:
        await asyncio.sleep(interval)
        try:
            await source.refresh()
            await index()
        except LoomdError as error:
            _log.warning("KnowledgeBase/%s stays as it is, and looks again in %g s: %s", name, interval, error)
        except Exception:
            _log.exception("KnowledgeBase/%s could not look again; it tries in %g s", name, interval)
