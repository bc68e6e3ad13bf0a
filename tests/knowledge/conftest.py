"""A knowledge base on a real store, with documents in a folder of the test's own."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from loomd.clock import SystemClock
from loomd.embedders.kind import KIND as EMBEDDER
from loomd.events.bus import Bus
from loomd.events.event import Event
from loomd.knowledge.kind import KIND
from loomd.knowledge.knowledge import KnowledgeBase
from loomd.knowledge.spec import KnowledgeBaseSpec
from loomd.manifest.object import Metadata, Object, Ref
from loomd.manifest.problem import Position
from loomd.store.sqlite import open_store
from loomd.topology import Parts, Services
from tests.knowledge.sites import Site, serving

if TYPE_CHECKING:
    from loomd.knowledge.base import Embedder, Vectors


class Counting:
    """An embedder around a real one that remembers which texts it was given."""

    def __init__(self, inner: "Embedder") -> None:
        self.dimension = inner.dimension
        self.fingerprint = inner.fingerprint
        if (batch := getattr(inner, "batch", None)) is not None:
            self.batch: int = batch
            self.calls: int = getattr(inner, "calls", 1)
        self.texts: list[str] = []
        self.asked = 0
        self._inner = inner

    async def embed(self, texts: Sequence[str]) -> "Vectors":
        """Embed, and remember."""
        self.texts += texts
        self.asked += 1
        return await self._inner.embed(texts)


class Lab:
    """A folder of documents and the knowledge base over it, to be opened as often as a test wants.

    Attributes:
        root: folder of the manifests.
        events: what was emitted.
        name: name of the knowledge base.
        embedder: the embedder of the latest opening.
        live: what else the knowledge base may refer to.
        declared: the knowledge base as it was declared when it was opened the last time.
        digest: digest of what is opened next.
    """

    def __init__(self, tmp: Path, root: Path | None = None) -> None:
        self.root = root or tmp / "root"
        self.events: list[Event] = []
        self.name = "kb"
        self._tmp = tmp / "state"
        self._services: Services | None = None
        self.embedder: Counting
        self.live: dict[Ref, object] = {}
        self.declared: Object
        self.digest = ""

    @property
    def state(self) -> Path:
        """Return the folder of the knowledge base's own files."""
        return self._tmp / "knowledgebase" / "default" / self.name

    @property
    def services(self) -> Services:
        """Return what it lends while something is open."""
        assert self._services is not None
        return self._services

    def write(self, path: str, text: str | bytes) -> Path:
        """Write a document below `docs`."""
        file = self.root / "docs" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    def spec(self, **fields: Any) -> KnowledgeBaseSpec:
        """Return the spec of the knowledge base, as a manifest writes it."""
        raw = {"sources": [{"path": "docs"}], "embedder": "e", **fields}
        spec = KIND.adapter.validate_python(raw)
        assert isinstance(spec, KnowledgeBaseSpec)
        return spec

    @asynccontextmanager
    async def open(
        self, embedder: dict[str, Any] | None = None, *, wait: bool = True, replaces: bool = False, **fields: Any
    ) -> AsyncGenerator[KnowledgeBase, None]:
        """Open an embedder and the knowledge base over it; within another opening, in the same process as that.

        Args:
            embedder: its spec.
            wait: whether it is waited for what is fetched after it has opened.
            replaces: whether it is to take the place of one that serves.
            fields: of the knowledge base's spec.
        """
        async with self._running() as services:
            made = EMBEDDER.adapter.validate_python(embedder or {"type": "hash"})
            async with made.open(self._parts("Embedder", "e", made, services, {})) as inner:
                self.embedder = Counting(inner)
                spec = self.spec(**fields)
                live: dict[Ref, object] = {Ref("Embedder", "e"): self.embedder, **self.live}
                parts = replace(self._parts("KnowledgeBase", self.name, spec, services, live), replaces=replaces)
                self.declared = parts.declared
                async with spec.open(parts) as base:
                    if wait:
                        await base.settled()
                    yield base

    @asynccontextmanager
    async def _running(self) -> AsyncGenerator[Services, None]:
        if self._services is not None:
            yield self._services
            return
        async with open_store(self._tmp) as store:
            clock = SystemClock()
            bus = Bus(clock)
            bus.subscribe(self.events.append)
            self._services = Services(store, bus, clock, self.root)
            try:
                yield self._services
            finally:
                self._services = None

    def _parts(self, kind: str, name: str, spec: Any, services: Services, live: dict[Ref, object]) -> Parts:
        declared = Object(
            Ref(kind, name), Metadata(name=name), spec, {}, self.root, Position("kb.yaml"), digest=self.digest
        )
        return Parts(declared, services, live)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Return an empty lab."""
    return Lab(tmp_path)


@pytest_asyncio.fixture
async def site() -> AsyncGenerator[Site, None]:
    """Yield a server of pages on loopback."""
    async with serving() as made:
        yield made
