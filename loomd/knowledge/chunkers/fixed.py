"""`fixed`: windows of one size that begin and end between words, whatever stands in the document."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate

from loomd.knowledge.chunkers.base import Cutting, Piece


def cut(cutting: Cutting) -> Iterator[Piece]:
    """Yield windows; each begins `overlap` characters before the end of the one before it."""
    text = "\n".join(cutting.lines)
    starts = [0, *accumulate(len(line) + 1 for line in cutting.lines)]
    start = 0
    while start < len(text):
        end = _end(text, start, cutting.limit)
        window = text[start:end]
        first, last = start + len(window) - len(window.lstrip()), start + len(window.rstrip())
        if last > first:
            above = bisect_right(starts, first)
            yield Piece(cutting.title(above - 1), text[first:last], above, bisect_right(starts, last - 1))
        start = _start(text, start, end, cutting.overlap)


def _end(text: str, start: int, limit: int) -> int:
    """Return where a window ends: after the last word that is whole, unless that would leave half of it empty."""
    end = start + limit
    if end >= len(text) or text[end].isspace():
        return min(end, len(text))
    return next((at for at in range(end, start + limit // 2, -1) if text[at - 1].isspace()), end)


def _start(text: str, start: int, end: int, overlap: int) -> int:
    """Return where the next window begins: at a word, as far before the end as the overlap allows."""
    if end >= len(text):
        return end
    begin = max(end - overlap, start + 1)
    return next((at for at in range(begin, end) if text[at - 1].isspace()), end)
