"""`loomd submit`: hands a task to the daemon, and waits for the answer when asked."""

import json
from pathlib import Path

import click

from loomd.api.client import Client, Json
from loomd.cli.output import Form, output_option
from loomd.cli.target import TASKS, declared_parts, namespace_option, schedule_parts, socket_option
from loomd.cli.task_options import said, task_options


@click.command()
@task_options
@click.option(
    "--from",
    "origin",
    default="",
    metavar="task/NAME|schedule/NAME",
    help="Submit a task as it is declared, or what a schedule would, now.",
)
@click.option(
    "-f",
    "--file",
    "manifest",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Submit the task that this manifest declares; nothing is applied.",
)
@click.option("--key", default="", help="Name of this wish: submitted again with it, it is the same task.")
@click.option("--wait/--no-wait", default=False, help="Show the phases and print the answer.")
@click.option("-q", "--quiet", is_flag=True, help="With --wait, print the answer only.")
@namespace_option
@output_option("text", "json")
@socket_option
def command(
    wish: Json,
    origin: str,
    manifest: Path | None,
    key: str,
    wait: bool,
    quiet: bool,
    namespace: str,
    output: Form,
    client: Client,
) -> int:
    """Hand a task to the daemon.

    GOAL is what is wanted, in words; without it, or for -, it is read from standard input; Task/NAME sends a declared
    task, like --from. The task's id is printed once it is on disk; whoever cannot know whether that happened submits
    again with the same --key. With --wait it is shown as by `loomd run`, and so is the exit code. With --from and -f
    the manifest says all of it; whether a schedule is suspended, or another run goes on, does not matter.
    """
    if not origin and declared_parts(wish["goal"], namespace) is not None:
        origin, wish["goal"] = wish["goal"], ""
    if origin and manifest is not None:
        raise click.UsageError("--from and -f: name one of them")
    if origin:
        _only(wish, "--from: the schedule or the declared task")
        place = schedule_parts(origin, namespace)
        body = {"key": key} if key and place is None else {}
        if place is None:
            place = declared_parts(origin, namespace)
        if place is None:
            raise click.UsageError(f"--from: expected task/NAME or schedule/NAME, got {origin!r}")
        namespace, task = place[1], str(client.post(*place, "run", body=body)["id"])
    else:
        if manifest is not None:
            _only(wish, "-f: the manifest")
            from loomd.cli.declared import wish_of  # noqa: PLC0415  # brings every kind; words need none

            namespace, wish = wish_of(manifest)
        wish |= {"key": key} if key else {}
        task = str(client.post("namespaces", namespace, "tasks", body=wish)["id"])
    if not wait:
        click.echo(json.dumps({"id": task}) if output.name == "json" else task)
        if namespace != "default":
            click.echo(f"in namespace {namespace}: loomd describe task/{namespace}/{task}", err=True)
        return 0
    from loomd.cli.follow import follow  # noqa: PLC0415  # brings every event's type; handing over needs none

    try:
        return follow(client, namespace, task, quiet=quiet, output=output.name)
    except KeyboardInterrupt:
        click.echo(f"task {task} goes on: loomd describe {TASKS.spelled(task, namespace).lower()}", err=True)
        raise


def _only(wish: Json, who: str) -> None:
    """Refuse what somebody else says.

    Raises:
        UsageError: something is wished for.
    """
    if said(wish):
        raise click.UsageError(f"{who} says what is wanted: leave out GOAL and the options of the task")
