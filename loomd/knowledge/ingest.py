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
from functools import cached_property
from typing import NamedTuple, Protocol

import msgspec

from loomd.clock import Clock
from loomd.errors import LoomdError, Temporary
from loomd.knowledge.formats.base import BadDocument, Content, Limits
from loomd.knowledge.upkeep import SELDOM, SOON
from loomd.manifest.raised import words_of

_log = logging.getLogger("loomd.knowledge")


@dataclass(frozen=True)
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

    @cached_property
    def digest(self) -> str:
        """Return what changes with its content."""
        return hashlib.sha256(self.data).hexdigest()


class Unreadable(msgspec.Struct, frozen=True):
    """A document that was left out, and a sentence that says why and what to do.

    Attributes:
        path: of the document, or the address of a source.
        reason: the sentence.
        away: whether nobody answered for it: what was read before is found, and may be old.
    """

    path: str
    reason: str
    away: bool = False


Load = Callable[[], Document | Unreadable]
"""Reads one document."""


class Reading(NamedTuple):
    """What was read of a source.

    Attributes:
        documents: how many it has, those that are left out, too.
        digest: what changes with its documents, in hexadecimal.
        at: when they were read, wall-clock seconds.
        asked: when it was asked last and answered; None when it did not answer since it was opened.
    """

    documents: int
    digest: str
    at: float
    asked: float | None


class Source(Protocol):
    """Where documents are, once it is open."""

    @property
    def interval(self) -> float | None:
        """Return the seconds after which it is asked again; None when there is nobody to ask."""
        ...

    @property
    def is_kept(self) -> bool | None:
        """Return whether something of it is kept from an earlier look; None when there is nobody to ask. Blocks."""
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

    def may_have(self, path: str) -> bool:
        """Return whether a document of that path may be one of its own; it is told by how the path begins."""
        ...


class Library:
    """The documents of some sources.

    Args:
        sources: of two that have a document of one path, the first one counts.
        clock: says when they were read.

    Attributes:
        readings: what `documents` read of each source the last time, by its place among the sources; of those only of
            which something is there.
    """

    def __init__(self, sources: Sequence[Source], clock: Clock) -> None:
        self._sources = sources
        self._clock = clock
        self.readings: Mapping[int, Reading] = {}
        self._asked: dict[Source, float] = {}
        """When each source answered last."""
        from loomd.knowledge.formats.isolated import Reader  # noqa: PLC0415  # not needed to validate

        self._reader = Reader()
        self._refused: dict[str, tuple[tuple[str, str], str]] = {}
        """Digests and formats of documents that could not be read, by path, and why."""
        self._awaited: tuple[Source, ...] = ()
        self._looks: dict[Source, asyncio.Future[None]] = {}
        """The first look at each source that asks somebody, when it is made beside."""
        self._stopped = False
        self._failed: dict[Source, Exception] = {}
        """Why the last look at a source failed."""

    @property
    def awaited(self) -> int:
        """Return the number of sources of which nothing was fetched yet; their documents are left out until then."""
        return len(self._awaited)

    def may_come(self, path: str) -> bool:
        """Return whether a document that is not there may be one of a source that is asked just now."""
        return any(source.may_have(path) for source in self._awaited)

    async def refresh(self) -> None:
        """Ask everybody who has documents.

        Raises:
            LoomdError: one does not answer, and nothing of what it has is kept.
        """
        for source in self._sources:
            await source.refresh()
            self._answered(source)

    def _answered(self, source: Source) -> None:
        """Note when a source was asked, if it answered."""
        if not any(one.away for one in source.missed()):
            self._asked[source] = self._clock.now()

    async def read_what_is_kept(self) -> None:
        """Begin with what is kept, and leave the first look at every source to `following`."""
        loop = asyncio.get_running_loop()
        kept = await asyncio.to_thread(lambda: {source: source.is_kept for source in self._sources})
        self._awaited = tuple(source for source, there in kept.items() if there is False)
        self._looks = {source: loop.create_future() for source, there in kept.items() if there is not None}

    @asynccontextmanager
    async def following(
        self,
        index: Callable[[], Awaitable[object]],
        failed: Callable[[str], object],
        name: str,
        stays: Callable[[str], object] = str,
    ) -> AsyncGenerator[None, None]:
        """Ask again at the intervals of the sources, for as long as the context lasts; at once if nobody asked yet.

        Args:
            index: has what is new taken over, and returns when that came to an end, whatever it is.
            failed: is told why nothing of a source is there yet.
            name: whose documents they are, for the log.
            stays: is told why a source of which something is kept could not be asked.
        """
        asked = [one for one in self._sources if one in self._looks or one.interval is not None]
        running = [asyncio.ensure_future(self._follow(one, index, failed, name, stays)) for one in asked]
        try:
            yield
        finally:
            for one in running:
                one.cancel()
            if running:
                await asyncio.wait(running)
            for look in self._looks.values():
                look.cancel()

    async def looked(self) -> None:
        """Wait until every source was asked once, and it was tried to take over what it has. Each has limits.

        Raises:
            LoomdError: one does not answer, and nothing of what it has is kept.
        """
        if self._looks:
            await asyncio.wait(self._looks.values())
        for error in self._failed.values():
            raise error

    async def _follow(
        self,
        source: Source,
        index: Callable[[], Awaitable[object]],
        failed: Callable[[str], object],
        name: str,
        stays: Callable[[str], object],
    ) -> None:
        """Ask a source again and again; what goes wrong is told, and tried again: soon, as long as it has nothing.

        What is not its own fault is no reason to ask it again.
        """
        soon, interval, look = SOON, source.interval, self._looks.get(source)
        nothing, wait = source in self._awaited, interval if look is None else 0.0
        while wait is not None:
            await asyncio.sleep(wait)
            error = await self._ask(source)
            nothing, wait = nothing and error is not None, interval
            if nothing:
                wait, soon = soon, min(soon * 2, SELDOM)
                failed(f"{error}; it is asked again in {wait:g} s")
            elif error is not None:
                stays(str(error) if isinstance(error, LoomdError) else words_of(error))
            if error is not None:
                whole = None if isinstance(error, LoomdError) else error
                level = logging.INFO if nothing and not whole else logging.WARNING
                _log.log(level, "KnowledgeBase/%s stays as it is: %s", name, error, exc_info=whole)
            else:
                await index()
            if look is not None and not look.done():
                look.set_result(None)

    async def _ask(self, source: Source) -> Exception | None:
        """Ask a source, and return what went wrong."""
        try:
            await source.refresh()
        except Exception as error:  # whatever it is, it is asked again
            self._failed[source] = error
            return error
        self._awaited = tuple(one for one in self._awaited if one is not source)
        self._failed.pop(source, None)
        self._answered(source)
        return None

    def stop(self) -> None:
        """Have no further document read: whoever reads them is about to close."""
        self._stopped = True

    def documents(self) -> Iterator[Document | Unreadable]:
        """Yield every document once, by path, and whatever had to be left out; `readings` is set at the end.

        Raises:
            NotFound: a source has no document at all.
            Temporary: it was stopped.
        """
        found: dict[str, tuple[int, Load]] = {}
        now, awaited = self._clock.now(), self._awaited
        there = [at for at, source in enumerate(self._sources) if source not in awaited]
        asked = {at: self._asked.get(one, now if one.is_kept is None else None) for at, one in enumerate(self._sources)}
        for at in there:
            for path, load in self._sources[at].find().items():
                found.setdefault(path, (at, load))
        digests, counts = {at: hashlib.sha256() for at in there}, dict.fromkeys(there, 0)
        try:
            for path, (at, load) in sorted(found.items()):
                if self._stopped:
                    raise Temporary("its documents are not read any more: it closes")
                item = load()
                counts[at] += 1
                digest = item.digest if isinstance(item, Document) else ""
                digests[at].update(f"{path}\0{digest}\0".encode("utf-8", "surrogateescape"))  # as a name may be
                yield item
        finally:
            self._reader.close()
        self.readings = {at: Reading(counts[at], digests[at].hexdigest(), now, asked[at]) for at in there}

    def missed(self) -> Iterator[Unreadable]:
        """Yield what could not be looked at the last time; what is kept of it is among the documents."""
        for source in self._sources:
            yield from source.missed()

    def content(self, document: Document) -> Content:
        """Return what a document holds; what could not be read is not tried again before it is another one.

        Raises:
            BadDocument: it cannot be read.
        """
        mark = (document.digest, document.format)
        refused, reason = self._refused.pop(document.path, (None, ""))
        if refused != mark:
            try:
                return self._reader.read(document.format, document.path, document.data, document.limits)
            except BadDocument as error:
                reason = str(error)
        self._refused[document.path] = (mark, reason)
        raise BadDocument(reason)

    def retry(self) -> None:
        """Have everything tried again that could not be read."""
        self._refused.clear()
