"""Columns for people: aligned, without a frame, empty columns left out."""

import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime

import click

from loomd.cli.cells import columns, cut, padded
from loomd.manifest.source import printable


def render(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table.

    Args:
        head: titles of the columns.
        rows: cells, as many as titles.
    """
    table = [list(head), *(_cells(row) for row in rows)]
    used = [at for at in range(len(head)) if at == 0 or any(row[at] for row in table[1:])]
    return _lines([[row[at] for at in used] for row in table])


def show(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; on a terminal, lines are cut to its width."""
    for line in render(head, rows):
        click.echo(_cut(line))


class Growing:
    """A table whose rows come one after another: columns are as wide as the first rows and never left out."""

    def __init__(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        table = [list(head), *(_cells(row) for row in rows)]
        self._widths = _widths(table)
        for line in _lines(table, self._widths):
            click.echo(_cut(line))

    def add(self, row: Sequence[str]) -> None:
        """Print another row."""
        click.echo(_cut(_lines([_cells(row)], self._widths)[0]))


def age(seconds: float) -> str:
    """Return a short age: `45s`, `12m`, `3h`, `5d`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{int(seconds / size)}{unit}"
    return f"{max(0, int(seconds))}s"


def age_of(moment: str | float, now: float) -> str:
    """Return how long ago a moment was, or an empty string when it is none.

    Args:
        moment: RFC 3339, or wall-clock seconds.
        now: wall-clock seconds.
    """
    if not moment:
        return ""
    return age(now - _seconds(moment))


def until(moment: str, now: float) -> str:
    """Return how far ahead a moment in RFC 3339 is, `in 3h`, or an empty string when it is none."""
    return f"in {age(_seconds(moment) - now)}" if moment else ""


def passed(moment: str, now: float) -> bool:
    """Return whether a moment in RFC 3339 is over."""
    return _seconds(moment) <= now


def _seconds(moment: str | float) -> float:
    return moment if isinstance(moment, int | float) else datetime.fromisoformat(moment).timestamp()


def _cells(row: Sequence[str]) -> list[str]:
    return [printable(" ".join(cell.split())) for cell in row]


def _widths(table: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(columns, column)) for column in zip(*table, strict=True)]


def _lines(table: Sequence[Sequence[str]], widths: Sequence[int] | None = None) -> list[str]:
    wide = _widths(table) if widths is None else widths
    return ["  ".join(padded(cell, width) for cell, width in zip(row, wide, strict=True)).rstrip() for row in table]


def _cut(line: str) -> str:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    return cut(line, width, "...") if width else line
