"""Group commit: one thread writes, and all that came in while it wrote goes into the next transaction.

A caller is answered only after the commit, once per transaction for all of them. Where a commit takes less than to hand
it to a thread and back, a few records that one caller waits for are written at once instead. Knows nothing of tables.
"""

import asyncio
import logging
import math
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar, cast

from loomd.errors import Conflict, Damaged, LoomdError, Temporary
from loomd.store.batch import Batch, Caller, Group, Part, grouped, run_each
from loomd.store.finish import Written

T = TypeVar("T")
V = TypeVar("V")
R = TypeVar("R")

_LINGER = 0.02
"""Seconds that an operation nobody waits for may wait for company."""
_RETRY = 1.0
"""Seconds until operations nobody waits for are tried again after a failure."""
_KEPT = 100_000
"""Records that are kept while the disk is full."""
PATIENCE = 5.0
"""Seconds for which another program may hold the database."""
_PAUSE = 0.01
"""Seconds between two looks whether it still does."""
_QUICK = 0.001
"""Seconds that the last commit may have taken for the next small one to be made on the event loop's thread."""

_log = logging.getLogger("loomd.store")


class Writer(Generic[R]):
    """The only writer of a database. All methods belong to one event loop's thread; once closed, they raise Conflict.

    Args:
        db: a connection in autocommit mode that waits for no lock; nobody else uses it from now on.
        name: what the database is called in messages.
        last: number of the last record that is on disk.
        insert: called with all records of a transaction, in the order in which they were handed in, before anything
            else is written, on the thread that writes.
        place: the group that is given the records which stand between others, too, in their place among these.
        undone: called after each rollback, on the thread that wrote.

    Attributes:
        last: number of the last record handed in.
        failed: why a transaction could not be written, until somebody has seen that it is over; or empty.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        name: str,
        last: int,
        insert: Callable[[Sequence[R]], object],
        place: Group,
        undone: Callable[[], None],
    ) -> None:
        self._db = db
        self._name = name
        self.last = last
        self._started = last
        self._durable = last
        self._broken = ""
        self._closed = ""
        self.failed = ""
        self._insert = insert
        self._place = place
        self._undone = undone
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "loomd-store-writer")
        self._next: Batch[R] = Batch()
        self._running: Batch[R] | None = None
        self._soon = False
        self._timer: asyncio.TimerHandle | None = None
        self._patience = PATIENCE
        self._took = math.inf

    @property
    def broken(self) -> str:
        """Return why nothing is written any more, or an empty string."""
        return self._broken

    def stop(self, why: str) -> None:
        """Write nothing any more; may be called on any thread, and the first reason counts."""
        if not self._broken:
            self._broken = why
            _log.critical("%s", why)

    async def write(self, operation: Callable[[], T]) -> T:
        """Run an operation on the writer's thread, between what was handed in before it and after it.

        Returns its value once it is on disk.

        Raises:
            Temporary: the disk is full or failed; nothing of the transaction was stored.
            Damaged: the database refused the operation or is corrupt, or a record before it could not be stored.
        """
        return await self.share(run_each, operation)

    async def share(self, group: Callable[[Sequence[V]], Sequence[T]], value: V) -> T:
        """Have a value written together with others, and return what came of it once it is on disk.

        Args:
            group: called with the values that were handed in for it, in their order, on the writer's thread; returns
                what came of each. Groups write tables of their own: what is written for one may overtake another.
            value: what is to be written.

        Raises:
            Temporary: the disk is full or failed; nothing of the transaction was stored.
            Damaged: the database refused it or is corrupt, or a record before it could not be stored.
        """
        self._require_whole()
        caller: Caller = Written(loop=self._loop)
        self._next.open = None
        self._next.work.append(Part(group, value, caller))
        self._start_soon()
        return cast("T", await caller)

    async def insist(self, group: Callable[[Sequence[V]], Sequence[T]], value: V) -> T:
        """Have a value written as `share` does; when the commit fails, it stays in its place for the next one.

        Raises:
            Temporary: the commit failed.
            Damaged: the database refused it or is corrupt, or a record before it could not be stored.
        """
        self._require_whole()
        came: list[T] = []
        caller: Caller = Written(loop=self._loop)
        self._next.open = None
        self._next.work.append(Part(group, value, came=came))
        self._next.joined.append(caller)
        self._start_soon()
        await caller
        return came[0]

    def ride(self, record: R, size: int) -> int:
        """Insert a record of so many bytes with the next transaction, in its place in the order; return its number.

        Raises:
            Temporary: too many wait already because the disk is full.
        """
        batch = self._next
        if batch.count >= _KEPT:
            raise Temporary(f"{self._name}: {_KEPT} records wait for space: free some and try again", _RETRY)
        batch.size += size
        batch.count += 1
        (batch.open if batch.open is not None else self._open(batch)).append(record)
        self.last = number = self.last + 1
        return number

    def follow(self, record: R) -> None:
        """Insert a record without a number, in one transaction with the record before it."""
        batch = self._next
        batch.count += 1
        (batch.open if batch.open is not None else self._open(batch)).append(record)

    def _open(self, batch: Batch[R]) -> list[R]:
        """Return a place at the end of a batch to which records are added until something else comes."""
        records: list[R] = []
        batch.open = records
        batch.work.append(Part(self._place, records, records=records))
        self._start_later(_LINGER)
        return records

    async def durable(self, number: int) -> None:
        """Wait until the record with this number, and all before it, are on disk.

        Raises:
            Temporary: the commit failed; the record waits for the next one.
            Damaged: a record could not be stored at all.
        """
        self._require_whole()
        if number <= self._durable:
            return
        caller: Caller = Written(loop=self._loop)
        if self._running is not None and number <= self._started:
            self._running.joined.append(caller)
        else:
            self._next.joined.append(caller)
            self._start_soon()
        await caller

    async def close(self, before: Callable[[], object]) -> None:
        """Write what waits, close the connection and end the thread; whoever comes later is refused.

        Args:
            before: called when nothing more is written, before the connection is closed.

        Raises:
            Temporary: something could not be written.
        """
        try:
            if not self._broken:  # or else it was told, and nothing is written any more
                await self.write(lambda: None)
        finally:
            self._closed = f"{self._name} is closed: nothing is written any more"
            if self._timer is not None:
                self._timer.cancel()
            before()
            await self._loop.run_in_executor(self._thread, self._db.close)
            self._thread.shutdown()

    def _start_soon(self) -> None:
        if not self._soon and self._running is None:
            self._soon = True
            self._loop.call_soon(self._start)

    def _start_later(self, seconds: float) -> None:
        if self._timer is None and not self._soon and self._running is None:
            self._timer = self._loop.call_later(seconds, self._ring)

    def _ring(self) -> None:
        """Start what waits; a timer is not taken back when all was written before, because another would follow it."""
        self._timer = None
        self._start()

    def _start(self) -> None:
        self._soon = False
        if self._running is not None or not self._next:
            return
        batch, self._next = self._next, Batch()
        if (why := self._refusal()) is not None:
            if self._closed and batch.count:
                _log.error("%s: %d records came too late", self._closed, batch.count)
            self._refuse_all(batch, why)
            return
        self._running = batch
        self._started = self.last
        if self._took > _QUICK or not batch.is_small or not self._write_here(batch):
            self._thread.submit(self._work, batch)

    def _write_here(self, batch: Batch[R]) -> bool:
        """Commit a batch on the event loop's thread; return False when another program holds the database."""
        values: list[object] = []
        error = self._timed(batch, values, 0.0)
        if error is not None and not values and _is_busy(error):
            return False
        self._finish(batch, values, error)
        return True

    def _timed(self, batch: Batch[R], values: list[object], patience: float) -> BaseException | None:
        """Commit a batch, note how long it took, and return why it could not be."""
        began, self._patience = time.perf_counter(), patience
        try:
            self._commit(batch.work, values)
        except BaseException as raised:
            return raised
        finally:
            self._took = time.perf_counter() - began
        return None

    def _work(self, batch: Batch[R]) -> None:
        """Commit a batch and tell the event loop. On the writer's thread."""
        values: list[object] = []
        error = self._timed(batch, values, PATIENCE)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._finish, batch, values, error)

    def _finish(self, batch: Batch[R], values: list[object], error: BaseException | None) -> None:
        self._running = None
        for part, value in zip(batch.work, values, strict=False):  # fewer values when the rest could not be written
            if isinstance(value, Exception):
                self._refuse(part.caller, value)
            elif part.came is not None:
                part.came.append(value)
            elif part.caller is not None and not part.caller.done():
                part.caller.set_result(value)
        if self._broken:
            del batch.work[: len(values)]
            self._refuse_all(batch, Damaged(self._broken))
        elif error is not None:
            batch.count -= sum(len(part.records) for part in batch.work[: len(values)])
            del batch.work[: len(values)]
            self._fail(batch, error)
            return
        else:
            self._durable = self._started
            for caller in batch.joined:
                if not caller.done():
                    caller.set_result(None)
        self._go_on(_LINGER)

    def _go_on(self, seconds: float) -> None:
        """Start what came meanwhile: at once when somebody waits for it, else seconds later, with what comes yet."""
        if self._next.is_awaited:
            self._start()
        elif self._next:
            self._start_later(seconds)

    def _fail(self, batch: Batch[R], error: BaseException) -> None:
        """Tell all callers; keep the records in front of the next transaction."""
        self._started, self.failed = self._durable, str(self._explain(error))
        kept = [part for part in batch.work if part.caller is None]
        _log.error("%s: %s; %d records wait for the next try", self._name, error, batch.count)
        self._refuse_all(batch, error)
        self._next.work[:0] = kept
        self._next.count += batch.count
        self._next.size += batch.size
        self._go_on(_RETRY)

    def _refuse_all(self, batch: Batch[R], error: BaseException) -> None:
        """Tell all who wait for something in a batch that it is not stored."""
        for caller in [part.caller for part in batch.work if part.caller is not None] + batch.joined:
            self._refuse(caller, error)

    def _refuse(self, caller: Caller | None, error: BaseException) -> None:
        if caller is None:
            what = f"{self._name}: a record could not be stored: {error}"
            self._broken = f"{what}: nothing is written any more, restart the daemon"
            _log.error("%s", self._broken)
        elif not caller.done():
            caller.set_exception(self._explain(error))

    def _require_whole(self) -> None:
        """Refuse to go on after a record that could not be stored, because what comes later would stand on it.

        Raises:
            Damaged: there is one.
            Conflict: it is closed.
        """
        if (why := self._refusal()) is not None:
            raise why

    def _refusal(self) -> LoomdError | None:
        """Return why nothing is written any more, if so it is."""
        if self._broken:
            return Damaged(self._broken)
        return Conflict(self._closed) if self._closed else None

    def _explain(self, error: BaseException) -> BaseException:
        if _is_busy(error):
            what = "another program works on it, and nothing of this was stored; end that program, and try again"
            return Temporary(f"{self._name}: {error}: {what}", _RETRY)
        if isinstance(error, sqlite3.OperationalError) and code_of(error) != sqlite3.SQLITE_ERROR:
            return Temporary(f"{self._name}: {error}: nothing of this was stored; free space and try again", _RETRY)
        if isinstance(error, sqlite3.DatabaseError):
            found = f"{self._name}: {error}: stop the daemon and restore a backup"
            if code_of(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                self.stop(found)
            return Damaged(found)
        return error

    def _commit(self, work: Sequence[Part[R]], values: list[object]) -> None:
        """Write all in one transaction; when a part is at fault, each in its own. On the thread that writes.

        Args:
            work: the parts.
            values: gets what came of those that are on disk, in their order; of a faulty one its exception. After one
                that must not be lost and is at fault no other is written.

        Raises:
            sqlite3.OperationalError: the one after those values could not be written now, and none after it was tried.
        """
        try:
            values += self._transaction(work)
        except sqlite3.OperationalError:
            raise
        except Exception as error:
            if len(work) == 1:
                values.append(error)
                return
            for part in work:
                try:
                    values += self._transaction([part])
                except sqlite3.OperationalError:
                    raise
                except Exception as own:
                    values.append(own)
                    if part.caller is None:
                        return

    def _begin(self) -> None:
        """Begin a transaction, once no other program is in one.

        Raises:
            sqlite3.OperationalError: another one still is when the patience is over.
        """
        end = time.perf_counter() + self._patience
        while True:
            try:
                self._db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.perf_counter() >= end:
                    raise
                time.sleep(_PAUSE)
            else:
                return

    def _transaction(self, work: Sequence[Part[R]]) -> list[object]:
        """Write parts in one transaction, after all records that stand between them: these are inserted at once."""
        if not work:
            return []
        try:
            self._begin()
            if records := [record for part in work for record in part.records]:
                self._insert(records)
            values: list[object] = [None] * len(work)
            for group, places in grouped(work):
                for place, value in zip(places, group([work[place].value for place in places]), strict=True):
                    values[place] = value
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._undone()
            raise
        return values


def _is_busy(error: BaseException) -> bool:
    """Return whether another program holds the database."""
    return isinstance(error, sqlite3.OperationalError) and code_of(error) == sqlite3.SQLITE_BUSY


def code_of(error: sqlite3.Error) -> int:
    """Return the primary result code of an error; 0 of one that Python raised itself, such as of bad UTF-8."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)) & 0xFF
