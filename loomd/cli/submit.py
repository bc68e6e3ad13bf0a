"""`loomd submit`: hands a task to the daemon, and waits for the answer when asked."""

import json
import sys

import click

from loomd.api.client import Json
from loomd.cli.target import Client, namespace_option, output_option, socket_option

ENDED = {"task.completed", "task.failed"}


@click.command()
@click.argument("goal")
@click.option("--cluster", default="", help="Cluster that takes it; the only one of the namespace by default.")
@click.option("--seed", type=int, help="Start of all random draws; drawn when not given.")
@click.option("--tokens", type=click.IntRange(min=1), help="Most tokens for the task and its children.")
@click.option("--cost", type=click.FloatRange(min=0), help="Most USD for the task and its children.")
@click.option("--wait/--no-wait", default=False, help="Show the phases and print the answer.")
@namespace_option
@output_option("text", "json")
@socket_option
def command(
    goal: str,
    *,
    cluster: str,
    seed: int | None,
    tokens: int | None,
    cost: float | None,
    wait: bool,
    namespace: str,
    output: str,
    client: Client,
) -> int:
    """Hand a task to the daemon: GOAL in words, or - for standard input."""
    budget = {key: value for key, value in (("tokens", tokens), ("cost", cost)) if value is not None}
    body: Json = {"goal": sys.stdin.read() if goal == "-" else goal, "cluster": cluster, "budget": budget}
    if seed is not None:
        body["seed"] = seed
    task = str(client.post("namespaces", namespace, "tasks", body=body)["id"])
    if not wait:
        click.echo(json.dumps({"id": task}) if output == "json" else task)
        return 0
    try:
        if output == "text":
            follow(client, task)
        found = client.get("namespaces", namespace, "tasks", task, wait="1")
    except KeyboardInterrupt:
        click.echo(f"task {task} goes on: loomd describe task {task}", err=True)
        raise
    if output == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        show_answer(found)
    return 0 if found["status"]["phase"] == "Succeeded" else 1


def follow(client: Client, task: str) -> None:
    """Print the phases of a task and its children as they end, until the task ends."""
    for event in client.events(task=task, follow=True):
        fact = event["data"]
        if fact["type"] == "phase.completed":
            depth = event["task"].count(".") - task.count(".")
            click.echo(f"{'  ' * depth}{fact['phase'].upper():<9} {fact['why']}", err=True)
        elif fact["type"] in ENDED and event["task"] == task:
            return


def show_answer(found: Json) -> None:
    """Print the answer with its sources; why there is none goes to standard error."""
    status = found["status"]
    if status.get("output"):
        click.echo(status["output"])
    for citation in status.get("citations", ()):
        click.echo(f"  [{citation['number']}] {citation['source']}")
    if status.get("error"):
        click.echo(f"error: {status['error']}", err=True)
