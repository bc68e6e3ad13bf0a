"""HTML: what people read on a page, at the lines of its source, without menus, headers, footers, scripts and forms.

A page that marks its main part is read for that alone. The parser is Python's own, because it tells the line of every
piece of text; it takes broken pages as browsers do, near enough for their text.
"""

import html
import re
from collections.abc import Sequence
from html.parser import HTMLParser

import msgspec

from loomd.knowledge.formats.base import BadDocument, Content, Format, Heading, Limits, Page, Value, whole
from loomd.knowledge.formats.text import decode

_LEFT_OUT = frozenset(
    {
        *("script", "style", "noscript", "template", "svg", "math", "canvas", "iframe", "object", "head"),
        *("nav", "header", "footer", "aside", "form", "button", "select", "dialog", "menu"),
    }
)
_IN_MAIN = frozenset({"header", "footer"})
"""What is left out of a page, but not of its main part: an article has a header of its own."""
_ROLES = frozenset({"navigation", "banner", "contentinfo", "search", "complementary", "dialog"})
_BLOCKS = frozenset(
    {
        *("p", "div", "section", "article", "main", "ul", "ol", "dl", "dt", "dd", "table", "thead", "tbody", "tfoot"),
        *(
            "blockquote",
            "figure",
            "figcaption",
            "pre",
            "hr",
            "address",
            "details",
            "summary",
            "body",
            "html",
            "caption",
        ),
    }
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)
_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]+)""", re.IGNORECASE)
_MOST_LINKS = 10_000
"""Links of one page that are looked at."""
_NOT_SHOWN = re.compile(r"(^|;)\s*(display\s*:\s*none|visibility\s*:\s*hidden)\b", re.IGNORECASE)
_SPACE = re.compile(r"[ \t\f\xa0]+")


class _Reader(HTMLParser):
    """Collects the text of a page."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(convert_charrefs=False)
        self.page = Page(limits)
        self.main: list[tuple[int, int]] = []
        self.properties: dict[str, Value | list[Value]] = {}
        self.links: list[str] = []
        self._skipped = ""
        self._depth = 0
        self._main_tag = ""
        self._main_depth = 0
        self._main_start = 0
        self._held = ""
        self._place = 1
        self._heading = self._heading_at = 0
        self._titled: list[str] | None = None
        self._pre = 0

    # What the parser calls

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin an element."""
        said = dict(attrs)
        if tag == "meta":
            self._take_meta(said)
        if tag == "a" and said.get("href") and len(self.links) < _MOST_LINKS:
            self.links.append(whole(str(said["href"])))
        if tag == "title" and not self.properties.get("title"):
            self._titled = []
        if self._skipped:
            self._depth += tag == self._skipped
        elif self._is_left_out(tag, said):
            if tag not in _VOID:
                self._skipped, self._depth = tag, 1
            self._end_block()
        else:
            self._begin(tag, said)

    def handle_endtag(self, tag: str) -> None:
        """End an element."""
        if tag == "title" and self._titled is not None:
            self.properties["title"] = " ".join("".join(self._titled).split())
            self._titled = None
        if self._skipped:
            self._depth -= tag == self._skipped
            if not self._depth:
                self._skipped = ""
        else:
            self._end(tag)

    def handle_data(self, data: str) -> None:
        """Take text, each line of it at its own place."""
        if self._titled is not None:
            self._titled.append(data)
        if self._skipped or self._titled is not None:
            return
        place = self.getpos()[0]
        for at, line in enumerate(data.split("\n")):
            if at:
                self._flush()
            if not self._held.strip():
                self._place = place + at
            self._held += line if self._pre else _SPACE.sub(" ", line)

    def handle_entityref(self, name: str) -> None:
        """Take a character that is written by its name."""
        self.handle_data(html.unescape(f"&{name};").replace("\n", " "))

    def handle_charref(self, name: str) -> None:
        """Take a character that is written by its number."""
        self.handle_data(html.unescape(f"&#{name};").replace("\n", " ").replace("\r", " "))

    # What is done with it

    def _is_left_out(self, tag: str, said: dict[str, str | None]) -> bool:
        if tag in _LEFT_OUT:
            return not (self._main_tag and tag in _IN_MAIN)
        hidden = (
            "hidden" in said
            or _NOT_SHOWN.search(said.get("style") or "") is not None
            or said.get("aria-hidden") == "true"
        )
        return hidden or (said.get("role") or "") in _ROLES

    def _take_meta(self, said: dict[str, str | None]) -> None:
        name, value = (said.get("name") or "").lower(), " ".join((said.get("content") or "").split())
        if name in {"description", "author", "keywords"} and value:
            self.properties.setdefault(name, value)

    def _begin(self, tag: str, said: dict[str, str | None]) -> None:
        if self._main_tag:
            self._main_depth += tag == self._main_tag
        elif tag == "main" or said.get("role") == "main":
            self._end_block()
            self._main_tag, self._main_depth, self._main_start = tag, 1, len(self.page.lines)
        if tag in _HEADINGS:
            self._end_block()
            self._heading, self._heading_at = _HEADINGS[tag], len(self.page.lines)
        elif tag == "br":
            self._flush()
        elif tag in {"li", "tr"}:
            self._flush()
            self._held = "- " if tag == "li" else ""
            self._place = self.getpos()[0]
        elif tag in {"td", "th"} and self._held.strip():
            self._held += " | "
        elif tag in _BLOCKS and self._held.strip() != "-":
            self._end_block()
        self._pre += tag == "pre"

    def _end(self, tag: str) -> None:
        if tag in _HEADINGS:
            self._end_heading()
        elif tag in {"li", "tr"}:
            self._flush()
        elif tag in _BLOCKS:
            self._end_block()
        self._pre -= tag == "pre" and self._pre > 0
        if tag == self._main_tag:
            self._main_depth -= 1
            if not self._main_depth:
                self.end_main()

    def end_main(self) -> None:
        """End the main part, when one is open."""
        self._end_block()
        if self._main_tag:
            self.main.append((self._main_start, len(self.page.lines)))
            self._main_tag = ""

    def _end_heading(self) -> None:
        self._flush()
        lines = self.page.lines[self._heading_at :]
        if self._heading and lines:
            title = " ".join(line for line in lines if line)
            self.page.headings.append(Heading(self._heading_at, self._heading, title, len(lines)))
        self._heading = 0
        self.page.part(self._place)

    def _end_block(self) -> None:
        if self._heading and self._held.strip():
            self._end_heading()
        self._flush()
        self.page.part(self._place)

    def _flush(self) -> None:
        text = self._held.rstrip() if self._pre else self._held.strip()
        if text.strip() and text.strip() != "-":
            self.page.add(text, self._place)
        self._held = ""


def _read(data: bytes, suffix: str, limits: Limits) -> Content:
    del suffix
    reader = _Reader(limits)
    reader.feed(_decode(data, limits))
    reader.close()
    reader.end_main()
    page, properties = reader.page, reader.properties
    parts = [(start, end) for start, end in reader.main if any(page.lines[start:end])]
    content = _only(page, parts, properties) if parts else page.content(properties=properties)
    title = properties.get("title")
    headings = content.headings if content.headings or not title else [Heading(0, 1, str(title), 0)]
    return msgspec.structs.replace(content, headings=headings, links=reader.links)


def _only(page: Page, parts: Sequence[tuple[int, int]], properties: dict[str, Value | list[Value]]) -> Content:
    """Return some parts of a page."""
    indexes = [at for start, end in parts for at in range(start, end)]
    moved = {at: new for new, at in enumerate(indexes)}
    headings = [Heading(moved[one.at], one.level, one.title, one.lines) for one in page.headings if one.at in moved]
    lines, places = [page.lines[at] for at in indexes], [page.places[at] for at in indexes]
    return Content(lines, "line", places, headings, properties=properties)


def _decode(data: bytes, limits: Limits) -> str:
    """Return the text of a page in the encoding that it names; without one it is UTF-8."""
    named = _CHARSET.search(data[:4096])
    name = named[1].decode("ascii").lower() if named else "utf-8"
    if name in {"utf-8", "utf8"} or data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return decode(data, limits)
    try:
        return decode(data.decode(name).encode(), limits)
    except (LookupError, UnicodeError) as error:
        raise BadDocument(f"is not the {name} that it says ({error}): save it as UTF-8, or exclude it") from error


FORMAT = Format("html", (".html", ".htm", ".xhtml"), ("text/html", "application/xhtml+xml"), _read)
