"""Lets passages be looked through for entities, and keeps what is found: each text once, whatever happens meanwhile.

Runs beside the knowledge base, once documents are written, so that words and vectors never wait for it: what is not
looked through yet is found by them alone. What a model found is kept before the next one is asked.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Protocol, TypeVar

from loomd.errors import LoomdError
from loomd.events.bus import Bus
from loomd.events.event import IndexProgress
from loomd.events.passage import PassageFailed
from loomd.knowledge.entity import Extraction
from loomd.knowledge.extractors.base import Extractor, Paused
from loomd.knowledge.formats.base import cite
from loomd.knowledge.graph_index import GraphIndex
from loomd.knowledge.graph_spec import GraphSpec
from loomd.knowledge.graph_store import Unlinked
from loomd.knowledge.index import Index

T = TypeVar("T")

LOOK_AGAIN = 60.0
"""Seconds after which it is looked at the latest whether a budget has room again: it may have been raised."""

_AT_WORK = 1.0
"""Seconds, at least, after which what is found while others are still looked through can be found."""

_log = logging.getLogger("loomd.knowledge")


class Run(Protocol):
    """Runs a blocking call in the thread of a knowledge base."""

    def __call__(self, call: Callable[..., T], *args: object, pool: ThreadPoolExecutor | None = None) -> Awaitable[T]:
        """Return what the call returns; with `pool` it runs in a thread of that."""
        ...


class Linking:
    """An extractor at work on a knowledge base.

    Args:
        name: that of the knowledge base.
        spec: how the graph is kept and searched.
        extractor: what finds entities and relations.
        bus: where progress and faults are told.

    Attributes:
        spec: as above.
        waits: why passages wait, or empty.
    """

    def __init__(self, name: str, spec: GraphSpec, extractor: Extractor, bus: Bus) -> None:
        self.spec = spec
        self.waits = ""
        self._name = name
        self._extractor = extractor
        self._bus = bus
        self._wait: float | None = None
        self._borrowed: Index | None = None
        """The index for whose present passages it was looked elsewhere for what is known of them."""
        self._due = asyncio.Event()
        self._rests = asyncio.Event()
        self._rests.set()

    @property
    def fingerprint(self) -> str:
        """Return what entities are found by."""
        return self._extractor.fingerprint

    def wake(self, *, changed: bool) -> None:
        """Have passages looked through soon: others are there now, or what could not go on may do so now."""
        if changed:
            self._borrowed = None
        if changed or (self.waits and self._wait is None):
            self._rests.clear()
            self._due.set()

    async def settled(self) -> None:
        """Wait until all passages are looked through, or have to wait."""
        await self._rests.wait()

    async def catch_up(self, index: Index, run: Run, stand: Callable[[], Awaitable[None]]) -> None:
        """Look through all passages that are not looked through yet, as far as budgets go.

        Args:
            index: where they are; who else looks through it is waited for.
            run: runs what blocks.
            stand: told whenever more of the graph can be found, but for the end.
        """
        async with index.linking:
            graph = _graph_of(index)
            if self.waits and self._borrowed is index:
                try:
                    await self._extractor.ready()
                except Paused as paused:
                    self._pause(paused)
                    return
            self.waits, self._wait = "", None
            changes, total = graph.changes, await run(graph.pending)
            if total:
                await self._work(graph, index, run, total, stand)
            await run(graph.sweep, changes)
            with suppress(TimeoutError):  # it is built after a rest; what comes meanwhile is built with it
                async with asyncio.timeout(graph.rest()):
                    await self._due.wait()
                    return
            await run(graph.save, pool=index.readers)

    async def _work(
        self, graph: GraphIndex, index: Index, run: Run, total: int, stand: Callable[[], Awaitable[None]]
    ) -> None:
        self._bus.emit(IndexProgress(self._name, 0, total, "graph"))
        after = done = 0
        while True:
            if self._borrowed is not index:
                self._borrowed = index
                await run(graph.borrow, await run(index.others))
            rows = await run(graph.unlinked, after, self._extractor.batch)
            if not rows:
                break
            after = rows[-1].id
            digests = [graph.digest(one.chunk) for one in rows]
            found = await run(graph.known, digests)
            missing = {digest: one for digest, one in zip(digests, rows, strict=True) if digest not in found}
            try:
                if not self.waits:  # what is known is taken over in any case
                    await self._extract(graph, run, missing, found)
            except Paused as paused:
                self._pause(paused)
                _log.warning("KnowledgeBase/%s: passages wait for the graph: %s", self._name, paused.reason)
            linked = [(one, key, found[key]) for one, key in zip(rows, digests, strict=True) if key in found]
            await run(graph.link, linked)
            done += len(linked)
            self._bus.emit(IndexProgress(self._name, done, total, "graph"))
            if linked and not graph.rest(_AT_WORK):
                await run(graph.save, pool=index.readers)
                await stand()

    def _pause(self, paused: Paused) -> None:
        self.waits = paused.reason
        self._wait = None if paused.wait is None else min(paused.wait, LOOK_AGAIN)

    async def _extract(
        self, graph: GraphIndex, run: Run, missing: dict[bytes, Unlinked], found: dict[bytes, Extraction]
    ) -> None:
        """Add what is found in passages, and keep it as soon as it is known.

        Raises:
            Paused: the rest must wait.
        """
        keys, rows = list(missing), list(missing.values())
        if not rows:
            return
        async with aclosing(self._extractor.extract([one.chunk for one in rows])) as parts:
            async for part in parts:
                new = {keys[place]: one for place, one in part.items()}
                await run(graph.keep, new)
                found.update(new)
                self._report([(rows[place], one.fault) for place, one in part.items() if one.fault])

    def _report(self, faults: Sequence[tuple[Unlinked, str]]) -> None:
        for one, fault in faults:
            source = cite(one.path, one.unit, one.chunk.first, one.chunk.last)
            self._bus.emit(PassageFailed(self._name, source, fault))
            _log.warning("KnowledgeBase/%s has %s not in its graph: %s", self._name, source, fault)

    @asynccontextmanager
    async def continuing(self, link: Callable[[], Awaitable[object]]) -> AsyncGenerator[None, None]:
        """Look passages through whenever there are new ones, or what had to wait may go on, while the context lasts.

        Args:
            link: calls `catch_up`.
        """
        task = asyncio.ensure_future(self._continue(link))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            self._rests.set()

    async def _continue(self, link: Callable[[], Awaitable[object]]) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._wait):
                    await self._due.wait()
            self._due.clear()
            try:
                await link()
            except Exception as error:  # whatever it is, the rest is looked through later
                self._wait = LOOK_AGAIN
                trace = None if isinstance(error, LoomdError) else error
                _log.warning("KnowledgeBase/%s cannot go on with its graph yet: %s", self._name, error, exc_info=trace)
            if not self._due.is_set():
                self._rests.set()


def _graph_of(index: Index) -> GraphIndex:
    if index.graph is None:
        raise RuntimeError("the index has no graph")
    return index.graph
