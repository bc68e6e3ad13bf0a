"""Word documents (.docx): paragraphs and the rows of tables, which are what places count; headings by their styles."""

import io
import re
import zipfile
from typing import Any

from loomd.knowledge.formats.base import BadDocument, Content, Format, Limits, Page, Value, too_long

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""Beginning of the container of Word documents of before 2007, and of every encrypted one."""
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
"""Name of the stream in it that holds an encrypted document."""
_HEADING = re.compile(r"heading ([1-9])", re.IGNORECASE)


def _read(data: bytes, suffix: str, limits: Limits) -> Content:
    del suffix
    _refuse(data, limits)
    from docx import Document  # noqa: PLC0415  # only a process that reads Word needs it
    from docx.table import Table  # noqa: PLC0415  # the same

    try:
        document = Document(io.BytesIO(data))
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise BadDocument(f"is not a Word document that can be read ({error}): mend it, or exclude it") from error
    page = Page(limits)
    place = 0
    for item in document.iter_inner_content():
        if isinstance(item, Table):
            page.part(place)
            for row in item.rows:
                place += 1
                _add_row(page, row, place)
        else:
            place += 1
            _add_paragraph(page, item, place)
    return page.content("paragraph", _properties(document))


def _refuse(data: bytes, limits: Limits) -> None:
    """Refuse what is no archive, and one that unpacks to more than a document may hold; none gives more than it says.

    Raises:
        BadDocument: it is encrypted, of another format, or too large.
    """
    if data.startswith(_OLE):
        if _ENCRYPTED in data:
            raise BadDocument("is encrypted with a password: save it without one, or exclude it")
        raise BadDocument("is a Word document of before 2007: save it as .docx, or exclude it")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(one.file_size for one in archive.infolist())
    except zipfile.BadZipFile as error:
        raise BadDocument(f"is not a Word document ({error}): mend it, or exclude it") from error
    if size > limits.text:
        raise too_long(limits.text)


def _add_paragraph(page: Page, paragraph: Any, place: int) -> None:
    text = " ".join(paragraph.text.split())
    if not text:
        page.part(place)
        return
    style = str(paragraph.style.name if paragraph.style is not None else "")
    heading = _HEADING.match(style)
    if heading or style == "Title":
        page.head(int(heading[1]) if heading else 1, text, place)
    elif style.startswith("List"):
        page.add(f"- {text}", place)
    else:
        page.part(place)
        page.add(text, place)


def _add_row(page: Page, row: Any, place: int) -> None:
    cells: list[str] = []
    seen: set[int] = set()
    for cell in row.cells:
        element = id(cell._tc)  # noqa: SLF001  # a merged cell is given once for each column
        if element not in seen:
            seen.add(element)
            cells.append(" ".join(cell.text.split()))
    if any(cells):
        page.add(" | ".join(cells), place)


def _properties(document: Any) -> dict[str, Value | list[Value]]:
    said = document.core_properties
    pairs = {"title": said.title, "author": said.author, "subject": said.subject, "keywords": said.keywords}
    return {name: str(value) for name, value in pairs.items() if value and str(value).strip()}


_MEDIA = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
FORMAT = Format("docx", (".docx",), (_MEDIA,), _read)
