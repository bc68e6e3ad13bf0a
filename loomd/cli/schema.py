"""`loomd schema`: prints the JSON Schema of a kind, or of all kinds together."""

import click

from loomd.cli.problems import dump
from loomd.errors import NotFound
from loomd.manifest.kind import Kind, find_kinds
from loomd.manifest.schema import generate_combined, schema_of
from loomd.manifest.wording import did_you_mean


@click.command()
@click.argument("kind", required=False)
def command(kind: str | None) -> None:
    """Print the JSON Schema of a kind; without a kind, one schema for all of them."""
    if kind is None:
        click.echo(dump(generate_combined(find_kinds())))
    else:
        click.echo(dump(schema_of(find_kind(kind))))


def find_kind(name: str) -> Kind:
    """Return a kind by its name or plural, in any case.

    Raises:
        NotFound: there is none; the text names the closest.
    """
    kinds = find_kinds()
    for kind in kinds.values():
        if name.lower() in (kind.name.lower(), kind.plural):
            return kind
    raise NotFound(f"no kind {name}: {did_you_mean(name, kinds, 'one of')}")
