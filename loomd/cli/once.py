"""Opens the system that files declare, runs one task on it, and closes it again. Called by `run`."""

import asyncio
import getpass
import logging
import secrets
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
import msgspec

from loomd import embed
from loomd.amoeba.task import Result, Task
from loomd.api.body import Submission
from loomd.api.client import Json
from loomd.api.declared import declared_task
from loomd.cli.show import Show
from loomd.clock import SystemClock
from loomd.daemon import System
from loomd.engine.accept import clusters_in
from loomd.engine.intake import new_id
from loomd.errors import Conflict
from loomd.events.event import ApprovalRequested, Event
from loomd.garbage import collect_seldom
from loomd.manifest.object import Snapshot


def run(
    path: Path, wish: Json, namespace: str, state: Path | None, *, declared: str = "", quiet: bool, output: str
) -> int:
    """Run one task, show it, and return the exit code.

    Args:
        path: file or folder of manifests, absolute.
        wish: what is wanted, as the API takes it.
        namespace: namespace of the cluster.
        state: folder of the store; by default one per path.
        declared: name of the declared task that is run in place of the wish, or empty.
        quiet: whether only the answer is shown.
        output: `text` or `json`.
    """
    collect_seldom()

    def task_of(system: System) -> Task:
        if declared:
            live = declared_task(system, declared, namespace)
            return live.task(new_id(system.clock), secrets.randbits(32))
        return asked.task(namespace, system.clock)

    asked = msgspec.convert(wish, Submission)
    if not declared:
        asked.task(namespace, SystemClock())  # what is wrong with it is said before anything is opened
    show = Show(quiet=quiet or output == "json")
    with logged(show):
        result = asyncio.run(_run(path, namespace, task_of, state, show))
    return show.finish(result, output)


@contextmanager
def logged(show: Show) -> Generator[None]:
    """Let what is logged be said beside what is shown: in the midst of a tree, the next drawing would erase it."""
    handler = _Beside(show)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


class _Beside(logging.Handler):
    """Hands over what is logged, as lines without a time."""

    def __init__(self, show: Show) -> None:
        super().__init__(logging.WARNING)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        """Say one record."""
        self._show.note(self.format(record))


async def _run(path: Path, namespace: str, task_of: Callable[[System], Task], state: Path | None, show: Show) -> Result:
    asked: asyncio.Queue[str] = asyncio.Queue()

    def hear(event: Event) -> None:
        show.hear(event)
        if isinstance(event.data, ApprovalRequested):
            asked.put_nowait(event.data.approval)

    def admits(declared: Snapshot) -> None:
        clusters_in(declared, namespace)  # that nobody takes the task is said before anything is opened

    async with embed.open(path, state=state, listener=hear, admits=admits) as system, asyncio.TaskGroup() as group:
        answering = group.create_task(_answer(system, asked, show))
        try:
            return await system.result(await system.system.engine.submit(task_of(system.system)))
        finally:
            answering.cancel()


async def _answer(system: embed.Embedded, asked: asyncio.Queue[str], show: Show) -> None:
    """Put each question to whoever sits at the terminal; nobody else can be asked without a daemon."""
    while True:
        approval = await asked.get()
        agreed, reason = False, "`loomd run` has no terminal at which to ask anybody"
        if sys.stdin.isatty():
            with show.asking():
                agreed = await asyncio.to_thread(click.confirm, "Agree", default=False, err=True)
            reason = ""
        with suppress(Conflict):  # it expired meanwhile
            await system.decide(approval, agreed=agreed, by="" if reason else getpass.getuser(), reason=reason)
