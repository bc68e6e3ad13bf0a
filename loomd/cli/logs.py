"""`loomd logs`: what one task and its parts said and did, in order, for a person to read."""

import time
from collections import deque
from collections.abc import Iterator
from itertools import chain

import click

from loomd.api.client import Asked, Client, Json
from loomd.cli.colour import BOLD, CYAN, GREEN, GREY, RED, YELLOW, painter
from loomd.cli.listening import listen
from loomd.cli.target import TASKS, get_one, namespace_option, socket_option, wanted
from loomd.cli.task import NOT_KEPT
from loomd.cli.transcript import Entry, Transcript
from loomd.manifest.source import printable

_COLOURS = {"task": BOLD, "calls": CYAN, "gets": GREY, "error": RED, "note": YELLOW, "done": GREEN}
_INDENT = 10


@click.command()
@click.argument("task", metavar="TASK")
@click.option("-f", "--follow", is_flag=True, help="Go on until the task has ended.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Begin with the last N entries only.")
@namespace_option
@socket_option
def command(task: str, follow: bool, tail: int | None, namespace: str, client: Client) -> None:
    """Show what a task and its parts said and did: texts of models, tool calls with results, and errors.

    TASK is task/T or T; with the id of a part, T.1, only of that part. Every entry has its time and who it is of.
    """
    name, space = _named(client, task, namespace)
    item = get_one(client, TASKS, space, name)
    if item["spec"].get("durability") == "none":
        click.echo(f"Task/{name}: {NOT_KEPT}", err=True)
        if follow:
            client.get("namespaces", space, "tasks", name, wait="1")
        return
    asked, transcript = Asked(task=name), Transcript(name)
    past = deque(chain.from_iterable(map(transcript.read, listen(client, asked, follow=False))), maxlen=tail)
    for entry in past:
        _print(entry)
    if follow and not transcript.ended:
        for entry in _entries(transcript, listen(client, asked)):
            _print(entry)


def _named(client: Client, task: str, namespace: str) -> tuple[str, str]:
    """Return id and namespace of the one task that is meant.

    Raises:
        UsageError: it is something else.
    """
    (one,) = wanted(client, [task] if "/" in task else ["tasks", task], namespace)
    if one.place != TASKS:
        raise click.UsageError(f"{task}: expected a task, such as task/t1; `loomd describe` shows objects")
    return one.names[0], one.namespace


def _entries(transcript: Transcript, events: Iterator[Json]) -> Iterator[Entry]:
    """Yield what there is to read in events, until the task has ended."""
    for event in events:
        yield from transcript.read(event)
        if transcript.ended:
            return


def _print(entry: Entry) -> None:
    paint = painter()
    first, *more = [printable(line) for line in entry.text.splitlines()] or [""]
    head = f"{paint(time.strftime('%H:%M:%S', time.localtime(entry.at)), GREY)} {entry.who}"
    code = _COLOURS.get(entry.kind, "")
    said = f"{entry.kind} {first}" if entry.kind in {"calls", "gets", "error", "note", "task", "done"} else first
    click.echo(f"{head}: {paint(said, code)}".rstrip())
    for line in more:
        click.echo(f"{'':{_INDENT}}{paint(line, code)}".rstrip())
