"""What is remembered across tasks: texts by scope and key in one SQLite file, found again by words or by likeness.

A text that was remembered survives a crash of the process. All SQLite work happens in one thread of its own. Called
by the live memory.
"""

import asyncio
import re
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from loomd.errors import Damaged, Temporary

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS memory (
    id INTEGER PRIMARY KEY, scope TEXT NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL,
    made_by TEXT NOT NULL DEFAULT '', vector BLOB, UNIQUE (scope, key));
CREATE VIRTUAL TABLE IF NOT EXISTS word USING fts5 (
    text, content='memory', content_rowid='id', tokenize='porter unicode61');
CREATE TRIGGER IF NOT EXISTS word_add AFTER INSERT ON memory BEGIN
    INSERT INTO word (rowid, text) VALUES (new.id, new.text); END;
CREATE TRIGGER IF NOT EXISTS word_drop AFTER DELETE ON memory BEGIN
    INSERT INTO word (word, rowid, text) VALUES ('delete', old.id, old.text); END;
CREATE TABLE IF NOT EXISTS embedding (
    memory INTEGER NOT NULL, made_by TEXT NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (memory, made_by)) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS embedding_drop AFTER DELETE ON memory BEGIN
    DELETE FROM embedding WHERE memory = old.id; END;
INSERT OR IGNORE INTO embedding SELECT id, made_by, vector FROM memory WHERE vector IS NOT NULL;
UPDATE memory SET vector = NULL, made_by = '' WHERE vector IS NOT NULL;
"""
_in_use: Counter[tuple[Path, str]] = Counter()
"""The files that are open in this process, with the embedder: its vectors stay, also beside those of another one."""
_WORD = re.compile(r"\w{3,}")
_MOST_WORDS = 64
_BATCH = 256


class Embedder(Protocol):
    """Turns texts into unit vectors; the live form of kind Embedder."""

    @property
    def fingerprint(self) -> str:
        """Return a text that changes whenever the vectors of the same texts may change."""
        ...

    async def embed(self, texts: Sequence[str]) -> Any:
        """Return `(texts, dimension)` float32, every row of length 1 or all zeros."""
        ...


@dataclass(frozen=True)
class Limits:
    """How much is kept and returned; see `RecallSpec` for the meaning of each."""

    top_k: int
    threshold: float
    keep: int
    max_text: int


class Recall:
    """The remembered texts of one memory."""

    def __init__(
        self, db: sqlite3.Connection, pool: ThreadPoolExecutor, limits: Limits, embedder: Embedder | None
    ) -> None:
        self._db = db
        self._pool = pool
        self._limits = limits
        self._embedder = embedder

    async def find(self, scope: str, query: str) -> list[str]:
        """Return the texts of a scope that fit a query, best first."""
        if self._embedder is None:
            return await self._run(lambda: self._by_words(scope, query))
        await self.refresh()
        vector, mark = (await self._embedder.embed([query]))[0], self._embedder.fingerprint
        return await self._run(lambda: self._by_likeness(scope, vector, mark))

    async def add(self, scope: str, key: str, text: str) -> None:
        """Keep a text once per scope and key; the oldest of the scope leaves when there are too many."""
        text = text.encode("utf-8", "replace")[: self._limits.max_text].decode("utf-8", "ignore")
        await self._run(lambda: self._insert(scope, key, text))
        await self.refresh()

    async def refresh(self) -> None:
        """Embed what only another embedder, or none, had embedded."""
        embedder = self._embedder
        if embedder is None:
            return
        mark = embedder.fingerprint
        while rows := await self._run(lambda: self._made_by_others(mark)):
            vectors = await embedder.embed([text for _, text in rows])
            made = [(row, mark, vector.tobytes()) for (row, _), vector in zip(rows, vectors, strict=True)]
            await self._run(partial(self._put_vectors, made))

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except sqlite3.OperationalError as error:
            raise Temporary(f"the memory's file cannot be used: {error}") from error
        except sqlite3.DatabaseError as error:
            raise Damaged(f"the memory's file is damaged ({error}): move it away to start anew") from error

    def _made_by_others(self, mark: str) -> list[tuple[int, str]]:
        select = (
            "SELECT id, text FROM memory WHERE NOT EXISTS "
            "(SELECT 1 FROM embedding AS e WHERE e.memory = memory.id AND e.made_by = ?) ORDER BY id LIMIT ?"
        )
        return self._db.execute(select, (mark, _BATCH)).fetchall()

    def _put_vectors(self, made: list[tuple[int, str, bytes]]) -> None:
        there = "SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM memory WHERE id = ?1)"  # it may have left meanwhile
        with self._db:
            self._db.executemany(f"INSERT OR REPLACE INTO embedding {there}", made)

    def _insert(self, scope: str, key: str, text: str) -> None:
        with self._db:
            added = self._db.execute(
                "INSERT OR IGNORE INTO memory (scope, key, text) VALUES (?, ?, ?)", (scope, key, text)
            )
            if added.rowcount:
                self._db.execute(
                    "DELETE FROM memory WHERE scope = ? AND id <= "
                    "(SELECT id FROM memory WHERE scope = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                    (scope, scope, self._limits.keep),
                )

    def _by_words(self, scope: str, query: str) -> list[str]:
        words = list(dict.fromkeys(_WORD.findall(query.lower())))[:_MOST_WORDS]
        if not words:
            return []
        rows = self._db.execute(
            "SELECT memory.id, memory.text FROM word JOIN memory ON memory.id = word.rowid"
            " WHERE word MATCH ? AND scope = ? ORDER BY bm25(word), memory.id LIMIT ?",
            (" OR ".join(f'"{word}"' for word in words), scope, 4 * self._limits.top_k),
        ).fetchall()
        least = self._limits.threshold * len(words)
        return [text for row, text in rows if self._count(row, words) >= least][: self._limits.top_k]

    def _count(self, row: int, words: list[str]) -> int:
        """Return how many of the words a memory holds, in any form of theirs."""
        statement = "SELECT 1 FROM word WHERE word MATCH ? AND rowid = ?"
        return sum(self._db.execute(statement, (f'"{word}"', row)).fetchone() is not None for word in words)

    def _by_likeness(self, scope: str, vector: Any, mark: str) -> list[str]:
        import numpy as np  # noqa: PLC0415  # only a memory with an embedder needs it

        rows = self._db.execute(
            "SELECT text, embedding.vector FROM memory JOIN embedding ON embedding.memory = id "
            "WHERE scope = ? AND embedding.made_by = ? ORDER BY id",
            (scope, mark),
        ).fetchall()
        if not rows:
            return []
        table = np.frombuffer(b"".join(blob for _, blob in rows), dtype=np.float32).reshape(len(rows), -1)
        scores = table @ vector
        best = np.argsort(-scores, kind="stable")[: self._limits.top_k]
        return [rows[at][0] for at in best.tolist() if scores[at] >= self._limits.threshold]


@asynccontextmanager
async def open_recall(
    path: Path, owner: str, limits: Limits, embedder: Embedder | None
) -> AsyncGenerator[Recall, None]:
    """Open the remembered texts in a file, which is made when it is missing.

    Raises:
        Damaged: the file is no database of ours; the text names it.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="memory")
    use = (path, embedder.fingerprint if embedder else "")
    _in_use[use] += 1
    connecting = pool.submit(_connect, path)
    try:
        try:
            db = await asyncio.shield(asyncio.wrap_future(connecting))
        except sqlite3.DatabaseError as error:
            raise Damaged(f"{owner}: {path} cannot be used ({error}): move it away to start anew") from error
        recall = Recall(db, pool, limits, embedder)
        await recall.refresh()
        yield recall
    finally:
        _in_use[use] -= 1
        closing = asyncio.get_running_loop().run_in_executor(pool, _close, connecting)
        pool.shutdown(wait=False)
        await asyncio.shield(closing)  # after what still runs in the thread, whoever is cancelled meanwhile


def _close(connecting: "Future[sqlite3.Connection]") -> None:
    if connecting.exception() is None:
        connecting.result().close()


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=5.0, check_same_thread=False)
    try:
        with closing(db.cursor()) as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = NORMAL")
            cursor.executescript(_SCHEMA)
            marks = [mark for (used, mark), holders in list(_in_use.items()) if used == path and holders]
            others = ",".join("?" * len(marks))
            cursor.execute(f"DELETE FROM embedding WHERE made_by NOT IN ({others})", marks)  # noqa: S608  # question marks
            db.commit()
    except BaseException:
        db.close()
        raise
    path.chmod(0o600)
    return db
