"""Bytes to documents: plain values, and the line and column of every value and every key.

Checks what the bytes are, hands the text to `build`, and goes on behind a document that cannot be read. Never raises
for bad input: everything wrong becomes a `Problem`. Called by `load`.
"""

import re

import yaml

from loomd.manifest.build import MAX_DEPTH, MAX_NODES, Builder, GiveUp
from loomd.manifest.places import BREAKS, Document
from loomd.manifest.problem import Position, Problem
from loomd.manifest.source import MAX_BYTES

__all__ = ["MAX_DEPTH", "MAX_NODES", "MAX_PAIRS", "MAX_RESTARTS", "read_documents"]

MAX_DIRECTIVES = 50
"""Most directives `%TAG` of one file: the parser compares each with all others."""
MAX_PAIRS = 50_000
"""Most characters of one file that JSON writes as two escapes: each is joined by us, as the parser refuses both."""
MAX_RESTARTS = 20
"""Most documents of one file that are given up before the rest of the file is."""

_WIDE = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_AT_START = f"(?<![^{BREAKS}])"
_NEXT = re.compile(rf"{_AT_START}---(?=\s|\Z)")
_MARK = re.compile(f"{_AT_START}\ufeff")
_CONTROL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_JSON = re.compile(r"\s*[{\[]")
_QUOTED = re.compile(r"""(?<![^\s\[{,:])(?:'[^']*+(?:''[^']*+)*+'(?!')|"[^"\\]*+(?:\\.[^"\\]*+)*+")""", re.DOTALL)
_HALF = re.compile(r"\\u[dD][89abAB]")
_PAIR = re.compile(r"(?<!\\)((?:\\\\)*+)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


def read_documents(data: bytes, file: str) -> tuple[list[Document], list[Problem]]:
    """Return the documents of a file, empty ones left out, and all that is wrong with its text.

    Args:
        data: UTF-8, with or without a byte-order mark.
        file: its name for positions.
    """
    if len(data) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES >> 20} MiB: split it"
        return [], [Problem(Position(file), "too-large", message)]
    text = _decode(data.removeprefix(b"\xef\xbb\xbf"), file)
    if isinstance(text, Problem):
        return [], [text]
    builder = Builder(file)
    start = line = 0
    for _ in range(MAX_RESTARTS):
        try:
            builder.read(text[start:] if start else text, line)
            break
        except GiveUp as error:
            builder.problems.append(error.problem)
            if error.whole_file:
                break
            found = _NEXT.search(text, start + max(error.index, 1))
            if found is None:
                break
            line += _lines(text[start : found.start()])
            start = found.start()
        except yaml.reader.ReaderError:
            builder.problems.append(_control(text, file))
            break
    return builder.documents, builder.problems


def _decode(data: bytes, file: str) -> str | Problem:
    """Return the text of a file, or what keeps its bytes from being one."""
    for mark, name in _WIDE.items():
        if data.startswith(mark):
            return _wide(file, name)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        return Problem(_position(before, file), "not-utf8", message, hint="save the file as UTF-8")
    if "\0" in text[:2] and text.count("\0") * 3 >= len(text) > 1:
        return _wide(file, "UTF-16 or UTF-32") if text.strip("\0") else _zeros(file)
    if "\\" in text and _JSON.match(text) and (pairs := len(_HALF.findall(text))):
        if pairs > MAX_PAIRS:
            message = f"the file holds more than {MAX_PAIRS:,} characters that are written as two escapes"
            return Problem(Position(file, 1, 1), "too-large", message, hint="write the characters themselves")
        text = _QUOTED.sub(_join_pairs, text, MAX_NODES)  # with more, the file is refused
    if "\ufeff" in text:  # files that begin with one were put together
        text = _MARK.sub("", text)
    if text.count("%TAG") > MAX_DIRECTIVES:
        message = f"the file holds more than {MAX_DIRECTIVES} directives %TAG"
        return Problem(Position(file, 1, 1), "too-large", message, hint="remove them: tags are not read")
    return text


def _zeros(file: str) -> Problem:
    message, hint = "the file holds nothing but zero bytes", "it was not written to its end: write it again"
    return Problem(Position(file, 1, 1), "not-utf8", message, hint=hint)


def _wide(file: str, name: str) -> Problem:
    return Problem(Position(file, 1, 1), "not-utf8", f"the file is {name}", hint="save it as UTF-8", expected="UTF-8")


def _join_pairs(found: re.Match[str]) -> str:
    """Return a quoted text without pairs of escapes, and spaces behind it, so that nothing else changes its place."""
    text = found[0]
    if "\\u" not in text or text[0] == "'":
        return text
    joined = _PAIR.sub(_join, text)
    return joined + " " * (_last(text) - _last(joined))


def _last(text: str) -> int:
    """Return how long the last line of a text is."""
    return len(text) - max(text.rfind(char) for char in BREAKS) - 1


def _join(found: re.Match[str]) -> str:
    """Return the character that two escapes of JSON stand for."""
    before, high, low = found.groups()
    return before + chr(0x10000 + ((int(high, 16) & 0x3FF) << 10 | int(low, 16) & 0x3FF))


def _control(text: str, file: str) -> Problem:
    """Return the problem of the first character that YAML does not allow."""
    found = _CONTROL.search(text)
    at, name = (_position(text[: found.start()], file), f"U+{ord(found[0]):04X}") if found else (Position(file), "")
    return Problem(
        at, "yaml-syntax", f"the character {name} is not allowed", hint="remove it, or write it as an escape"
    )


def _position(before: str, file: str) -> Position:
    """Return the position behind a text that begins the file."""
    last = max(before.rfind(char) for char in BREAKS) + 1
    return Position(file, _lines(before) + 1, len(before) - last + 1)


def _lines(text: str) -> int:
    """Return how many lines end in a text."""
    return sum(text.count(char) for char in BREAKS) - text.count("\r\n")
