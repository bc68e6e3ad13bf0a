"""What the daemon expects of an engine: tasks are accepted durably, run to a result, and survive a crash."""

from typing import Protocol

from loomd.agents.approval import Decision
from loomd.amoeba.task import Result, Task
from loomd.store.records import ApprovalRecord, TaskRecord
from loomd.topology import Topology


class Engine(Protocol):
    """Runs tasks. One conformance suite (`tests/engine`) runs over every engine."""

    @property
    def running(self) -> int:
        """Return how many tasks run, without their subtasks."""
        ...

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

    async def get(self, task: str) -> TaskRecord | None:
        """Return what is known of a task; of one that is not kept, for some time after its end."""
        ...

    async def send(self, task: str, name: str, value: object) -> None:
        """Send a JSON value to a task under a name; it is on disk when this returns, and the first one counts.

        Raises:
            NotFound: no such task.
            Conflict: the task has ended, or something was sent under this name before.
        """
        ...

    async def decide(self, approval: str, decision: Decision) -> ApprovalRecord:
        """Answer a question of a task; it is on disk when this returns.

        Raises:
            NotFound: there is no such question.
            Conflict: it was decided already, or has expired.
        """
        ...

    async def cancel(self, task: str) -> None:
        """End a task and its children; what was done stays recorded."""
        ...

    async def retry(self, task: str) -> str:
        """Run a task anew from the beginning, as one of its own, and return that one's id; what waits is ended.

        Raises:
            NotFound: no such task, or its cluster does not serve.
            Conflict: it runs, or is a part of another.
        """
        ...

    async def go_on(self, task: str) -> None:
        """Continue a task that waits because its own revision cannot be opened, on what serves.

        Raises:
            NotFound: no such task, or its cluster does not serve.
            Conflict: it runs, has ended, is a part of another, or a newer engine recorded it.
        """
        ...

    async def resume(self) -> list[str]:
        """Continue every task that was accepted and has no result; return their ids."""
        ...

    async def move(self, topology: Topology) -> int:
        """Continue every task of an old topology on the current one, from its recorded steps; return how many.

        A task that cannot go on there ends as it would after a restart.
        """
        ...

    async def drain(self, grace: float) -> None:
        """Take no more tasks, wait up to `grace` seconds for the running ones, then stop them resumable."""
        ...
