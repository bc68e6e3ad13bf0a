"""A page about one thing: pairs of words and values, and sections with a title. Called by `describe`."""

from collections.abc import Iterable, Sequence

import click

from loomd.cli.colour import BOLD, painter
from loomd.cli.table import age_of
from loomd.manifest.source import printable

_WIDTH = 17


def pairs(rows: Iterable[tuple[str, object]]) -> None:
    """Print words with their values; without a value a word is left out."""
    for title, value in rows:
        if value not in {None, ""}:
            click.echo(f"{f'{title}:':<{_WIDTH}} {printable(str(value))}")


def section(title: str, lines: Sequence[str]) -> None:
    """Print lines below a title, or nothing."""
    if lines:
        click.echo(f"\n{painter()(f'{title}:', BOLD)}")
        for line in lines:
            click.echo(f"  {printable(line)}".rstrip())


def moment(at: str, now: float) -> str:
    """Return a moment and how long ago it was."""
    return f"{at} ({age_of(at, now)} ago)" if at else ""
