"""What is stored of a graph: what was found in passages, entities, where they are mentioned, and other names of them.

Tables in the file of a chunk store, written in its transactions: a passage that is removed takes its mentions, its
names, and the entities that stood nowhere else with it. What was found in a text is kept under a hash of the text and
of what looked for it, until no passage has that text. One thread writes; any number read over connections of their own.
"""

import posixpath
import sqlite3
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import unquote, urljoin, urlsplit

import msgspec

from loomd.knowledge.chunk import Chunk
from loomd.knowledge.entity import Entity, Extraction, key_of
from loomd.knowledge.formats.base import Unit, cite
from loomd.knowledge.graph import HEADING, INITIAL, MOST, Mentions

T = TypeVar("T")

SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS extraction (digest BLOB PRIMARY KEY, data BLOB NOT NULL, fault TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS extraction_fault ON extraction (fault) WHERE fault != '';
CREATE TABLE IF NOT EXISTS entity (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL, passages INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS word (word TEXT NOT NULL, entity INTEGER NOT NULL, PRIMARY KEY (word, entity)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mention (
    chunk INTEGER PRIMARY KEY REFERENCES chunk ON DELETE CASCADE,
    digest BLOB NOT NULL, entities BLOB NOT NULL, pairs BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS mention_digest ON mention (digest);
CREATE TABLE IF NOT EXISTS alias (
    chunk INTEGER NOT NULL REFERENCES chunk ON DELETE CASCADE, key TEXT NOT NULL, entity INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS alias_chunk ON alias (chunk);
CREATE INDEX IF NOT EXISTS alias_key ON alias (key);
COMMIT;
"""

_SHARED = 500
"""Values in one list; old SQLite builds allow 999."""
_DOCUMENT = "/"
"""Begins the key of a document, which no other key does."""
_MOST_LED = 8
"""Entities of a passage that are related to the document that it leads to or begins."""


class Unlinked(NamedTuple):
    """A passage of which it is not stored what it speaks of.

    Attributes:
        id: that of the chunk.
        path: of its document.
        unit: what its places count.
        leads: whether it is the first one of its document, which links to the document lead to.
        chunk: the passage.
    """

    id: int
    path: str
    unit: Unit
    leads: bool
    chunk: Chunk


class Counts(NamedTuple):
    """How many passages are not looked through yet, and in how many nothing could be found."""

    pending: int
    failed: int


class GraphStore:
    """The graph's part of a store.

    Args:
        db: the connection that writes.
        reader: returns the connection of the thread that reads.
    """

    def __init__(self, db: sqlite3.Connection, reader: Callable[[], sqlite3.Connection]) -> None:
        self._db = db
        self._reader = reader
        db.executescript(SCHEMA)

    def extractions(self, digests: Iterable[bytes]) -> dict[bytes, Extraction]:
        """Return what is known of texts, faults included."""
        return _known(self._db, digests)

    def restore(self, rows: Iterable[tuple[bytes, bytes, str]]) -> None:
        """Keep what was found in texts, as another store has it: digest, what it is, and why there is nothing."""
        with _transaction(self._db):
            self._db.executemany("INSERT OR REPLACE INTO extraction VALUES (?, ?, ?)", rows)

    def keep(self, found: Mapping[bytes, Extraction]) -> None:
        """Keep what was found in texts, at once."""
        self.restore((digest, msgspec.msgpack.encode(one), one.fault) for digest, one in found.items())

    def sweep(self) -> None:
        """Forget what was found in texts that no passage has any more."""
        self._db.execute("DELETE FROM extraction WHERE digest NOT IN (SELECT digest FROM mention)")

    def counts(self) -> Counts:
        """Return how far it is."""
        pending = "SELECT (SELECT count(*) FROM chunk) - (SELECT count(*) FROM mention)"
        failed = "SELECT count(*) FROM mention WHERE digest IN (SELECT digest FROM extraction WHERE fault != '')"
        return Counts(*(int(self._db.execute(query).fetchone()[0]) for query in (pending, failed)))

    def faults(self, most: int) -> list[tuple[str, str]]:
        """Return passages in which nothing could be found: the path of the document with its place, and why."""
        query = (
            "SELECT path, unit, first, last, fault FROM mention JOIN extraction USING (digest) "
            "JOIN chunk ON chunk.id = mention.chunk JOIN file ON file.id = chunk.file "
            "WHERE fault != '' ORDER BY path, first LIMIT ?"
        )
        rows = self._db.execute(query, (most,))
        return [(cite(path, unit, first, last), fault) for path, unit, first, last, fault in rows]

    def unlinked(self, after: int, limit: int) -> list[Unlinked]:
        """Return passages that are not looked through, by id, those above `after`."""
        query = (
            "SELECT chunk.id, path, unit, chunk.id = (SELECT min(id) FROM chunk AS other WHERE other.file = file.id), "
            "title, text, first, last FROM chunk JOIN file ON file.id = chunk.file "
            "WHERE chunk.id > ? AND NOT EXISTS (SELECT 1 FROM mention WHERE mention.chunk = chunk.id) "
            "ORDER BY chunk.id LIMIT ?"
        )
        rows = self._db.execute(query, (after, limit))
        return [Unlinked(ident, path, unit, bool(leads), Chunk(*cut)) for ident, path, unit, leads, *cut in rows]

    def link(self, rows: Sequence[tuple[Unlinked, bytes, Extraction]]) -> None:
        """Store what passages speak of, in one transaction, each with the digest of its text; not of those removed."""
        there = "SELECT 1 FROM chunk WHERE id = ? AND NOT EXISTS (SELECT 1 FROM mention WHERE mention.chunk = chunk.id)"
        with _transaction(self._db):
            for one, digest, found in rows:
                if self._db.execute(there, (one.id,)).fetchone() is not None:
                    self._link(one, digest, found)

    def _link(self, one: Unlinked, digest: bytes, found: Extraction) -> None:
        row = _Row()
        places = [row.place(self._intern(key_of(each.name), each.name), _info(each)) for each in found.entities]
        pairs = [bytes((places[each.subject], places[each.object], bool(each.said))) for each in found.relations]
        led = [(target, link.entity) for link in found.links if (target := leads_to(one.path, link.target))]
        for path, entity in [*((one.path, -1) for _ in range(one.leads)), *led]:
            at = row.place(self._intern(_DOCUMENT + path, path), 1)
            near = places[entity : entity + 1] if entity >= 0 else places[:_MOST_LED]
            pairs += [bytes((other, at, True)) for other in near]
        ids = list(row.infos)
        entities = b"".join(ident.to_bytes(4, "little") for ident in ids) + bytes(row.infos.values())
        self._db.execute("INSERT INTO mention VALUES (?, ?, ?, ?)", (one.id, digest, entities, b"".join(pairs)))
        self._db.executemany("UPDATE entity SET passages = passages + 1 WHERE id = ?", [(ident,) for ident in ids])
        aliases = {
            (one.id, key_of(alias), ids[place])
            for each, place in zip(found.entities, places, strict=True)
            for alias in each.aliases
        }
        self._db.executemany("INSERT INTO alias VALUES (?, ?, ?)", [each for each in sorted(aliases) if each[1]])

    def _intern(self, key: str, name: str) -> int:
        """Return the id of an entity, which is new when nobody mentioned it before."""
        row = self._db.execute("SELECT id FROM entity WHERE key = ?", (key,)).fetchone()
        if row is not None:
            return int(row[0])
        made = self._db.execute("INSERT INTO entity (key, name, passages) VALUES (?, ?, 0)", (key, name)).lastrowid
        self._db.executemany("INSERT OR IGNORE INTO word VALUES (?, ?)", [(word, made) for word in _parts(key)])
        return int(made or 0)

    def unlink(self, chunks: Sequence[int]) -> None:
        """Let entities go that only stand in passages which are about to be removed, within the transaction of that."""
        gone: Counter[int] = Counter()
        for part in _slices(chunks):
            rows = self._db.execute(f"SELECT entities FROM mention WHERE chunk IN ({_marks(part)})", part)  # noqa: S608  # only question marks
            for (entities,) in rows:
                size = len(entities) // 5
                gone.update(int.from_bytes(entities[at : at + 4], "little") for at in range(0, 4 * size, 4))
        self._db.executemany(
            "UPDATE entity SET passages = passages - ? WHERE id = ?", [(count, ident) for ident, count in gone.items()]
        )
        for part in _slices(list(gone)):
            lost = f"SELECT id, key FROM entity WHERE passages <= 0 AND id IN ({_marks(part)})"  # noqa: S608  # only question marks
            for ident, key in self._db.execute(lost, part).fetchall():
                words = [(word, ident) for word in _parts(key)]
                self._db.executemany("DELETE FROM word WHERE word = ? AND entity = ?", words)
                self._db.execute("DELETE FROM entity WHERE id = ?", (ident,))

    @contextmanager
    def snapshot(self) -> Generator[tuple[Iterator[Mentions], dict[int, int]]]:
        """Yield `mentions` and `same` as they stand at one moment, whatever is written meanwhile."""
        reader = self._reader()
        reader.execute("BEGIN")
        try:
            yield self.mentions(), self.same()
        finally:
            reader.execute("ROLLBACK")

    def mentions(self) -> Iterator[Mentions]:
        """Yield what is stored of each passage, by id."""
        for row in self._reader().execute("SELECT chunk, entities, pairs FROM mention ORDER BY chunk"):
            yield Mentions(*row)

    def same(self) -> dict[int, int]:
        """Return the entities that are another one under another name, where the passages agree which."""
        query = (
            "SELECT entity.id, min(alias.entity) FROM alias JOIN entity ON entity.key = alias.key "
            "GROUP BY alias.key HAVING min(alias.entity) = max(alias.entity) AND min(alias.entity) != entity.id"
        )
        return dict(self._reader().execute(query))

    def named(self, keys: Sequence[str]) -> dict[str, list[int]]:
        """Return the entities that are called so, by key."""
        found: dict[str, list[int]] = {}
        for part in _slices(keys):
            for table, column in (("entity", "id"), ("alias", "entity")):
                query = f"SELECT DISTINCT key, {column} FROM {table} WHERE key IN ({_marks(part)})"  # noqa: S608  # ours, and question marks
                for key, ident in self._reader().execute(query, part):
                    found.setdefault(key, []).append(ident)
        return found

    def having(self, words: Sequence[str], most: int) -> dict[str, list[int]]:
        """Return the entities with a word in their names, by word; not of words that more than `most` have."""
        found: dict[str, list[int]] = {}
        for word in words:
            rows = self._reader().execute("SELECT entity FROM word WHERE word = ? LIMIT ?", (word, most + 1))
            if 0 < len(ids := [int(row[0]) for row in rows]) <= most:
                found[word] = ids
        return found


def leads_to(path: str, target: str) -> str:
    """Return the path of the document that a link in another one leads to; empty when it stays where it is."""
    try:
        parts = urlsplit(target)
        if "://" in path:
            return urljoin(path, target).partition("#")[0] if parts.path else ""
        if parts.scheme or parts.netloc:
            return target.partition("#")[0]
    except ValueError:  # no address at all
        return ""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(parts.path))) if parts.path else ""


def lend(path: Path, digests: Iterable[bytes]) -> dict[bytes, Extraction]:
    """Return what was found in texts from a store that nobody else need have open, without faults.

    Raises:
        sqlite3.Error: it cannot be read, or has no graph.
    """
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30.0)) as db:
        return {digest: one for digest, one in _known(db, digests).items() if not one.fault}


def _known(db: sqlite3.Connection, digests: Iterable[bytes]) -> dict[bytes, Extraction]:
    found: dict[bytes, Extraction] = {}
    for part in _slices(list(dict.fromkeys(digests))):
        rows = db.execute(f"SELECT digest, data FROM extraction WHERE digest IN ({_marks(part)})", part)  # noqa: S608  # only question marks
        found.update((digest, msgspec.msgpack.decode(data, type=Extraction)) for digest, data in rows)
    return found


class _Row:
    """The entities of one passage, in order, and how each is mentioned."""

    def __init__(self) -> None:
        self.infos: dict[int, int] = {}
        self._places: dict[int, int] = {}

    def place(self, ident: int, info: int) -> int:
        """Return the place of an entity, which is new when it is not there yet."""
        self.infos.setdefault(ident, info)
        return self._places.setdefault(ident, len(self._places))


class _transaction:  # noqa: N801  # reads like what it is
    """Begin a transaction, and end it."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _info(entity: Entity) -> int:
    """Return how an entity is mentioned, as a byte."""
    heading = HEADING if entity.sort == "heading" else 0
    return min(MOST, entity.count) | heading | (INITIAL if entity.sort == "initial" else 0)


def _parts(key: str) -> list[str]:
    """Return the words by which an entity of several words is found."""
    words = [] if key.startswith(_DOCUMENT) else key.split()
    return list(dict.fromkeys(words)) if len(words) > 1 else []


def _marks(part: Sequence[object]) -> str:
    return ",".join("?" * len(part))


def _slices(values: Sequence[T]) -> Iterator[list[T]]:
    for at in range(0, len(values), _SHARED):
        yield list(values[at : at + _SHARED])
