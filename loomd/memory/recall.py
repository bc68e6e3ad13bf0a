"""What is remembered, as the live memory uses it: one file, one thread of its own, and the embedder's vectors.

What was remembered survives a crash of the process. Called by the live memory.
"""

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from loomd.clock import Clock
from loomd.errors import Damaged, LoomdError, Temporary
from loomd.memory.damage import Aside, examine, find_aside, is_damage, set_aside
from loomd.memory.item import Draft, Item, Report, Turn, Which, Whose
from loomd.memory.layout import prepare
from loomd.memory.refill import Again, Journal
from loomd.memory.shelf import Limits, Query, Shelf
from loomd.topology import Health

_log = logging.getLogger("loomd.memory")
T = TypeVar("T")

_in_use: Counter[tuple[Path, str]] = Counter()
"""The files that are open in this process, with the embedder: its vectors stay, also beside those of another one."""
_BATCH = 256
_LOOK = 30.0
"""Most seconds between looks whether an embedder that failed answers again."""
_AGAIN = "what the journal has is still being remembered again"
_ANEW = "it is set aside, and the memory begins anew, when the daemon starts again"
_SWEEP = 600.0
"""Most seconds between looks for texts that are too old; less when they are kept for a short time only."""
_LEAST = 1.0
"""Least seconds between them."""
_PROBE = ("Is anybody there?",)
"""What an embedder that failed is asked, so that no task has to wait for its answer."""


class Embedder(Protocol):
    """Turns texts into unit vectors; the live form of kind Embedder."""

    @property
    def fingerprint(self) -> str:
        """Return a text that changes whenever the vectors of the same texts may change."""
        ...

    async def embed(self, texts: Sequence[str]) -> Any:
        """Return `(texts, dimension)` float32, every row of length 1 or all zeros."""
        ...


class Recall:
    """The remembered items of one memory; `owner` names it."""

    def __init__(
        self, owner: str, shelf: Shelf, pool: ThreadPoolExecutor, embedder: Embedder | None, clock: Clock
    ) -> None:
        self._owner = owner
        self._shelf = shelf
        self._pool = pool
        self._embedder = embedder
        self._clock = clock
        self._failed: tuple[str, float] = ("", 0.0)
        self.aside: Aside | None = None
        """The damaged file in whose place this one is; None when there is none."""
        self._opened = clock.now()
        self.refilled: tuple[int, int] | None = None
        """How many items the journal had and how many it only names; None while it is looked through."""
        self._tried = asyncio.Event()
        self._broken: Health | None = None
        self.wordy: Health | None = None
        """Why texts are found by words alone although there is an embedder; None when it answers."""

    def health(self) -> Health | None:
        """Return how it is degraded, what is worse first; None when it is not."""
        if self._broken is not None:
            return self._broken
        if self.aside is not None and self.aside.path.exists():
            return Health("Degraded", "True", "FileDamaged", self.aside.told(self.refilled), self._opened)
        if self.refilled is None:
            said = f"its file is new: {_AGAIN}"
            return Health("Degraded", "Unknown", "Refilling", said, self._opened)
        return self.wordy

    async def find(self, whose: Whose, text: str, seen: Sequence[str] = (), most: int | None = None) -> list[str]:
        """Return the texts that one may see and that fit a question, best first; what is seen already is left out.

        They are found by words alone as long as `wordy` says why.
        """
        query = Query(text, seen, most, self._clock.now())
        if self._embedder is not None and await self.refresh():
            made = await self._embed(self._embedder, [text])
            if made is not None:
                query = replace(query, vector=made[0], mark=self._embedder.fingerprint)
        return await self._run(lambda: self._shelf.find(whose, query))

    async def add(self, whose: Whose, turn: Turn, drafts: Sequence[Draft], *, working: bool = False) -> list[str]:
        """Keep items, each once per home and key, and return their ids; they are on disk also without vectors."""
        kept = await self._run(lambda: self._shelf.add(whose, turn, drafts, working=working))
        await self.refresh()
        return kept

    async def move(self, whose: Whose) -> list[str]:
        """Let the working facts that are too many become long-term, and return their ids."""
        return await self._run(lambda: self._shelf.move(whose))

    async def working(self, whose: Whose) -> list[Item]:
        """Return the working facts of a conversation that are too many."""
        return await self._current(lambda: self._shelf.working(whose))

    async def replace(
        self, whose: Whose, turn: Turn, drafts: Sequence[Draft], replaced: Sequence[str], asked: Sequence[Item]
    ) -> list[str]:
        """Keep summaries in place of working facts, let the others move on, and return the summaries' ids.

        There are none when one of the facts that were asked about was forgotten meanwhile.
        """
        kept = await self._run(lambda: self._shelf.replace(whose, turn, drafts, replaced, asked))
        await self.refresh()
        return kept

    async def items(self, which: Which, after: str = "", most: int = -1) -> list[Item]:
        """Return items in the order of their ids."""
        return await self._current(lambda: self._shelf.items(which, after, most))

    async def forget(self, which: Which) -> list[str]:
        """Delete items for good, and return their ids.

        Raises:
            Temporary: the journal cannot be looked through now, and might bring them back later.
        """
        await self.settled()
        return await self._run(lambda: self._shelf.forget(which, self._clock.now()))

    async def report(self) -> Report:
        """Return how many items there are, and what went wrong last."""
        mark = self._embedder.fingerprint if self._embedder else ""
        found = await self._current(lambda: self._shelf.report(mark))
        return msgspec.structs.replace(found, error=self._failed[0], error_at=self._failed[1])

    async def refresh(self) -> bool:
        """Embed what only another embedder, or none, had embedded, and return whether all is embedded."""
        embedder = self._embedder
        if embedder is None:
            return False
        mark, most = embedder.fingerprint, min(_BATCH, getattr(embedder, "batch", _BATCH))  # one call of a service
        while rows := await self._run(lambda: self._shelf.unmade(mark, most)):
            vectors = await self._embed(embedder, [text for _, text in rows])
            if vectors is None:
                return False
            made = [(row, text, mark, vector.tobytes()) for (row, text), vector in zip(rows, vectors, strict=True)]
            await self._run(partial(self._shelf.put_vectors, made))
        return True

    async def settled(self) -> None:
        """Wait until what the journal has is remembered again, when the file is new.

        Raises:
            Temporary: that cannot be looked through now; it is tried again.
        """
        await self._tried.wait()
        if self.refilled is None:
            raise Temporary(f"{self._owner}: {_AGAIN}, which does not work now: the log says why")

    async def refill(self, journal: Journal | None) -> None:
        """Remember again what the journal has, if the file is new; what does not work is tried again, until cancelled.

        Args:
            journal: None for none.
        """
        try:
            is_due = self.refilled is None
            while self.refilled is None:
                try:
                    again = Again((), 0) if journal is None else await journal.read()
                    self.refilled = await self._run(partial(self._shelf.refill, again))
                except LoomdError as error:
                    _log.warning("%s: %s, which does not work now: %s", self._owner, _AGAIN, error)
                    self._tried.set()
                    await asyncio.sleep(_LOOK)
        finally:
            self._tried.set()
        if is_due and journal is not None and (any(self.refilled) or self.aside is not None):
            _log.warning("%s: %d items are remembered again from the journal", self._owner, self.refilled[0])
            journal.tell(*self.refilled)

    async def expire(self) -> None:
        """Delete what is too old."""
        await self._current(lambda: None)

    async def look_after(self, ttl: float | None) -> None:
        """Delete what is too old, and embed what is left once an embedder that failed answers; until cancelled.

        Args:
            ttl: seconds after which a text is too old; None for never.
        """
        waits = [_LOOK] if self._embedder is not None else []
        waits += [] if ttl is None else [min(_SWEEP, max(_LEAST, ttl / 10))]
        while waits:
            await asyncio.sleep(min(waits))
            try:
                await self.expire()
                await self._ask_again()
            except LoomdError as error:
                _log.warning("%s: %s", self._owner, error)

    async def _ask_again(self) -> None:
        """Ask an embedder that failed, and embed what is left when it answers."""
        if self.wordy is None or self._embedder is None:
            return
        if await self._embed(self._embedder, _PROBE, again=True) is not None:
            await self.refresh()

    async def _embed(self, embedder: Embedder, texts: Sequence[str], *, again: bool = False) -> Any:
        """Return vectors, or None while the embedder fails; one that failed is asked only `again`."""
        if self.wordy is not None and not again:
            return None
        try:
            vectors = await embedder.embed(texts)
        except LoomdError as error:
            now, said = self._clock.now(), f"{error}; texts are kept, and found by words alone until it answers"
            if self.wordy is None:
                _log.warning("%s: %s", self._owner, said)
            self._failed = (str(error), now)
            since = now if self.wordy is None else self.wordy.since
            self.wordy = Health("Degraded", "True", "EmbedFailed", said, since)
            return None
        if self.wordy is not None:
            _log.info("%s: the embedder answers again", self._owner)
            self.wordy = None
        return vectors

    async def _current(self, work: Callable[[], T]) -> T:
        """Do something in the file without what is too old."""
        now = self._clock.now()

        def expired() -> T:
            self._shelf.expire(now)
            return work()

        return await self._run(expired)

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except sqlite3.OperationalError as error:
            self._failed = (str(error), self._clock.now())
            raise Temporary(f"the memory's file cannot be used: {error}") from error
        except sqlite3.DatabaseError as error:
            now, said = self._clock.now(), f"the memory's file is damaged ({error}): {_ANEW}"
            self._failed = (str(error), now)
            if self._broken is None:
                _log.error("%s: %s", self._owner, said)
                self._broken = Health("Degraded", "True", "FileDamaged", said, now)
            raise Damaged(said) from error


@asynccontextmanager
async def open_recall(
    path: Path,
    owner: str,
    limits: Limits,
    embedder: Embedder | None,
    clock: Clock,
    journal: Journal | None = None,
) -> AsyncGenerator[Recall, None]:
    """Open the remembered items in a file, which is made when it is missing; a damaged one makes way to a new one.

    A new one is filled in from the journal, beside what is asked of it meanwhile.

    Raises:
        Damaged: a later version made the file, or it is damaged and in use; the text names it.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="memory")
    use = (path, embedder.fingerprint if embedder else "")
    _in_use[use] += 1
    connecting = pool.submit(_connect, path, owner, limits, clock.now())
    try:
        try:
            shelf = await asyncio.shield(asyncio.wrap_future(connecting))
        except sqlite3.DatabaseError as error:
            instead = _ANEW if is_damage(error) else "move it away to start anew"
            raise Damaged(f"{owner}: {path} cannot be used ({error}): {instead}") from error
        recall = Recall(owner, shelf, pool, embedder, clock)
        recall.aside = await asyncio.get_running_loop().run_in_executor(pool, find_aside, path)
        recall.refilled = await asyncio.get_running_loop().run_in_executor(pool, lambda: shelf.refilled)
        if journal is None or await journal.is_empty():
            await recall.refill(None)
        await recall.expire()
        await recall.refresh()
        beside = [asyncio.ensure_future(one) for one in (recall.refill(journal), recall.look_after(limits.ttl))]
        try:
            yield recall
        finally:
            for one in beside:
                one.cancel()
            await asyncio.wait(beside)
    finally:
        _in_use[use] -= 1
        closing = asyncio.get_running_loop().run_in_executor(pool, _close, connecting)
        pool.shutdown(wait=False)
        await asyncio.shield(closing)  # after what still runs in the thread, whoever is cancelled meanwhile


def _close(connecting: "Future[Shelf]") -> None:
    if connecting.exception() is None:
        connecting.result().close()


def _connect(path: Path, owner: str, limits: Limits, now: float) -> Shelf:
    """Return the items in a file; a damaged one is set aside, unless somebody else here has it open."""
    try:
        return _open(path, owner, limits, now)
    except sqlite3.DatabaseError as error:
        if not is_damage(error) or sum(holders for (used, _), holders in list(_in_use.items()) if used == path) > 1:
            raise
        _log.error("%s: %s: %s", owner, error, set_aside(path, now).told(None))
        return _open(path, owner, limits, now)


def _open(path: Path, owner: str, limits: Limits, now: float) -> Shelf:
    db = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        prepare(db, owner, now)
        if examine(db):
            _log.warning("%s: the word index was damaged; it was made anew from the texts", owner)
        shelf = Shelf(db, owner, limits)
        shelf.drop_vectors([mark for (used, mark), holders in list(_in_use.items()) if used == path and holders])
    except BaseException:
        db.close()
        raise
    path.chmod(0o600)
    return shelf
