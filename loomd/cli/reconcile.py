"""`loomd reconcile`: lets a source deliver now instead of at its next change or interval."""

import shlex
import sys

import click

from loomd.api.client import Client, Json
from loomd.cli.problems import render
from loomd.cli.progress import working
from loomd.cli.target import SOURCES, find_source, namespace_option, socket_option
from loomd.cli.waiting import FAILED, LATE, MET, deadline, timeout_option
from loomd.errors import Conflict
from loomd.manifest.problem import Problem

_ENDS = {"refused": "was refused", "failed": "could not be taken, and is tried again"}


@click.command()
@click.argument("source")
@click.option("--wait", is_flag=True, help="Return when it has delivered.")
@timeout_option("1m")
@namespace_option
@socket_option
def command(source: str, wait: bool, timeout: float | None, namespace: str, client: Client) -> int:
    """Let a SOURCE deliver now: the path of a followed folder, or the name of a GitSource.

    Exit code 0: asked, or with --wait delivered and serving; 1: it did not deliver in time; 4: what it delivered was
    refused, and what served before serves on.
    """
    item = find_source(client, source, namespace)
    name = str(item["metadata"]["name"])
    if item["spec"]["suspended"]:
        raise Conflict(f"{name} is suspended: loomd resume {shlex.quote(name)}")
    until = deadline(timeout)
    asked = client.post(*SOURCES.parts(None), name, "reconcile", body={})
    if not wait:
        click.echo(f"{name}: asked to deliver")
        return MET
    with working(f"waiting for {name}", client):
        found = _delivered(client, asked, until)
    return _said(name, found)


def _delivered(client: Client, asked: Json, until: float | None) -> Json | None:
    """Return a source once a look that began after it was asked has ended, or None when the time is over."""
    name, wanted = asked["metadata"]["name"], asked["status"]["asked"]
    try:
        for event in client.watch(*SOURCES.parts(None), until=until):
            found: Json = event["object"]
            if event["type"] not in {"ADDED", "MODIFIED"} or found["metadata"]["name"] != name:
                continue
            if found["status"]["answered"] >= wanted:
                return found
    except TimeoutError:
        return None
    return None


def _said(name: str, found: Json | None) -> int:
    """Say how an attempt ended, and return the exit code."""
    if found is None:
        click.echo(f"error: timed out waiting for {name} to deliver", err=True)
        return LATE
    attempt: Json = found["status"]["attempts"][0]
    if attempt["outcome"] in {"applied", "unchanged"}:
        click.echo(f"{name}: {attempt['revision']} serves ({attempt['outcome']})")
        return MET
    if attempt["problems"]:
        click.echo(render(map(Problem.from_json, attempt["problems"]), stream=sys.stderr), err=True)
    else:
        click.echo(f"error: {attempt['message']}", err=True)
    what = attempt["revision"] or "its newest state"
    click.echo(f"{name}: {what} {_ENDS.get(attempt['outcome'], attempt['outcome'])}", err=True)
    return FAILED
