"""`loomd suspend`: lets the daemon ignore what a source delivers, or when a schedule is due.

What a suspended source declares may be changed by hand.
"""

import shlex

import click

from loomd.api.client import Client
from loomd.cli.output import spelled
from loomd.cli.target import SOURCES, find_source, namespace_option, schedule_parts, socket_option
from loomd.errors import Conflict


@click.command()
@click.argument("name", metavar="SOURCE|schedule/NAME")
@click.option("--reason", default="", help="Why; `loomd describe` shows it.")
@namespace_option
@socket_option
def command(name: str, reason: str, namespace: str, client: Client) -> None:
    """Ignore what a SOURCE delivers, or when a schedule is due.

    SOURCE is the path of a followed folder, or the name of a GitSource. What it declared serves on, and may be edited
    and deleted by hand, until `loomd resume` takes its deliveries again. A schedule starts no runs until then, and what
    would have been due meanwhile is not missed.
    """
    schedule = schedule_parts(name, namespace)
    if schedule is not None:
        item = client.post(*schedule, "suspend", body={"reason": reason})
        shown = spelled(item["kind"], item["metadata"]["name"], item["metadata"]["namespace"])
        click.echo(f"{shown} suspended; loomd resume {shown} starts its runs again")
        return
    item = find_source(client, name, namespace)
    name = item["metadata"]["name"]
    if item["spec"]["type"] == "apply":
        raise Conflict(f"{name} is not followed: it was applied by hand, and delivers nothing itself")
    client.post(*SOURCES.parts(None), name, "suspend", body={"reason": reason})
    click.echo(f"{name} suspended; loomd resume {shlex.quote(name)} takes its deliveries again")
