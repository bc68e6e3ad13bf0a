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
from weakref import WeakValueDictionary

import msgspec

from loomd.clock import Clock
from loomd.errors import BadReply, Damaged, LoomdError, Temporary
from loomd.events.room import Condensed
from loomd.memory.damage import Aside, examine, find_aside, is_damage, set_aside
from loomd.memory.item import Draft, Item, Report, Turn, Which, Whose
from loomd.memory.layout import prepare
from loomd.memory.refill import Contents, MemoryJournal, Refilled
from loomd.memory.shelf import Limits, Query, Shelf
from loomd.memory.summary import Line
from loomd.topology import Health

_log = logging.getLogger("loomd.memory")
T = TypeVar("T")

_in_use: Counter[tuple[Path, str]] = Counter()
"""The files that are open in this process, with the embedder: its vectors stay, also beside those of another one."""
_BATCH = 256
_LOOK = 30.0
"""Most seconds between looks whether an embedder that failed answers again."""
_AGAIN = "what the journal has is still being remembered again"
_ASIDE = "it is set aside, and what the journal has is remembered again, when the daemon starts again"
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


class _Turns:
    """Whose turn it is at one file: a memory that is opened anew stands beside the one that still serves."""

    def __init__(self) -> None:
        self.telling = asyncio.Lock()
        """Held by whoever adds or forgets: nothing is added between what the journal is told of and what is deleted."""
        self.refilling = asyncio.Lock()
        """Held by whoever looks through the journal: one of them is enough."""


_turns: WeakValueDictionary[tuple[Path, asyncio.AbstractEventLoop], _Turns] = WeakValueDictionary()


class Recall:
    """The remembered items of one memory; `owner` names it."""

    def __init__(
        self,
        owner: str,
        shelf: Shelf,
        pool: ThreadPoolExecutor,
        embedder: Embedder | None,
        clock: Clock,
        journal: MemoryJournal | None,
        turns: _Turns,
    ) -> None:
        self._owner = owner
        self._shelf = shelf
        self._pool = pool
        self._embedder = embedder
        self._clock = clock
        self._journal = journal
        self._failed: tuple[str, float] = ("", 0.0)
        self.aside: Aside | None = None
        """The damaged file in whose place this one is; None when there is none."""
        self._opened = clock.now()
        self.refilled: Refilled | None = None
        """How a new file was filled in from the journal; None while that is looked through."""
        self._tried = asyncio.Event()
        self._turns = turns
        self._embedding = 0
        """How many embed what is left now."""
        self._left = asyncio.Event()
        """Whether there may be something to embed beside the tasks."""
        self._behind = False
        """Whether that is much: all that came from the journal, or was told while the embedder failed."""
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

        They are found by words alone as long as `wordy` says why, and while what came from the journal is embedded.
        What is left to embed is embedded beside: nobody who asks waits for it.
        """
        query, embedder = Query(text, seen, most, self._clock.now()), self._embedder
        if embedder is not None:
            mark = embedder.fingerprint
            left = await self._run(lambda: self._shelf.unmade(mark, 1))
            if left and not self._embedding:
                self._left.set()
            made = None if left and self._behind else await self._embed(embedder, [text])
            if made is not None:
                query = replace(query, vector=made[0], mark=mark)
        return await self._run(lambda: self._shelf.find(whose, query))

    async def add(self, whose: Whose, turn: Turn, drafts: Sequence[Draft], *, working: bool = False) -> list[str]:
        """Keep items, each once per home and key, and return their ids; they are on disk also without vectors."""
        async with self._turns.telling:
            kept = await self._run(lambda: self._shelf.add(whose, turn, drafts, working=working))
        await self.refresh()
        return kept

    async def move(self, whose: Whose) -> list[str]:
        """Let the working facts that are too many become long-term, and return their ids."""
        return await self._run(lambda: self._shelf.move(whose))

    async def working(self, whose: Whose) -> list[Item]:
        """Return the working facts of a conversation that are too many; none until the journal was looked through."""
        return [] if self.refilled is None else await self._current(lambda: self._shelf.working(whose))

    async def replace(self, whose: Whose, turn: Turn, lines: Sequence[Line], asked: Sequence[Item]) -> list[Condensed]:
        """Keep lines of a summary in place of working facts, let the others move on, and return what is kept.

        There is nothing when one of the facts that were asked about was forgotten meanwhile.

        Raises:
            Temporary: the journal was not looked through yet, and might bring the facts back beside the summaries.
        """
        if self.refilled is None:
            raise Temporary(f"{self._owner}: {_AGAIN}")
        async with self._turns.telling:
            kept = await self._run(lambda: self._shelf.replace(whose, turn, lines, asked))
        await self.refresh()
        return kept

    async def items(self, which: Which, after: str = "", most: int = -1) -> list[Item]:
        """Return items in the order of their ids."""
        return await self._current(lambda: self._shelf.items(which, after, most))

    async def forget(self, which: Which) -> list[str]:
        """Delete items for good, and return their ids; the journal has that first.

        Raises:
            Temporary: the journal cannot be looked through now, and might bring them back later; or it cannot be noted
                there. Nothing is deleted.
        """
        await self.settled()
        async with self._turns.telling:
            now = self._clock.now()
            if self._journal is not None:
                await self._journal.forget(await self._current(lambda: self._shelf.meant(which)), now)
            return await self._run(lambda: self._shelf.forget(which, now))

    async def report(self) -> Report:
        """Return how many items there are, and what went wrong last."""
        mark = self._embedder.fingerprint if self._embedder else ""
        found = await self._current(lambda: self._shelf.report(mark))
        return msgspec.structs.replace(found, error=self._failed[0], error_at=self._failed[1])

    async def refresh(self) -> None:
        """Embed what only another embedder, or none, had embedded; when that is much, it is left to `embed_left`."""
        if self._behind:
            self._left.set()
        elif self._embedder is not None:
            await self._embed_left(self._embedder)

    async def embed_left(self) -> None:
        """Embed beside the tasks what was left to embed; until cancelled."""
        while (embedder := self._embedder) is not None:
            await self._left.wait()
            self._left.clear()
            try:
                await self._embed_left(embedder)
            except LoomdError as error:
                _log.warning("%s: %s", self._owner, error)
            if self.refilled is not None and not self._left.is_set():
                self._behind = False

    async def _embed_left(self, embedder: Embedder) -> None:
        mark, most = embedder.fingerprint, min(_BATCH, getattr(embedder, "batch", _BATCH))  # one call of a service
        self._embedding += 1
        try:
            while rows := await self._run(lambda: self._shelf.unmade(mark, most)):
                vectors = await self._embed(embedder, [text for _, text in rows])
                if vectors is None:
                    return
                made = [(row, text, mark, vector.tobytes()) for (row, text), vector in zip(rows, vectors, strict=True)]
                await self._run(partial(self._shelf.put_vectors, made))
        finally:
            self._embedding -= 1

    async def settled(self) -> None:
        """Wait until what the journal has is remembered again, when the file is new.

        Raises:
            Temporary: that cannot be looked through now; it is tried again.
        """
        await self._tried.wait()
        if self.refilled is None:
            raise Temporary(f"{self._owner}: {_AGAIN}, which does not work now: the log says why")

    async def refill(self) -> None:
        """Remember again what the journal has, if the file is new; it is tried until it works, or until cancelled."""
        told = False
        try:
            while self.refilled is None:
                try:
                    async with self._turns.refilling:
                        told = await self._refill()
                except LoomdError as error:
                    self._behind = False
                    _log.warning("%s: %s, which does not work now: %s", self._owner, _AGAIN, error)
                    self._tried.set()
                    await asyncio.sleep(_LOOK)
        finally:
            self._tried.set()
            if self._behind:
                self._left.set()
        if told and self._journal is not None and (any(self.refilled) or self.aside is not None):
            _log.warning("%s: %d items are remembered again from the journal", self._owner, self.refilled.items)
            self._journal.tell(self.refilled)

    async def _refill(self) -> bool:
        """Remember what the journal has, and return whether that was done here: somebody else may have done it."""
        known, contents = await self._run(lambda: self._shelf.refilled), Contents()
        if known is None and self._journal is not None:
            contents = await self._journal.read()
        self._behind = self._embedder is not None and bool(contents.entries if known is None else known.items)
        self.refilled = await self._run(partial(self._shelf.refill, contents)) if known is None else known
        return known is None

    async def begin(self) -> None:
        """Note that there is no journal, or nothing in it, from which a new file could be filled in."""
        self.refilled = await self._run(partial(self._shelf.refill, Contents()))

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
        """Ask an embedder that failed, and have what is left embedded when it answers."""
        if self.wordy is None or self._embedder is None:
            return
        if await self._embed(self._embedder, _PROBE, again=True) is not None:
            self._behind = True
            self._left.set()

    async def _embed(self, embedder: Embedder, texts: Sequence[str], *, again: bool = False) -> Any:
        """Return vectors, or None while the embedder fails; one that failed is asked only `again`."""
        if self.wordy is not None and not again:
            return None
        try:
            vectors = await embedder.embed(texts)
            if again and not vectors.any():
                raise BadReply("the embedder has nothing but zeros for the words that it is tried with")
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
            now, said = self._clock.now(), f"the memory's file is damaged ({error}): {_ASIDE}"
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
    journal: MemoryJournal | None = None,
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
            instead = _ASIDE if is_damage(error) else "with it out of the way, what the journal has is remembered again"
            raise Damaged(f"{owner}: {path} cannot be used ({error}): {instead}") from error
        turns = _turns.setdefault((path, asyncio.get_running_loop()), _Turns())
        recall = Recall(owner, shelf, pool, embedder, clock, journal, turns)
        recall.aside = await asyncio.get_running_loop().run_in_executor(pool, find_aside, path)
        recall.refilled = await asyncio.get_running_loop().run_in_executor(pool, lambda: shelf.refilled)
        if journal is None or await journal.is_empty():
            await recall.begin()
        await recall.expire()
        await recall.refresh()
        beside = [
            asyncio.ensure_future(one) for one in (recall.refill(), recall.embed_left(), recall.look_after(limits.ttl))
        ]
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
