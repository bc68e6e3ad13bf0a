"""Real documents of formats that are no text, made by the libraries that others make them with."""

import io
import zipfile
from collections.abc import Sequence

from docx import Document
from pypdf import PdfReader, PdfWriter


def pdf(*pages: Sequence[str], bookmarks: Sequence[tuple[str, int]] = (), title: str = "", password: str = "") -> bytes:
    """Return a PDF with lines of text on its pages.

    Args:
        pages: the lines of each page.
        bookmarks: text and index of the page of each.
        title: what the document says that it is called.
        password: what it is encrypted with.
    """
    writer = PdfWriter(PdfReader(io.BytesIO(_plain(pages))))
    for text, page in bookmarks:
        writer.add_outline_item(title=text, page_number=page)
    if title:
        writer.add_metadata({"/Title": title})
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    written = io.BytesIO()
    writer.write(written)
    return written.getvalue()


def ole(stream: str) -> bytes:
    """Return the beginning of a document of the format before 2007, whose directory names a stream."""
    name = stream.encode("utf-16-le").ljust(64, b"\0")
    return bytes.fromhex("d0cf11e0a1b11ae1").ljust(512, b"\0") + name + b"\0" * 448


def _plain(pages: Sequence[Sequence[str]]) -> bytes:
    count = len(pages)
    kids = " ".join(f"{4 + 2 * at} 0 R" for at in range(count))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for at, lines in enumerate(pages):
        shown = "".join(f"({line}) Tj T* " for line in lines)
        drawn = f"BT /F1 12 Tf 14 TL 72 720 Td {shown}ET".encode()
        fonts = "<< /Font << /F1 3 0 R >> >>"
        box = "[0 0 612 792]"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Contents {5 + 2 * at} 0 R /Resources {fonts} >>".encode()
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawn), drawn))
    made = b"%PDF-1.4\n"
    starts: list[int] = []
    for number, one in enumerate(objects, 1):
        starts.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % start for start in starts)
    size = len(objects) + 1
    return made + b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (
        size,
        table,
        size,
        len(made),
    )


def docx(*parts: tuple[str, str], rows: Sequence[Sequence[str]] = (), title: str = "") -> bytes:
    """Return a Word document.

    Args:
        parts: style and text of each paragraph.
        rows: the cells of a table at its end.
        title: what the document says that it is called.
    """
    document = Document()
    document.core_properties.title = title
    for style, text in parts:
        document.add_paragraph(text, style=style or None)
    if rows:
        table = document.add_table(len(rows), len(rows[0]))
        for row, cells in zip(table.rows, rows, strict=True):
            for cell, text in zip(row.cells, cells, strict=True):
                cell.text = text
    written = io.BytesIO()
    document.save(written)
    return written.getvalue()


def bomb(size: int) -> bytes:
    """Return a small Word document that unpacks to many bytes."""
    written = io.BytesIO()
    plain = zipfile.ZipFile(io.BytesIO(docx(("", "text"))))
    with plain, zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in plain.infolist():
            archive.writestr(one, plain.read(one))
        archive.writestr("word/media/zeros.xml", b"\0" * size)
    return written.getvalue()
