"""Plain text: every line is what it is."""

from loomd.knowledge.formats.base import BadDocument, Content, Format, Limits, too_long


def decode(data: bytes, limits: Limits) -> str:
    """Return UTF-8 text without byte-order mark and carriage returns.

    Raises:
        BadDocument: it is not UTF-8, no text at all, or too much.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise BadDocument("is UTF-16 text: save it as UTF-8, or exclude it")
    if b"\0" in data:
        raise BadDocument("is not text (it holds NUL bytes): convert it to Markdown or text, or exclude it")
    if len(data) > limits.text:
        raise too_long(limits.text)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        line = data.count(b"\n", 0, start) + 1
        raise BadDocument(f"is not UTF-8 (line {line}, byte {start}): save it as UTF-8, or exclude it") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read(data: bytes, suffix: str, limits: Limits) -> Content:
    del suffix
    return Content(decode(data, limits).split("\n"))


FORMAT = Format("text", (".txt", ".text", ".rst", ".adoc"), ("text/plain",), _read, isolated=False)
