"""`loomd feedback`: keeps what a person thinks of an answer."""

import click

from loomd.api.client import Client
from loomd.cli.number import NumberRange
from loomd.cli.output import name_of
from loomd.cli.target import TASKS, get_one, namespace_option, socket_option, wanted


@click.command()
@click.argument("task")
@click.option("--score", type=NumberRange(0, 1), required=True, help="How good the answer is, from 0 to 1.")
@click.option("--note", default="", help="Why.")
@namespace_option
@socket_option
def command(task: str, score: float, note: str, namespace: str, client: Client) -> None:
    """Say how good the answer of a TASK is; it is kept with the task, and shown by `loomd describe`."""
    (one,) = wanted(client, [task if "/" in task else f"task/{task}"], namespace)
    if one.place != TASKS:
        raise click.UsageError(f"{task!r}: expected a task")
    item = get_one(client, TASKS, one.namespace, one.names[0])
    body = {"score": score, "note": note}
    done = client.post(*TASKS.parts(one.namespace), one.names[0], "feedback", body=body)
    reward = done.get("reward")
    moved = f": its reward goes from {reward['before']:.3f} to {reward['after']:.3f}" if reward else ""
    click.echo(f"{name_of(item)} got {score:g}{moved}")
    for move in done["moves"]:
        only = f" ({move['done']} only)" if move.get("done") else ""
        click.echo(f"{move['agent']} in {move['domain']}: {move['before']:.3f} -> {move['after']:.3f}{only}")
    if done["reason"]:
        click.echo(f"no score moves: {done['reason']}")
