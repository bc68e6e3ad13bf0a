"""Documents of a YAML text as they were written: one of them with its comments, or the text without some of them.

Nothing is parsed: what begins and ends a document stands at the beginning of a line, and nothing else may stand there.
Called by `reconcile` and by the API.
"""

from collections.abc import Iterable, Sequence

from loomd.manifest.places import LINE_BREAK

_MARKS = frozenset(("---", "..."))


def document_at(text: str, line: int) -> str:
    """Return the document that holds a line, with its comments, without the marks around it.

    Args:
        text: one or several documents.
        line: number of the line, from 1.
    """
    lines = _split(text)
    begin, end = _bounds(lines, line)
    if begin and lines[begin - 1].strip() not in _MARKS:
        begin -= 1  # the document begins beside its mark
    return "".join(lines[begin:end])


def without_documents(text: str, at: Iterable[int]) -> str:
    """Return a text in which the documents that hold some lines are empty; all others stand on the lines as before.

    Args:
        text: several documents.
        at: numbers of lines, from 1.
    """
    lines = _split(text)
    for line in at:
        begin, end = _bounds(lines, line)
        if begin:
            lines[begin - 1] = lines[begin - 1][:3] + _ending(lines[begin - 1])
        for number in range(begin, end):
            lines[number] = _ending(lines[number])
    return "".join(lines)


def _bounds(lines: Sequence[str], line: int) -> tuple[int, int]:
    """Return the indexes of the first line behind the mark that begins a document, and of the one behind its last."""
    marks = [at for at, one in enumerate(lines) if one[:3] in _MARKS and not one[3:4].strip()]
    begin = max((at + 1 for at in marks if at < line), default=0)
    return begin, min((at for at in marks if at >= line), default=len(lines))


def _split(text: str) -> list[str]:
    """Return the lines of a text as YAML counts them, each with what ends it."""
    lines: list[str] = []
    at = 0
    for found in LINE_BREAK.finditer(text):
        lines.append(text[at : found.end()])
        at = found.end()
    return [*lines, text[at:]]


def _ending(line: str) -> str:
    found = LINE_BREAK.search(line)
    return found[0] if found else ""
