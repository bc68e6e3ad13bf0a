"""What `approve` and `deny` share: they answer questions that tasks wait for, and decide on what clusters propose."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from loomd.api.client import Client
from loomd.cli.output import spelled
from loomd.cli.target import APPROVALS, PROPOSALS, TASKS, Place, get_one, namespace_option, socket_option, wanted
from loomd.errors import NotFound


def decision_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add what both verbs take."""
    options = (
        click.argument("names", nargs=-1, required=True, metavar="APPROVAL...|task/TASK...|proposal/PROPOSAL..."),
        click.option("--reason", default="", help="Why; kept with the decision, and told to the model."),
        namespace_option,
        socket_option,
    )
    wrapped: Any = function
    for option in reversed(options):
        wrapped = option(wrapped)
    return click.command()(wrapped)


def decide(client: Client, names: Sequence[str], namespace: str, verdict: str, reason: str) -> None:
    """Answer questions, and say so of each.

    Args:
        client: the daemon.
        names: ids of approvals, `task/TASK` for all that a task and its parts wait for, or `proposal/ID`.
        namespace: where they are.
        verdict: `approved` or `denied`.
        reason: why.

    Raises:
        NotFound: there is no such question, or the task waits for none.
        Conflict: one was answered before, or has expired.
    """
    for place, space, name in [found for one in names for found in _meant(client, one, namespace)]:
        item = client.post(*place.parts(space), name, "decision", body={"verdict": verdict, "reason": reason})
        spec = item["spec"]
        what = spec["what"] if place == PROPOSALS else f"{spec['tool']} for Task/{spec['task']}"
        click.echo(f"{spelled(place.kind, name, space)} {verdict}: {what}")


def _meant(client: Client, name: str, namespace: str) -> list[tuple[Place, str, str]]:
    """Return place, namespace and id of what a word names."""
    if "/" not in name:
        if name.startswith("p-"):
            raise click.UsageError(f"{name} is no approval, but a change that a cluster proposes: proposal/{name}")
        get_one(client, APPROVALS, namespace, name)
        return [(APPROVALS, namespace, name)]
    (one,) = wanted(client, [name], namespace)
    if one.place in {APPROVALS, PROPOSALS}:
        return [(one.place, one.namespace, item) for item in one.names]
    if one.place != TASKS:
        raise click.UsageError(f"{name!r}: expected the id of an approval, task/TASK or proposal/PROPOSAL")
    task = one.names[0]
    items = client.get(*APPROVALS.parts(one.namespace), pending="1")["items"]
    found = [
        (APPROVALS, one.namespace, item["metadata"]["name"])
        for item in items
        if item["spec"]["task"] == task or item["spec"]["task"].startswith(f"{task}.")
    ]
    if not found:
        raise NotFound(f"Task/{task} waits for no approval: `loomd get approvals` lists what is asked")
    return found
