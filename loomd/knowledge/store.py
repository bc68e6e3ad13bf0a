"""Where passages are kept: one SQLite file with texts and vectors; every batch is one transaction.

It is the truth: the indexes of words and of vectors are made from it, and say up to which change they know it. Whatever
moment the process dies at, a file's passages are all there or not at all. One thread writes at a time; any number may
read, each over a connection of its own, and sees the last transaction.
"""

import json
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from loomd.errors import Damaged
from loomd.knowledge.chunk import Chunk
from loomd.knowledge.filter import Where, fits, unmet
from loomd.knowledge.formats.base import Unit, Value
from loomd.knowledge.graph_store import GraphStore
from loomd.vectors.faiss_index import Mark

Properties = Mapping[str, Value | list[Value]]
"""What is known of a document."""

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA foreign_keys = ON;
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS state (
    id INTEGER PRIMARY KEY CHECK (id = 1), store TEXT NOT NULL, change INTEGER NOT NULL, rows INTEGER NOT NULL
);
INSERT OR IGNORE INTO state VALUES (1, lower(hex(randomblob(16))), 0, 0);
CREATE TABLE IF NOT EXISTS file (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, digest TEXT NOT NULL, unit TEXT NOT NULL,
    properties TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS chunk (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    file INTEGER NOT NULL REFERENCES file ON DELETE CASCADE,
    title TEXT NOT NULL, text TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, digest BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS chunk_file ON chunk (file);
CREATE INDEX IF NOT EXISTS chunk_digest ON chunk (digest);
CREATE TABLE IF NOT EXISTS vector (
    id INTEGER PRIMARY KEY REFERENCES chunk ON DELETE CASCADE, data BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS early (digest BLOB PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS source (
    name TEXT PRIMARY KEY, digest TEXT NOT NULL, documents INTEGER NOT NULL, read REAL NOT NULL, changed REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS removed (id INTEGER PRIMARY KEY, change INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS removed_change ON removed (change);
COMMIT;
"""

_BUSY_SECONDS = 30.0  # how long another process' transaction may take before ours gives up
_SHARED = 500  # values in one IN (...) list; old SQLite builds allow 999
_CHECKED = 64 << 20
"""Bytes up to which a file is looked through when it opens; a larger one is afterwards, which takes seconds."""
_KNOWN = (
    "SELECT digest, data FROM chunk JOIN vector ON vector.id = chunk.id WHERE digest IN",
    "SELECT digest, data FROM early WHERE digest IN",
)


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
    properties: Properties = field(default_factory=dict)


class SourceRow(NamedTuple):
    """What is known of a source: a digest of its documents, how many there are, when it was read, when they changed."""

    digest: str
    documents: int
    read: float
    changed: float


class Added(NamedTuple):
    """A chunk that is new: its id, what words are found in, and its vector."""

    id: int
    title: str
    text: str
    vector: bytes


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to the set of chunks."""

    removed: Sequence[int]
    added: Sequence[Added]


@dataclass(frozen=True, slots=True)
class Stored:
    """A chunk as it was stored, with its id, the path of its file, and what its places count."""

    id: int
    path: str
    chunk: Chunk
    unit: Unit = "line"


class ChunkStore:
    """The passages of one knowledge base.

    Attributes:
        graph: the tables of its graph; None without.
        is_checked: whether it was looked through for damage.
    """

    def __init__(self, path: Path, *, linked: bool = False, suspect: bool = False) -> None:
        """Open or create the file.

        Args:
            path: where it is.
            linked: whether it holds a graph, too.
            suspect: look it through however large it is.

        Raises:
            Damaged: the file is no SQLite database, or is broken.
        """
        self.path = path
        self._db = _connect(path)
        self._readers = threading.local()
        self._reading: list[sqlite3.Connection] = []
        self._checking: sqlite3.Connection | None = None
        self._properties: tuple[int, frozenset[str]] | None = None
        self._within: tuple[int, Where, frozenset[int]] | None = None
        try:
            self._db.executescript(_SCHEMA)
            self.graph = GraphStore(self._db, self._reader) if linked else None
            self.is_checked = suspect or path.stat().st_size <= _CHECKED
            if self.is_checked:
                _check(self._db)
        except sqlite3.OperationalError:
            self._db.close()
            raise
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise Damaged(f"{path}: {error}") from error

    def look_through(self) -> str:
        """Return what is wrong with the file; nothing when all is well, or it is closed meanwhile.

        It is read over a connection of its own, while others search and write.
        """
        self.is_checked = True
        with closing(_connect(self.path)) as db:
            self._checking = db
            try:
                _check(db)
            except sqlite3.OperationalError:  # interrupted
                return ""
            except sqlite3.DatabaseError as error:
                return str(error)
            finally:
                self._checking = None
        return ""

    def close(self) -> None:
        """Release the file."""
        checking = self._checking
        if checking is not None:
            with suppress(sqlite3.ProgrammingError):  # it has just ended
                checking.interrupt()
        for db in [*self._reading, self._db]:
            db.close()

    @property
    def mark(self) -> Mark:
        """Return how far the store is."""
        query = (
            "SELECT store, change, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'chunk'), 0)"
            " FROM state WHERE id = 1"
        )
        return Mark(*self._db.execute(query).fetchone())

    def count(self) -> int:
        """Return the number of chunks."""
        return int(self._db.execute("SELECT rows FROM state").fetchone()[0])

    def files(self) -> dict[str, str]:
        """Return the digest of every indexed file by path."""
        return dict(self._db.execute("SELECT path, digest FROM file"))

    def sources(self) -> dict[str, SourceRow]:
        """Return what is known of sources, by their names."""
        return _sources(self._db)

    def note_sources(self, rows: Mapping[str, SourceRow]) -> None:
        """Write down what is known of sources, by their names."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            values = [(name, *row) for name, row in rows.items()]
            self._db.executemany("INSERT OR REPLACE INTO source VALUES (?, ?, ?, ?, ?)", values)

    def known(self, digests: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the stored vectors of those digests that were embedded before."""
        return _known(self._db, digests)

    def keep(self, vectors: Mapping[bytes, bytes]) -> None:
        """Keep vectors, by the digests of what was embedded, whose chunks are not written yet."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO early VALUES (?, ?)", vectors.items())

    def write(self, updates: Sequence[FileUpdate], removed: Sequence[str] = ()) -> Change:
        """Replace the chunks of files and remove other files, in one transaction."""
        gone: list[int] = []
        added: list[Added] = []
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for path in [*removed, *(update.path for update in updates)]:
                gone += self._remove(path)
            for update in updates:
                added += self._add(update)
            self._db.execute(
                "UPDATE state SET change = change + 1, rows = rows + ? WHERE id = 1", (len(added) - len(gone),)
            )
            change = self._db.execute("SELECT change FROM state").fetchone()[0]
            self._db.executemany("INSERT INTO removed VALUES (?, ?)", [(ident, change) for ident in gone])
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        return Change(gone, added)

    def _remove(self, path: str) -> list[int]:
        query = "SELECT chunk.id FROM chunk JOIN file ON file.id = chunk.file WHERE path = ?"
        ids = [int(row[0]) for row in self._db.execute(query, (path,))]
        if self.graph is not None:
            self.graph.unlink(ids)
        self._db.execute("DELETE FROM file WHERE path = ?", (path,))
        return ids

    def _add(self, update: FileUpdate) -> Iterator[Added]:
        values = (update.path, update.digest, update.unit, json.dumps(dict(update.properties)))
        insert = "INSERT INTO file (path, digest, unit, properties) VALUES (?, ?, ?, ?)"
        file = self._db.execute(insert, values).lastrowid
        insert = "INSERT INTO chunk (file, title, text, first, last, digest) VALUES (?, ?, ?, ?, ?, ?)"
        for item in update.chunks:
            cut = item.chunk
            row = (file, cut.title, cut.text, cut.first, cut.last, item.digest)
            ident = int(self._db.execute(insert, row).lastrowid or 0)
            self._db.execute("INSERT INTO vector VALUES (?, ?)", (ident, item.vector))
            yield Added(ident, cut.title, cut.text, item.vector)

    def removed(self, since: Mark) -> list[int]:
        """Return which chunks that were there at a mark of this store are not there any more."""
        query = "SELECT id FROM removed WHERE change > ? AND id <= ?"
        return [ident for (ident,) in self._db.execute(query, (since.change, since.last))]

    def added(self, after: int = 0) -> Iterator[Added]:
        """Yield the chunks with an id above `after`, by id."""
        query = "SELECT chunk.id, title, text, data FROM chunk JOIN vector ON vector.id = chunk.id WHERE chunk.id > ?"
        for row in self._db.execute(f"{query} ORDER BY chunk.id", (after,)):
            yield Added(*row)

    def vectors(self, after: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield id and vector of the chunks with an id above `after`, by id."""
        yield from self._db.execute("SELECT id, data FROM vector WHERE id > ? ORDER BY id", (after,))

    def forget(self, change: int, waiting: Collection[bytes] = ()) -> None:
        """Drop the notes of removals up to a change, which every index knows, and vectors that came early.

        Called when all documents are written, but for those that are left out: their vectors stay.
        """
        early = [row for row in self._db.execute("SELECT digest FROM early") if row[0] not in waiting]
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("DELETE FROM early WHERE digest = ?", early)
            self._db.execute("DELETE FROM removed WHERE change <= ?", (change,))

    def vectors_of(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Return vectors by id; an id that is gone is left out."""
        found: dict[int, bytes] = {}
        for at in range(0, len(ids), _SHARED):
            part = list(ids[at : at + _SHARED])
            marks = ",".join("?" * len(part))
            found.update(self._reader().execute(f"SELECT id, data FROM vector WHERE id IN ({marks})", part))  # noqa: S608  # only question marks
        return found

    def within(self, where: Where) -> frozenset[int]:
        """Return the chunks of the documents that a search looks in; what was found last is kept until a change."""
        db = self._reader()
        change = int(db.execute("SELECT change FROM state WHERE id = 1").fetchone()[0])
        known = self._within
        if known is not None and known[:2] == (change, where):
            return known[2]
        rows = db.execute("SELECT id, path, properties FROM file")
        files = {ident for ident, path, said in rows if fits(where, path, json.loads(said))}
        found = frozenset(ident for ident, file in db.execute("SELECT id, file FROM chunk") if file in files)
        self._within = (change, where, found)
        return found

    def unmet(self, where: Where) -> tuple[str, ...]:
        """Return what a filter asks for in vain, in sentences; nothing where a document fits it."""
        rows = self._reader().execute("SELECT path, properties FROM file")
        return unmet(where, ((path, json.loads(said)) for path, said in rows))

    def properties(self) -> frozenset[str]:
        """Return the names of all properties of all documents; they are kept until a change."""
        db = self._reader()
        change = int(db.execute("SELECT change FROM state WHERE id = 1").fetchone()[0])
        known = self._properties
        if known is None or known[0] != change:
            rows = db.execute("SELECT DISTINCT key FROM file, json_each(properties)")
            known = self._properties = (change, frozenset(name for (name,) in rows))
        return known[1]

    def get(self, ids: Sequence[int]) -> dict[int, Stored]:
        """Return chunks by id; an id that is gone is left out."""
        marks = ",".join("?" * len(ids))
        query = (
            "SELECT chunk.id, path, unit, title, text, first, last FROM chunk JOIN file ON file.id = chunk.file "  # noqa: S608  # only question marks
            f"WHERE chunk.id IN ({marks})"
        )
        rows = self._reader().execute(query, list(ids))
        return {ident: Stored(ident, path, Chunk(*cut), unit) for ident, path, unit, *cut in rows}

    def documents(self, ids: Sequence[int]) -> dict[int, tuple[str, str, Properties]]:
        """Return path, digest and properties of the documents of chunks; an id that is gone is left out."""
        marks = ",".join("?" * len(ids))
        query = (
            "SELECT chunk.id, path, file.digest, properties FROM chunk JOIN file ON file.id = chunk.file "  # noqa: S608  # only question marks
            f"WHERE chunk.id IN ({marks})"
        )
        rows = self._reader().execute(query, list(ids))
        return {ident: (path, digest, json.loads(said)) for ident, path, digest, said in rows}

    def _reader(self) -> sqlite3.Connection:
        """Return this thread's own connection for reading."""
        db: sqlite3.Connection | None = getattr(self._readers, "db", None)
        if db is None:
            db = self._readers.db = _connect(self.path)
            self._reading.append(db)
        return db


def _check(db: sqlite3.Connection) -> None:
    """Look through a file: every page that is in use, and how the rows hang together.

    Raises:
        sqlite3.DatabaseError: it is damaged.
    """
    found = str(db.execute("PRAGMA quick_check(1)").fetchone()[0]).removeprefix("*** in database main ***\n")
    if found != "ok":
        raise sqlite3.DatabaseError(found)


def sources_in(path: Path) -> dict[str, SourceRow]:
    """Return what a store that nobody else need have open knows of sources, by their names.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_BUSY_SECONDS)) as db:
        return _sources(db)


def _sources(db: sqlite3.Connection) -> dict[str, SourceRow]:
    return {name: SourceRow(*row) for name, *row in db.execute("SELECT * FROM source")}


def borrow(path: Path, digests: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return vectors from a store that nobody else need have open, by the digests of what was embedded.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_BUSY_SECONDS)) as db:
        return _known(db, digests)


def _known(db: sqlite3.Connection, digests: Iterable[bytes]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    wanted = list(dict.fromkeys(digests))
    for at in range(0, len(wanted), _SHARED):
        part = wanted[at : at + _SHARED]
        for query in _KNOWN:
            found.update(db.execute(f"{query} ({','.join('?' * len(part))})", part))
    return found


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
