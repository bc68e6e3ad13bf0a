"""`sentence`: as many whole sentences as fit, the next passage repeating the last of them.

A sentence ends with a full stop, question mark or exclamation mark before a space, or with its paragraph; after an
English abbreviation and before a small letter it goes on.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from loomd.knowledge.chunkers.base import Block, Cutting, Piece, pack, paragraphs, split, whole

_END = re.compile(r"""[.!?\u2026]["')\]\u2019\u201d]*\s+|[\u3002\uff01\uff1f]\s*""")
_SHORT = re.compile(
    r"(?:^|[\s(\[])(?:[A-Za-z]|al|approx|cf|ch|co|corp|dept|dr|e\.g|ed|eds|eq|est|etc|fig|i\.e|inc|jr|ltd|mr|mrs|ms|no"
    r"|p\.m|a\.m|pp|prof|resp|sec|sr|st|vol|vs)\.$",
    re.IGNORECASE,
)
_FENCES = ("```", "~~~")


def cut(cutting: Cutting) -> Iterator[Piece]:
    """Yield passages under the headings that stand before them."""
    for piece in pack(cutting.name, _sentences(cutting), cutting):
        yield replace(piece, title=cutting.title(piece.first - 1))


def _sentences(cutting: Cutting) -> Iterator[Block]:
    for first, lines in paragraphs(whole(cutting)):
        if lines[0].lstrip().startswith(_FENCES):
            yield from split(lines, first, cutting.limit)
            continue
        for start, text in _split(lines):
            at = first + start
            yield from split(text.split("\n"), at, cutting.limit)


def _split(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the sentences of a paragraph, each with the index of the line where it begins."""
    text = "\n".join(lines)
    start = line = 0
    for match in _END.finditer(text):
        end = match.end()
        if end < len(text) and _goes_on(text, match):
            continue
        yield line, text[start:end].rstrip()
        line += text.count("\n", start, end)
        start = end
    if text[start:].strip():
        yield line, text[start:].rstrip()


def _goes_on(text: str, match: "re.Match[str]") -> bool:
    if text[match.end()].islower():
        return True
    return text[match.start()] == "." and _SHORT.search(text, max(0, match.start() - 8), match.start() + 1) is not None
