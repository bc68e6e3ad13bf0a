"""`loomd wait`: returns once things are as they should be, or says why they are not."""

import click

from loomd.api.client import Client
from loomd.cli.target import (
    EVERY,
    MEMORY_ITEMS,
    REVISIONS,
    SESSIONS,
    SOURCES,
    TASKS,
    Wanted,
    find_source,
    get_one,
    namespace_option,
    select,
    selector_option,
    socket_option,
    wanted,
)
from loomd.cli.waiting import Goal, deadline, goal_of, once_it_serves, timeout_option, wait_for
from loomd.errors import Temporary, Unreachable


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="KIND [NAME]... | KIND/NAME...")
@click.option(
    "--for",
    "wish",
    metavar="GOAL",
    help="condition=NAME[=STATUS], delete, create, phase=NAME for tasks, or jsonpath='{.status.x}'[=VALUE]; "
    "condition=Ready without it, and phase=Succeeded for tasks.",
)
@click.option("--all", "everything", is_flag=True, help="Wait for all of this kind.")
@namespace_option
@selector_option
@timeout_option("30s")
@socket_option
def command(
    what: tuple[str, ...],
    wish: str | None,
    everything: bool,
    namespace: str,
    selector: str,
    timeout: float | None,
    client: Client,
) -> int:
    """Wait until objects, tasks or sources are as they should be.

    Exit code 0: all are; 1: the time was over; 4: one of them cannot come to that any more, because it is stalled, is
    gone, or has ended otherwise; 2: it cannot be asked.
    """
    until = deadline(timeout)
    if wish is not None:
        goal_of(wish)
    for one in wanted(client, what, namespace):
        if one.place in {EVERY, MEMORY_ITEMS, REVISIONS, SESSIONS}:
            raise click.UsageError(f"{one.place.plural}: expected one kind, such as agents")
        goal = goal_of(wish or ("phase=Succeeded" if one.place == TASKS else "condition=Ready"))
        names = one.names or select(client, one.place, one.namespace, selector, everything)
        if one.place == SOURCES:
            names = tuple(find_source(client, name, one.namespace)["metadata"]["name"] for name in names)
        elif goal.text not in {"delete", "create"}:
            goal = _served(client, one, goal)
        code = wait_for(client, one.place, one.namespace, names, goal, until)
        if code:
            return code
    return 0


def _served(client: Client, asked: Wanted, goal: Goal) -> Goal:
    """Return the goal for what was asked for by name: what is being opened is there later.

    Raises:
        NotFound: there is none of a name; a name that is wrong is said at once.
    """
    for name in asked.names:
        try:
            get_one(client, asked.place, asked.namespace, name)
        except Unreachable:
            raise
        except Temporary as error:
            goal = once_it_serves(goal, str(error))
    return goal
