"""`loomd resume`: takes the deliveries of a suspended source, or starts the runs of a suspended schedule, again."""

import click

from loomd.api.client import Client
from loomd.cli.output import spelled
from loomd.cli.target import SOURCES, TASKS, find_source, namespace_option, schedule_parts, socket_option, wanted


@click.command()
@click.argument("name", metavar="SOURCE|schedule/NAME|task/NAME")
@namespace_option
@socket_option
def command(name: str, namespace: str, client: Client) -> None:
    """Take again what a SOURCE delivers, or go on with a schedule.

    SOURCE is the path of a followed folder, or the name of a GitSource. What it holds now is delivered at once, and
    replaces what was changed by hand meanwhile. A schedule starts what is due from now on. A task that waits because
    the revision that it began with cannot be opened any more goes on from its recorded steps, on what serves now.
    """
    if name.lower().startswith(("task/", "tasks/")):
        (one,) = wanted(client, [name], namespace)
        client.post(*TASKS.parts(one.namespace), one.names[0], "resume", body={})
        click.echo(f"{TASKS.spelled(one.names[0], one.namespace)} goes on, on what serves now")
        return
    schedule = schedule_parts(name, namespace)
    if schedule is not None:
        item = client.post(*schedule, "resume", body={})
        click.echo(f"{spelled(item['kind'], item['metadata']['name'], item['metadata']['namespace'])} resumed")
        return
    name = find_source(client, name, namespace)["metadata"]["name"]
    client.post(*SOURCES.parts(None), name, "resume", body={})
    click.echo(f"{name} resumed")
