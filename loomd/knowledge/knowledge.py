"""The live knowledge base: keeps its index equal to the documents, and answers searches.

Documents are read and written down in one thread of its own, searches run in those of its index, embedding happens in
the embedder's; the event loop never waits for any. Fits what agents expect of a knowledge base by shape.
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from loomd.clock import Clock
from loomd.errors import Damaged, LoomdError, Temporary
from loomd.events.bus import Bus
from loomd.events.event import IndexDamaged, IndexProgress
from loomd.knowledge.arriving import Arriving, Calls, Hands, Vectored
from loomd.knowledge.asking import Asker, Nobody
from loomd.knowledge.base import Embedder
from loomd.knowledge.batch import Batches
from loomd.knowledge.checked import Checked
from loomd.knowledge.conditions import Conditions
from loomd.knowledge.expanders.base import Wording
from loomd.knowledge.filter import Filter, Where, lacking, where_of
from loomd.knowledge.generation import Generations
from loomd.knowledge.held import Held, Users, index_of
from loomd.knowledge.index import Index
from loomd.knowledge.ingest import Library, Unreadable
from loomd.knowledge.question import Question
from loomd.knowledge.question_vectors import QuestionVectors, by_words
from loomd.knowledge.refining import Refined
from loomd.knowledge.searching import Searching, passage_of
from loomd.knowledge.skipped import tell_skipped
from loomd.knowledge.standing import Explained, Found, LeftOut, Standing
from loomd.knowledge.store import Stored
from loomd.knowledge.survey import Pending, Recipe, Survey
from loomd.knowledge.upkeep import Turn, Upkeep, beside
from loomd.knowledge.ways import Ways
from loomd.manifest.raised import words_of
from loomd.messages import Passage
from loomd.topology import Health

T = TypeVar("T")

_STAND = 5.0
"""Seconds, at least, after which it is looked how it stands while documents are indexed."""


class KnowledgeBase:
    """Documents to look things up in.

    Attributes:
        name: name of the object.
        unreadable: documents that the last refresh had to leave out, with the reason.
    """

    def __init__(
        self,
        name: str,
        library: Library,
        embedder: Embedder,
        ways: Ways,
        bus: Bus,
        clock: Clock,
    ) -> None:
        self.name = name
        self.unreadable: tuple[Unreadable, ...] = ()
        self._library = library
        self._embedder = embedder
        self._retrieval, self._indexing, self._linking, self._refining = ways
        self._graph = None if ways.linking is None else ways.linking.spec
        self._bus = bus
        self._clock = clock
        self._conditions = Conditions(clock)
        self._upkeep = Upkeep(name, self._keep_up, self._not_indexed, self._may_index)
        self._checked = Checked(name, embedder)
        self._asked = QuestionVectors(self._checked.embed)
        self._turn = Turn()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"knowledge-{name}")
        self._serving: Held | None = None
        self._recipe: Recipe
        self._generations: Generations
        self._embedded, self._is_compared = 0, False
        self._properties, self._unmet = frozenset[str](), tuple[str, ...]()
        self._standing = Standing(0, 0, 0, embedder.fingerprint, embedder.dimension, "flat")
        self._batches = Batches(self._answer)
        self._calls = Users()
        self._ending: asyncio.Future[None] | None = None
        self._closed: asyncio.Future[None]

    def __len__(self) -> int:
        """Return the number of passages."""
        return len(self._opened)

    def health(self) -> tuple[Health, ...]:
        """Return whether searches can be answered, and whether documents are missing from the answers."""
        return self._conditions.ready, self._conditions.degraded

    @asynccontextmanager
    async def running(
        self, folder: Path, recipe: Recipe, turn: Turn | None = None
    ) -> AsyncGenerator["KnowledgeBase", None]:
        """Open the index in `folder`, keep it up to its documents, and release everything at the end.

        With something stored it opens with that, and what is new or changed is indexed in the background; so does one
        that shares its index with another that serves, once it serves itself.
        """
        turn = self._turn = turn or Turn()
        try:
            await self._run(self._open, folder, recipe)
            self._tell_salvaged(self._opened)
            if turn.first or not (self._held.is_shared or len(self)):
                await self.refresh()
            else:
                await self._stand()
                self._conditions.stored(len(self))
                self._upkeep.wake()
            self.served()
            async with self._upkeep.running(), beside(self._look_through()):
                yield self
        finally:
            self._library.stop()
            if not self._calls.count and not self._batches.busy:
                self._release()
            else:
                self._ending = asyncio.ensure_future(self._settle())
                await asyncio.shield(self._ending)
            await asyncio.shield(self._closed)  # after what still runs in the thread, whoever is cancelled meanwhile

    async def _look_through(self) -> None:
        with self._held.used() as index:
            if await asyncio.to_thread(index.look_through):
                await self._stand()

    async def _settle(self) -> None:
        """Release the index once no question and no call is under way."""
        try:
            await self._batches.settled()
            await self._calls.gone()
        finally:
            self._release()

    def _release(self) -> None:
        """Let the thread end after it has closed the index; nobody may be in between."""
        self._closed = asyncio.get_running_loop().run_in_executor(self._pool, self._close)
        self._pool.shutdown(wait=False)

    def _open(self, folder: Path, recipe: Recipe) -> None:
        self._generations = Generations(folder)
        self._serving = self._hold(folder, recipe)
        self._folder, self._recipe = folder, recipe

    def _hold(self, folder: Path, recipe: Recipe) -> Held:
        return Held(recipe.store(folder), lambda: index_of(folder, recipe, self._indexing))

    def _tell_salvaged(self, index: Index) -> None:
        salvaged, index.salvaged = index.salvaged, None
        if salvaged is not None:
            self._bus.emit(IndexDamaged(self.name, *salvaged))

    def _close(self) -> None:
        if self._serving is not None:
            self._serving.close()

    def _may_index(self) -> bool:
        """Return whether the index is to hold the documents of this one."""
        return not self._held.is_shared or self._turn.serves()

    def served(self) -> None:
        """Note that another set serves: it may be this one's turn now."""
        self._upkeep.served()
        if self._serving is None:  # it looks once it is open
            return
        if self._turn.serves() and self._generations.read().latest != self._recipe.generation:
            self._upkeep.wake()

    async def search(self, query: str, top_k: int | None = None, where: Filter | None = None) -> list[Passage]:
        """Return the best passages, best first, numbered from 1.

        Args:
            query: a question in plain words; operators and punctuation have no meaning.
            top_k: how many at most; None means the manifest's `retrieval.topK`.
            where: documents to look in, beside the manifest's `retrieval.filter`.

        Raises:
            Damaged: the store broke while it was open; opening it again mends it.
        """
        return list((await self._at_once(query, top_k, where)).passages)

    async def _at_once(self, query: str, top_k: int | None, where: Filter | None, asker: Asker | None = None) -> Found:
        """Return what one look at the indexes finds; `asker` is told when there was no vector for it."""
        query = query.encode("utf-8", "replace").decode()  # a lone surrogate is no text for SQLite or a tokenizer
        if not query.strip():
            return Found(())
        rows, failed, unmet = await self._batches.ask(
            (query, top_k or self._retrieval.top_k, where_of(self._retrieval.filter, where))
        )
        passages = tuple(passage_of(self.name, number, row, score) for number, (row, score) in enumerate(rows, 1))
        return Found(passages, notes=by_words(failed, asker or Nobody()) + unmet)

    @property
    def refines(self) -> bool:
        """Return whether questions are expanded or passages reranked, so that `look` finds more than `search`."""
        return self._refining is not None

    async def look(
        self, query: str, top_k: int | None = None, where: Filter | None = None, *, asker: Asker | None = None
    ) -> Found:
        """Return the best passages, after all that is declared to be done about a question.

        Args:
            query: as `search`.
            top_k: as `search`.
            where: as `search`.
            asker: who pays for what is asked of models and services; without one none is asked.

        Raises:
            Damaged: as `search`.
            LoomdError: a step failed that is declared as `onFailure: fail`.
        """
        if self._refining is None:
            return await self._at_once(query, top_k, where, asker)
        found = await self.explain(query, top_k, where, asker=asker)
        return Found(tuple(hit.passage for hit in found.hits), found.wordings, found.notes)

    async def explain(
        self, query: str, top_k: int | None = None, where: Filter | None = None, *, asker: Asker | None = None
    ) -> Explained:
        """Return what a question finds, as `look` does, and how words, vectors and a reranker saw each passage.

        Raises:
            LoomdError: as `look`.
        """
        query = query.encode("utf-8", "replace").decode()
        if not query.strip():
            return Explained(())
        how, limit, asker = self._retrieval, top_k or self._retrieval.top_k, asker or Nobody()
        with self._calls.one(), self._held.used() as index:
            run = partial(self._run, pool=index.readers)
            searching = Searching(index, how, where_of(self._retrieval.filter, where), self._graph, self._asked, run)
            if self._refining is None:
                (rows,) = await searching.find([Wording(query)], limit)
                found = Refined(rows, notes=by_words(searching.failed, asker))
            else:
                found = await self._refining.search(query, limit, searching, asker)
            hits = await searching.hits(self.name, found.rows)
        return Explained(hits, found.wordings, found.notes + searching.notes)

    def lacking(self, where: Filter) -> Sequence[str]:
        """Return the properties for which a filter asks and that no document has; nothing before that is known."""
        return lacking(where_of(where), self._properties) if self._is_compared and len(self) else ()

    def standing(self) -> Standing:
        """Return how it stood after the last refresh."""
        return self._standing

    async def rebuild(self, *, embed: bool = False) -> int:
        """Make both indexes anew from what is stored, and return the number of chunks that were embedded.

        What waits for the graph is tried again, after this has returned.

        Args:
            embed: read, cut and embed all documents anew, too, beside what serves; a restart goes on with it.

        Raises:
            NotFound: as `refresh`.
            LoomdError: documents cannot be embedded now, or an index cannot be written, which is tried again.
        """
        with self._calls.one():
            self._library.retry()
            before = self._embedded
            if embed:
                await self._run(self._generations.want)
                self._upkeep.wake()
                await self._upkeep.settled()
                return self._embedded - before
            await self.refresh()
            async with self._opened.refreshing:
                await self._run(self._opened.rebuild, self._indexing)
                await self._stand()
            if self._linking is not None:
                self._linking.wake(changed=True)
            return self._embedded - before

    async def _keep_up(self) -> None:
        """Bring it up to its documents, and to the generation of vectors that is wanted."""
        wanted = (await self._run(self._generations.read)).latest
        if wanted != self._recipe.generation and self._turn.serves():
            await self._renew(replace(self._recipe, generation=wanted))
        else:
            await self.refresh()

    async def _renew(self, recipe: Recipe) -> None:
        """Index all documents by a recipe beside what serves, and let that serve once it is whole."""
        held = await self._run(self._hold, self._folder, recipe)
        try:
            self._tell_salvaged(held.index)
            async with held.index.refreshing:
                await self._bring_up(held.index)
                is_whole = self._turn.serves()
                if is_whole:
                    await self._run(self._generations.serve, recipe.generation)
                    held, self._serving = self._held, held
                    self._recipe = recipe
                    await self._brought_up(changed=True)
        finally:
            held.retire(partial(self._pool.submit, held.close))

    async def _stand(self) -> None:
        """Note how it stands."""
        standing = await self._run(self._opened.standing)
        self._properties = await self._run(self._opened.properties)
        self._unmet = await self._run(self._opened.unmet, where_of(self._retrieval.filter))
        left_out = tuple(LeftOut(one.path, one.reason) for one in self.unreadable if not one.away)
        if standing.graph is not None and self._linking is not None:
            graph = msgspec.structs.replace(standing.graph, waits=self._linking.waits)
            standing = msgspec.structs.replace(standing, graph=graph)
        self._standing = msgspec.structs.replace(standing, left_out=left_out)
        self._lacks()

    async def _answer(
        self, asked: Sequence[tuple[str, int, Where]]
    ) -> list[tuple[list[tuple[Stored, float]], str, tuple[str, ...]]]:
        """Return what is found for questions, why there was no vector, and for what their filters ask in vain."""
        how = self._retrieval
        vectors, failed = await self._asked.declared([query for query, _, _ in asked], how)
        pairs = zip(asked, vectors, strict=True)
        questions = [Question(query, one, how, limit, where, self._graph) for (query, limit, where), one in pairs]
        found = await self._run(self._opened.answer, questions, pool=self._opened.readers)
        return [(rows, failed, unmet) for rows, unmet in found]

    async def refresh(self) -> int:
        """Index what is new or changed, remove what is gone, and return the number of chunks that were embedded.

        Searches go on meanwhile. A document that cannot be read is told by an event and in `unreadable`; what was
        indexed of it before stays, and so do all others.

        Raises:
            NotFound: a source has no document at all; the index keeps what it has.
        """
        async with self._opened.refreshing:
            first, before = not self._is_compared, self._embedded
            changed = await self._bring_up(self._opened)
            await self._brought_up(changed=first or changed)
            return self._embedded - before

    async def _bring_up(self, index: Index) -> bool:
        """Bring an index up to the documents, and return whether they had changed."""
        self._checked.faults.clear()
        survey = await self._run(index.survey, self._library)
        known, waiting = set(self.unreadable), set[bytes]()
        self._report(survey.unreadable, known)
        if survey.changed or survey.removed:
            arriving = await self._update(index, survey)
            self._report([*survey.unreadable, *arriving.left_out], known)
            waiting = arriving.waiting
        await self._run(index.save, self._indexing, waiting)
        await self._run(index.note, survey.readings)
        return bool(survey.changed or survey.removed)

    async def _brought_up(self, *, changed: bool) -> None:
        """Note that what serves is up to the documents."""
        if self._linking is not None:
            self._linking.wake(changed=changed)
        self._is_compared = True
        await self._stand()
        self._upkeep.mended()
        self._conditions.indexed(len(self), self._library.awaited)
        self._lacks()

    def not_fetched(self, reason: str) -> None:
        """Note that a source of which nothing is there yet could not be read; it is asked again."""
        self._conditions.turn("False", "FetchFailed", reason)

    def not_refreshed(self, reason: str) -> None:
        """Note that what is there could not be brought up to date; the next good refresh ends that."""
        self._conditions.stays("RefreshFailed", reason)

    def _not_indexed(self, error: Exception, wait: float) -> None:
        """Note that documents could not be indexed, and in how many seconds that is tried again."""
        said = str(error) if isinstance(error, LoomdError) else words_of(error)
        said = f"{said}; it is tried again in {wait:g} s"
        faults = self._checked.faults
        self._conditions.not_indexed("EmbedFailed" if error in faults else "RefreshFailed", said, len(self))

    async def index(self) -> None:
        """Have what its sources have now indexed, and wait for the end of that, whatever it is."""
        await self._upkeep.once()

    async def settled(self) -> None:
        """Wait until all documents are indexed that its sources have, and its graph holds them as far as budgets go.

        All of that comes about after it has opened.

        Raises:
            LoomdError: a source does not answer, and nothing of what it has is kept; or documents cannot be indexed.
        """
        await self._library.looked()
        await self._upkeep.settled()
        if self._linking is not None:
            await self._linking.settled()

    async def link(self) -> None:
        """Look through passages for the graph that are not looked through yet; searches and refreshes go on meanwhile.

        Raises:
            Damaged: as `search`.
            Temporary: what is found cannot be written now.
        """
        if self._linking is not None:
            with self._held.used() as index:
                await self._linking.catch_up(index, self._run, self._stand)
            await self._stand()

    def _report(self, unreadable: Sequence[Unreadable], known: set[Unreadable]) -> None:
        """Note what is left out, and tell of what was not known to be."""
        self.unreadable = tuple(unreadable)
        self._lacks()
        tell_skipped(self._bus, self.name, unreadable, known)

    def _lacks(self) -> None:
        lacks, unmet = self._conditions.lacks, self._unmet if self._is_compared else ()
        lacks(self.unreadable, self._standing, self._indexing.recall, self._library.awaited, unmet)

    async def _update(self, index: Index, survey: Survey) -> Arriving:
        """Write down what changed; known vectors are taken over. Return what came of it."""
        done, total = 0, survey.chunks
        clock = asyncio.get_running_loop().time
        stood = clock()

        async def keep(new: Vectored, came: int) -> None:
            await self._run(index.keep, new)
            self._turn.keep()
            self._progress(done + came, total)

        async def write(documents: Sequence[Pending], vectors: Vectored, passages: int) -> None:
            nonlocal done, stood
            await self._run(index.write, documents, vectors, self._indexing)
            self._turn.keep()
            done += passages
            self._progress(done, total)
            if clock() - stood >= _STAND:
                await self._stand()
                stood = clock()

        async def known(keys: Sequence[bytes]) -> Vectored:
            return await self._run(index.known, keys)

        await self._run(index.write, [], {}, self._indexing, survey.removed)
        self._progress(0, total)
        hands = Hands(keep, write, known, self._may_index)  # the rest is for the one that serves then
        arriving = Arriving(self._checked.passages, Calls.of(self._embedder), hands)
        try:
            await arriving.embed(survey.changed)
        finally:
            self._embedded += arriving.made
        return arriving

    def _progress(self, done: int, total: int) -> None:
        """Tell how many chunks of new and changed documents are indexed."""
        self._bus.emit(IndexProgress(self.name, done, total))
        self._conditions.progress(done, total, len(self))
        self._lacks()

    @property
    def _held(self) -> Held:
        if self._serving is None:
            raise RuntimeError(f"KnowledgeBase/{self.name} is not open")
        return self._serving

    @property
    def _opened(self) -> Index:
        return self._held.index

    async def _run(self, call: Callable[..., T], *args: object, pool: ThreadPoolExecutor | None = None) -> T:
        """Run a blocking call, in the thread of this knowledge base by default.

        Raises:
            Damaged: SQLite says that its file is broken.
            Temporary: SQLite cannot write now (disk full, locked).
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(pool or self._pool, call, *args)
        except (Temporary, sqlite3.OperationalError) as error:
            message = str(error) if isinstance(error, Temporary) else f"the index cannot be used now: {error}"
            if self._conditions.unusable(message):
                self._upkeep.mend()
            raise Temporary(f"KnowledgeBase/{self.name}: {message}") from error
        except sqlite3.DatabaseError as error:
            message = f"the index is broken ({error}): restart to index anew"
            if self._serving is not None:
                self._opened.suspect(str(error))
            self._conditions.turn("False", "IndexDamaged", message)
            raise Damaged(f"KnowledgeBase/{self.name}: {message}") from error
