"""`loomd run`: one task from a folder of manifests, without a daemon; the six phases are shown as they happen."""

import asyncio
import gc
import hashlib
from pathlib import Path

import click

from loomd.amoeba.task import Result, Task
from loomd.api.body import Submission
from loomd.cli.show import Show
from loomd.cli.task_options import task_options
from loomd.clock import SystemClock
from loomd.daemon import Settings, open_system
from loomd.manifest.source import SourceFile, read_path
from loomd.models.place import models_dir
from loomd.store.directory import default_directory


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@task_options
@click.option("-n", "--namespace", default="default", show_default=True, help="Namespace of the cluster.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form.")
@click.option("--state", type=click.Path(path_type=Path), help="State directory; by default one per folder.")
@click.option("-q", "--quiet", is_flag=True, help="Print the answer only.")
def command(path: Path, wanted: Submission, namespace: str, output: str, state: Path | None, quiet: bool) -> int:
    """Run one task from PATH, a file or folder of manifests.

    GOAL is what is wanted, in words; without it, or for -, it is read from standard input. What was indexed and
    learned is kept for the next run on the same folder. Exit code 0: answered; 1: failed; 130: interrupted.
    """
    gc.enable()
    task = wanted.task(namespace, SystemClock())
    show = Show(quiet=quiet or output == "json")
    folder = (state or default_directory().parent / "runs" / _name(path)).absolute()
    settings = Settings(folder, models_dir(), folder / "loomd.sock")
    path = path.absolute()
    return show.finish(asyncio.run(run_once(str(path), read_path(path), task, settings, show)), output)


async def run_once(source: str, files: list[SourceFile], task: Task, settings: Settings, show: Show) -> Result:
    """Open the system that files declare, run one task on it and return what became of it.

    Raises:
        Problems: the manifests are not valid.
        LoomdError: something that they declare could not be opened.
    """
    async with open_system(settings) as system:
        system.bus.subscribe(show.hear)
        await system.reconciler.apply(source, files)
        return await system.engine.result(await system.engine.submit(task))


def _name(path: Path) -> str:
    """Return the name of a folder's own state directory."""
    full = path.resolve()
    return f"{full.name}-{hashlib.sha256(str(full).encode()).hexdigest()[:8]}"
