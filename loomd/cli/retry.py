"""`loomd retry`: runs tasks anew that failed, were cancelled, or cannot go on."""

import click

from loomd.api.client import Client
from loomd.cli.target import TASKS, get_one, namespace_option, socket_option, wanted


@click.command()
@click.argument("tasks", nargs=-1, required=True, metavar="TASK...")
@namespace_option
@socket_option
def command(tasks: tuple[str, ...], namespace: str, client: Client) -> None:
    """Run tasks anew, from the beginning, on what serves now; their new ids are printed.

    A task that waits because it cannot go on is ended; one that runs is left alone and must be cancelled first.
    """
    asked = wanted(client, tasks if "/" in tasks[0] else ("tasks", *tasks), namespace)
    if any(one.place != TASKS for one in asked):
        raise click.UsageError("expected tasks")
    found = [(one.namespace, name) for one in asked for name in one.names]
    for space, name in found:
        get_one(client, TASKS, space, name)  # all, or nothing
    for space, name in found:
        click.echo(client.post(*TASKS.parts(space), name, "retry", body={})["id"])
