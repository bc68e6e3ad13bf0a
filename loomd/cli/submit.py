"""`loomd submit`: hands a task to the daemon, and waits for the answer when asked."""

import json

import click
import msgspec

from loomd.amoeba.task import Result
from loomd.api.body import Submission
from loomd.cli.show import Show
from loomd.cli.target import Client, namespace_option, output_option, socket_option
from loomd.cli.task_options import task_options
from loomd.events.event import Event, TaskCompleted, TaskFailed


@click.command()
@task_options
@click.option("--wait/--no-wait", default=False, help="Show the phases and print the answer.")
@click.option("-q", "--quiet", is_flag=True, help="With --wait, print the answer only.")
@namespace_option
@output_option("text", "json")
@socket_option
def command(wanted: Submission, wait: bool, quiet: bool, namespace: str, output: str, client: Client) -> int:
    """Hand a task to the daemon.

    GOAL is what is wanted, in words; without it, or for -, it is read from standard input. The task's id is printed
    once it is on disk; with --wait it is shown as by `loomd run`, and so is the exit code.
    """
    task = str(client.post("namespaces", namespace, "tasks", body=msgspec.to_builtins(wanted))["id"])
    if not wait:
        click.echo(json.dumps({"id": task}) if output == "json" else task)
        return 0
    show = Show(quiet=quiet or output == "json")
    try:
        follow(client, task, show)
        found = client.get("namespaces", namespace, "tasks", task, wait="1")
    except KeyboardInterrupt:
        click.echo(f"task {task} goes on: loomd describe task {task}", err=True)
        raise
    return show.finish(msgspec.convert(found["status"]["result"], Result), output)


def follow(client: Client, task: str, show: Show) -> None:
    """Show what happens in a task and its parts, until it ends."""
    for said in client.events(task=task, follow=True):
        event = msgspec.json.decode(json.dumps(said), type=Event)
        show.hear(event)
        if event.task == task and isinstance(event.data, TaskCompleted | TaskFailed):
            return
