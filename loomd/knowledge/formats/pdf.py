"""PDF: the text of its pages, in the order in which it was drawn; the place of a line is its page.

Bookmarks are its headings. A page that is a picture has no text, and nothing here reads pictures.
"""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from loomd.knowledge.formats.base import BadDocument, Content, Format, Heading, Limits, Page, Value, whole

if TYPE_CHECKING:
    from pypdf import PdfReader

_DEEPEST = 6
"""Levels of bookmarks that count as headings."""


def _read(data: bytes, suffix: str, limits: Limits) -> Content:
    del suffix
    from pypdf import PdfReader  # noqa: PLC0415  # only a process that reads PDF needs it
    from pypdf.errors import DependencyError, PyPdfError  # noqa: PLC0415  # the same

    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise BadDocument("is encrypted with a password: save it without one, or exclude it")
        page = Page(limits)
        starts = [_add_page(page, number, one) for number, one in enumerate(reader.pages, 1)]
    except DependencyError as error:
        raise BadDocument(f"is encrypted in a way that cannot be read here ({error}): save it without") from error
    except PyPdfError as error:
        raise BadDocument(f"is not a PDF that can be read ({error}): mend it, or exclude it") from error
    if not any(page.lines):
        raise BadDocument("holds no text, only pictures of it: add a layer of text (OCR), or exclude it")
    page.headings.extend(sorted(_headings(reader, page, starts), key=lambda one: one.at))
    return page.content("page", _properties(reader))


def _add_page(page: Page, number: int, drawn: Any) -> int:
    """Add the text of a page, and return the index of its first line."""
    page.part(number)
    start = len(page.lines)
    for line in drawn.extract_text().split("\n"):
        if line.strip():
            page.add(" ".join(line.replace("\0", " ").split()), number)
        else:
            page.part(number)
    return start


def _headings(reader: "PdfReader", page: Page, starts: list[int]) -> Iterator[Heading]:
    """Yield the bookmarks at the lines that they repeat, else at the beginnings of their pages."""
    for level, title, number in _bookmarks(reader):
        end = starts[number + 1] if number + 1 < len(starts) else len(page.lines)
        wanted = title.casefold()
        found = next((at for at in range(starts[number], end) if page.lines[at].casefold() == wanted), None)
        if found is not None:
            yield Heading(found, level, title)
        elif starts[number] < len(page.lines):
            yield Heading(starts[number], level, title, lines=0)


def _bookmarks(reader: "PdfReader") -> list[tuple[int, str, int]]:
    """Return level, title and index of the page of every bookmark; none when they are broken."""
    found: list[tuple[int, str, int]] = []
    try:
        pending: list[tuple[int, Any]] = [(1, reader.outline)]
        while pending:
            level, items = pending.pop()
            for item in items:
                if isinstance(item, list):
                    pending.append((level + 1, item))
                    continue
                title = whole(" ".join(str(item.title).split()))
                number = reader.get_destination_page_number(item)
                if title and number is not None and number >= 0 and level <= _DEEPEST:
                    found.append((level, title, number))
    except Exception:
        return []  # the text is what counts
    return found


def _properties(reader: "PdfReader") -> dict[str, Value | list[Value]]:
    """Return title, author and subject; none when they are broken."""
    try:
        said = reader.metadata
        pairs = {"title": said.title, "author": said.author, "subject": said.subject} if said else {}
    except Exception:
        return {}
    return {name: whole(str(value)) for name, value in pairs.items() if value and str(value).strip()}


FORMAT = Format("pdf", (".pdf",), ("application/pdf",), _read)
