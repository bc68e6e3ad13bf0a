"""The blocking half of a knowledge base: chunk store and vector index, kept equal, and searched together.

Everything here runs in the one thread that the live knowledge base owns; what needs the event loop (embedding,
events) is done by `loomd.knowledge.knowledge` between the calls.

A way of indexing (how documents are cut, by which embedder they are embedded, from which sources) has a file of its
own, so that a changed manifest is indexed beside the one that still serves. Vectors are taken over by content.
"""

import hashlib
import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from loomd.errors import Damaged
from loomd.knowledge.base import Chunking, Retrieval
from loomd.knowledge.chunk import Chunk, cut
from loomd.knowledge.faiss_index import VectorIndex, load
from loomd.knowledge.formats.base import BadDocument, Unit
from loomd.knowledge.hybrid import fuse
from loomd.knowledge.ingest import Document, Library, Unreadable
from loomd.knowledge.query import match_expression
from loomd.knowledge.sources.base import DocumentSource
from loomd.knowledge.store import ChunkStore, Embedded, FileUpdate, Stored

if TYPE_CHECKING:
    from loomd.knowledge.base import Vectors

_log = logging.getLogger("loomd.knowledge")

_LAYOUT = "2"  # of the store; raised when what is stored or embedded changes, so that everything is indexed anew
_KEPT = 2  # ways of indexing that stay on disk: the current one, and the one a rollback would want


@dataclass(frozen=True)
class Recipe:
    """How documents become passages and vectors; equal recipes make equal stores from equal documents."""

    sources: Sequence[DocumentSource]
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
    unit: Unit = "line"


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


_in_use: Counter[Path] = Counter()
"""The stores that are open in this process, which nobody removes: a set that serves, and one that may follow it."""
_using = threading.Lock()


class Index:
    """Passages and vectors of one knowledge base."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self._recipe = recipe
        self._folder = folder
        self._store = _open_store(folder / f"{recipe.name}.db")
        with _using:
            _in_use[self._store.path] += 1
        self._saved = folder / f"{recipe.name}.faiss"
        self._dirty = False
        self._vectors = self._load_vectors()

    def close(self) -> None:
        """Save the vectors and release the files."""
        try:
            with closing(self._store):
                self.save()
        finally:
            with _using:
                _in_use[self._store.path] -= 1

    def __len__(self) -> int:
        """Return the number of passages."""
        return len(self._vectors)

    def survey(self, library: Library) -> Survey:
        """Read the documents, compare them with the store, and cut what is new.

        Raises:
            NotFound: a source has no document; the store keeps what it has.
        """
        known = self._store.files()
        survey = Survey()
        seen: set[str] = set()
        for item in library.documents():
            seen.add(item.path)
            if isinstance(item, Document) and known.get(item.path) == item.digest:
                continue
            found = item if isinstance(item, Unreadable) else self._cut(item, library)
            if isinstance(found, Unreadable):
                survey.unreadable.append(found)
            else:
                survey.changed.append(found)
        survey.unreadable += library.missed()
        survey.removed = sorted(known.keys() - seen)
        return survey

    def _cut(self, document: Document, library: Library) -> Pending | Unreadable:
        try:
            content = library.content(document)
            chunks = cut(document.path, content, self._recipe.chunking)
        except BadDocument as error:
            return Unreadable(document.path, str(error))
        keyed = [(self._recipe.embedded_as(chunk), chunk) for chunk in chunks]
        return Pending(document.path, document.digest, keyed, content.unit)

    def known(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the vectors that are already stored, here or by an earlier way of indexing."""
        found = self._store.known(digests)
        for path in self._others():
            wanted = [digest for digest in digests if digest not in found]
            if wanted:
                found.update(_borrow(path, wanted))
        return found

    def write(self, documents: Sequence[Pending], vectors: dict[bytes, bytes], removed: Sequence[str] = ()) -> None:
        """Replace the passages of documents in one transaction, then in the vector index."""
        updates = [
            FileUpdate(
                item.path, item.digest, [Embedded(chunk, key, vectors[key]) for key, chunk in item.chunks], item.unit
            )
            for item in documents
        ]
        change = self._store.write(updates, removed)
        self._dirty = True
        self._vectors.remove(change.removed)
        self._vectors.add([ident for ident, _ in change.added], self._decode([blob for _, blob in change.added]))

    def save(self) -> None:
        """Save the vectors if they changed, and remove the oldest ways of indexing that nobody uses."""
        if self._dirty:
            self._vectors.save(self._saved, self._store.generation)
            self._dirty = False
        with _using:
            for path in self._others()[_KEPT - 1 :]:
                if not _in_use[path]:
                    _remove_store(path)

    def _others(self) -> list[Path]:
        """Return the stores of other ways of indexing, the latest used first."""
        paths = [path for path in self._folder.glob("*.db") if path != self._store.path]
        return sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)

    def search(self, query: str, vector: "Vectors | None", how: Retrieval, limit: int) -> list[tuple[Stored, float]]:
        """Return the best passages with their scores, best first; equal texts only once.

        Args:
            query: the question.
            vector: its vector, `(dimension,)`, or None when only words are searched.
            how: mode and weights.
            limit: how many to return.
        """
        ranked = self._rank(query, vector, how, max(how.candidates, 2 * limit))
        found: list[tuple[Stored, float]] = []
        texts: set[str] = set()
        for at in range(0, len(ranked), 2 * limit):
            part = [pair for pair in ranked[at : at + 2 * limit] if pair[1] >= how.min_score]
            rows = self._store.get([ident for ident, _ in part])
            for ident, score in part:
                row = rows.get(ident)
                if row is not None and row.chunk.text not in texts:
                    texts.add(row.chunk.text)
                    found.append((row, score))
            if len(found) >= limit:
                break
        return found[:limit]

    def _rank(self, query: str, vector: "Vectors | None", how: Retrieval, limit: int) -> list[tuple[int, float]]:
        words: list[tuple[int, float]] = []
        if how.mode != "vector" and (expression := match_expression(query)):
            words = self._store.find_words(expression, limit, how.title_weight)
        if vector is None or not vector.any():
            return words
        close = self._vectors.search(vector, limit)
        if how.mode == "vector":
            return close
        halves = [([i for i, _ in words], how.keyword_weight), ([i for i, _ in close], how.vector_weight)]
        return fuse(halves, how.rrf_k)

    def _load_vectors(self) -> VectorIndex:
        """Return the saved index, or one made from the stored vectors when the saved one does not fit."""
        try:
            saved = load(self._saved, self._store.generation, self._recipe.dimension)
        except Damaged as error:
            _log.warning("%s; made anew from the chunk store", error)
            saved = None
        if saved is not None:
            return saved
        index = VectorIndex(self._recipe.dimension)
        rows = list(self._store.vectors())
        index.add([ident for ident, _ in rows], self._decode([blob for _, blob in rows]))
        self._dirty = bool(rows)
        return index

    def _decode(self, blobs: Sequence[bytes]) -> "Vectors":
        import numpy as np  # noqa: PLC0415  # loaded with FAISS

        return np.frombuffer(b"".join(blobs), "<f2").reshape(len(blobs), self._recipe.dimension).astype(np.float32)


def encode(vectors: "Vectors") -> list[bytes]:
    """Return the stored form of each row."""
    return [row.tobytes() for row in vectors.astype("<f2")]


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
    """Return vectors from the store of another way of indexing; none when it cannot be read."""
    try:
        with closing(ChunkStore(path)) as store:
            return store.known(digests)
    except (Damaged, sqlite3.Error) as error:
        _log.warning("%s: nothing taken over from it: %s", path, error)
        return {}


def _remove_store(path: Path) -> None:
    for suffix in (".db", ".db-wal", ".db-shm", ".faiss"):
        path.with_suffix(suffix).unlink(missing_ok=True)


def _digest(*parts: str) -> bytes:
    """Return 16 bytes that differ for different lists of texts."""
    joined = b"".join(b"%d:%s" % (len(data), data) for data in (part.encode() for part in parts))
    return hashlib.sha256(joined).digest()[:16]
