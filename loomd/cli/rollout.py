"""`loomd rollout`: what served so far, whether what serves is ready, and the way back."""

import shlex
import time
from collections.abc import Sequence
from typing import Any

import click

from loomd.api.client import Client, Json
from loomd.api.text import to_yaml
from loomd.cli.change import describe, effective, summary
from loomd.cli.columns import columns_of, condition
from loomd.cli.output import Form, output_option, writer
from loomd.cli.progress import working
from loomd.cli.revision import show_revision
from loomd.cli.table import show
from loomd.cli.target import REVISIONS, SOURCES, socket_option
from loomd.cli.waiting import FAILED, LATE, MET, deadline, timeout_option
from loomd.clock import SystemClock
from loomd.manifest.json_text import write_json

_BEAT = 0.3
"""Seconds between looks at what is not ready."""
_LISTED = 5
_OPENS = "it is being opened"


@click.group()
def command() -> None:
    """Show the history of what served, follow what serves until it is ready, and go back."""


@command.command("history")
@click.option("--revision", type=int, metavar="N", help="Show this one with its changes and files.")
@output_option("table", "json", "yaml", "name", "jsonpath")
@socket_option
def history_(revision: int | None, output: Form, client: Client) -> None:
    """List the revisions that are kept, newest first; the one that serves has a star."""
    parts = REVISIONS.parts(None)
    found = client.get(*parts) if revision is None else client.get(*parts, str(revision))
    if output.name != "table":
        writer(output)(found)
    elif revision is not None:
        show_revision(found)
    elif not found["items"]:
        click.echo("nothing was applied yet", err=True)
    else:
        now = SystemClock().now()
        columns = columns_of("Revision", wide=False, spaces=False, prefixed=False)
        rows = [[one.cell(item, now) for one in columns] for item in found["items"]]
        show([one.title for one in columns], rows)


@command.command("status")
@click.option("--watch/--no-watch", default=True, show_default=True, help="Wait until all objects are ready.")
@timeout_option("-1")
@socket_option
def status_(watch: bool, timeout: float | None, client: Client) -> int:
    """Follow what serves until all of it is ready, and nothing is being opened to take its place.

    Exit code 0: that is so; 1: not within the time-out, or without --watch not now; 4: some are stalled, or
    the newest candidate was refused and an earlier one serves on.
    """
    until = deadline(timeout)
    said = ""
    while True:
        found = client.get("rollout")
        code, text = _judged(client, found)
        if code != LATE or not watch:
            click.echo(text)
            return code
        if until is not None and time.monotonic() >= until:
            click.echo(f"error: timed out: {text}", err=True)
            return LATE
        if text != said:
            click.echo(text)
            said = text
        time.sleep(_BEAT if until is None else max(0.0, min(_BEAT, until - time.monotonic())))


@command.command("undo")
@click.option("--to", type=int, metavar="N", help="Revision to go back to; without it, the one before.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@output_option("text", "json", "yaml")
@socket_option
def undo_(to: int | None, dry_run: bool, output: Form, client: Client) -> None:
    """Let an earlier revision serve again.

    Followed folders and repositories that this contradicts are suspended: what they deliver is ignored until they are
    resumed, or deliver another revision: any changed byte of a folder's manifests, any other commit.
    """
    body: dict[str, Any] = {"dryRun": dry_run, **({} if to is None else {"to": to})}
    with working("going back", client):
        done = client.post("rollout", "undo", body=body)
    if output.name == "json":
        click.echo(write_json(done))
    elif output.name == "yaml":
        click.echo(to_yaml(done), nl=False)
    else:
        _undone(done, dry_run)


def _judged(client: Client, found: Json) -> tuple[int, str]:
    """Return the exit code for what serves, and one line on it."""
    any_yet = found["serves"] and found["number"]
    serves = f"revision {found['number']} ({found['revision']}) serves" if any_yet else "nothing serves yet"
    waiting, objects = found["waiting"], found["objects"]
    if found["stale"]:
        return FAILED, f"{serves}; {_refused(client)}"
    opening = sorted(found["opening"], key=lambda one: not one["message"].startswith(_OPENS))
    coming = f"; beside it {_listed(opening)}" if opening else ""
    if not waiting:
        return LATE if opening else MET, f"{serves}: {objects} of {objects} objects are ready{coming}"
    text = f"{serves}: {objects - len(waiting)} of {objects} objects are ready, not ready: {_listed(waiting)}{coming}"
    return FAILED if not opening and all(one["stalled"] for one in waiting) else LATE, text


def _listed(told: Sequence[Json]) -> str:
    """Return some objects with what is said of each, and how many more there are."""
    shown = "; ".join(f"{one['object']}: {one.get('message', 'unknown')}" for one in told[:_LISTED])
    return f"{shown}; and {len(told) - _LISTED} more" if len(told) > _LISTED else shown


def _refused(client: Client) -> str:
    """Return which sources hold something that cannot serve, and why."""
    ill = [
        f"{item['metadata']['name']}: {found['message']}"
        for item in client.get(*SOURCES.parts(None))["items"]
        if (found := condition(item, "Stalled")).get("status") == "True"
    ]
    if not ill:
        return "what is stored could not be opened: see the log of the daemon"
    return f"refused is the newest state of {'; '.join(ill)}"


def _undone(done: Json, dry_run: bool) -> None:
    describe(done)
    if not effective(done):
        click.echo(f"no changes: revision {done['before']['number']} serves on")
        return
    click.echo()
    if dry_run:
        click.echo(f"{summary(done)} (server dry run)")
    else:
        click.echo(f"{done['source']} serves again, as revision {done['after']['number']}: {summary(done)}")
    for name in done["suspends"]:
        verb = "would be" if dry_run else "is"
        click.echo(f"{name} {verb} suspended: when its files are right again, loomd resume {shlex.quote(name)}")
