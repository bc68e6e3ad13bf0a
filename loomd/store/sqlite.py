"""The store on SQLite: WAL, synchronous=FULL, one writer that groups commits, a small pool of readers.

A write returns when it is on disk. A read sees all that was written or noted before it. Called through
`loomd.store.base.Store`; it never decides what is worth keeping.
"""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

from loomd.errors import Damaged, Temporary
from loomd.store import schema
from loomd.store.base import Capability, Row, StoredFile, TaskRecord
from loomd.store.chain import Chain, envelope, verify
from loomd.store.directory import StateDirectory, claim
from loomd.store.writer import Writer

T = TypeVar("T")

_READERS = 2
_TASK = "id, namespace, cluster, phase, body, result, created"


@asynccontextmanager
async def open_store(directory: Path) -> AsyncGenerator["SqliteStore", None]:
    """Open the store in a state directory, creating both when they do not exist.

    Raises:
        Conflict: another process holds the directory, it is not a state directory, or a newer loomd wrote it.
        Damaged: the database is missing, swapped or corrupt.
        Permanent: the directory cannot be created or written.
    """
    state = claim(directory)
    try:
        db = _open_database(state)
        store = SqliteStore(state, db)
        try:
            yield store
        finally:
            await store.close()
    finally:
        state.release()


class SqliteStore:
    """One open state directory. All methods belong to the event loop that opened it."""

    def __init__(self, state: StateDirectory, db: sqlite3.Connection) -> None:
        self._state = state
        self._db = db
        self._chain = Chain(db)
        self._writer = Writer(db, str(state.path), _last(db), self._chain.forget)
        self._pool = ThreadPoolExecutor(_READERS, "loomd-store-reader")
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._closed = False

    @property
    def directory(self) -> Path:
        """Return the state directory."""
        return self._state.path

    def note(self, row: Row) -> int:
        """Queue a row for the next commit and return the sequence number that it has from now on.

        Raises:
            Temporary: the disk is full, and too many rows wait already.
        """
        seq = self._writer.last + 1
        sealed = envelope(seq, row)
        return self._writer.ride(lambda: self._chain.insert(seq, row, sealed))

    async def durable(self, seq: int) -> None:
        """Wait until the row with this sequence number is on disk.

        Raises:
            Temporary: the commit failed; the text says why, the row stays queued.
            Damaged: a row could not be stored at all.
        """
        await self._writer.durable(seq)

    async def read(self, after: int = 0, task: str = "", limit: int = 1000, tree: bool = False) -> list[Row]:
        """Return rows with a sequence number above `after`, in order; of one task, or it and its descendants."""
        await self._settle()
        query = f"SELECT task, type, body, key, seq FROM journal WHERE seq > ? {_ONLY[bool(task), tree]}"  # noqa: S608  # constant text
        values: tuple[object, ...] = (after, limit)
        if task:
            values = (after, task, f"{task}.", f"{task}/", limit) if tree else (after, task, limit)
        return await self._query(lambda db: [Row(*row) for row in db.execute(query, values)])

    async def put_task(self, record: TaskRecord) -> None:
        """Create or replace a task record."""
        values = (record.id, record.namespace, record.cluster, record.phase, record.body, record.result, record.created)
        await self._writer.write(lambda: self._db.execute(_PUT_TASK, values).rowcount)

    async def get_task(self, task: str) -> TaskRecord | None:
        """Return a task record."""
        row = await self._query(lambda db: db.execute(_GET_TASK, (task,)).fetchone())
        return TaskRecord(*row) if row else None

    async def list_tasks(self, unfinished: bool = False) -> list[TaskRecord]:
        """Return all task records, newest first; only those without a result when asked."""
        only = "WHERE result = x''" if unfinished else ""
        query = f"SELECT {_TASK} FROM tasks {only} ORDER BY created DESC, id DESC"  # noqa: S608  # constant text
        return await self._query(lambda db: [TaskRecord(*row) for row in db.execute(query)])

    async def learn(self, task: str, scores: Sequence[Capability]) -> bool:
        """Store scores, once per task; return False when this task was already learned from."""
        rows = [(s.agent, s.spec, s.domain, s.score, s.variance, s.count, s.updated) for s in scores]

        def once() -> bool:
            if not self._db.execute("INSERT OR IGNORE INTO learned VALUES (?)", (task,)).rowcount:
                return False
            self._db.executemany("INSERT OR REPLACE INTO capabilities VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            return True

        return await self._writer.write(once)

    async def capabilities(self) -> list[Capability]:
        """Return all learned scores, ordered by agent, digest and domain."""
        query = "SELECT agent, spec, domain, score, variance, count, updated FROM capabilities ORDER BY 1, 2, 3"
        return await self._query(lambda db: [Capability(*row) for row in db.execute(query)])

    async def save_files(self, source: str, files: Sequence[StoredFile], revision: str) -> None:
        """Replace the last known good set of one source."""
        rows = [(source, file.root, file.path, file.data) for file in files]

        def replace() -> None:
            self._db.execute("DELETE FROM files WHERE source = ?", (source,))
            self._db.executemany("INSERT INTO files VALUES (?, ?, ?, ?)", rows)
            self._db.execute("INSERT OR REPLACE INTO sources VALUES (?, ?)", (source, revision))

        await self._writer.write(replace)

    async def load_files(self) -> list[StoredFile]:
        """Return the last known good files of all sources, ordered by source and path."""
        query = "SELECT source, root, path, data FROM files ORDER BY 1, 2, 3"
        return await self._query(lambda db: [StoredFile(*row) for row in db.execute(query)])

    async def verify(self) -> int:
        """Check every row of the journal against its hash chain and return the number of rows.

        Raises:
            Damaged: a row was changed or is missing, or the file is corrupt.
        """
        await self._settle()
        return await self._query(verify)

    async def close(self) -> None:
        """Write what waits and close the database; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._writer.close()
        finally:
            self._pool.shutdown()
            for connection in self._connections:
                connection.close()

    async def _settle(self) -> None:
        """Let a read see what was noted before it; on a full disk it sees what was stored."""
        with suppress(Temporary):  # the writer has logged it, and what is on disk is still readable
            await self._writer.durable(self._writer.last)

    async def _query(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._ask, ask)

    def _ask(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query on a reader's thread."""
        try:
            return ask(self._reader())
        except sqlite3.DatabaseError as error:
            raise Damaged(f"{self._state.database}: {error}: stop the daemon and restore a backup") from error

    def _reader(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            uri = f"{self._state.database.as_uri()}?mode=ro"
            db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
            self._local.db = db
            self._connections.append(db)
        return db


_ONLY = {
    (False, False): "ORDER BY seq LIMIT ?",
    (False, True): "ORDER BY seq LIMIT ?",
    (True, False): "AND task = ? ORDER BY seq LIMIT ?",
    (True, True): "AND (task = ? OR (task > ? AND task < ?)) ORDER BY seq LIMIT ?",
}
"""The end of the journal's query by (of one task, with its descendants)."""
_PUT_TASK = f"INSERT OR REPLACE INTO tasks ({_TASK}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608  # constant text
_GET_TASK = f"SELECT {_TASK} FROM tasks WHERE id = ?"  # noqa: S608  # constant text


def _open_database(state: StateDirectory) -> sqlite3.Connection:
    db = sqlite3.connect(state.database, isolation_level=None, check_same_thread=False)
    try:
        state.database.chmod(0o600)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        schema.migrate(db, str(state.database))
        state.check(schema.identity(db))
    except sqlite3.DatabaseError as error:
        db.close()
        raise Damaged(f"{state.database}: {error}: restore a backup, or remove the directory to start anew") from error
    except BaseException:
        db.close()
        raise
    return db


def _last(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT coalesce(max(seq), 0) FROM journal").fetchone()[0])
