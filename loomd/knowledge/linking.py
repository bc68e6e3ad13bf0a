"""Lets passages be looked through for entities, and keeps what is found: each text once, whatever happens meanwhile.

Runs after documents are written, so that words and vectors never wait for it: what is not looked through yet is found
by them alone. What a model found is kept before the next one is asked. Called by a knowledge base.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
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

_log = logging.getLogger("loomd.knowledge")


class Run(Protocol):
    """Runs a blocking call in the thread of a knowledge base."""

    def __call__(self, call: Callable[..., T], *args: object) -> Awaitable[T]:
        """Return what the call returns."""
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
        self._paused = asyncio.Event()

    @property
    def fingerprint(self) -> str:
        """Return what entities are found by."""
        return self._extractor.fingerprint

    async def catch_up(self, index: Index, run: Run, *, anew: bool = False) -> None:
        """Look through all passages that are not looked through yet; with `anew` those again that failed."""
        graph = index.graph
        if graph is None:
            raise RuntimeError(f"KnowledgeBase/{self._name} has no graph")
        if anew:
            await run(graph.forget_faults)
        self.waits, self._wait = "", None
        total = await run(graph.pending)
        if total:
            await self._work(graph, index, run, total)
        await run(graph.sweep)

    async def _work(self, graph: GraphIndex, index: Index, run: Run, total: int) -> None:
        self._bus.emit(IndexProgress(self._name, 0, total, "graph"))
        others = await run(index.others)
        after = done = 0
        while rows := await run(graph.unlinked, after, self._extractor.batch):
            after = rows[-1].id
            digests = [graph.digest(one.chunk) for one in rows]
            found = await run(graph.known, digests, others)
            missing = {digest: one for digest, one in zip(digests, rows, strict=True) if digest not in found}
            try:
                if not self.waits:  # what is known is taken over in any case
                    await self._extract(graph, run, missing, found)
            except Paused as paused:
                self.waits, self._wait = paused.reason, paused.wait
                _log.warning("KnowledgeBase/%s: passages wait for the graph: %s", self._name, paused.reason)
                if paused.wait is not None:
                    self._paused.set()
            linked = [(one, key, found[key]) for one, key in zip(rows, digests, strict=True) if key in found]
            await run(graph.link, linked)
            done += len(linked)
            self._bus.emit(IndexProgress(self._name, done, total, "graph"))

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
    async def continuing(self, refresh: Callable[[], Awaitable[object]]) -> AsyncGenerator[None, None]:
        """Go on with what had to wait, for as long as the context lasts."""
        task = asyncio.ensure_future(self._continue(refresh))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _continue(self, refresh: Callable[[], Awaitable[object]]) -> None:
        while True:
            await self._paused.wait()
            self._paused.clear()
            await asyncio.sleep(min(self._wait or 0.0, LOOK_AGAIN))
            try:
                await refresh()
            except LoomdError as error:
                self._paused.set()
                self._wait = LOOK_AGAIN
                _log.warning("KnowledgeBase/%s cannot go on with its graph yet: %s", self._name, error)
            except Exception:
                _log.exception("KnowledgeBase/%s could not go on with its graph", self._name)
