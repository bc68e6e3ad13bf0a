"""Lines of files as problems show them: cut to what fits, what may be secret left out.

The work grows with the size of a file and no faster, however its lines are made. Called by the command line, and by the
reconciler for files that are on no disk of whoever asks.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

from loomd.manifest.places import LINE_BREAK
from loomd.manifest.problem import Position, Problem
from loomd.manifest.source import MAX_BYTES, SourceFile
from loomd.manifest.wording import HIDDEN, is_secret, without_secrets

_COUNT = re.compile(r"\s*:?\s*[0-9]{1,3}\s*[}\]]*\s*")
"""A number too short for a secret: `token: 5` is a misspelt field."""
_KEY = re.compile(r"""(?<![-\w."'])([-\w."']++)\s*+:(?=\s|$)""")
_PLAIN_START = re.compile(r"[\s\[{,]*+")
_WIDEST = 160
_LOOKED_AT = 4096
"""Characters of a line that are looked at: what begins among those that are shown ends before that."""
_LOOKED_BACK = 2000
"""Lines without a key above a line that are looked at; behind more of them it may be anything, and is not shown."""
_NONE = -1


def with_lines(problems: Iterable[Problem], files: Iterable[SourceFile]) -> list[Problem]:
    """Return problems of some files with the lines that they are about."""
    texts = {file.name: file.data for file in files}
    lines = Lines(texts)
    found: list[Problem] = []
    for one in problems:
        line = lines.get(one.position, hide=is_secret(one.pointer)) if one.position.file in texts else None
        found.append(replace(one, line=line or ""))
    return found


class Lines:
    """Lines of files.

    Args:
        texts: contents of the files by name; a file that is not there is read.
    """

    def __init__(self, texts: Mapping[str, bytes]) -> None:
        self._texts = texts
        self._files: dict[str, _File] = {}

    def get(self, at: Position, *, hide: bool) -> str | None:
        """Return the line of a position, or None when it cannot be shown.

        Args:
            at: the position.
            hide: whether what stands there may be a secret, as far as the names on the way to it tell.
        """
        if at.line < 1 or at.column > _WIDEST:
            return None
        if at.file not in self._files:
            self._files[at.file] = _File(self._read(at.file))
        line = self._files[at.file].get(at.line - 1)
        if line is None:
            return None
        if hide and HIDDEN not in line:
            line = _cut(line, at.column)
        return "".join(char if char.isprintable() or char == "\t" else "?" for char in line[:_WIDEST])

    def _read(self, name: str) -> bytes:
        if name in self._texts:
            return self._texts[name]
        place = Path(name)
        try:
            if not place.is_file() or place.stat().st_size > MAX_BYTES:
                return b""
            return place.read_bytes()
        except (OSError, ValueError):
            return b""  # a frame is a courtesy: the problem itself is shown either way


class _File:
    """One file, read from its first line as far as it is asked for."""

    def __init__(self, data: bytes) -> None:
        self._left = _split(data.decode("utf-8-sig", "replace")) if data else iter(())
        self._lines: list[str] = []
        self._parents: list[int] = []
        self._above: list[tuple[int, int]] = [(-1, _NONE)]
        self._shown: dict[int, str] = {}

    def get(self, index: int) -> str | None:
        """Return a line, without its secrets, or None when there is none."""
        self._read(index + 1 - len(self._lines))
        if index >= len(self._lines):
            return None
        if index not in self._shown:
            line = self._lines[index][:_LOOKED_AT]
            self._shown[index] = _without_secret(line, self._is_inside(index), self._is_behind(index))
        return self._shown[index]

    def _read(self, count: int) -> None:
        """Take more lines, and note for each the nearest above it that is indented less."""
        above = self._above
        for line in islice(self._left, max(count, 0)):
            bare = line.lstrip()
            indent = len(line) - len(bare)
            while above[-1][0] >= indent:
                above.pop()
            self._parents.append(above[-1][1])
            if bare:
                above.append((indent, len(self._lines)))
            self._lines.append(line)

    def _is_inside(self, index: int) -> bool:
        """Return whether a line belongs to a key above it that may hold a secret, by its indentation."""
        index = self._parents[index]
        while index != _NONE:
            if any(is_secret(key) for key in _keys(self._lines[index])):
                return True
            index = self._parents[index]
        return False

    def _is_behind(self, index: int) -> bool:
        """Return whether a line may go on with the value of the last key above it, when that may hold a secret."""
        for above in range(index - 1, max(index - 1 - _LOOKED_BACK, -1), -1):
            keys = _keys(self._lines[above])
            if keys:
                return any(is_secret(key) for key in keys)
        return index > _LOOKED_BACK


def _split(text: str) -> Iterator[str]:
    start = 0
    for found in LINE_BREAK.finditer(text):
        yield text[start : found.start()]
        start = found.end()
    yield text[start:]


def _keys(line: str) -> list[str]:
    return _KEY.findall(line) if ":" in line else []


def _cut(line: str, column: int) -> str:
    """Return a line up to a column, or up to the end of the key that stands there; whole when a count follows it."""
    key = _KEY.match(line, column - 1) if column else None
    end = key.end() if key else max(column - 1, 0)
    if key and _COUNT.fullmatch(line, end):
        return line
    return line[:end] + (f" {HIDDEN}" if line[end:].strip() else "")


def _without_secret(line: str, inside: bool, behind: bool) -> str:
    """Return a line up to the first key that may hold a secret, or up to any value below such a key.

    Args:
        line: as it was written.
        inside: whether it belongs to a key above it that may hold a secret.
        behind: whether the last key before it may hold one.
    """
    line = without_secrets(line)
    first = _KEY.search(line)
    if inside:
        return _cut(line, first.start() + 1) if first else HIDDEN
    start = _PLAIN_START.match(line)
    if behind and (start.end() if start else 0) < (first.start() if first else len(line)):
        return HIDDEN
    for key in _KEY.finditer(line):
        if is_secret(key[1]):
            return _cut(line, key.start() + 1)
    return line
