"""`loomd schema`: prints the JSON Schema of a kind, of all kinds together, or of the daemon's settings."""

import click
from click.shell_completion import CompletionItem

from loomd.cli.problems import dump
from loomd.errors import NotFound
from loomd.manifest.kind import Kind, find_kinds
from loomd.manifest.schema import combined_schema, schema_of
from loomd.manifest.wording import did_you_mean
from loomd.settings import SCHEMA, settings_schema


def _complete(context: click.Context, option: click.Parameter, begun: str) -> list[CompletionItem]:
    del context, option
    return [
        CompletionItem(name, help=text) for name, text in names_of_kinds().items() if name.startswith(begun.lower())
    ]


@click.command()
@click.argument("kind", required=False, shell_complete=_complete)
def command(kind: str | None) -> None:
    """Print the JSON Schema of a KIND; without one, a schema for all of them, as editors want it.

    KIND is a kind in any spelling, `agents` or `Agent`, or `daemon` for the settings of the daemon.
    """
    if kind is None:
        click.echo(dump(combined_schema()))
    elif kind.lower() == SCHEMA:
        click.echo(dump(settings_schema()))
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
    known = [*kinds, SCHEMA]
    hint = did_you_mean(name, known) or f"one of {', '.join(known)}"
    raise NotFound(f"no kind {name}: {hint}")


def names_of_kinds() -> dict[str, str]:
    """Return what can be asked for, and what each is for: the kinds, and the settings of the daemon."""
    return {**{kind.name.lower(): kind.summary for kind in find_kinds().values()}, SCHEMA: "Settings of the daemon."}
