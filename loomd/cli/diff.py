"""`loomd diff`: both texts of every object that would change, as a unified diff: what serves, and what is wanted."""

import click

from loomd.api.client import Client
from loomd.cli.change import effective, unified, warn
from loomd.cli.delivery import file_option, read_delivered, request
from loomd.cli.progress import working
from loomd.cli.target import socket_option


@click.command()
@file_option(required=True)
@click.option("--prune", is_flag=True, help="Show what would be deleted because it is not declared any more.")
@click.option("--force", is_flag=True, help="Take over what another file or folder declares.")
@socket_option
def command(paths: tuple[str, ...], prune: bool, force: bool, client: Client) -> int:
    """Show what serves and what is wanted, object by object, with all defaults filled in and secrets hidden.

    What the changes mean is said by `loomd plan`. Exit code 0: no differences; 1: differences; 2 or more: an error.
    """
    body = request(read_delivered(paths), prune=prune, force=force, full=True)
    with working("comparing"):
        plan = client.post("plan", body=body)
    changes = effective(plan)
    for change in changes:
        for line in unified(change):
            click.echo(line)
    warn(plan)
    return 1 if changes else 0
