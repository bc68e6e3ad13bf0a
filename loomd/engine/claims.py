"""Claims: who is about to start or to end a task that does not run, so that nobody else does. Called by the engine."""

import asyncio
from collections.abc import Container, Generator
from contextlib import contextmanager


class Claims:
    """The tasks that somebody has claimed. All methods belong to one event loop.

    Args:
        running: the tasks that run, which nobody can claim.
    """

    def __init__(self, running: Container[str]) -> None:
        self._running = running
        self._held: dict[str, asyncio.Event | None] = {}
        """With what wakes those who wait for one of them, where there are any."""

    @contextmanager
    def claim(self, task: str) -> Generator[bool]:
        """Say whether a task is free, and keep it from everybody else as long as the context lasts."""
        free = task not in self._running and task not in self._held
        if free:
            self._held[task] = None
        try:
            yield free
        finally:
            if free and (awaited := self._held.pop(task)) is not None:
                awaited.set()

    async def given_up(self, task: str) -> None:
        """Wait until nobody has claimed a task."""
        while task in self._held:
            awaited = self._held[task] = self._held[task] or asyncio.Event()
            await awaited.wait()
