"""Markdown: its headings, outside of fenced blocks, and the front matter, which is what a document says of itself."""

import re
from collections.abc import Iterator, Sequence
from datetime import date

from loomd.knowledge.formats.base import Content, Format, Heading, Limits, Value
from loomd.knowledge.formats.text import decode

_HEADING = re.compile(r"(#{1,6})\s+(\S.*)")
_FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})")
_MARK = "---"
_BITS = 64
"""Size of the largest number that a property may be."""
_PROPERTY = re.compile(r"\s*[\w-]+:(\s|$)")
"""First line of what is meant as front matter, also where that is no YAML."""
_LONGEST = 200
"""Most lines of front matter; what goes on for longer is text."""


def fence_after(line: str, fence: str) -> str:
    """Return the mark of the fenced block that is open after a line, or an empty text."""
    match = _FENCE.match(line)
    if match is None:
        return fence
    if not fence:
        return match[1]
    closes = match[1].startswith(fence) and not line.strip().strip(fence[0])
    return "" if closes else fence


def _headings(lines: Sequence[str]) -> Iterator[Heading]:
    fence = ""
    for at, line in enumerate(lines):
        fence = fence_after(line, fence)
        heading = None if fence else _HEADING.match(line)
        if heading:
            told = heading[2].rstrip()
            yield Heading(at, len(heading[1]), told.rstrip("#").rstrip() or told)


def _front_matter(lines: Sequence[str]) -> tuple[int, dict[str, Value | list[Value]]]:
    """Return how many lines the front matter takes, and what it says; 0 and nothing when there is none."""
    if lines[0].rstrip() != _MARK:
        return 0, {}
    end = next((at for at, line in enumerate(lines[1:_LONGEST], 1) if line.rstrip() in (_MARK, "...")), 0)
    if not end:
        return 0, {}
    import yaml  # noqa: PLC0415  # only documents with front matter need it

    try:
        said = yaml.load("\n".join(lines[1:end]), yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return 0, {}  # a rule above some text, or YAML that nobody can read: it stays text, as it was written
    if not isinstance(said, dict):
        return 0, {}
    return end + 1, {str(key): found for key, value in said.items() if (found := _plain(value)) is not None}


def _plain(value: object) -> Value | list[Value] | None:
    """Return a property as text, number or truth, or a list of them; None for what is none of these."""
    if not isinstance(value, list):
        return _scalar(value)
    items = [found for item in value if (found := _scalar(item)) is not None]  # lists within may have no end
    return items or None


def _scalar(value: object) -> Value | None:
    if isinstance(value, date):
        return str(value)  # as it is written
    if isinstance(value, int) and value.bit_length() > _BITS:
        return None
    return value if isinstance(value, str | int | float | bool) else None


def _read(data: bytes, suffix: str, limits: Limits) -> Content:
    del suffix
    lines = decode(data, limits).split("\n")
    taken, properties = _front_matter(lines)
    meant = not taken and lines[0].rstrip() == _MARK and _PROPERTY.match("".join(lines[1:2])) is not None
    lines[:taken] = [""] * taken  # the numbers of all lines stay what they are
    return Content(lines, headings=list(_headings(lines)), properties=properties, is_faulty=meant)


FORMAT = Format("markdown", (".md", ".markdown"), ("text/markdown", "text/x-markdown"), _read, isolated=False)
