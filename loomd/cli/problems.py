"""Shows problems: with the line of the file for people, as JSON or as GitHub annotations for machines.

A line that may hold a secret is shown without its value. Called by `main` and `validate`.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TextIO

from loomd.manifest.problem import Position, Problem
from loomd.manifest.wording import is_secret, without_secrets

_KEY = re.compile(r"""([-\w."']+)\s*:(?=\s|$)""")
_RED, _BLUE, _BOLD, _CYAN = "31;1", "34", "1", "36"
_WIDEST = 160

Paint = Callable[[str, str], str]


def render(problems: Iterable[Problem], form: str = "text", texts: Mapping[str, bytes] | None = None) -> str:
    """Return problems as text.

    Args:
        problems: what is wrong, sorted.
        form: `text`, or `github` for workflow commands.
        texts: contents of the files by name; a file that is not there is read.
    """
    if form == "github":
        return "\n".join(_github(one) for one in problems)
    lines = _Lines(texts or {})
    paint = _painter(sys.stdout)
    return "\n\n".join(_frame(one, lines, paint) for one in problems)


def dump(value: object) -> str:
    """Return a value as indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def _painter(stream: TextIO) -> Paint:
    """Return a function that colours text when a terminal reads it and `NO_COLOR` is not set."""
    coloured = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return (lambda text, code: f"\x1b[{code}m{text}\x1b[0m") if coloured else (lambda text, _: text)


def _frame(problem: Problem, lines: "_Lines", paint: Paint) -> str:
    at = problem.position
    text = f"{paint(str(at), _BOLD)}: {paint('error', _RED)}[{problem.code}]: {problem.message}"
    line = lines.get(at)
    if line is not None:
        number = str(at.line)
        side = paint(f"{' ' * len(number)} |", _BLUE)
        before = "".join("\t" if char == "\t" else " " for char in line[: at.column - 1])
        text += f"\n{side}\n{paint(f'{number} |', _BLUE)} {line}\n{side} {before}{paint('^', _RED)}"
    if problem.hint:
        text += f"\n  {paint('hint', _CYAN)}: {problem.hint}"
    if problem.related is not None:
        text += f"\n  {paint('see', _CYAN)}: {problem.related}"
    return text


class _Lines:
    """Lines of files, with what may be secret left out."""

    def __init__(self, texts: Mapping[str, bytes]) -> None:
        self._texts = dict(texts)
        self._split: dict[str, list[str]] = {}

    def get(self, at: Position) -> str | None:
        """Return the line of a position, or None when it cannot be shown."""
        if at.file not in self._split:
            self._split[at.file] = self._read(at.file).decode("utf-8-sig", "replace").splitlines()
        lines = self._split[at.file]
        if not 0 < at.line <= len(lines) or at.column > _WIDEST:
            return None
        line = _without_secret(lines, at.line - 1)[:_WIDEST]
        return "".join(char if char.isprintable() or char == "\t" else "?" for char in line)

    def _read(self, name: str) -> bytes:
        if name in self._texts:
            return self._texts[name]
        try:
            return Path(name).read_bytes()
        except OSError:
            return b""  # a frame is a courtesy: the problem itself is shown either way


def _without_secret(lines: list[str], index: int) -> str:
    """Return a line up to the first key that may hold a secret, or up to any value below such a key."""
    line = without_secrets(lines[index])
    below = _below_secret(lines, index)
    for key in _KEY.finditer(line):
        if below or is_secret(key[1]):
            return line[: key.end()] + (" (hidden)" if line[key.end() :].strip() else "")
    return "(hidden)" if below else line


def _below_secret(lines: list[str], index: int) -> bool:
    """Return whether a line belongs to a key above it that may hold a secret."""
    indent = _indent(lines[index])
    for line in reversed(lines[:index]):
        if line.strip() and _indent(line) < indent:
            indent = _indent(line)
            if any(is_secret(key[1]) for key in _KEY.finditer(line)):
                return True
    return False


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _github(problem: Problem) -> str:
    at = problem.position
    fields = {"file": at.file, "line": at.line or 1, "col": at.column or 1, "title": problem.code}
    head = ",".join(f"{name}={_escape(str(value), ',:')}" for name, value in fields.items())
    hint = f" ({problem.hint})" if problem.hint else ""
    return f"::error {head}::{_escape(problem.message + hint)}"


def _escape(text: str, more: str = "") -> str:
    for char in f"%\r\n{more}":
        text = text.replace(char, f"%{ord(char):02X}")
    return text
