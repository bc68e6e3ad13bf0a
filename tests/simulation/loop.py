"""An event loop in which time passes only when nothing else is left to do: a day of waiting costs nothing.

Everything that runs in it runs in the same order whenever it is run again: it never waits for a thread or a socket, and
sets of tasks are walked in the order in which the tasks were made.
"""

import asyncio
import contextvars
from collections.abc import Coroutine, Generator
from contextlib import suppress
from typing import Any


class Killed(KeyboardInterrupt):
    """The process is gone. Like an interrupt it passes through everything, out of the loop."""


class _Numbered(asyncio.Task[Any]):
    """A task whose place in a set hangs on when it was made, not on where it is in memory."""

    count = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        type(self).count += 1
        self._number = self.count
        super().__init__(*args, **options)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class VirtualLoop(asyncio.BaseEventLoop):
    """Its time begins at 0, in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = self
        self._seconds = 0.0
        self.set_task_factory(_make)
        self.set_exception_handler(_ignore)

    def time(self) -> float:
        """Return the seconds that have gone by."""
        return self._seconds

    def select(self, timeout: float | None) -> list[Any]:
        """Let time go by until the next thing is due.

        Raises:
            RuntimeError: nothing ever will be.
        """
        if timeout is None:
            raise RuntimeError("everything waits for ever")
        self._seconds += timeout
        return []

    def bury(self) -> None:
        """End what is left of a process that was killed."""
        while tasks := asyncio.all_tasks(self):
            for task in tasks:  # again and again: what waits for something to become possible may lose sight of it
                task.cancel()
            with suppress(Killed):
                self.run_until_complete(asyncio.sleep(0))
        self.close()

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


def _ignore(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say nothing of what nobody waited for: the process that would have is dead."""
    del loop, context


def _make(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    context: contextvars.Context | None = None,
) -> asyncio.Future[Any]:
    return _Numbered(coro, loop=loop, context=context)
