"""Where passages are kept: one SQLite file with text, words (FTS5), and vectors; every batch is one transaction.

Whatever moment the process dies at, a file's passages are all there or not at all. The content can always be made
anew from the documents, so a damaged file is a reason to index again, never to lose anything. All calls block and
belong to the thread that opened the store.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loomd.errors import Damaged
from loomd.knowledge.chunk import Chunk
from loomd.knowledge.formats.base import Unit

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA foreign_keys = ON;
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY CHECK (id = 1), generation TEXT NOT NULL);
INSERT OR IGNORE INTO state VALUES (1, lower(hex(randomblob(16))));
CREATE TABLE IF NOT EXISTS file (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, digest TEXT NOT NULL,
    unit TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS chunk (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    file INTEGER NOT NULL REFERENCES file ON DELETE CASCADE,
    title TEXT NOT NULL, text TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    digest BLOB NOT NULL, vector BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS chunk_file ON chunk (file);
CREATE INDEX IF NOT EXISTS chunk_digest ON chunk (digest);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (
    title, text, content = 'chunk', content_rowid = 'id', tokenize = 'porter unicode61'
);
CREATE TRIGGER IF NOT EXISTS chunk_added AFTER INSERT ON chunk BEGIN
    INSERT INTO words (rowid, title, text) VALUES (new.id, new.title, new.text);
END;
CREATE TRIGGER IF NOT EXISTS chunk_removed AFTER DELETE ON chunk BEGIN
    INSERT INTO words (words, rowid, title, text) VALUES ('delete', old.id, old.title, old.text);
END;
COMMIT;
"""

_BUSY_SECONDS = 30.0  # how long another process' transaction may take before ours gives up
_SHARED = 500  # values in one IN (...) list; old SQLite builds allow 999


@dataclass(frozen=True, slots=True)
class Embedded:
    """A chunk with its vector as bytes (float16, little-endian) and the digest of what was embedded."""

    chunk: Chunk
    digest: bytes
    vector: bytes


@dataclass(frozen=True, slots=True)
class FileUpdate:
    """All chunks of one file; `digest` is that of its content and of how it was indexed."""

    path: str
    digest: str
    chunks: Sequence[Embedded]
    unit: Unit = "line"


@dataclass(frozen=True, slots=True)
class Change:
    """What a transaction did to the set of chunks. `added` holds id and vector of each."""

    removed: list[int]
    added: list[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Stored:
    """A chunk as it was stored, with the path of its file and what its places count."""

    path: str
    chunk: Chunk
    unit: Unit = "line"


class ChunkStore:
    """The passages of one knowledge base."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises:
            Damaged: the file is no SQLite database, or is broken.
        """
        self.path = path
        self._db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            self._db.executescript(_SCHEMA)
            self._check()
        except sqlite3.OperationalError:
            self._db.close()
            raise
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise Damaged(f"{path}: {error}") from error

    def _check(self) -> None:
        found = str(self._db.execute("PRAGMA quick_check(1)").fetchone()[0])
        if found != "ok":
            raise sqlite3.DatabaseError(found)

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    @property
    def generation(self) -> str:
        """Return a text that changes with every change of the chunks."""
        return str(self._db.execute("SELECT generation FROM state").fetchone()[0])

    def count(self) -> int:
        """Return the number of chunks."""
        return int(self._db.execute("SELECT count(*) FROM chunk").fetchone()[0])

    def files(self) -> dict[str, str]:
        """Return the digest of every indexed file by path."""
        return dict(self._db.execute("SELECT path, digest FROM file"))

    def known(self, digests: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the stored vectors of those digests that were embedded before."""
        found: dict[bytes, bytes] = {}
        wanted = list(dict.fromkeys(digests))
        for at in range(0, len(wanted), _SHARED):
            part = wanted[at : at + _SHARED]
            marks = ",".join("?" * len(part))
            found.update(self._db.execute(f"SELECT digest, vector FROM chunk WHERE digest IN ({marks})", part))  # noqa: S608  # only question marks
        return found

    def write(self, updates: Sequence[FileUpdate], removed: Sequence[str] = ()) -> Change:
        """Replace the chunks of files and remove other files, in one transaction."""
        gone: list[int] = []
        added: list[tuple[int, bytes]] = []
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for path in [*removed, *(update.path for update in updates)]:
                gone += self._remove(path)
            for update in updates:
                added += self._add(update)
            self._db.execute("UPDATE state SET generation = lower(hex(randomblob(16)))")
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        return Change(gone, added)

    def _remove(self, path: str) -> list[int]:
        query = "SELECT chunk.id FROM chunk JOIN file ON file.id = chunk.file WHERE path = ?"
        ids = [int(row[0]) for row in self._db.execute(query, (path,))]
        self._db.execute("DELETE FROM file WHERE path = ?", (path,))
        return ids

    def _add(self, update: FileUpdate) -> Iterator[tuple[int, bytes]]:
        values = (update.path, update.digest, update.unit)
        file = self._db.execute("INSERT INTO file (path, digest, unit) VALUES (?, ?, ?)", values).lastrowid
        insert = "INSERT INTO chunk (file, title, text, first, last, digest, vector) VALUES (?, ?, ?, ?, ?, ?, ?)"
        for item in update.chunks:
            cut = item.chunk
            row = (file, cut.title, cut.text, cut.first, cut.last, item.digest, item.vector)
            yield int(self._db.execute(insert, row).lastrowid or 0), item.vector

    def vectors(self) -> Iterator[tuple[int, bytes]]:
        """Yield id and vector of every chunk, by id."""
        yield from self._db.execute("SELECT id, vector FROM chunk ORDER BY id")

    def find_words(self, expression: str, limit: int, title_weight: float) -> list[tuple[int, float]]:
        """Return ids with their BM25 score (from 0, higher is better) for an FTS5 expression, best first."""
        query = "SELECT rowid, -bm25(words, ?, 1.0) AS score FROM words WHERE words MATCH ? ORDER BY score DESC LIMIT ?"
        return list(self._db.execute(query, (title_weight, expression, limit)))

    def get(self, ids: Sequence[int]) -> dict[int, Stored]:
        """Return chunks by id; an id that is gone is left out."""
        marks = ",".join("?" * len(ids))
        query = (
            "SELECT chunk.id, path, unit, title, text, first, last FROM chunk JOIN file ON file.id = chunk.file "  # noqa: S608  # only question marks
            f"WHERE chunk.id IN ({marks})"
        )
        rows = self._db.execute(query, list(ids))
        return {ident: Stored(path, Chunk(*cut), unit) for ident, path, unit, *cut in rows}
