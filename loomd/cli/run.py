"""`loomd run`: one task from a folder of manifests, without a daemon; the six phases are shown as they happen."""

import asyncio
import gc
import hashlib
import sys
from pathlib import Path

import click
import msgspec

from loomd.amoeba.task import Budget, Expect, Result, Task
from loomd.cli.show import Show
from loomd.clock import SystemClock
from loomd.daemon import Settings, open_system
from loomd.engine.intake import new_task
from loomd.manifest.source import SourceFile, read_path
from loomd.models.place import models_dir
from loomd.store.directory import default_directory


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.argument("goal", required=False)
@click.option("-n", "--namespace", default="default", show_default=True, help="Namespace of the cluster.")
@click.option("--cluster", default="", help="Cluster that takes the task; needed only when there are several.")
@click.option("--seed", type=int, help="Seed of every random draw of the task; drawn and kept when not given.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Most tokens of the task and all its parts.")
@click.option("--max-cost", type=click.FloatRange(min=0), help="Most US dollars of the task and all its parts.")
@click.option("--contains", multiple=True, help="Text that the answer must contain; counts in the evaluation.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--state", type=click.Path(path_type=Path), help="State directory; by default one per folder.")
@click.option("-q", "--quiet", is_flag=True, help="Print the answer only.")
def command(
    path: Path,
    goal: str | None,
    namespace: str,
    cluster: str,
    seed: int | None,
    max_tokens: int | None,
    max_cost: float | None,
    contains: tuple[str, ...],
    output: str,
    state: Path | None,
    quiet: bool,
) -> int:
    """Run one task from PATH, a file or folder of manifests.

    GOAL is what is wanted, in words; without it, it is read from standard input. What was indexed and learned is kept
    for the next run on the same folder. Exit code 0: answered; 1: failed; 130: interrupted.
    """
    gc.enable()
    text = goal if goal is not None else _ask()
    task = new_task(
        text,
        SystemClock(),
        namespace=namespace,
        cluster=cluster,
        seed=seed,
        budget=Budget(max_tokens, max_cost),
        expect=Expect(contains),
    )
    show = Show(quiet=quiet or output == "json")
    folder = (state or default_directory().parent / "runs" / _name(path)).absolute()
    settings = Settings(folder, models_dir(), folder / "loomd.sock")
    path = path.absolute()
    result = asyncio.run(run_once(str(path), read_path(path), task, settings, show))
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(result), indent=2))
    else:
        show.finish(result)
    if result.error:
        click.echo(f"error: {result.error}", err=True)
    return 0 if result.phase == "Succeeded" else 1


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


def _ask() -> str:
    """Read the goal from standard input, with a prompt on a terminal."""
    return str(click.prompt("What is wanted", err=True)) if sys.stdin.isatty() else sys.stdin.read()


def _name(path: Path) -> str:
    """Return the name of a folder's own state directory."""
    full = path.resolve()
    return f"{full.name}-{hashlib.sha256(str(full).encode()).hexdigest()[:8]}"
