"""`loomd forget`: deletes what a memory remembers, or past tasks that a cluster compares new ones with, for good."""

from collections.abc import Mapping
from typing import Any

import click

from loomd.api.client import Client
from loomd.cli.remembered import FILTERS, Filters, filter_options
from loomd.cli.target import MEMORY_ITEMS, Wanted, get_one, namespace_option, socket_option, wanted

_OWNERS = ("tenant", "user")


@click.command()
@click.argument("what", metavar="memory/NAME|cluster/NAME")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@filter_options
@click.option("--all", "everything", is_flag=True, help="Forget all that the memory or the cluster remembers.")
@namespace_option
@socket_option
def command(
    what: str, ids: tuple[str, ...], filters: Filters, everything: bool, namespace: str, client: Client
) -> None:
    """Delete what a memory remembers: by ID, by whose it is, or all of it.

    What is deleted is in no table, index or log of the memory's file any more, and a task that was interrupted before
    does not bring it back. What others told, too, stays as theirs. The tasks in which it was said are kept with what
    was said, until retention removes them.

    Of a cluster, the past tasks that it compares new ones with: those of a tenant, of a user, or all. What was learned
    of agents by them stays.
    """
    if "/" not in what and ids:  # as `describe` takes it: the kind, then the name
        what, ids = f"{what}/{ids[0]}", ids[1:]
    (asked,) = wanted(client, (what,), namespace)
    kind = asked.place.kind
    if kind not in {"Memory", "Cluster"} or len(asked.names) != 1:
        raise click.UsageError(f"{what!r}: expected a memory, such as memory/notes, or a cluster")
    if everything and (ids or filters):
        raise click.UsageError("--all: it takes nothing beside it")
    narrowed = FILTERS if kind == "Memory" else tuple(f"--{name}" for name in _OWNERS)
    if not (ids or filters or everything):
        listed = f"ids (`loomd get {what}` lists them), " if kind == "Memory" else ""
        raise click.UsageError(f"say what: {listed}{', '.join(narrowed)}, or --all")
    if kind == "Cluster" and (ids or filters.keys() - {*_OWNERS}):
        raise click.UsageError(f"{what}: its past tasks are forgotten by {' and '.join(narrowed)}, or --all")
    get_one(client, asked.place, asked.namespace, asked.names[0])  # a name that is wrong is said with the closest
    body = {**filters, "all": everything}
    if kind == "Cluster":
        count = _post(client, asked, body)["forgotten"]
        said = f"{count} past task{'' if count == 1 else 's'} forgotten" if count else ""
    else:
        done = _post(client, asked, {"ids": list(ids), **body})
        words = {"forgotten": "forgotten", "parted": "stays, as others told it"}
        items = [(MEMORY_ITEMS.spelled(one, asked.namespace), how) for how in words for one in done.get(how, ())]
        said = "\n".join(f"{name} {words[how]}" for name, how in items)
    click.echo(said or "nothing fits: nothing is forgotten", err=not said)


def _post(client: Client, asked: Wanted, body: Mapping[str, Any]) -> Any:
    return client.post(*asked.place.parts(asked.namespace), asked.names[0], "forget", body=body)
