"""What a document becomes when it is read: lines of text, where each stands, and the headings above them.

A format is a function from bytes to this. It raises `BadDocument` for whatever it cannot read, and makes no more text
than it is allowed to. Pure data: imports no manifest and no parser, so that a process that only reads starts quickly.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from loomd.errors import Permanent

Unit = Literal["line", "page", "paragraph"]
"""What the places of a document count."""
Value = str | int | float | bool
"""One value of a property of a document."""


class BadDocument(Permanent):
    """A document cannot be read; the text goes on from its name: what it is, and what to do."""


class Heading(msgspec.Struct, frozen=True):
    """A heading: the index of its line, its level from 1, and how many lines it takes, 0 when it stands in none."""

    at: int
    level: int
    title: str
    lines: int = 1


class Span(msgspec.Struct, frozen=True):
    """A definition in source code: the indexes of its first line and of the one after its last, and its name."""

    start: int
    end: int
    name: str


class Content(msgspec.Struct, frozen=True):
    """The text of a document.

    Attributes:
        lines: its lines, without line ends; a blank one parts paragraphs.
        unit: what the places count.
        places: the place of each line, counted from 1; None when they are the numbers of the lines.
        headings: its headings, in order.
        spans: the definitions of source code, each before those in it; None when its syntax was not looked at.
        language: the programming language of source code; empty for everything else.
        properties: what it says of itself, such as its title and authors.
        links: addresses that a page leads to, as they are written.
        is_faulty: whether what it says of itself cannot be read, though its text can.
    """

    lines: list[str]
    unit: Unit = "line"
    places: list[int] | None = None
    headings: list[Heading] = []
    spans: list[Span] | None = None
    language: str = ""
    properties: dict[str, Value | list[Value]] = {}
    links: list[str] = []
    is_faulty: bool = False

    def place(self, index: int) -> int:
        """Return the place of a line."""
        return index + 1 if self.places is None else self.places[index]


class Limits(msgspec.Struct, frozen=True):
    """What reading one document may take: bytes of text that come out of it, and seconds."""

    text: int
    seconds: float


class Format(msgspec.Struct, frozen=True):
    """A way in which documents are written.

    Attributes:
        name: what it is called.
        suffixes: ends of file names, lower-case, with a dot.
        media: media types of web pages.
        read: makes the text; its arguments are the bytes, the suffix of the name, and the limits.
        isolated: whether it is read in a process of its own, which can be ended.
    """

    name: str
    suffixes: tuple[str, ...]
    media: tuple[str, ...]
    read: Callable[[bytes, str, Limits], Content]
    isolated: bool = True


class Page:
    """Collects the lines of a document and keeps them in bounds."""

    def __init__(self, limits: Limits) -> None:
        self.lines: list[str] = []
        self.places: list[int] = []
        self.headings: list[Heading] = []
        self._left = self._most = limits.text

    def add(self, line: str, place: int) -> None:
        """Add a line.

        Raises:
            BadDocument: the document has more text than it may.
        """
        self._left -= len(line) + 1
        if self._left < 0:
            raise too_long(self._most)
        self.lines.append(whole(line))
        self.places.append(place)

    def part(self, place: int) -> None:
        """End a paragraph."""
        if self.lines and self.lines[-1]:
            self.add("", place)

    def head(self, level: int, title: str, place: int) -> None:
        """Add a heading as a paragraph of its own."""
        self.part(place)
        self.headings.append(Heading(len(self.lines), level, whole(title)))
        self.add(title, place)
        self.part(place)

    def content(self, unit: Unit = "line", properties: Mapping[str, Value | list[Value]] | None = None) -> Content:
        """Return what was collected."""
        return Content(self.lines, unit, self.places, self.headings, properties=dict(properties or {}))


def whole(text: str) -> str:
    """Return a text without halves of characters, which some documents hold and no database takes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def too_long(most: int) -> BadDocument:
    """Return the error that a document has more text than it may."""
    return BadDocument(f"holds more than {most:,} bytes of text, which is maxText: split it, or raise maxText")


def cite(path: str, unit: Unit, first: int, last: int) -> str:
    """Return how a passage is cited: `docs/a.md:3-9`, `docs/a.pdf#page=3`, `docs/a.docx#paragraph=3-9`."""
    if unit == "line":
        return f"{path}:{first}-{last}"
    return f"{path}#{unit}={first}" + (f"-{last}" if last > first else "")
