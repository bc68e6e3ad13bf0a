"""`loomd run`: one task from a folder of manifests, without a daemon; the six phases are shown as they happen."""

from pathlib import Path

import click

from loomd.api.client import Json
from loomd.cli.target import declared_parts
from loomd.cli.task_options import said, task_options


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@task_options
@click.option("-n", "--namespace", default="default", show_default=True, help="Namespace of the cluster.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form.")
@click.option("--state", type=click.Path(path_type=Path), help="State directory; by default one per folder.")
@click.option("-q", "--quiet", is_flag=True, help="Print the answer only.")
def command(path: Path, wish: Json, namespace: str, output: str, state: Path | None, quiet: bool) -> int:
    """Run one task from PATH, a file or folder of manifests.

    GOAL is what is wanted, in words; without it, or for -, it is read from standard input. Task/NAME in its place runs
    a declared task; without PATH that is one of the folder where you are. What was indexed and learned is kept for the
    next run on the same folder. Exit code 0: answered; 1: failed; 130: interrupted.
    """
    if not path.exists():
        raise click.BadParameter(f"Path {str(path)!r} does not exist.", param_hint="'PATH'")
    declared = declared_parts(wish["goal"], namespace)
    if declared is not None:
        if said({**wish, "goal": ""}):
            raise click.UsageError("the declared task says what is wanted: leave out the options of the task")
        namespace = declared[1]
    from loomd.cli.once import run  # noqa: PLC0415  # brings all that runs tasks; the help text needs none of it

    name = "" if declared is None else declared[-1]
    return run(path.absolute(), wish, namespace, state, declared=name, quiet=quiet, output=output)
