"""Where the text of a scalar stands in its file, when it stands there letter by letter.

It does in a block after `|`, and on one line without escapes. Pure. Called by `build` for texts in which something may
be wrong at a place of its own.
"""

from typing import Any

from loomd.manifest.places import LINE_BREAK


def start_of(event: Any, text: str) -> tuple[int, int] | None:
    """Return the line and column, from 0, where the value of a scalar begins, or None when it is written otherwise.

    Every further line of the value begins in the same column.

    Args:
        event: the scalar of the parser.
        text: what is parsed.
    """
    begin, end = event.start_mark, event.end_mark
    written = text[begin.index : end.index]
    if event.style == "|":
        column = _indent(written, event.value)
        return None if column is None else (begin.line + 1, column)
    if begin.line != end.line:
        return None
    at = {event.value: 0, f'"{event.value}"': 1, f"'{event.value}'": 1}.get(written)
    return None if at is None else (begin.line, begin.column + at)


def _indent(written: str, value: str) -> int | None:
    """Return how far the lines of a block are indented, or None when they are not those of the value."""
    lines, wanted = LINE_BREAK.split(written)[1:], value.split("\n")
    first = next((at for at, line in enumerate(wanted) if line), 0)
    if first >= len(lines):
        return None
    indent = len(lines[first]) - len(wanted[first])
    same = all(line[indent:] == want for line, want in zip(lines, wanted, strict=False) if want)
    return indent if indent >= 0 and same else None
