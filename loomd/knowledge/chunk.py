"""Cuts documents into passages: Markdown at its headings, everything else at paragraphs, lines and sentences. Pure.

A passage is a run of whole lines wherever that fits the size, so that it can be cited by its lines; its title is the
path of headings above it.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loomd.knowledge.base import CHARACTERS_PER_TOKEN, Chunking

_HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*\s*$")
_FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\s+")
_MARKDOWN = (".md", ".markdown")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a document. `first` and `last` are line numbers, counted from 1, both included."""

    title: str
    text: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class _Section:
    """Lines under one path of headings; `start` is the number of the first line."""

    title: str
    start: int
    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Block:
    """Lines that belong together: a paragraph, a fenced block, or a piece of a long one."""

    text: str
    first: int
    last: int


def cut(path: str, text: str, how: Chunking) -> list[Chunk]:
    """Return the passages of a document, in order.

    Args:
        path: its path; the suffix says whether it is Markdown, the name is the title of what has no heading.
        text: its content.
        how: kind, size and overlap.
    """
    lines = text.split("\n")
    name = path.rpartition("/")[2]
    if how.type == "markdown" and path.lower().endswith(_MARKDOWN):
        sections: Iterator[_Section] = _sections(lines, name)
    else:
        sections = iter([_Section(name, 1, lines)])
    return [chunk for section in sections for chunk in _pack(section, how)]


def _sections(lines: Sequence[str], name: str) -> Iterator[_Section]:
    """Yield the sections of a Markdown document that hold more than their heading."""
    path: list[tuple[int, str]] = []
    fence = ""
    start = 0
    for at, line in enumerate(lines):
        fence = _fence_after(line, fence)
        heading = None if fence else _HEADING.match(line)
        if heading:
            yield _Section(_title(path, name), start + 1, lines[start:at])
            level = len(heading[1])
            path = [*(item for item in path if item[0] < level), (level, heading[2])]
            start = at + 1
    yield _Section(_title(path, name), start + 1, lines[start:])


def _fence_after(line: str, fence: str) -> str:
    """Return the mark of the fenced block that is open after a line, or an empty text."""
    match = _FENCE.match(line)
    if match is None:
        return fence
    if not fence:
        return match[1]
    closes = match[1].startswith(fence) and not line.strip().strip(fence[0])
    return "" if closes else fence


def _title(path: Sequence[tuple[int, str]], name: str) -> str:
    return " > ".join(title for _, title in path) or name


def _pack(section: _Section, how: Chunking) -> Iterator[Chunk]:
    """Yield passages of at most `size`, each as many blocks as fit, the next one repeating `overlap`."""
    limit = how.size * CHARACTERS_PER_TOKEN
    held: list[_Block] = []
    length = 0
    for block in _blocks(section, limit):
        if held and length + len(block.text) + 2 > limit:
            yield _chunk(section.title, held)
            held = _tail(held, min(how.overlap * CHARACTERS_PER_TOKEN, limit - len(block.text) - 2))
            length = sum(len(item.text) + 2 for item in held)
        held.append(block)
        length += len(block.text) + 2
    if held:
        yield _chunk(section.title, held)


def _tail(blocks: Sequence[_Block], limit: int) -> list[_Block]:
    """Return the last blocks that together are no longer than `limit` characters; never all of them."""
    kept: list[_Block] = []
    for block in reversed(blocks[1:]):
        limit -= len(block.text) + 2
        if limit < 0:
            break
        kept.insert(0, block)
    return kept


def _chunk(title: str, blocks: Sequence[_Block]) -> Chunk:
    parts = [blocks[0].text]
    for before, block in itertools.pairwise(blocks):
        gap = block.first - before.last
        parts.append(("\n" * gap if gap else " ") + block.text)
    return Chunk(title, "".join(parts), blocks[0].first, blocks[-1].last)


def _blocks(section: _Section, limit: int) -> Iterator[_Block]:
    """Yield the paragraphs and fenced blocks of a section, the long ones in pieces."""
    held: list[str] = []
    fence = ""
    for at, line in enumerate([*section.lines, ""], section.start):
        fence = _fence_after(line, fence)
        if fence or line.strip():
            held.append(line.rstrip())
        elif held:
            yield from _split(held, at - len(held), limit)
            held = []
    if held:  # a fence that was never closed
        yield from _split(held[:-1], section.start + len(section.lines) - len(held) + 1, limit)


def _split(lines: Sequence[str], first: int, limit: int) -> Iterator[_Block]:
    """Yield lines as one block, or as several when they are longer than `limit` characters."""
    if sum(len(line) + 1 for line in lines) <= limit:
        yield _Block("\n".join(lines), first, first + len(lines) - 1)
        return
    held: list[str] = []
    length = 0
    for at, line in enumerate(lines, first):
        if held and length + len(line) + 1 > limit:
            yield _Block("\n".join(held), at - len(held), at - 1)
            held, length = [], 0
        if len(line) > limit:
            yield from (_Block(piece, at, at) for piece in _split_line(line, limit))
        else:
            held.append(line)
            length += len(line) + 1
    if held:
        last = first + len(lines) - 1
        yield _Block("\n".join(held), last - len(held) + 1, last)


def _split_line(line: str, limit: int) -> Iterator[str]:
    """Yield pieces of a line that is too long, cut after sentences, else between words, else anywhere."""
    while len(line) > limit:
        ends = [match for match in _SENTENCE_END.finditer(line, 0, limit + 1) if match.start() > limit // 2]
        sentences = [match for match in ends if line[match.start() - 1] in ".!?"]
        best = sentences or ends
        cut_at, resume = best[-1].span() if best else (limit, limit)
        yield line[:cut_at]
        line = line[resume:]
    if line.strip():
        yield line
