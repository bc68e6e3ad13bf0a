"""The live knowledge base: keeps its index equal to the documents, and answers searches.

Files, SQLite and FAISS are used in one thread of its own, embedding happens in the embedder's; the event loop never
waits for either. Fits what agents expect of a knowledge base by shape.
"""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from loomd.clock import Clock
from loomd.errors import BadReply, Damaged, Temporary
from loomd.events.bus import Bus
from loomd.events.event import DocumentSkipped, IndexProgress
from loomd.knowledge.base import Embedder, Retrieval
from loomd.knowledge.formats.base import cite
from loomd.knowledge.index import Index, Pending, Recipe, Survey, embedded_text, encode
from loomd.knowledge.ingest import Library, Unreadable
from loomd.messages import Passage
from loomd.topology import Health

if TYPE_CHECKING:
    from loomd.knowledge.base import Vectors

T = TypeVar("T")

BATCH = 256
"""Chunks that are embedded at once, and at least so many are written in one transaction."""


_log = logging.getLogger("loomd.knowledge")


class KnowledgeBase:
    """Documents to look things up in.

    Attributes:
        name: name of the object.
        unreadable: documents that the last refresh had to leave out, with the reason.
    """

    def __init__(
        self, name: str, library: Library, embedder: Embedder, retrieval: Retrieval, bus: Bus, clock: Clock
    ) -> None:
        self.name = name
        self.unreadable: tuple[Unreadable, ...] = ()
        self._library = library
        self._embedder = embedder
        self._retrieval = retrieval
        self._bus = bus
        self._clock = clock
        now = clock.now()
        self._ready = Health("IndexReady", "Unknown", "Indexing", "its documents are being indexed", now)
        self._degraded = Health("Degraded", "Unknown", "Indexing", "its documents are being read", now)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"knowledge-{name}")
        self._index: Index | None = None
        self._refreshing = asyncio.Lock()

    def __len__(self) -> int:
        """Return the number of passages."""
        return len(self._opened)

    def health(self) -> tuple[Health, ...]:
        """Return whether searches can be answered, and whether documents are missing from the answers."""
        return self._ready, self._degraded

    @asynccontextmanager
    async def running(self, folder: Path, recipe: Recipe) -> AsyncGenerator["KnowledgeBase", None]:
        """Open the index in `folder`, bring it up to date, and release everything at the end."""
        try:
            await self._run(self._open, folder, recipe)
            await self.refresh()
            yield self
        finally:
            closing = asyncio.get_running_loop().run_in_executor(self._pool, self._close)
            self._pool.shutdown(wait=False)
            await asyncio.shield(closing)  # after what still runs in the thread, whoever is cancelled meanwhile

    def _open(self, folder: Path, recipe: Recipe) -> None:
        self._index = Index(folder, recipe)

    def _close(self) -> None:
        if self._index is not None:
            self._index.close()

    async def search(self, query: str, top_k: int | None = None) -> list[Passage]:
        """Return the best passages, best first, numbered from 1.

        Args:
            query: a question in plain words; operators and punctuation have no meaning.
            top_k: how many at most; None means the manifest's `retrieval.topK`.

        Raises:
            Damaged: the store broke while it was open; opening it again mends it.
        """
        how = self._retrieval
        vector = None
        query = query.encode("utf-8", "replace").decode()  # a lone surrogate is no text for SQLite or a tokenizer
        if not query.strip():
            return []
        if how.mode != "keyword":
            vector = (await self._embed([query]))[0]
        found = await self._run(self._opened.search, query, vector, how, top_k or how.top_k)
        return [
            Passage(
                number,
                row.chunk.text,
                cite(row.path, row.unit, row.chunk.first, row.chunk.last),
                row.chunk.title,
                self.name,
                score,
            )
            for number, (row, score) in enumerate(found, 1)
        ]

    async def refresh(self) -> int:
        """Index what is new or changed, remove what is gone, and return the number of chunks that were embedded.

        Searches go on meanwhile. A document that cannot be read is told by an event and in `unreadable`; what was
        indexed of it before stays, and so do all others.

        Raises:
            NotFound: a source has no document at all; the index keeps what it has.
        """
        async with self._refreshing:
            survey = await self._run(self._opened.survey, self._library)
            self._report(survey)
            embedded = 0
            if survey.changed or survey.removed:
                embedded = await self._update(survey)
            await self._run(self._opened.save)
            passages = f"{len(self)} passages can be searched"
            self._ready = self._ready.turn("True", "Indexed", passages, self._clock.now())
            return embedded

    def _report(self, survey: Survey) -> None:
        self.unreadable = tuple(survey.unreadable)
        now = self._clock.now()
        if not survey.unreadable:
            self._degraded = self._degraded.turn("False", "DocumentsRead", "all documents are read", now)
        else:
            first, more = survey.unreadable[0], len(survey.unreadable) - 1
            left_out = f"{first.path} {first.reason}" + (f"; and {more} more" if more else "")
            self._degraded = self._degraded.turn("True", "DocumentsSkipped", f"left out: {left_out}", now)
        for item in survey.unreadable:
            self._bus.emit(DocumentSkipped(self.name, item.path, item.reason))
            _log.info("KnowledgeBase/%s leaves out %s: it %s", self.name, item.path, item.reason)

    async def _update(self, survey: Survey) -> int:
        keys = [key for document in survey.changed for key, _ in document.chunks]
        vectors = await self._run(self._opened.known, keys)
        had, done, total = len(vectors), 0, survey.chunks
        self._bus.emit(IndexProgress(self.name, 0, total))
        await self._run(self._opened.write, [], {}, survey.removed)
        for documents in _batches(survey.changed):
            missing = {key: chunk for item in documents for key, chunk in item.chunks if key not in vectors}
            for part in _slices(list(missing)):
                rows = await self._embed([embedded_text(missing[key]) for key in part])
                vectors.update(zip(part, encode(rows), strict=True))
            await self._run(self._opened.write, documents, vectors)
            done += sum(len(item.chunks) for item in documents)
            self._bus.emit(IndexProgress(self.name, done, total))
        return len(vectors) - had

    async def _embed(self, texts: Sequence[str]) -> "Vectors":
        """Return vectors that are safe to store and compare.

        Raises:
            BadReply: the embedder made another number or size of vectors, or NaN.
        """
        vectors = await self._embedder.embed(texts)
        expected = (len(texts), self._embedder.dimension)
        if vectors.shape != expected:
            raise BadReply(f"KnowledgeBase/{self.name}: the embedder made {vectors.shape} numbers, expected {expected}")
        if not abs(float(vectors.sum())) < float("inf"):  # NaN and infinity survive a sum
            raise BadReply(f"KnowledgeBase/{self.name}: the embedder made NaN or infinity")
        return vectors

    @property
    def _opened(self) -> Index:
        if self._index is None:
            raise RuntimeError(f"KnowledgeBase/{self.name} is not open")
        return self._index

    async def _run(self, call: Callable[..., T], *args: object) -> T:
        """Run a blocking call in the thread of this knowledge base.

        Raises:
            Damaged: SQLite says that its file is broken.
            Temporary: SQLite cannot write now (disk full, locked).
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call, *args)
        except sqlite3.OperationalError as error:
            message = f"the index cannot be used now: {error}"
            self._ready = self._ready.turn("False", "IndexUnusable", message, self._clock.now())
            raise Temporary(f"KnowledgeBase/{self.name}: {message}") from error
        except sqlite3.DatabaseError as error:
            message = f"the index is broken ({error}): restart to index anew"
            self._ready = self._ready.turn("False", "IndexDamaged", message, self._clock.now())
            raise Damaged(f"KnowledgeBase/{self.name}: {message}") from error


def _batches(documents: Sequence[Pending]) -> Iterator[list[Pending]]:
    """Yield runs of whole documents with at least `BATCH` chunks each, but for the last."""
    held: list[Pending] = []
    for document in documents:
        held.append(document)
        if sum(len(item.chunks) for item in held) >= BATCH:
            yield held
            held = []
    if held:
        yield held


def _slices(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for at in range(0, len(keys), BATCH):
        yield keys[at : at + BATCH]
