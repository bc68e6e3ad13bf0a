"""The blocking half of a knowledge base: chunk store, index of words, index of vectors, kept equal, searched together.

The store is the truth; both indexes are made from it and catch up when it opens. Whoever changes an index does it in a
thread of its own; searches run in the index's own threads meanwhile, and see what was there when they began. What needs
the event loop (embedding, events) is done by `loomd.knowledge.knowledge` between the calls.

A way of indexing (how documents are cut, by which embedder they are embedded, from which sources) has files of its
own, so that a changed manifest is indexed beside the one that still serves. Vectors are taken over by content, from
other ways and from other knowledge bases.
"""

import asyncio
import itertools
import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from loomd.errors import Damaged
from loomd.knowledge.base import IndexSpec
from loomd.knowledge.diversity import spread
from loomd.knowledge.expanders.base import Seen
from loomd.knowledge.filter import Where
from loomd.knowledge.graph_index import NOTHING, GraphIndex
from loomd.knowledge.hybrid import fused
from loomd.knowledge.ingest import Library, Reading
from loomd.knowledge.opened import Opened
from loomd.knowledge.place import neighbours, open_store, others, read_before, remove_store, size, suspect, take_over
from loomd.knowledge.question import Parts, Question, Ranked
from loomd.knowledge.reading import noted, standings
from loomd.knowledge.seen import seen_in
from loomd.knowledge.standing import Origin, Place, Standing
from loomd.knowledge.store import Embedded, FileUpdate, Stored
from loomd.knowledge.survey import Pending, Recipe, Survey, content_digest, take
from loomd.knowledge.word_keeper import WordKeeper
from loomd.vectors.faiss_index import ROUGH
from loomd.vectors.index import LOOSE, VectorIndex

if TYPE_CHECKING:
    from loomd.knowledge.base import Vectors
    from loomd.vectors.faiss_index import Ids

_log = logging.getLogger("loomd.knowledge")

_KEPT = 2  # ways of indexing that stay on disk: the current one, and the one a rollback would want
_READERS = 2
_MORE = 4
"""How many times more an index is asked for when too little of what it gave is where a question looks."""
_EXACT = 10_000
"""Passages that are compared one by one where a question looks at no more."""
_SIDE_BY_SIDE = 20_000
"""Passages from which on words are looked up beside vectors: of fewer, that takes less than handing it over does."""
_PART = 10_000
"""Vectors that are read from the store at a time."""


class Index:
    """Passages, words and vectors of one knowledge base; shared by all that open the same files.

    Attributes:
        readers: the threads in which it is searched.
        refreshing: held by whoever brings it up to date.
        linking: held by whoever looks through its passages.
        graph: entities and relations; None without.
        salvaged: what became of its store, when that was damaged; nobody told of that yet.
        damage: what was found to be wrong with its store since it opened; empty when nothing was.
    """

    def __init__(self, folder: Path, recipe: Recipe, how: IndexSpec) -> None:
        self._recipe = recipe
        self._folder = folder
        self._path = recipe.store(folder)
        self._writing = threading.RLock()
        self.damage = ""
        self._store, self.salvaged = open_store(self._path, recipe.dimension, linked=bool(recipe.extractor))
        try:
            self._words = WordKeeper(self._store, self._path.with_suffix(".words"))
            self._vectors = VectorIndex(recipe.dimension, folder / recipe.name)
            self._open_vectors(how)
            graph = self._store.graph
            self.graph = None if graph is None else GraphIndex(graph, recipe.extractor, self._writing)
        except BaseException:
            self._store.close()
            raise
        self.readers = ThreadPoolExecutor(_READERS, "knowledge-search")
        self._lookups = ThreadPoolExecutor(_READERS, "knowledge-words")
        self.refreshing, self.linking = asyncio.Lock(), asyncio.Lock()

    def close(self) -> None:
        """Save what is not yet saved, and release the files."""
        self.readers.shutdown()
        self._lookups.shutdown()
        with self._writing:
            try:
                self._words.close()
            finally:
                self._store.close()

    def look_through(self) -> bool:
        """Look for damage in a store that was too large for that when it opened, and return whether there is any."""
        damage = "" if self._store.is_checked else self._store.look_through()
        if damage:
            self.suspect(damage)
        return bool(damage)

    def suspect(self, damage: str) -> None:
        """Note that the store is damaged: it is mended when it opens the next time."""
        self.damage = damage
        suspect(self._path, damage)

    def __len__(self) -> int:
        """Return the number of passages."""
        return len(self._vectors)

    def survey(self, library: Library) -> Survey:
        """Read the documents, compare them with the store, and cut what is new.

        Raises:
            NotFound: a source has no document; the store keeps what it has.
        """
        with self._writing:
            known = self._store.files()
        return take(library, self._recipe, known)

    def known(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the vectors that are already stored: here, by other ways of indexing, or by other knowledge bases."""
        with self._writing:
            found = self._store.known(digests)
        for path in self.others():
            wanted = [digest for digest in digests if digest not in found]
            if wanted:
                found.update(take_over(path, wanted))
        return found

    def keep(self, vectors: dict[bytes, bytes]) -> None:
        """Keep vectors whose documents are not written yet; `known` finds them, `save` lets go of them."""
        with self._writing:
            self._store.keep(vectors)

    def write(
        self,
        documents: Sequence[Pending],
        vectors: dict[bytes, bytes],
        how: IndexSpec,
        removed: Sequence[str] = (),
    ) -> None:
        """Replace the passages of documents in one transaction, then in the indexes.

        Words are found after `save`; when there is much to write, those that were written 5 seconds before are, too.
        """
        updates = [
            FileUpdate(
                item.path,
                item.digest,
                [Embedded(chunk, key, vectors[key]) for key, chunk in item.chunks],
                item.unit,
                item.properties,
            )
            for item in documents
        ]
        with self._writing:
            change = self._store.write(updates, removed)
            if self.graph is not None:
                self.graph.note(removed=bool(change.removed))
            self._vectors.remove(change.removed)
            self._vectors.add([one.id for one in change.added], self._decode([one.vector for one in change.added]))
            self._words.note(change)
            if self._vectors.is_large:
                self._build(how)

    def rebuild(self, how: IndexSpec) -> None:
        """Make both indexes anew from the store."""
        with self._writing:
            self._words.fill()
            self._build(how)

    def note(self, readings: Mapping[int, Reading]) -> None:
        """Write down that all that was read of sources is indexed, by their places among the sources."""
        with self._writing:
            known = self._store.sources()
            self._store.note_sources(noted(readings, self._recipe, known, partial(read_before, others(self._path))))

    def standing(self) -> Standing:
        """Return how it stands, but for what its knowledge base alone knows."""
        with self._writing:
            documents, passages, sources = len(self._store.files()), self._store.count(), self._store.sources()
        files = self._folder.glob(f"{self._recipe.name}*")
        words = self._path.with_suffix(".words").iterdir()
        base = self._vectors.base
        told = standings(self._recipe, sources)
        standing = Standing(
            documents,
            passages,
            sum(map(size, itertools.chain(files, words))),
            self._recipe.fingerprint,
            self._recipe.dimension,
            "flat" if base is None else base.head.shape,
            loose=self._vectors.loose,
            damage=self.damage,
            refreshed=min(one.read for one in told),
            sources=told,
            graph=None if self.graph is None else self.graph.standing(),
        )
        if base is None:
            return standing
        return msgspec.structs.replace(standing, depth=base.head.depth, recall=round(base.head.recall, 3))

    def save(self, how: IndexSpec, waiting: Collection[bytes] = ()) -> None:
        """Let all be found that was written; build a base of vectors when one is due; remove files nobody uses.

        Args:
            how: how vectors are compared.
            waiting: digests of what was embedded for documents that are not written: it stays.
        """
        with self._writing:
            self._words.commit()
            if self._vectors.is_due(how.shape(len(self))):
                self._build(how)
            marks = [self._words.words.mark, self._vectors.mark]
            self._store.forget(min((mark.change for mark in marks if mark is not None), default=0), waiting)
        OPENED.remove(others(self._path)[_KEPT - 1 :], remove_store)

    def _build(self, how: IndexSpec) -> None:
        """Make the base of vectors anew from the store, or do without one when there are few."""
        count = self._store.count()
        if count > LOOSE:
            self._vectors.build(self._rows, count, self._store.mark, how.shape(count), how.recall)
        else:
            self._vectors.clear()
            self._add_rows(0)

    def _rows(self, after: int = 0) -> "Iterator[tuple[Ids, Vectors]]":
        """Yield ids and vectors of the store, in parts."""
        import numpy as np  # noqa: PLC0415  # loaded with the vectors

        rows = self._store.vectors(after)
        while part := list(itertools.islice(rows, _PART)):
            yield np.array([ident for ident, _ in part], np.int64), self._decode([blob for _, blob in part])

    def _add_rows(self, after: int) -> None:
        for ids, vectors in self._rows(after):
            self._vectors.add(ids.tolist(), vectors)

    def others(self) -> list[Path]:
        """Return stores from which things may be taken over: of other ways of indexing, of other knowledge bases."""
        return [*others(self._path), *neighbours(self._path)]

    def search(self, questions: Sequence[Question]) -> list[list[tuple[Stored, float]]]:
        """Return for each question the best passages with their scores, best first; equal texts only once."""
        everywhere = iter(self._search([one for one in questions if not one.where]))
        return [
            self._passages(one, fused(one, self._parts(one))) if one.where else next(everywhere) for one in questions
        ]

    def answer(self, questions: Sequence[Question]) -> list[tuple[list[tuple[Stored, float]], tuple[str, ...]]]:
        """Return what `search` finds for each question; where that is nothing, what its filter asks for in vain."""
        found = zip(questions, self.search(questions), strict=True)
        return [(rows, () if rows or not one.where else self.unmet(one.where)) for one, rows in found]

    def _search(self, questions: Sequence[Question]) -> list[list[tuple[Stored, float]]]:
        """Return what is found for questions that look in all documents."""
        if not questions:
            return []
        limits = [one.wanted for one in questions]
        words = [self._begin_words(question, limit) for question, limit in zip(questions, limits, strict=True)]
        close = self._close_to(questions, max(limits))
        ranked = [
            fused(question, Parts(by_words(), near[:limit], *self._reached(question)))
            for question, by_words, near, limit in zip(questions, words, close, limits, strict=True)
        ]
        return [self._passages(question, pairs) for question, pairs in zip(questions, ranked, strict=True)]

    def _close_to(self, questions: Sequence[Question], limit: int) -> list[list[tuple[int, float]]]:
        """Return for each question the ids of the closest vectors, compared all at once."""
        import numpy as np  # noqa: PLC0415  # loaded with the vectors

        found: list[list[tuple[int, float]]] = [[] for _ in questions]
        asked = [(at, one.vector) for at, one in enumerate(questions) if one.vector is not None and one.vector.any()]
        if asked:
            rough = ROUGH if self._vectors.is_rough else 1
            near = self._vectors.search(np.stack([vector for _, vector in asked]), limit * rough)
            for (at, vector), pairs in zip(asked, near, strict=True):
                found[at] = list(pairs) if rough == 1 else self._compared([one.id for one in pairs], vector)[:limit]
        return found

    def _compared(self, ids: Sequence[int], vector: "Vectors") -> list[tuple[int, float]]:
        """Return ids by how close their stored vectors are, best first."""
        stored = self._store.vectors_of(ids)
        scores = self._decode(list(stored.values())) @ vector
        return sorted(zip(stored, scores.tolist(), strict=True), key=lambda pair: -pair[1])

    def unmet(self, where: Where) -> tuple[str, ...]:
        """Return what a filter asks for in vain, in sentences; nothing where a document fits it."""
        return self._store.unmet(where)

    def properties(self) -> frozenset[str]:
        """Return the names of all properties of all documents."""
        return self._store.properties()

    def origins(self, ids: Sequence[int]) -> dict[int, Origin]:
        """Return what passages are from; one that is gone is left out."""
        found = self._store.documents(ids)
        return {ident: Origin(path, content_digest(digest), said) for ident, (path, digest, said) in found.items()}

    def explain(self, question: Question) -> list[tuple[Stored, float, Sequence[Place | None]]]:
        """Return the best passages with their scores, and their places in the ranks of words, vectors and the graph."""
        parts = self._parts(question)
        seen: list[dict[int, Place]] = [
            {ident: Place(rank, score) for rank, (ident, score) in enumerate(ranked, 1)}
            for ranked in (parts.words, parts.close, parts.graph)
        ]
        found = self._passages(question, fused(question, parts))
        return [(row, score, [ranks.get(row.id) for ranks in seen]) for row, score in found]

    def seen(self, asked: Question) -> Seen:
        """Return what is in the passages that a question finds."""
        found = self._passages(asked, fused(asked, self._parts(asked)))
        stored = self._store.vectors_of([row.id for row, _ in found])
        found = [pair for pair in found if pair[0].id in stored]
        vectors = self._decode([stored[row.id] for row, _ in found])
        return seen_in(asked.text, asked.vector, found, vectors, self._words.words)

    def _parts(self, asked: Question) -> Parts:
        """Return what each part of a search finds; of a filtered question as much that fits, or all that there is."""
        allowed = self._store.within(asked.where) if asked.where else None
        if allowed is not None and not allowed:
            return Parts([], [], [])
        return Parts(*self._halves(asked, allowed), *self._reached(asked, allowed))

    def _reached(self, asked: Question, allowed: AbstractSet[int] | None = None) -> tuple[Ranked, float]:
        """Return the ranks of the graph, and how certain it is of them."""
        if self.graph is None or asked.graph is None:
            return NOTHING
        return self.graph.search(asked.text, asked.graph, asked.wanted, allowed)

    def _halves(self, asked: Question, allowed: AbstractSet[int] | None) -> tuple[Ranked, Ranked]:
        """Return the ranks of words and of vectors.

        The indexes know no documents: they are asked for more until enough of it is in those that are wanted.
        """
        wanted = asked.wanted
        size = max(1, len(self))  # it is 0 for a moment while all of it is replaced
        limit = wanted if allowed is None else min(wanted * 2 * size // len(allowed) + 1, size)
        exact: Ranked | None = None
        if allowed is not None and len(allowed) <= _EXACT and asked.vector is not None and asked.vector.any():
            exact = self._compared(sorted(allowed), asked.vector)[:wanted]
        while True:
            by_words = self._begin_words(asked, limit)
            close = exact if exact is not None else self._close_to([asked], limit)[0]
            words = by_words()
            if allowed is None:
                return words[:wanted], close[:wanted]
            halves = [[pair for pair in ranked if pair[0] in allowed] for ranked in (words, close)]
            whole = [
                ranked is exact or len(ranked) < limit or len(kept) >= wanted
                for ranked, kept in zip((words, close), halves, strict=True)
            ]
            if limit >= size or all(whole):
                return halves[0][:wanted], halves[1][:wanted]
            limit = min(limit * _MORE, size)

    def _begin_words(self, asked: Question, limit: int) -> Callable[[], Ranked]:
        """Return what gives the ranks of words; where there is much, they are looked up meanwhile in another thread."""
        if asked.how.mode != "hybrid" or len(self) < _SIDE_BY_SIDE:
            return partial(self._by_words, asked, limit)
        return self._lookups.submit(self._by_words, asked, limit).result

    def _by_words(self, asked: Question, limit: int) -> Ranked:
        """Return the ranks of words; none where only vectors are searched."""
        terms = asked.terms or asked.text
        return [] if asked.how.mode == "vector" else self._words.words.search(terms, limit, asked.how.title_weight)

    def _passages(self, asked: Question, ranked: list[tuple[int, float]]) -> list[tuple[Stored, float]]:
        limit, found, texts = asked.limit, list[tuple[Stored, float]](), set[str]()
        if asked.how.diversity:
            ranked = self._spread(asked, ranked)
        for at in range(0, len(ranked), 2 * limit):
            part = [pair for pair in ranked[at : at + 2 * limit] if pair[1] >= asked.how.min_score]
            rows = self._store.get([ident for ident, _ in part])
            for ident, score in part:
                row = rows.get(ident)
                if row is not None and row.chunk.text not in texts:
                    texts.add(row.chunk.text)
                    found.append((row, score))
            if len(found) >= limit:
                break
        return found[:limit]

    def _spread(self, asked: Question, ranked: list[tuple[int, float]]) -> list[tuple[int, float]]:
        """Return what may be found in an order in which passages differ from those before them."""
        stored = self._store.vectors_of([ident for ident, score in ranked if score >= asked.how.min_score])
        pairs = [pair for pair in ranked if pair[0] in stored]
        if len(pairs) <= 1:
            return pairs
        vectors = self._decode([stored[ident] for ident, _ in pairs])
        places = spread([score for _, score in pairs], vectors, asked.how.diversity, 2 * asked.limit)
        return [pairs[place] for place in places]

    def _open_vectors(self, how: IndexSpec) -> None:
        """Bring the index of vectors up to the store; a base that is damaged or missing is built anew."""
        try:
            self._vectors.load(self._store.mark.store)
        except Damaged as error:
            _log.warning("%s; made anew from the chunk store", error)
        known = self._vectors.mark
        if known is None or known.change > self._store.mark.change:
            self._build(how)
        else:
            self._vectors.remove(self._store.removed(known))
            self._add_rows(known.last)

    def _decode(self, blobs: Sequence[bytes]) -> "Vectors":
        import numpy as np  # noqa: PLC0415  # loaded with the vectors

        return np.frombuffer(b"".join(blobs), "<f2").reshape(len(blobs), self._recipe.dimension).astype(np.float32)


OPENED: Opened[Index] = Opened()
"""The indexes that are open in this process, by the paths of their stores."""
