"""Opens the system that files declare, runs one task on it, and closes it again. Called by `run`."""

import asyncio
import gc
import getpass
import hashlib
import sys
from contextlib import suppress
from pathlib import Path

import click
import msgspec

from loomd.agents.approval import Decision
from loomd.amoeba.task import Result, Task
from loomd.api.body import Submission
from loomd.api.client import Json
from loomd.cli.show import Show
from loomd.clock import SystemClock
from loomd.daemon import Settings, System, open_system
from loomd.errors import Conflict
from loomd.events.event import ApprovalRequested, Event
from loomd.manifest.delivery import Delivery
from loomd.manifest.source import SourceFile, read_path
from loomd.models.place import models_dir
from loomd.store.directory import default_directory


def run(path: Path, wish: Json, namespace: str, state: Path | None, *, quiet: bool, output: str) -> int:
    """Run one task, show it, and return the exit code.

    Args:
        path: file or folder of manifests, absolute.
        wish: what is wanted, as the API takes it.
        namespace: namespace of the cluster.
        state: folder of the store; by default one per path.
        quiet: whether only the answer is shown.
        output: `text` or `json`.
    """
    gc.enable()
    task = msgspec.convert(wish, Submission).task(namespace, SystemClock())
    show = Show(quiet=quiet or output == "json")
    folder = (state or default_directory().parent / "runs" / _name(path)).absolute()
    settings = Settings(folder, models_dir(), folder / "loomd.sock")
    return show.finish(asyncio.run(_run(str(path), read_path(path), task, settings, show)), output)


async def _run(source: str, files: list[SourceFile], task: Task, settings: Settings, show: Show) -> Result:
    async with open_system(settings) as system, asyncio.TaskGroup() as asking:

        def hear(event: Event) -> None:
            show.hear(event)
            if isinstance(event.data, ApprovalRequested):
                asking.create_task(_ask(system, event.data.approval))

        system.bus.subscribe(hear)
        await system.reconciler.apply(Delivery(source, tuple(files)))
        return await system.engine.result(await system.engine.submit(task))


async def _ask(system: System, approval: str) -> None:
    """Ask whoever sits at the terminal; nobody else can be asked without a daemon."""
    if sys.stdin.isatty():
        agreed = await asyncio.to_thread(click.confirm, "Agree", default=False, err=True)
        decision = Decision("approved" if agreed else "denied", getpass.getuser())
    else:
        decision = Decision("denied", reason="`loomd run` has no terminal at which to ask anybody")
    with suppress(Conflict):  # it expired meanwhile
        await system.engine.decide(approval, decision)


def _name(path: Path) -> str:
    """Return the name of a folder's own state directory."""
    full = path.resolve()
    return f"{full.name}-{hashlib.sha256(str(full).encode()).hexdigest()[:8]}"
