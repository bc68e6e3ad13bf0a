"""`loomd submit`: hands a task to the daemon, and waits for the answer when asked."""

import json

import click

from loomd.api.client import Client, Json
from loomd.cli.output import Form, output_option
from loomd.cli.target import TASKS, namespace_option, schedule_parts, socket_option
from loomd.cli.task_options import task_options

_OPTIONS = ("goal", "cluster", "agent", "budget", "durability", "session", "tenant", "user", "images")
"""What a schedule says in place of the command line, beside the seed and what the answer must contain."""


@click.command()
@task_options
@click.option("--from", "origin", default="", metavar="schedule/NAME", help="Submit what a schedule would, now.")
@click.option("--key", default="", help="Name of this wish: submitted again with it, it is the same task.")
@click.option("--wait/--no-wait", default=False, help="Show the phases and print the answer.")
@click.option("-q", "--quiet", is_flag=True, help="With --wait, print the answer only.")
@namespace_option
@output_option("text", "json")
@socket_option
def command(
    wish: Json, origin: str, key: str, wait: bool, quiet: bool, namespace: str, output: Form, client: Client
) -> int:
    """Hand a task to the daemon.

    GOAL is what is wanted, in words; without it, or for -, it is read from standard input. The task's id is printed
    once it is on disk; whoever cannot know whether that happened submits again with the same --key. With --wait it is
    shown as by `loomd run`, and so is the exit code. With --from the schedule says all of it; whether it is suspended,
    or another run goes on, does not matter.
    """
    if origin:
        place = _schedule(origin, wish, namespace)
        namespace, task = place[1], str(client.post(*place, "run", body={})["id"])
    else:
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


def _schedule(origin: str, wish: Json, namespace: str) -> tuple[str, ...]:
    """Return the path of the schedule that a task comes from.

    Raises:
        UsageError: it is no schedule, or something else is wished for as well.
    """
    place = schedule_parts(origin, namespace)
    if place is None:
        raise click.UsageError(f"--from: expected schedule/NAME, got {origin!r}")
    given = (wish["seed"] is not None, *wish["expect"].values(), *(wish.get(key) for key in _OPTIONS))
    if any(given):
        raise click.UsageError("--from: the schedule says what is wanted: leave out GOAL and the options of the task")
    return place
