"""`loomd signal`: sends something to a task that waits for it, or will."""

import json
import sys

import click

from loomd.api.client import Client
from loomd.cli.output import name_of
from loomd.cli.target import TASKS, get_one, namespace_option, socket_option, wanted


@click.command()
@click.argument("task")
@click.argument("name")
@click.argument("value", default="null")
@namespace_option
@socket_option
def command(task: str, name: str, value: str, namespace: str, client: Client) -> None:
    """Send VALUE to a TASK under a NAME.

    A tool of type `signal` in the task gets it, now or when it asks for it. VALUE is JSON, or else text; - reads it
    from standard input. What is sent first under a name counts.
    """
    (one,) = wanted(client, [task if "/" in task else f"task/{task}"], namespace)
    if one.place != TASKS:
        raise click.UsageError(f"{task!r}: expected a task")
    item = get_one(client, TASKS, one.namespace, one.names[0])
    text = sys.stdin.read() if value == "-" else value
    try:
        sent = json.loads(text)
    except ValueError:
        sent = text
    parts = (*TASKS.parts(one.namespace), one.names[0])
    client.post(*parts, "signals", body={"name": name, "value": sent})
    click.echo(f'{name_of(item)} was sent "{name}"')
