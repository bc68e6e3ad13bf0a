"""`loomd cancel`: ends tasks that run, with all their parts."""

import click

from loomd.api.client import Client, Json
from loomd.cli.output import name_of
from loomd.cli.target import TASKS, get_one, namespace_option, socket_option, wanted
from loomd.cli.waiting import ENDS
from loomd.errors import NotFound


@click.command()
@click.argument("tasks", nargs=-1, required=True, metavar="TASK...")
@namespace_option
@socket_option
def command(tasks: tuple[str, ...], namespace: str, client: Client) -> None:
    """End tasks; what they did stays recorded. A task that has ended already is left as it is."""
    asked = wanted(client, tasks if "/" in tasks[0] else ("tasks", *tasks), namespace)
    if any(one.place != TASKS for one in asked):
        raise click.UsageError("expected tasks: objects are deleted by `loomd delete`")
    found = [get_one(client, TASKS, one.namespace, name) for one in asked for name in one.names]  # all, or nothing
    for item in found:
        click.echo(f"{name_of(item)} {_cancelled(client, item)}")


def _cancelled(client: Client, item: Json) -> str:
    """End a task and return what became of it."""
    parts = (*TASKS.parts(item["metadata"]["namespace"]), item["metadata"]["name"])
    try:
        client.delete(*parts)
    except NotFound:  # it is there and does not run
        phase = client.get(*parts)["status"]["phase"]
        if phase not in ENDS:
            raise
        return f"has ended already: {phase}"
    return "cancelled"
