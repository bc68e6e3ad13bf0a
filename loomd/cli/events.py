"""`loomd events`: shows what happened, and follows it."""

import json
import time
from contextlib import suppress
from typing import Any

import click

from loomd.api.client import Asked, Json
from loomd.cli.listening import listen
from loomd.cli.output import Form, output_option
from loomd.cli.target import Client, socket_option
from loomd.cli.task_options import seconds
from loomd.clock import SystemClock
from loomd.errors import NotFound
from loomd.manifest.json_text import write_json
from loomd.manifest.wording import masked

_ENVELOPE = {"type", "value", "factors", "usage"}
"""Fields of a fact that are too long for a line."""
_PIECES = {"model.delta", "reasoning.delta"}
"""Types of which there are too many for lines."""

_EVERY = 1.0
"""Seconds between two lines of one knowledge base's progress."""


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, also when the daemon starts again.")
@click.option("--task", default="", help="Only this task and its children: T or task/T.")
@click.option(
    "--type", "types", multiple=True, help="Only events of this type: task.failed, or 'tool.*'; may be repeated."
)
@click.option("-n", "--namespace", default="", help="Only events of this namespace; of all without it.")
@click.option("--since", metavar="DURATION", callback=seconds, help="Only what happened in this time, such as 10m.")
@click.option("--after", type=click.IntRange(min=0), default=0, help="Start after this sequence number.")
@output_option("text", "json")
@socket_option
def command(
    follow: bool,
    task: str,
    types: tuple[str, ...],
    namespace: str,
    since: float | None,
    after: int,
    output: Form,
    client: Client,
) -> None:
    """Show the events of the journal, oldest first.

    With -f comes what has no number, because it is not kept: beginnings of phases, bids, the progress of indexing, and
    with json pieces of text.
    """
    if types and not follow:
        _say_unkept(types)
    began = 0.0 if since is None else SystemClock().now() - since
    asked = Asked(after, task.rpartition("/")[2], types, namespace, began)
    beat = _Beat()
    for event in listen(client, asked, follow=follow):
        event["data"] = masked(event["data"])
        if output.name == "json":
            click.echo(write_json(event, None))
        elif event["data"]["type"] not in _PIECES and beat.lets(event):
            click.echo(line(event))


def _say_unkept(types: tuple[str, ...]) -> None:
    """Say on standard error that types are asked for of which the journal keeps nothing."""
    from loomd.events.event import TRANSIENT, facts_of  # noqa: PLC0415  # the help text needs none of it

    for said in types:
        with suppress(NotFound):  # the daemon says so, and what it may have been meant to be
            if TRANSIENT.issuperset(facts_of(said)):
                click.echo(f"{said}: told as it happens (-f) and not kept", err=True)


class _Beat:
    """Lets the progress of a knowledge base through once a second, and its end."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], float] = {}

    def lets(self, event: Json) -> bool:
        """Return whether an event is shown."""
        fact = event["data"]
        if fact["type"] != "index.progress":
            return True
        key = (fact["knowledge"], fact.get("stage", "index"))
        shown: bool = fact["done"] == fact["total"] or event["ts"] - self._last.get(key, 0.0) >= _EVERY
        if shown:
            self._last[key] = event["ts"]
        return shown


def line(event: Json) -> str:
    """Return an event on one line."""
    when = time.strftime("%H:%M:%S", time.localtime(event["ts"]))
    fact = event["data"]
    said = " ".join(f"{key}={_short(value)}" for key, value in fact.items() if key not in _ENVELOPE)
    who = " ".join(part for part in (event.get("task", ""), event.get("agent", "")) if part)
    return f"{event['seq'] or '-':>6} {when} {fact['type']:<20} {who:<24} {said}".rstrip()


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= 100 else f"{text[:97]}..."
