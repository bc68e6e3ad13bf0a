"""Columns for people: aligned, without a frame, empty columns left out."""

import shutil
import sys
from collections.abc import Iterable, Sequence

import click


def render(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table; the last column is cut to the width of a terminal.

    Args:
        head: titles of the columns.
        rows: cells, as many as titles.
    """
    table: list[list[str]] = [list(head)]
    table += [[" ".join(cell.split()) for cell in row] for row in rows]
    used = [at for at in range(len(head)) if at == 0 or any(row[at] for row in table[1:])]
    widths = {at: max(len(row[at]) for row in table) for at in used}
    return ["  ".join(row[at].ljust(widths[at]) for at in used).rstrip() for row in table]


def show(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; on a terminal, lines are cut to its width."""
    lines = render(head, rows)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for line in lines:
        click.echo(line if not width or len(line) <= width else f"{line[: width - 3]}...")


def age(seconds: float) -> str:
    """Return a short age: `45s`, `12m`, `3h`, `5d`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{int(seconds / size)}{unit}"
    return f"{max(0, int(seconds))}s"
