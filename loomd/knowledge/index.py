"""The blocking half of a knowledge base: chunk store, index of words, index of vectors, kept equal, searched together.

The store is the truth; both indexes are made from it and catch up when it opens. Whoever changes an index does it in a
thread of its own; searches run in the index's own threads meanwhile, and see what was there when they began. What needs
the event loop (embedding, events) is done by `loomd.knowledge.knowledge` between the calls.

A way of indexing (how documents are cut, by which embedder they are embedded, from which sources) has files of its
own, so that a changed manifest is indexed beside the one that still serves. Vectors are taken over by content, from
other ways and from other knowledge bases.
"""

import asyncio
import hashlib
import logging
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loomd.errors import Damaged
from loomd.knowledge.base import Chunking, FilesSource, IndexSpec, Retrieval
from loomd.knowledge.chunk import Chunk, cut
from loomd.knowledge.diversity import spread
from loomd.knowledge.faiss_index import ROUGH
from loomd.knowledge.hybrid import blend, fuse
from loomd.knowledge.ingest import Document, Unreadable, read_all
from loomd.knowledge.store import ChunkStore, Embedded, FileUpdate, Stored, borrow
from loomd.knowledge.vectors import LOOSE, VectorIndex
from loomd.knowledge.words import WordIndex

if TYPE_CHECKING:
    from loomd.knowledge.base import Vectors
    from loomd.knowledge.faiss_index import Ids

_log = logging.getLogger("loomd.knowledge")

_LAYOUT = "2"  # of the store; raised when what is stored or embedded changes, so that everything is indexed anew
_KEPT = 2  # ways of indexing that stay on disk: the current one, and the one a rollback would want
_READERS = 2
_UNCOMMITTED = 20_000
"""Chunks that may wait for a commit of the index of words while documents are read."""
_PART = 10_000
"""Vectors that are read from the store at a time."""


@dataclass(frozen=True)
class Recipe:
    """How documents become passages and vectors; equal recipes make equal stores from equal documents."""

    sources: Sequence[FilesSource]
    chunking: Chunking
    fingerprint: str
    dimension: int

    @property
    def name(self) -> str:
        """Return the name of this recipe's files: the same settings, the same name."""
        parts = [_LAYOUT, self.fingerprint, str(self.dimension), self.chunking.model_dump_json()]
        return _digest(*parts, *(source.model_dump_json() for source in self.sources)).hex()[:16]

    def embedded_as(self, chunk: Chunk) -> bytes:
        """Return the digest of what is embedded for a chunk, and by what."""
        return _digest(self.fingerprint, str(self.dimension), embedded_text(chunk))


def embedded_text(chunk: Chunk) -> str:
    """Return what is embedded for a chunk: its headings and its text."""
    return f"{chunk.title}\n{chunk.text}"


@dataclass(frozen=True)
class Pending:
    """A document that is new or changed, cut into chunks."""

    path: str
    digest: str
    chunks: Sequence[tuple[bytes, Chunk]]


@dataclass
class Survey:
    """What differs between the documents and the store."""

    changed: list[Pending] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)

    @property
    def chunks(self) -> int:
        """Return the number of chunks to index."""
        return sum(len(item.chunks) for item in self.changed)


class Question(NamedTuple):
    """What is searched for.

    Attributes:
        text: the question.
        vector: its vector, `(dimension,)`, or None when only words are searched.
        how: mode and weights.
        limit: how many passages to return.
    """

    text: str
    vector: "Vectors | None"
    how: Retrieval
    limit: int


class Index:
    """Passages, words and vectors of one knowledge base; shared by all that open the same files.

    Attributes:
        readers: the threads in which it is searched.
        refreshing: held by whoever brings it up to date.
    """

    def __init__(self, folder: Path, recipe: Recipe, how: IndexSpec) -> None:
        self._recipe = recipe
        self._folder = folder
        self._path = folder / f"{recipe.name}.db"
        self._writing = threading.RLock()
        self._uncommitted = 0
        self._store = _open_store(self._path)
        try:
            self._words = self._open_words()
            self._vectors = VectorIndex(recipe.dimension, folder / recipe.name)
            self._open_vectors(how)
        except BaseException:
            self._store.close()
            raise
        self.readers = ThreadPoolExecutor(_READERS, "knowledge-search")
        self.refreshing = asyncio.Lock()

    def close(self) -> None:
        """Save what is not yet saved, and release the files."""
        self.readers.shutdown()
        with self._writing:
            try:
                self._commit_words()
                self._words.settle()
            finally:
                self._store.close()

    def __len__(self) -> int:
        """Return the number of passages."""
        return len(self._vectors)

    def survey(self, root: Path) -> Survey:
        """Read the documents, compare them with the store, and cut what is new.

        Raises:
            NotFound: a source has no document; the store keeps what it has.
        """
        with self._writing:
            known = self._store.files()
        survey = Survey()
        seen: set[str] = set()
        for item in read_all(root, self._recipe.sources):
            seen.add(item.path)
            if isinstance(item, Unreadable):
                survey.unreadable.append(item)
            elif known.get(item.path) != (digest := hashlib.sha256(item.data).hexdigest()):
                survey.changed.append(self._cut(item, digest))
        survey.removed = sorted(known.keys() - seen)
        return survey

    def _cut(self, document: Document, digest: str) -> Pending:
        chunks = cut(document.path, document.text, self._recipe.chunking)
        return Pending(document.path, digest, [(self._recipe.embedded_as(chunk), chunk) for chunk in chunks])

    def known(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the vectors that are already stored: here, by other ways of indexing, or by other knowledge bases."""
        with self._writing:
            found = self._store.known(digests)
        for path in [*self._others(), *self._neighbours()]:
            wanted = [digest for digest in digests if digest not in found]
            if wanted:
                found.update(_borrow(path, wanted))
        return found

    def write(
        self,
        documents: Sequence[Pending],
        vectors: dict[bytes, bytes],
        how: IndexSpec,
        removed: Sequence[str] = (),
    ) -> None:
        """Replace the passages of documents in one transaction, then in the indexes; words are found after `save`."""
        updates = [
            FileUpdate(item.path, item.digest, [Embedded(chunk, key, vectors[key]) for key, chunk in item.chunks])
            for item in documents
        ]
        with self._writing:
            change = self._store.write(updates, removed)
            self._vectors.remove(change.removed)
            self._vectors.add([one.id for one in change.added], self._decode([one.vector for one in change.added]))
            self._words.remove(change.removed)
            self._words.add(change.added)
            self._uncommitted += len(change.removed) + len(change.added)
            if self._uncommitted > _UNCOMMITTED:
                self._commit_words()
            if self._vectors.is_large:
                self._build(how)

    def save(self, how: IndexSpec) -> None:
        """Let all be found that was written; build a base of vectors when one is due; remove files nobody uses."""
        with self._writing:
            self._commit_words()
            if self._vectors.is_due(how.shape(len(self))):
                self._build(how)
            marks = [self._words.mark, self._vectors.mark]
            self._store.forget(min((mark.change for mark in marks if mark is not None), default=0))
        with _registry:
            for path in self._others()[_KEPT - 1 :]:
                if path not in _open:
                    _remove_store(path)

    def _commit_words(self) -> None:
        if self._uncommitted:
            self._words.commit(self._store.mark)
            self._uncommitted = 0

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
        while part := list(islice(rows, _PART)):
            yield np.array([ident for ident, _ in part], np.int64), self._decode([blob for _, blob in part])

    def _add_rows(self, after: int) -> None:
        for ids, vectors in self._rows(after):
            self._vectors.add(ids.tolist(), vectors)

    def _others(self) -> list[Path]:
        """Return the stores of other ways of indexing, the latest used first."""
        paths = [path for path in self._folder.glob("*.db") if path != self._path]
        return sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)

    def _neighbours(self) -> list[Path]:
        """Return the stores of other knowledge bases, in the folders `NAMESPACE/NAME` beside this one's."""
        return [path for path in sorted(self._folder.parents[1].glob("*/*/*.db")) if path.parent != self._folder]

    def search(self, questions: Sequence[Question]) -> list[list[tuple[Stored, float]]]:
        """Return for each question the best passages with their scores, best first; equal texts only once."""
        limits = [max(one.how.candidates, 2 * one.limit) for one in questions]
        close = self._close_to(questions, max(limits))
        ranked = [
            self._rank(question, near, limit) for question, near, limit in zip(questions, close, limits, strict=True)
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

    def _rank(self, asked: Question, close: list[tuple[int, float]], limit: int) -> list[tuple[int, float]]:
        how = asked.how
        if how.mode == "vector":
            return close[:limit]
        words = self._words.search(asked.text, limit, how.title_weight)
        if how.mode == "keyword" or asked.vector is None or not asked.vector.any():
            return words
        halves = [(words, how.keyword_weight), (close[:limit], how.vector_weight)]
        return fuse(halves, how.rrf_k) if how.fusion == "ranks" else blend(halves, how.sharpness, limit)

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

    def _open_words(self) -> WordIndex:
        """Return the index of words, brought up to the store; one that is damaged is made anew."""
        folder = self._path.with_suffix(".words")
        try:
            words = WordIndex(folder)
        except Damaged as error:
            _log.warning("%s; made anew from the chunk store", error)
            shutil.rmtree(folder)
            words = WordIndex(folder)
        now, known = self._store.mark, words.mark
        if known == now:
            return words
        if known is None or known.store != now.store:
            words.clear()
            words.add(self._store.added())
        else:
            words.remove(self._store.removed(known))
            words.add(self._store.added(known.last))
        words.commit(now)
        words.settle()
        return words

    def _open_vectors(self, how: IndexSpec) -> None:
        """Bring the index of vectors up to the store; a base that is damaged or missing is built anew."""
        try:
            self._vectors.load(self._store.mark.store)
        except Damaged as error:
            _log.warning("%s; made anew from the chunk store", error)
        if self._vectors.base is None:
            self._build(how)
        else:
            known = self._vectors.base.head.mark
            self._vectors.remove(self._store.removed(known))
            self._add_rows(known.last)

    def _decode(self, blobs: Sequence[bytes]) -> "Vectors":
        import numpy as np  # noqa: PLC0415  # loaded with the vectors

        return np.frombuffer(b"".join(blobs), "<f2").reshape(len(blobs), self._recipe.dimension).astype(np.float32)


def encode(vectors: "Vectors") -> list[bytes]:
    """Return the stored form of each row."""
    return [row.tobytes() for row in vectors.astype("<f2")]


class _Entry:
    """An index that is open, or about to be, and how many use it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.index: Index | None = None
        self.users = 0


_open: dict[Path, _Entry] = {}
"""What is open in this process, by the path of its store: a set that serves and one that may follow it share it."""
_registry = threading.Lock()


def acquire(folder: Path, recipe: Recipe, how: IndexSpec) -> Index:
    """Return the index of a way of indexing, opened when nobody has it open; whoever gets it releases it."""
    with _registry:
        entry = _open.setdefault(folder / f"{recipe.name}.db", _Entry())
        entry.users += 1
    try:
        with entry.lock:
            if entry.index is None:
                entry.index = Index(folder, recipe, how)
            return entry.index
    except BaseException:
        release(folder, recipe)
        raise


def release(folder: Path, recipe: Recipe) -> None:
    """Close an index when nobody else uses it."""
    path = folder / f"{recipe.name}.db"
    entry = _open[path]
    with entry.lock:
        with _registry:
            entry.users -= 1
            index = entry.index if entry.users == 0 else None
        if index is not None:
            entry.index = None
            index.close()
        with _registry:
            if entry.users == 0:
                _open.pop(path, None)


def _open_store(path: Path) -> ChunkStore:
    """Open a store, or begin a new one when it is damaged: all that it held is in the documents."""
    try:
        store = ChunkStore(path)
    except Damaged as error:
        _log.warning("%s; indexing the documents anew", error)
        _remove_store(path)
        store = ChunkStore(path)
    path.touch()
    return store


def _borrow(path: Path, digests: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return vectors from another store; none when it cannot be read."""
    try:
        return borrow(path, digests)
    except sqlite3.Error as error:
        _log.info("%s: nothing taken over from it: %s", path, error)
        return {}


def _remove_store(path: Path) -> None:
    for suffix in (".db", ".db-wal", ".db-shm", ".base"):
        path.with_suffix(suffix).unlink(missing_ok=True)
    for file in path.parent.glob(f"{path.stem}-*.faiss"):
        file.unlink(missing_ok=True)
    shutil.rmtree(path.with_suffix(".words"), ignore_errors=True)


def _digest(*parts: str) -> bytes:
    """Return 16 bytes that differ for different lists of texts."""
    joined = b"".join(b"%d:%s" % (len(data), data) for data in (part.encode() for part in parts))
    return hashlib.sha256(joined).digest()[:16]
