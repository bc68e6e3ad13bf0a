"""JSON and JSON Lines: every value is a line with the path to it, `books[2].title: Emma`, at the line where it stands.

Members of the outermost list or mapping are paragraphs, and so is every line of JSON Lines.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from loomd.knowledge.formats.base import BadDocument, Content, Format, Limits, Page
from loomd.knowledge.formats.text import decode

DEEPEST = 64
"""Levels of a document; what is deeper is no document for people."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


@dataclass
class _Level:
    """A list or mapping that is open: the next index of a list, or the latest key of a mapping."""

    index: int | None
    key: str = ""

    def __str__(self) -> str:
        return self.key if self.index is None else f"[{self.index}]"


def _read(data: bytes, suffix: str, limits: Limits) -> Content:
    text = decode(data, limits)
    page = Page(limits)
    if suffix in (".jsonl", ".ndjson"):
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                page.part(number)
                _check(line, number)
                _walk(line, number, page)
    elif text.strip():
        _check(text, 1)
        _walk(text, 1, page)
    return page.content()


def _check(text: str, first: int) -> None:
    try:
        json.loads(text)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        line = first - 1 + getattr(error, "lineno", 1)
        said = getattr(error, "msg", error)
        raise BadDocument(f"is not JSON (line {line}: {said}): mend it, or exclude it") from error


def _too_deep() -> BadDocument:
    return BadDocument(f"is nested deeper than {DEEPEST} levels: exclude it")


def _walk(text: str, line: int, page: Page) -> None:
    """Add a line for every value of a text that is JSON."""
    levels: list[_Level] = []
    at = 0
    for match in _TOKEN.finditer(text):
        line += text.count("\n", at, match.start())
        at = match.start()
        mark = match[0]
        if mark in "{[":
            levels.append(_Level(None if mark == "{" else 0))
            if len(levels) > DEEPEST:
                raise _too_deep()
        elif mark in "}]":
            levels.pop()
        elif mark == ",":
            _next(levels, line, page)
        elif mark != ":":
            _add(text, match, line, levels, page)


def _next(levels: list[_Level], line: int, page: Page) -> None:
    """Go on to the next item of a list or member of a mapping."""
    if levels[-1].index is not None:
        levels[-1].index += 1
    levels[-1].key = ""
    if len(levels) == 1:
        page.part(line)


def _add(text: str, match: "re.Match[str]", line: int, levels: list[_Level], page: Page) -> None:
    """Add a value; a key only says where the next one is."""
    value: Any = json.loads(match[0])
    mapping = levels[-1] if levels and levels[-1].index is None else None
    if mapping is not None and not mapping.key and _is_key(text, match.end()):
        mapping.key = str(value) or '""'
        return
    if value is None or value == "":
        return
    path = "".join(f"{one}" if one.index is not None else f".{one}" for one in levels).removeprefix(".")
    said = " ".join(value.split()) if isinstance(value, str) else match[0]
    page.add(f"{path}: {said}" if path else said, line)


def _is_key(text: str, end: int) -> bool:
    return text[end : end + 1] == ":" or re.compile(r"\s*:").match(text, end) is not None


FORMAT = Format("json", (".json", ".jsonl", ".ndjson"), ("application/json", "application/x-ndjson"), _read)
