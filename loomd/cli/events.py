"""`loomd events`: shows what happened, and follows it."""

import json
import time
from typing import Any

import click

from loomd.api.client import Json
from loomd.cli.target import Client, output_option, socket_option

_ENVELOPE = {"type", "value", "factors", "usage"}
"""Fields of a fact that are too long for a line."""


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens.")
@click.option("--task", default="", help="Only this task and its children.")
@click.option("--after", type=int, default=0, help="Start after this sequence number.")
@output_option("text", "json")
@socket_option
def command(follow: bool, task: str, after: int, output: str, client: Client) -> None:
    """Show the events of the journal, oldest first."""
    for event in client.events(after, task, follow):
        if output == "json":
            click.echo(json.dumps(event, ensure_ascii=False))
        elif event["seq"]:  # pieces of text have no number and would only break the lines
            click.echo(line(event))


def line(event: Json) -> str:
    """Return an event on one line."""
    when = time.strftime("%H:%M:%S", time.localtime(event["ts"]))
    fact = event["data"]
    said = " ".join(f"{key}={_short(value)}" for key, value in fact.items() if key not in _ENVELOPE)
    who = " ".join(part for part in (event.get("task", ""), event.get("agent", "")) if part)
    return f"{event['seq']:>6} {when} {fact['type']:<20} {who:<24} {said}".rstrip()


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= 100 else f"{text[:97]}..."
