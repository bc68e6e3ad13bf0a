"""`loomd forget`: deletes what a memory remembers, for good."""

import click

from loomd.api.client import Client
from loomd.cli.remembered import FILTERS, Filters, filter_options
from loomd.cli.target import MEMORY_ITEMS, get_one, namespace_option, socket_option, wanted


@click.command()
@click.argument("memory", metavar="memory/NAME")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@filter_options
@click.option("--all", "everything", is_flag=True, help="Forget all that the memory remembers.")
@namespace_option
@socket_option
def command(
    memory: str, ids: tuple[str, ...], filters: Filters, everything: bool, namespace: str, client: Client
) -> None:
    """Delete what a memory remembers: by ID, by whose it is, or all of it.

    What is deleted is in no table, index or log of the memory's file any more, and a task that was interrupted before
    does not bring it back. The tasks in which it was said are kept with what was said, until retention removes them.
    """
    (asked,) = wanted(client, (memory,), namespace)
    if asked.place.kind != "Memory" or len(asked.names) != 1:
        raise click.UsageError(f"{memory!r}: expected a memory, such as memory/notes")
    if not (ids or filters or everything):
        raise click.UsageError(f"say what: ids (`loomd get {memory}` lists them), {', '.join(FILTERS)}, or --all")
    if everything and (ids or filters):
        raise click.UsageError("--all: it takes nothing beside it")
    name = asked.names[0]
    get_one(client, asked.place, asked.namespace, name)  # a name that is wrong is said with the closest
    body = {"ids": list(ids), **filters, "all": everything}
    gone = client.post("namespaces", asked.namespace, "memories", name, "forget", body=body)["forgotten"]
    for one in gone:
        click.echo(f"{MEMORY_ITEMS.spelled(one, asked.namespace)} forgotten")
    if not gone:
        click.echo("nothing fits: nothing is forgotten", err=True)
