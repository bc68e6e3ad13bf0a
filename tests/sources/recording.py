"""A target that keeps what it is given, and a folder that is followed for as long as a test lasts."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from loomd.manifest.delivery import Delivery, SourceType
from loomd.manifest.problem import Position, Problem, Problems
from loomd.manifest.source import SourceFile
from loomd.sources.directory import DirectorySource, Pace

BRISK = Pace(quiet=0.05, every=60, poll=0.1, doubt=0.2, patience=10)
"""A pace at which only events, not the regular look, make a test end in time."""


class Recording:
    """Serves whatever is delivered, unless a file says that it is broken, and lets a test wait for it."""

    def __init__(self) -> None:
        self.served: tuple[SourceFile, ...] = ()
        self.deliveries: list[Delivery] = []
        self.rejected: list[str] = []
        self.stopped_until: str | None = None
        self.looks = 0
        self.asked = 0
        self._changed = asyncio.Condition()

    def files(self, source: str) -> tuple[SourceFile, ...]:
        """Return what serves."""
        del source
        return self.served

    async def apply(self, delivery: Delivery) -> None:
        """Serve files, unless one says that it is broken."""
        self.deliveries.append(delivery)
        if any(b"broken" in file.data for file in delivery.files):
            error = Problems([Problem(Position("a.yaml"), "broken", "broken")])
            self.reject(delivery.source, error, delivery.revision)
            raise error
        self.served = delivery.files
        self.wake()
        await asyncio.sleep(0)

    def reject(self, source: str, error: Exception, revision: str = "") -> None:
        """Note a refusal."""
        del source, revision
        self.rejected.append(str(error))
        self.wake()

    def ask(self, source: str) -> None:
        """Note that somebody asks for a look."""
        del source
        self.asked += 1

    def look(self, source: str) -> int:
        """Return how often somebody asked for a look."""
        del source
        return self.asked

    def suspended(self, source: str, revision: str = "") -> bool:
        """Return whether the source is stopped; another revision than the one that was undone ends that."""
        del source
        self.looks += 1
        self.wake()
        return self.stopped_until is not None and (not self.stopped_until or self.stopped_until == revision)

    async def roots(self) -> set[Path]:
        """Return the roots of what serves."""
        return {file.root for file in self.served}

    def announce(self, source: str, kind: SourceType) -> None:
        """Do nothing: a delivery says the same."""

    async def forget(self, source: str, prune: bool) -> None:
        """Do nothing: a folder that is watched stays so."""

    @property
    def contents(self) -> dict[str, bytes]:
        """Return what serves, by path."""
        return {file.path: file.data for file in self.served}

    def wake(self) -> None:
        """Let whoever waits look again."""

        async def notify() -> None:
            async with self._changed:
                self._changed.notify_all()

        self._waking = asyncio.ensure_future(notify())

    async def until(self, expected: Callable[["Recording"], bool], seconds: float = 60) -> None:
        """Wait until something is true."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: expected(self))

    async def serves(self, expected: dict[str, bytes]) -> None:
        """Wait until exactly these files serve."""
        await self.until(lambda kept: kept.contents == expected)

    async def refuses(self, text: str) -> None:
        """Wait until something was refused with a text."""
        await self.until(lambda kept: any(text in one for one in kept.rejected))


@asynccontextmanager
async def following(path: Path, pace: Pace = BRISK, allow_empty: bool = False) -> AsyncGenerator[Recording, None]:
    """Follow a folder for as long as the context lasts."""
    kept = Recording()
    source = DirectorySource(path, kept, pace, allow_empty)
    running = asyncio.ensure_future(source.run())
    try:
        yield kept
    finally:
        running.cancel()
        await asyncio.wait([running])
        if not running.cancelled():
            running.result()
