"""The store on SQLite: WAL, synchronous=FULL, one writer that groups commits, a small pool of readers.

A write returns when it is on disk. A read sees all that was written or noted before it. Called through
`loomd.store.base.Store`; it never decides what is worth keeping.
"""

import asyncio
import shutil
import sqlite3
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

from loomd.errors import Damaged, LoomdError, Permanent, Temporary
from loomd.store import (
    accounts,
    chain,
    experience,
    history,
    mailbox,
    retention,
    schedules,
    schema,
    seal,
    sessions,
    tasks,
)
from loomd.store.chain import Chain, envelope, verify
from loomd.store.directory import StateDirectory, claim, typed
from loomd.store.experience import SqliteLearning, Taught
from loomd.store.extent import extent
from loomd.store.learning import Learning
from loomd.store.records import (
    ApprovalRecord,
    Average,
    Capability,
    Charge,
    Commit,
    Extent,
    Learned,
    ObjectRecord,
    RevisionRecord,
    Row,
    ScheduleRecord,
    SessionKey,
    SessionRecord,
    SourceRecord,
    StoredFile,
    TaskRecord,
    Turn,
)
from loomd.store.tasks import Kept, Tasks
from loomd.store.writer import PATIENCE, Writer, code_of

T = TypeVar("T")

_Noted = tuple[int, Row]
"""A row with its number."""
_READERS = 2
_SPACE = 1 << 20
"""Free bytes from which on a disk that was full is not any more: what is small may fit before."""
_RETRY = 1.0
"""Seconds until what could not be read may be."""


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
        with typed(state.path):
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
        self._tasks = Tasks(db)
        db.execute("PRAGMA busy_timeout = 0")  # the writer waits by itself, where it may
        self._writer = Writer(db, str(state.path), extent(db).last, self._insert, self._learn, self._chain.forget)
        self._pool = ThreadPoolExecutor(_READERS, "loomd-store-reader")
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._closed = False
        self._learning = SqliteLearning(db, self._writer, self._query)

    @property
    def directory(self) -> Path:
        """Return the state directory."""
        return self._state.path

    @property
    def broken(self) -> str:
        """Return why nothing is written any more until somebody acts, or an empty string."""
        return self._writer.broken

    def note(self, row: Row) -> int:
        """Queue a row for the next commit and return the sequence number that it has from now on.

        Raises:
            Temporary: the disk is full, and too many rows wait already.
            UnicodeEncodeError: a name holds a lone surrogate.
        """
        seq = self._writer.last + 1
        if not (row.task.isascii() and row.key.isascii()):
            envelope(seq, row)  # what cannot be written is refused now
        return self._writer.ride((seq, row), len(row.body))

    def charge(self, charge: Charge) -> None:
        """Add to what an agent used on a day, in one transaction with the row that was noted before."""
        self._writer.follow(charge)

    async def usage(self, day: str) -> list[Charge]:
        """Return what was used on a day, by namespace and agent."""
        await self._settle()
        return await self._query(lambda db: accounts.usage(db, day))

    def average(self, average: Average) -> None:
        """Keep a moving average in the place of what it was, in one transaction with the row that was noted before."""
        self._writer.follow(average)

    async def averages(self) -> list[Average]:
        """Return all moving averages, ordered by subject and name."""
        await self._settle()
        return await self._query(accounts.averages)

    def _insert(self, records: "Sequence[_Noted | Charge | Average]") -> None:
        """Write records on the writer's thread that nothing replaces: rows of the journal, and charges."""
        if rows := [(*one, envelope(*one)) for one in records if type(one) is tuple]:
            self._chain.insert(rows)
        if len(rows) < len(records):
            accounts.add(self._db, [one for one in records if type(one) is Charge])

    def _learn(self, taught: "Sequence[Taught | Sequence[_Noted | Charge | Average]]") -> list[bool]:
        """Write what was learned on the writer's thread, and averages: in their place, because both replace them."""
        return experience.learn(self._db, [one if isinstance(one, Taught) else _averages(one) for one in taught])

    async def durable(self, seq: int) -> None:
        """Wait until the row with this sequence number is on disk.

        Raises:
            Temporary: the commit failed; the text says why, the row stays queued.
            Damaged: a row could not be stored at all.
        """
        await self._writer.durable(seq)

    async def settled(self) -> None:
        """Return once all that was handed to the store before this call is on disk, or was refused."""
        await self._writer.write(lambda: None)

    async def read(
        self, after: int = 0, task: str = "", limit: int = 1000, tree: bool = False, strict: bool = False
    ) -> list[Row]:
        """Return rows with a sequence number above `after`, in order; of one task, or it and its descendants.

        Raises:
            Temporary: it is strict and a row that was noted before cannot be written, or nothing can be read now.
        """
        if strict:
            await self._writer.durable(self._writer.last)
        else:
            await self._settle()
        if not task:
            only, values = _ALL, {}
        elif tree:
            only, values = _TREE, {"task": task, "first": f"{task}.", "end": f"{task}/"}
        else:
            only, values = _ONE, {"task": task}
        return await self._query(lambda db: chain.read(db, only, {"after": after, "limit": limit, **values}))

    async def extent(self) -> Extent:
        """Return how far the journal reaches."""
        await self._settle()
        return await self._query(extent)

    async def create_task(self, record: TaskRecord) -> bool:
        """Store a task record and return True; return False when its id is taken, or is still being removed."""
        return await self._writer.share(self._keep_tasks, Kept(record, new=True))

    async def put_task(self, record: TaskRecord) -> bool:
        """Create or replace a task record; return False, and change nothing, when the one there has a result."""
        return await self._writer.share(self._keep_tasks, Kept(record))

    def _keep_tasks(self, records: Sequence[Kept]) -> list[bool]:
        """Store records on the writer's thread, and return which were; tasks of which one has a result have ended."""
        stored = self._tasks.keep(records)
        if ended := [kept.record.id for kept, done in zip(records, stored, strict=True) if done and kept.record.result]:
            self._chain.end(ended)
            mailbox.close(self._db, ended)
        return stored

    async def get_task(self, task: str) -> TaskRecord | None:
        """Return a task record."""
        return await self._query(lambda db: tasks.get(db, task))

    async def list_tasks(
        self,
        unfinished: bool = False,
        namespace: str = "",
        tree: str = "",
        limit: int = 0,
        before: tuple[float, str] | None = None,
    ) -> list[TaskRecord]:
        """Return task records, newest first; what is asked for as in `Store.list_tasks`."""
        return await self._query(lambda db: tasks.listed(db, unfinished, namespace, tree, limit, before))

    async def put_signal(self, task: str, name: str, body: bytes, at: float) -> bool:
        """Store what is sent to a task under a name; return False when something was sent before."""
        return await self._writer.write(lambda: mailbox.send(self._db, task, name, body, at))

    async def get_signal(self, task: str, name: str) -> bytes | None:
        """Return what was sent to a task under a name."""
        return await self._query(lambda db: mailbox.signal(db, task, name))

    async def ask(self, record: ApprovalRecord) -> ApprovalRecord:
        """Store a question unless it is stored already, and return it as it is stored."""
        return await self._writer.write(lambda: mailbox.ask(self._db, record))

    async def decide(
        self, approval: str, decision: bytes, now: Callable[[], float] | None = None
    ) -> ApprovalRecord | None:
        """Store a decision unless there is one; return the question as it is stored, None when there is none.

        By a clock `now`, which is asked on the writer's thread, one that has expired is left as it is.
        """
        return await self._writer.write(lambda: mailbox.decide(self._db, approval, decision, now))

    async def get_approval(self, approval: str) -> ApprovalRecord | None:
        """Return a question."""
        return await self._query(lambda db: mailbox.approval(db, approval))

    async def list_approvals(self, pending: bool = False) -> list[ApprovalRecord]:
        """Return all questions, newest first; or those that nobody decided, oldest first."""
        return await self._query(lambda db: mailbox.approvals(db, pending))

    async def converse(self, turn: Turn) -> None:
        """Store a turn of a conversation; one of the same task is replaced."""
        await self._writer.write(lambda: sessions.put(self._db, turn))

    async def turns(self, key: SessionKey, agent: str = "", limit: int = 0) -> list[Turn]:
        """Return the turns of a conversation, oldest first; what is asked for as in `Store.turns`."""
        return await self._query(lambda db: sessions.turns(db, key, agent, limit))

    async def sessions(self, namespace: str = "", session: str = "") -> list[SessionRecord]:
        """Return conversations, the one with the newest turn first; what is asked for as in `Store.sessions`."""
        return await self._query(lambda db: sessions.listed(db, namespace, session))

    async def forget(self, key: SessionKey) -> bool:
        """Remove all turns of a conversation; return whether there were any."""
        return await self._writer.write(lambda: sessions.forget(self._db, key))

    @property
    def learning(self) -> Learning:
        """Return what else was learned."""
        return self._learning

    async def learn(self, task: str, change: Learned) -> bool:
        """Store what a task taught, once; return False when that was done, or waits to be, already."""
        return await self._writer.insist(self._learn, Taught(change, task))

    async def learned_from(self, task: str) -> bool:
        """Return whether something was stored of what a task taught."""
        return await self._query(lambda db: experience.learned_from(db, task))

    async def capabilities(self) -> list[Capability]:
        """Return all learned scores, ordered by agent, digest and domain."""
        await self._settle()
        return await self._query(experience.capabilities)

    async def sweep(self, before: float, keep: int) -> int:
        """Remove ended tasks, whole trees, and old facts about the system; return how many tasks from outside."""

        async def write(act: Callable[[sqlite3.Connection], T]) -> T:
            def once() -> T:
                self._chain.forget_gone()
                return act(self._db)

            return await self._writer.write(once)

        await self._settle()
        return await retention.sweep(self._query, write, before, keep)

    async def commit(self, change: Commit) -> None:
        """Carry out a change of what serves and of what is known of it, in one transaction."""
        await self._writer.write(lambda: history.commit(self._db, change))

    async def revisions(self) -> list[RevisionRecord]:
        """Return the stored revisions, newest first."""
        return await self._query(history.revisions)

    async def holders(self, number: int) -> list[str]:
        """Return the names of the sources that have files in a revision."""
        return await self._query(lambda db: history.holders(db, number))

    async def files(self, number: int, source: str | None = None) -> list[StoredFile]:
        """Return the files of all sources in a revision, or of one, ordered by source and path.

        Raises:
            Damaged: the contents of one are not what was stored.
        """
        return await self._query(lambda db: history.files(db, number, source))

    async def copies(self, number: int) -> list[StoredFile]:
        """Return what is kept in a revision of the files that objects name; without what is damaged."""
        return await self._query(lambda db: history.copies(db, number))

    async def roots(self) -> set[str]:
        """Return the roots that files of any stored revision have."""
        return await self._query(lambda db: {root for (root,) in db.execute("SELECT DISTINCT root FROM files")})

    async def objects(self) -> list[ObjectRecord]:
        """Return what is known of all objects."""
        return await self._query(history.objects)

    async def sources(self) -> list[SourceRecord]:
        """Return what is known of all sources, ordered by name."""
        return await self._query(history.sources)

    async def keep_schedules(self, records: Sequence[ScheduleRecord], gone: Sequence[str] = ()) -> None:
        """Create or replace what is known of schedules, and forget those that are `gone`, by their uid."""
        await self._writer.write(lambda: schedules.keep(self._db, records, gone))

    async def schedules(self) -> list[ScheduleRecord]:
        """Return what is known of all schedules."""
        return await self._query(schedules.schedules)

    async def verify(self) -> int:
        """Check every row of the journal against its hash chain and return the number of rows; check all revisions.

        Raises:
            Damaged: a row was changed or is missing, or the file is corrupt.
        """
        await self._settle()
        for record in await self.revisions():
            await self.files(record.number)
        return await self._query(verify)

    async def prove(self) -> None:
        """Read something, and write something when a write has failed: it may be possible again.

        Raises:
            Temporary: it cannot be read, or still not be written.
            Damaged: the database is corrupt.
        """
        await self.get_task("")
        if failed := self._writer.failed:
            if (await asyncio.to_thread(shutil.disk_usage, self._state.path)).free < _SPACE:
                raise Temporary(failed, _RETRY)
            await self._writer.write(lambda: chain.count(self._db, 0))
            self._writer.failed = ""

    async def close(self) -> None:
        """Write what waits and close the database; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._pool.shutdown()
        for connection in self._connections:
            connection.close()
        await self._writer.close(self._state.end)  # the last one: it moves the log into the database

    async def _settle(self) -> None:
        """Let a read see what was noted before it; on a full disk it sees what was stored."""
        with suppress(Temporary):  # the writer has logged it, and what is on disk is still readable
            await self._writer.durable(self._writer.last)

    async def _query(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._ask, ask)

    def _ask(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query on a reader's thread.

        Raises:
            Temporary: it cannot be answered now: no file can be opened, the disk fails, another program has locked it.
            Damaged: the database is corrupt.
        """
        try:
            return ask(self._reader())
        except sqlite3.OperationalError as error:
            if code_of(error) in {sqlite3.SQLITE_OK, sqlite3.SQLITE_ERROR}:  # bad text, or a table that was there
                raise self._damaged(error) from error
            raise Temporary(f"{self._state.database}: {error}: it cannot be read now; try again", _RETRY) from error
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from error

    def _damaged(self, error: sqlite3.Error) -> Damaged:
        """Return what a reader found; nothing is written from then on: it would hide what can still be saved."""
        found = f"{self._state.database}: {error}: stop the daemon and restore a backup"
        self._writer.stop(found)
        return Damaged(found)

    def _reader(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            uri = f"{self._state.database.as_uri()}?mode=ro"
            db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
            self._local.db = db
            self._connections.append(db)
        return db


def _averages(records: "Sequence[_Noted | Charge | Average]") -> Taught:
    return Taught(Learned(averages=[one for one in records if type(one) is Average]))


_ALL = "WHERE seq > :after ORDER BY seq LIMIT :limit"
_ONE = "WHERE task = :task AND seq > :after ORDER BY seq LIMIT :limit"
_TREE = """
WHERE seq IN (
    SELECT seq FROM journal INDEXED BY journal_by_task WHERE task = :task AND seq > :after
    UNION ALL
    SELECT seq FROM journal INDEXED BY journal_by_task WHERE task > :first AND task < :end AND seq > :after
    ORDER BY seq LIMIT :limit
) ORDER BY seq
"""
"""Numbers come from the index of tasks alone; of a large journal nothing else is looked at."""
_OPENED = "INSERT INTO meta VALUES ('opened', '1') ON CONFLICT (key) DO UPDATE SET value = value + 1"
"""Counts how often the store was opened."""


def _open_database(state: StateDirectory) -> sqlite3.Connection:
    """Open and migrate the database of a claimed directory.

    Raises:
        Conflict: a newer loomd wrote it.
        Damaged: it is missing, swapped or corrupt.
        Permanent: it cannot be written there.
        Temporary: there is no space, or another program has locked it.
    """
    state.refuse_loss()
    fresh = not state.database.exists() or not state.database.stat().st_size
    try:
        db = sqlite3.connect(state.database, isolation_level=None, check_same_thread=False, timeout=PATIENCE)
    except sqlite3.DatabaseError as error:
        raise _explain(error, state) from error
    try:
        state.database.chmod(0o600)
        if fresh:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before there is a table
        _prepare(db, state)
    except BaseException as error:
        state.end()  # the log was whole, and closing moves it into the database
        db.close()
        if isinstance(error, sqlite3.DatabaseError | UnicodeDecodeError):  # the latter in a damaged name of a table
            raise _explain(error, state) from error
        raise
    return db


def _prepare(db: sqlite3.Connection, state: StateDirectory) -> None:
    if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise Permanent(f"{state.path}: this file system cannot keep a write-ahead log: choose another directory")
    db.execute("PRAGMA synchronous = FULL")
    version = schema.version_of(db, state.database)
    if version:
        state.check(schema.identity(db), fresh=schema.is_fresh(db))
    else:
        state.refuse_emptied()
    if version != schema.VERSION:
        schema.migrate(db, state.database, version)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # what is there without its log can be told from nothing
    state.check(schema.identity(db), fresh=not version)
    seal.install(db)
    db.execute(_OPENED)  # from now on there is a log
    state.begin()


def _explain(error: sqlite3.DatabaseError | UnicodeDecodeError, state: StateDirectory) -> LoomdError:
    """Return what a database that cannot be opened means for whoever wants to."""
    text = f"{state.database}: {error}"
    match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Temporary(f"{text}: another program works on it: end that, and start again")
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            return Temporary(f"{text}: free space, or look after the disk, and start again")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return Permanent(f"{text}: mend its permissions, or choose another directory")
        case _:
            return Damaged(f"{text}: restore a backup, or remove the directory to start anew")
