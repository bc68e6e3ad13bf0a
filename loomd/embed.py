"""A whole system inside a Python program, without a daemon: `async with loomd.open("agents/") as system: ...`.

The same parts as those of `loomd run`, which is built on it: what was indexed and learned is kept in a state directory
of the folder. Nothing is watched; `apply` takes the manifests over once more.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Unpack

from loomd.agents.approval import Decision
from loomd.amoeba.task import Result
from loomd.clock import Clock
from loomd.daemon import System, open_system
from loomd.engine.intake import Wish, new_task
from loomd.errors import NotFound, Overloaded
from loomd.events.event import Event, TaskCompleted, TaskFailed
from loomd.manifest.delivery import Delivery
from loomd.manifest.object import Snapshot
from loomd.manifest.source import read_path
from loomd.models.place import models_dir
from loomd.settings import Settings
from loomd.store.directory import default_directory

_WAITING = 100_000
"""Events that may wait for whoever reads a stream."""


class Embedded:
    """A system that serves a folder of manifests; made by `open`. Many tasks may run at once.

    Attributes:
        system: all of it, for what this class has no method for.
    """

    def __init__(self, system: System, path: Path, admits: Callable[[Snapshot], object] | None = None) -> None:
        self.system = system
        self._path = path
        self._admits = admits

    async def apply(self) -> None:
        """Take over the manifests as they are now; when they are refused, what served before goes on serving.

        Raises:
            Problems: they are not valid.
            LoomdError: something that they declare could not be opened, or could not fetch what it needs.
        """
        files = await asyncio.to_thread(read_path, self._path)
        await self.system.reconciler.apply(Delivery(str(self._path), tuple(files), admits=self._admits))
        await self.system.reconciler.topology.settled()

    async def run(self, goal: str, **wish: Unpack[Wish]) -> Result:
        """Run a task to its end; one that fails has a result, too. Whoever is cancelled meanwhile cancels the task.

        Raises:
            NotFound: there is no such cluster.
            Permanent: the goal is empty, or a limit is negative.
        """
        task = new_task(goal, self.system.clock, **wish)
        one = task.id
        try:
            await self.system.engine.submit(task)
            while (result := await self.system.engine.result(one)).retried:
                one = result.retried
        except asyncio.CancelledError:
            with suppress(NotFound):  # it was not accepted yet, or has ended
                await self.system.engine.cancel(one)
            raise
        return result

    async def submit(self, goal: str, **wish: Unpack[Wish]) -> str:
        """Accept a task, which runs in the background, and return its id.

        Raises:
            NotFound: there is no such cluster.
            Permanent: the goal is empty, or a limit is negative.
        """
        return await self.system.engine.submit(new_task(goal, self.system.clock, **wish))

    async def result(self, task: str) -> Result:
        """Wait until a task has ended, its further attempts included, and return what became of it.

        It goes on when whoever waits is cancelled: see `cancel`.

        Raises:
            NotFound: there is no such task.
        """
        result = await self.system.engine.result(task)
        while result.retried:
            result = await self.system.engine.result(result.retried)
        return result

    async def cancel(self, task: str) -> None:
        """End a task with all its parts; what was done stays recorded, and its result says `Cancelled`.

        Raises:
            NotFound: there is no such task, or it has ended.
            Conflict: it is about to start, or is a part of one that runs.
        """
        await self.system.engine.cancel(task)

    async def resume(self) -> list[str]:
        """Continue every task that was interrupted, after its last recorded step, and return their ids."""
        return await self.system.engine.resume()

    async def stream(self, goal: str, **wish: Unpack[Wish]) -> AsyncGenerator[Event, None]:
        """Run a task and yield its events and those of its parts as they happen, the task's end last.

        The pieces of an answer are events of type `model.delta`. Whoever stops reading, by closing the generator,
        cancels the task.

        Raises:
            NotFound: there is no such cluster.
            Permanent: the goal is empty, or a limit is negative.
            Overloaded: the reader fell far behind; the task goes on.
        """
        task = new_task(goal, self.system.clock, **wish)
        one, parts = task.id, f"{task.id}."

        def wanted(event: Event) -> bool:
            return event.task == one or event.task.startswith((parts, f"{task.id}-"))

        async with self.system.bus.stream(_WAITING, wanted) as events:
            await self.system.engine.submit(task)
            try:
                async for event in events:
                    yield event
                    if event.task != one or not isinstance(event.data, TaskCompleted | TaskFailed):
                        continue
                    if not isinstance(event.data, TaskFailed) or not event.data.retried:
                        return
                    one = event.data.retried
            except Overloaded:
                raise
            except BaseException:
                await self.system.engine.cancel(one)
                raise

    async def decide(self, approval: str, *, agreed: bool, by: str = "", reason: str = "") -> None:
        """Answer a question of a task, which is told by an event of type `approval.requested`.

        Raises:
            NotFound: there is no such question.
            Conflict: it was decided already, or has expired.
        """
        await self.system.engine.decide(approval, Decision("approved" if agreed else "denied", by, reason))


@asynccontextmanager
async def open(  # noqa: A001  # read as `loomd.open`
    path: str | Path,
    *,
    state: str | Path | None = None,
    listener: Callable[[Event], None] | None = None,
    clock: Clock | None = None,
    admits: Callable[[Snapshot], object] | None = None,
) -> AsyncGenerator[Embedded, None]:
    """Yield a system that serves the manifests of a file or folder.

    Args:
        path: the file or folder.
        state: folder of what is kept; by default the one that `loomd run` keeps for the path.
        listener: is called with every event, those of opening included; it must be quick.
        clock: the time; the machine's by default.
        admits: is called with what the manifests declare, before any of it is opened; what it raises is raised.

    Raises:
        NotFound: there is no such file or folder.
        Problems: the manifests are not valid.
        Conflict: another process holds the state directory.
        LoomdError: something that is declared could not be opened.
    """
    full, settings = await asyncio.to_thread(_places, Path(path), state)
    async with open_system(settings, clock) as system:
        if listener is not None:
            system.bus.subscribe(listener)
        embedded = Embedded(system, full, admits)
        await embedded.apply()
        yield embedded


def _places(path: Path, state: str | Path | None) -> tuple[Path, Settings]:
    """Return the absolute path of the manifests, and the settings with the folder of what is kept."""
    folder = Path(state).absolute() if state is not None else _state_of(path)
    return path.absolute(), Settings(folder, models_dir(), folder / "loomd.sock")


def _state_of(path: Path) -> Path:
    """Return the state directory of its own that a file or folder of manifests has."""
    full = path.resolve()
    name = f"{full.name}-{hashlib.sha256(str(full).encode()).hexdigest()[:8]}"
    return default_directory().parent / "runs" / name
