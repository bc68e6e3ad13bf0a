"""What the daemon expects of an engine: tasks are accepted durably, run to a result, and survive a crash."""

from typing import Protocol

from loomd.amoeba.task import Result, Task


class Engine(Protocol):
    """Runs tasks. One conformance suite (`tests/engine`) runs over every engine."""

    async def submit(self, task: Task) -> str:
        """Accept a task and return its id once it is on disk; it runs in the background.

        Raises:
            NotFound: its cluster is not in the current topology.
            Conflict: the engine is draining, or the id is taken.
        """
        ...

    async def result(self, task: str) -> Result:
        """Wait until a task has ended and return what became of it.

        Raises:
            NotFound: no such task.
        """
        ...

    async def cancel(self, task: str) -> None:
        """End a task and its children; what was done stays recorded."""
        ...

    async def resume(self) -> list[str]:
        """Continue every task that was accepted and has no result; return their ids."""
        ...

    async def drain(self, grace: float) -> None:
        """Take no more tasks, wait up to `grace` seconds for the running ones, then stop them resumable."""
        ...
