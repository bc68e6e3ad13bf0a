"""Group commit: one thread writes, and all that came in while it wrote goes into the next transaction.

A caller is answered only after the commit, once per transaction for all of them. Knows nothing of tables.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar, cast

from loomd.errors import Damaged, Temporary

T = TypeVar("T")

_Operation = Callable[[], object]
_Caller = asyncio.Future[object]

_LINGER = 0.02
"""Seconds that an operation nobody waits for may wait for company."""
_RETRY = 1.0
"""Seconds until operations nobody waits for are tried again after a failure."""
_KEPT = 100_000
"""Operations nobody waits for that are kept while the disk is full."""

_log = logging.getLogger("loomd.store")


@dataclass
class _Batch:
    """What goes into one transaction: operations with their callers, and callers who wait for all of it."""

    work: list[tuple[_Operation, _Caller | None]] = field(default_factory=list)
    joined: list[_Caller] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.work or self.joined)


class Writer:
    """The only writer of a database. All methods belong to one event loop's thread.

    Args:
        db: a connection in autocommit mode; only the writer's thread uses it from now on.
        name: what the database is called in messages.
        last: number of the last record that is on disk.
        undone: called on the writer's thread after each rollback.

    Attributes:
        last: number of the last record handed in.
    """

    def __init__(self, db: sqlite3.Connection, name: str, last: int, undone: Callable[[], None]) -> None:
        self._db = db
        self._name = name
        self.last = last
        self._started = last
        self._durable = last
        self._broken: BaseException | None = None
        self._undone = undone
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "loomd-store-writer")
        self._next = _Batch()
        self._running: _Batch | None = None
        self._soon = False
        self._timer: asyncio.TimerHandle | None = None

    async def write(self, operation: Callable[[], T]) -> T:
        """Run an operation on the writer's thread and return its value once it is on disk.

        Raises:
            Temporary: the disk is full or failed; nothing of the transaction was stored.
            Damaged: the database refused the operation or is corrupt.
        """
        caller: _Caller = self._loop.create_future()
        self._next.work.append((operation, caller))
        self._start_soon()
        return cast("T", await caller)

    def ride(self, operation: _Operation) -> int:
        """Run an operation with the next transaction, in its place in the order; return its number.

        Raises:
            Temporary: too many wait already because the disk is full.
        """
        if len(self._next.work) >= _KEPT:
            raise Temporary(f"{self._name}: {_KEPT} records wait for space: free some and try again", _RETRY)
        self._next.work.append((operation, None))
        self.last += 1
        self._start_later(_LINGER)
        return self.last

    async def durable(self, number: int) -> None:
        """Wait until the operation with this number, and all before it, are on disk.

        Raises:
            Temporary: the commit failed; the operation waits for the next one.
            Damaged: a record could not be stored at all.
        """
        if self._broken is not None:
            raise self._explain(self._broken)
        if number <= self._durable:
            return
        caller: _Caller = self._loop.create_future()
        if self._running is not None and number <= self._started:
            self._running.joined.append(caller)
        else:
            self._next.joined.append(caller)
            self._start_soon()
        await caller

    async def close(self) -> None:
        """Write what waits, close the connection and end the thread.

        Raises:
            Temporary: something could not be written.
        """
        try:
            await self.write(lambda: None)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            await self._loop.run_in_executor(self._thread, self._db.close)
            self._thread.shutdown()

    def _start_soon(self) -> None:
        if not self._soon and self._running is None:
            self._soon = True
            self._loop.call_soon(self._start)

    def _start_later(self, seconds: float) -> None:
        if self._timer is None and not self._soon and self._running is None:
            self._timer = self._loop.call_later(seconds, self._start)

    def _start(self) -> None:
        self._soon = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._running is not None or not self._next:
            return
        batch, self._next = self._next, _Batch()
        self._running = batch
        self._started = self.last
        done = self._loop.run_in_executor(self._thread, self._commit, [work for work, _ in batch.work])
        done.add_done_callback(lambda done: self._finish(batch, done))

    def _finish(self, batch: _Batch, done: "asyncio.Future[list[object]]") -> None:
        self._running = None
        error = done.exception()
        if error is not None:
            self._fail(batch, error)
            return
        self._durable = self._started
        for (_, caller), value in zip(batch.work, done.result(), strict=True):
            if isinstance(value, Exception):
                self._refuse(caller, value)
            elif caller is not None and not caller.done():
                caller.set_result(value)
        for caller in batch.joined:
            if self._broken is not None:
                self._refuse(caller, self._broken)
            elif not caller.done():
                caller.set_result(None)
        if self._next:
            self._start()

    def _fail(self, batch: _Batch, error: BaseException) -> None:
        """Tell all callers; keep the operations of nobody in front of the next transaction."""
        self._started = self._durable
        kept = [(work, caller) for work, caller in batch.work if caller is None]
        _log.error("%s: %s; %d records wait for the next try", self._name, error, len(kept))
        for caller in [caller for _, caller in batch.work if caller is not None] + batch.joined:
            self._refuse(caller, error)
        self._next.work[:0] = kept
        if self._next.joined or any(caller for _, caller in self._next.work):
            self._start()
        elif self._next:
            self._start_later(_RETRY)

    def _refuse(self, caller: _Caller | None, error: BaseException) -> None:
        if caller is None:
            _log.error("%s: a record could not be stored: %s", self._name, error)
            self._broken = error
        elif not caller.done():
            caller.set_exception(self._explain(error))

    def _explain(self, error: BaseException) -> BaseException:
        if isinstance(error, sqlite3.OperationalError):
            return Temporary(f"{self._name}: {error}: nothing of this was stored; free space and try again", _RETRY)
        if isinstance(error, sqlite3.DatabaseError):
            return Damaged(f"{self._name}: {error}: stop the daemon and restore a backup")
        return error

    def _commit(self, operations: list[_Operation]) -> list[object]:
        """Run operations in one transaction; when one of them is at fault, each in its own. On the writer's thread.

        The values of faulty operations are their exceptions.
        """
        try:
            return self._transaction(operations)
        except sqlite3.OperationalError:
            raise
        except Exception as error:
            return [error] if len(operations) == 1 else [self._alone(operation) for operation in operations]

    def _alone(self, operation: _Operation) -> object:
        try:
            return self._transaction([operation])[0]
        except Exception as error:
            return error

    def _transaction(self, operations: list[_Operation]) -> list[object]:
        if not operations:
            return []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            values = [operation() for operation in operations]
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._undone()
            raise
        return values
