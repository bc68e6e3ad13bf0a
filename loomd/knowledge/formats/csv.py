"""Tables as text: every row is a paragraph in which each value has the name of its column before it.

The first row holds the names. The separator is the one of comma, semicolon, tab and bar that it has most of.
"""

import csv
import io
import sys

from loomd.knowledge.formats.base import BadDocument, Content, Format, Limits, Page
from loomd.knowledge.formats.text import decode

_SEPARATORS = ",;\t|"


def _read(data: bytes, suffix: str, limits: Limits) -> Content:
    text = decode(data, limits)
    head = text.partition("\n")[0]
    separator = "\t" if suffix == ".tsv" else max(_SEPARATORS, key=head.count)
    csv.field_size_limit(min(limits.text, sys.maxsize))
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    page = Page(limits)
    before = 0
    names: list[str] = []
    try:
        for row in rows:
            first, before = before + 1, rows.line_num
            if not any(row):
                continue
            if not names:
                names = [name.strip() or f"column {at}" for at, name in enumerate(row, 1)]
                continue
            _add_row(page, names, row, first, before)
    except csv.Error as error:
        raise BadDocument(f"is not a table (line {rows.line_num}: {error}): mend it, or exclude it") from error
    if names and not page.lines:
        page.add(", ".join(names), 1)
    return page.content()


def _add_row(page: Page, names: list[str], row: list[str], first: int, last: int) -> None:
    page.part(first)
    cells = [(at, " ".join(cell.split())) for at, cell in enumerate(row)]
    filled = [(names[at] if at < len(names) else f"column {at + 1}", cell) for at, cell in cells if cell]
    for at, (name, cell) in enumerate(filled, 1):
        page.add(f"{name}: {cell}", last if at == len(filled) else first)


FORMAT = Format("csv", (".csv", ".tsv"), ("text/csv", "text/tab-separated-values"), _read)
