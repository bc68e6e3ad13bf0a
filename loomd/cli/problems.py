"""Shows problems: with the line of the file for people, as GitHub annotations for machines; `sarif` has another form.

A line that may hold a secret is shown without its value. Called by `main` and by the verbs that check manifests.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import TextIO

from loomd.cli.colour import BLUE, BOLD, CYAN, RED, YELLOW, Paint, painter
from loomd.manifest.json_text import write_json
from loomd.manifest.lines import Lines
from loomd.manifest.problem import Problem
from loomd.manifest.wording import HIDDEN, is_secret

_HUES = {"error": f"{RED};1", "warning": f"{YELLOW};1"}


def render(
    problems: Iterable[Problem],
    form: str = "text",
    texts: Mapping[str, bytes] | None = None,
    stream: TextIO | None = None,
) -> str:
    """Return problems as text.

    Args:
        problems: what is wrong, sorted.
        form: `text`, or `github` for workflow commands.
        texts: contents of the files by name; a file that is not there is read.
        stream: where the text goes, which decides on its colours; standard output by default.
    """
    if form == "github":
        return "\n".join(_github(one) for one in problems)
    lines = Lines(texts or {})
    paint = painter(sys.stdout if stream is None else stream)
    return "\n\n".join(_frame(one, lines, paint) for one in problems)


def dump(value: object) -> str:
    """Return a value as indented JSON."""
    return write_json(value)


def _frame(problem: Problem, lines: Lines, paint: Paint) -> str:
    at, hue = problem.position, _HUES[problem.severity]
    text = f"{paint(str(at), BOLD)}: {paint(problem.severity, hue)}[{problem.code}]: {problem.message}"
    line = problem.line or lines.get(at, hide=is_secret(problem.pointer))
    if line is not None:
        number = str(at.line)
        side = paint(f"{' ' * len(number)} |", BLUE)
        before = "".join("\t" if char == "\t" else " " for char in _before(line, at.column))
        text += f"\n{side}\n{paint(f'{number} |', BLUE)} {line}\n{side} {before}{paint('^', hue)}"
    if problem.hint:
        text += f"\n  {paint('hint', CYAN)}: {problem.hint}"
    if problem.related is not None:
        text += f"\n  {paint('see', CYAN)}: {problem.related}"
    return text


def _before(line: str, column: int) -> str:
    """Return what stands before a column: where the line is hidden there, before `(hidden)`."""
    end = max(column - 1, 0)
    return line[: min(end, len(line) - len(HIDDEN)) if line.endswith(HIDDEN) else end]


def _github(problem: Problem) -> str:
    at = problem.position
    fields = {"file": at.file, "line": at.line or 1, "col": at.column or 1, "title": problem.code}
    head = ",".join(f"{name}={_escape(str(value), ',:')}" for name, value in fields.items())
    hint = f" ({problem.hint})" if problem.hint else ""
    return f"::{problem.severity} {head}::{_escape(problem.message + hint)}"


def _escape(text: str, more: str = "") -> str:
    for char in f"%\r\n{more}":
        text = text.replace(char, f"%{ord(char):02X}")
    return text
