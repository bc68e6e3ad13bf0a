"""What all ways of cutting share: sections below headings, blocks of lines, and packing them up to a size. Pure."""

import itertools
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from loomd.knowledge.formats.base import Content
from loomd.knowledge.formats.markdown import fence_after

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\s+")


@dataclass(frozen=True)
class Cutting:
    """A document to be cut.

    Attributes:
        name: title of what stands below no heading.
        content: its text.
        limit: largest passage, in characters.
        overlap: so many characters of a passage may be repeated by the next one.
    """

    name: str
    content: Content
    limit: int
    overlap: int

    @property
    def lines(self) -> Sequence[str]:
        """Return the lines of the document."""
        return self.content.lines

    def title(self, index: int) -> str:
        """Return the headings that stand before a line, joined, or the name when there are none."""
        starts, titles = self._titles
        at = bisect_right(starts, index - 1)
        return titles[at - 1] if at else self.name

    @cached_property
    def _titles(self) -> tuple[list[int], list[str]]:
        found = list(sections(self))[1:]
        return [one.start - 1 for one in found], [one.title for one in found]


@dataclass(frozen=True, slots=True)
class Piece:
    """A passage; `first` and `last` are numbers of lines, counted from 1, both included."""

    title: str
    text: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Section:
    """Lines under one path of headings; `start` is the number of the first line."""

    title: str
    start: int
    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that belong together: a paragraph, a fenced block, or a piece of a long one."""

    text: str
    first: int
    last: int


def whole(cutting: Cutting) -> Section:
    """Return a document as one section."""
    return Section(cutting.name, 1, cutting.lines)


def sections(cutting: Cutting) -> Iterator[Section]:
    """Yield what stands before the first heading, and below each heading without the heading itself."""
    path: list[tuple[int, str]] = []
    start = 0
    for heading in cutting.content.headings:
        yield Section(_joined(path, cutting.name), start + 1, cutting.lines[start : heading.at])
        path = [*(item for item in path if item[0] < heading.level), (heading.level, heading.title)]
        start = heading.at + heading.lines
    yield Section(_joined(path, cutting.name), start + 1, cutting.lines[start:])


def _joined(path: Sequence[tuple[int, str]], name: str) -> str:
    return " > ".join(title for _, title in path) or name


def pack(title: str, blocks: Iterable[Block], cutting: Cutting) -> Iterator[Piece]:
    """Yield passages of at most the limit, each as many blocks as fit, the next one repeating the overlap."""
    limit = cutting.limit
    held: list[Block] = []
    length = 0
    for block in blocks:
        if held and length + len(block.text) + 2 > limit:
            yield _piece(title, held)
            held = _tail(held, min(cutting.overlap, limit - len(block.text) - 2))
            length = sum(len(item.text) + 2 for item in held)
        held.append(block)
        length += len(block.text) + 2
    if held:
        yield _piece(title, held)


def _tail(blocks: Sequence[Block], limit: int) -> list[Block]:
    """Return the last blocks that together are no longer than `limit` characters; never all of them."""
    kept: list[Block] = []
    for block in reversed(blocks[1:]):
        limit -= len(block.text) + 2
        if limit < 0:
            break
        kept.insert(0, block)
    return kept


def _piece(title: str, blocks: Sequence[Block]) -> Piece:
    parts = [blocks[0].text]
    for before, block in itertools.pairwise(blocks):
        gap = block.first - before.last
        parts.append(("\n" * gap if gap else " ") + block.text)
    return Piece(title, "".join(parts), blocks[0].first, blocks[-1].last)


def blocks_of(section: Section, limit: int) -> Iterator[Block]:
    """Yield the paragraphs and fenced blocks of a section, the long ones in pieces."""
    for first, lines in paragraphs(section):
        yield from split(lines, first, limit)


def paragraphs(section: Section) -> Iterator[tuple[int, list[str]]]:
    """Yield the paragraphs and fenced blocks of a section: the number of the first line, and the lines."""
    held: list[str] = []
    fence = ""
    for at, line in enumerate([*section.lines, ""], section.start):
        fence = fence_after(line, fence)
        if fence or line.strip():
            held.append(line.rstrip())
        elif held:
            yield at - len(held), held
            held = []
    if held:  # a fence that was never closed
        yield section.start + len(section.lines) - len(held) + 1, held[:-1]


def split(lines: Sequence[str], first: int, limit: int) -> Iterator[Block]:
    """Yield lines as one block, or as several when they are longer than `limit` characters."""
    if sum(len(line) + 1 for line in lines) <= limit:
        yield Block("\n".join(lines), first, first + len(lines) - 1)
        return
    held: list[str] = []
    length = 0
    for at, line in enumerate(lines, first):
        if held and length + len(line) + 1 > limit:
            yield Block("\n".join(held), at - len(held), at - 1)
            held, length = [], 0
        if len(line) > limit:
            yield from (Block(piece, at, at) for piece in split_line(line, limit))
        else:
            held.append(line)
            length += len(line) + 1
    if held:
        last = first + len(lines) - 1
        yield Block("\n".join(held), last - len(held) + 1, last)


def split_line(line: str, limit: int) -> Iterator[str]:
    """Yield pieces of a line that is too long, cut after sentences, else between words, else anywhere."""
    at = 0
    while len(line) - at > limit:
        found = list(_SENTENCE_END.finditer(line, at, at + limit + 1))
        ends = [match for match in found if match.start() - at > limit // 2]
        sentences = [match for match in ends if line[match.start() - 1] in ".!?"]
        best = sentences or ends
        cut_at, resume = best[-1].span() if best else (at + limit, at + limit)
        yield line[at:cut_at]
        at = resume
    if line[at:].strip():
        yield line[at:]
