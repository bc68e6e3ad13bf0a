"""What is remembered, as the live memory uses it: one file, one thread of its own, and the embedder's vectors.

What was remembered survives a crash of the process. Called by the live memory.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from loomd.clock import Clock
from loomd.errors import Damaged, LoomdError, Temporary
from loomd.memory.item import Draft, Item, Report, Turn, Which, Whose
from loomd.memory.layout import prepare
from loomd.memory.shelf import Limits, Query, Shelf

T = TypeVar("T")

_in_use: Counter[tuple[Path, str]] = Counter()
"""The files that are open in this process, with the embedder: its vectors stay, also beside those of another one."""
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


class Recall:
    """The remembered items of one memory."""

    def __init__(self, shelf: Shelf, pool: ThreadPoolExecutor, embedder: Embedder | None, clock: Clock) -> None:
        self._shelf = shelf
        self._pool = pool
        self._embedder = embedder
        self._clock = clock
        self._failed: tuple[str, float] = ("", 0.0)

    async def find(self, whose: Whose, text: str, seen: Sequence[str] = (), most: int | None = None) -> list[str]:
        """Return the texts that one may see and that fit a question, best first; what is seen already is left out."""
        query = Query(text, seen, most, self._clock.now())
        if self._embedder is not None:
            await self.refresh()
            vector = (await self._embed(self._embedder, [text]))[0]
            query = Query(text, seen, most, query.now, vector, self._embedder.fingerprint)
        return await self._run(lambda: self._shelf.find(whose, query))

    async def add(self, whose: Whose, turn: Turn, drafts: Sequence[Draft], *, working: bool = False) -> list[str]:
        """Keep items, each once per home and key, and return their ids."""
        kept = await self._run(lambda: self._shelf.add(whose, turn, drafts, working=working))
        await self.refresh()
        return kept

    async def move(self, whose: Whose) -> list[str]:
        """Let the working facts that are too many become long-term, and return their ids."""
        return await self._run(lambda: self._shelf.move(whose))

    async def working(self, whose: Whose) -> list[Item]:
        """Return the working facts of a conversation that are too many."""
        return await self._run(lambda: self._shelf.working(whose))

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
        return await self._run(lambda: self._shelf.items(which, after, most))

    async def forget(self, which: Which) -> list[str]:
        """Delete items for good, and return their ids."""
        return await self._run(lambda: self._shelf.forget(which, self._clock.now()))

    async def report(self) -> Report:
        """Return how many items there are, and what went wrong last."""
        mark = self._embedder.fingerprint if self._embedder else ""
        found = await self._run(lambda: self._shelf.report(mark))
        return msgspec.structs.replace(found, error=self._failed[0], error_at=self._failed[1])

    async def refresh(self) -> None:
        """Embed what only another embedder, or none, had embedded."""
        embedder = self._embedder
        if embedder is None:
            return
        mark = embedder.fingerprint
        while rows := await self._run(lambda: self._shelf.unmade(mark, _BATCH)):
            vectors = await self._embed(embedder, [text for _, text in rows])
            made = [(row, text, mark, vector.tobytes()) for (row, text), vector in zip(rows, vectors, strict=True)]
            await self._run(partial(self._shelf.put_vectors, made))

    async def expire(self) -> None:
        """Delete what is too old."""
        await self._run(lambda: self._shelf.expire(self._clock.now()))

    async def _embed(self, embedder: Embedder, texts: Sequence[str]) -> Any:
        try:
            return await embedder.embed(texts)
        except LoomdError as error:
            self._failed = (str(error), self._clock.now())
            raise

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except sqlite3.OperationalError as error:
            self._failed = (str(error), self._clock.now())
            raise Temporary(f"the memory's file cannot be used: {error}") from error
        except sqlite3.DatabaseError as error:
            self._failed = (str(error), self._clock.now())
            raise Damaged(f"the memory's file is damaged ({error}): move it away to start anew") from error


@asynccontextmanager
async def open_recall(
    path: Path, owner: str, limits: Limits, embedder: Embedder | None, clock: Clock
) -> AsyncGenerator[Recall, None]:
    """Open the remembered items in a file, which is made when it is missing.

    Raises:
        Damaged: the file is no database of ours; the text names it.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="memory")
    use = (path, embedder.fingerprint if embedder else "")
    _in_use[use] += 1
    connecting = pool.submit(_connect, path, owner, limits, clock.now())
    try:
        try:
            shelf = await asyncio.shield(asyncio.wrap_future(connecting))
        except sqlite3.DatabaseError as error:
            raise Damaged(f"{owner}: {path} cannot be used ({error}): move it away to start anew") from error
        recall = Recall(shelf, pool, embedder, clock)
        await recall.expire()
        await recall.refresh()
        yield recall
    finally:
        _in_use[use] -= 1
        closing = asyncio.get_running_loop().run_in_executor(pool, _close, connecting)
        pool.shutdown(wait=False)
        await asyncio.shield(closing)  # after what still runs in the thread, whoever is cancelled meanwhile


def _close(connecting: "Future[Shelf]") -> None:
    if connecting.exception() is None:
        connecting.result().close()


def _connect(path: Path, owner: str, limits: Limits, now: float) -> Shelf:
    db = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        prepare(db, owner, now)
        shelf = Shelf(db, owner, limits)
        shelf.drop_vectors([mark for (used, mark), holders in list(_in_use.items()) if used == path and holders])
    except BaseException:
        db.close()
        raise
    path.chmod(0o600)
    return shelf
