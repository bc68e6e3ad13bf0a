"""Says in words what the YAML parser does not accept: its own messages speak of tokens, people look for a comma.

Called by `build` for text that is refused.
"""

from typing import Any

import yaml

from loomd.manifest.places import LINE_BREAK, counted
from loomd.manifest.problem import Position, Problem
from loomd.manifest.wording import quoted

_INDENT = "check the indentation: keys of one mapping, and items of one list, begin in the same column"
_QUOTE = "quote the whole value"
_SPACES = "indent with spaces, never with tabs"
_ESCAPE = r"write \\ for a backslash, or use single quotes"
_CLOSE = "a comma, a quote or the closing bracket is missing, here or before"

_GOES_ON = (
    "a key where the value of the line above goes on",
    'write a space behind the ":" above, and begin keys of one mapping in the same column',
)

_SAID: tuple[tuple[str, str, str], ...] = (
    (
        "mapping values are not allowed",
        'a second ": " on this line',
        'quote the value, or begin a new line after the ":"',
    ),
    ("could not find expected ':'", 'expected ": " after a key', "write key: value, or quote and indent the text"),
    ("expected <block end>", "expected the end of what is open", _INDENT),
    ("did not find expected key", "expected a key", _INDENT),
    ("did not find expected '-' indicator", 'expected another "- " item, or the end of the list', _INDENT),
    ("block sequence entries are not allowed", 'a list cannot begin here with "- "', "begin it on a line of its own"),
    ("did not find expected ',' or ']'", "expected a comma or the ] of the list", _CLOSE),
    ("did not find expected ',' or '}'", "expected a comma or the } of the mapping", _CLOSE),
    ("did not find expected node content", "expected a value", _CLOSE),
    ("unexpected end of stream", "the quote is never closed", "close it, or remove it"),
    ("unexpected document indicator", "the quote is not closed before the next document", "close it"),
    ("unknown escape character", "an unknown escape after a backslash", _ESCAPE),
    ("did not find expected hexdecimal number", "an unknown escape after a backslash", _ESCAPE),
    (
        "invalid Unicode character escape code",
        "the escape is no character, or half of one",
        "write the character itself",
    ),
    ("a tab character", "a tab in the indentation", _SPACES),
    (
        "expected comment or line break",
        "text behind | or > on the same line",
        "begin the text on the next line, indented",
    ),
    ("leading all-spaces line", "a line of spaces before the text is indented deeper than it", "remove its spaces"),
    ("found undefined tag handle", "a tag, which is not read", _QUOTE),
    ("while scanning a tag", "a tag, which is not read", _QUOTE),
    ("while parsing a tag", "a tag, which is not read", _QUOTE),
    ("alphabetic or numeric character", "expected a name after & or *", "quote text that begins with & or *"),
    ("expected <document start>", "expected the end of the document, or --- before the next", _INDENT),
    ("incompatible YAML document", "expected YAML 1.2, or 1.1", "remove the line that begins with %"),
    ("%YAML directive", "the text is not YAML", "remove the line that begins with %"),
    ("directive", "an unknown directive", "a line cannot begin with %: indent or quote it"),
)


def explain_syntax(error: yaml.MarkedYAMLError, text: str, file: str, first_line: int) -> tuple[Problem, int]:
    """Return what is wrong with a text, and at which of its characters.

    Args:
        error: what the parser said.
        text: what it read.
        file: name of the file for positions.
        first_line: number of the text's first line in the file.
    """
    mark: Any = error.problem_mark or error.context_mark
    begun: Any = error.context_mark
    if mark is None:
        return Problem(Position(file, first_line, 1), "yaml-syntax", "the text is not YAML"), 0
    at = _position(mark, text, file, first_line)
    related = None if begun is None else _position(begun, text, file, first_line)
    if related is not None and related.line == at.line:
        related = None
    line = _line(text, mark.index)
    message, hint = _words(f"{error.problem or ''} {error.context or ''}", text, mark.index)
    indent = line[: len(line) - len(line.lstrip())]
    if "\t" in indent:
        message, hint = "a tab in the indentation", _SPACES
    return Problem(at, "yaml-syntax", message, "", hint, related), int(mark.index)


def _position(mark: Any, text: str, file: str, first_line: int) -> Position:
    line, column = counted(mark, text)
    return Position(file, line + first_line, column + 1)


def _words(said: str, text: str, index: int) -> tuple[str, str]:
    if "cannot start any token" in said:
        return _start(text[index : index + 1])
    if "mapping values are not allowed" in said and ": " not in _line(text, index)[: _column(text, index)]:
        return _GOES_ON
    for part, message, hint in _SAID:
        if part in said:
            return message, hint
    return " ".join(said.split()) or "the text is not YAML", ""


def _column(text: str, index: int) -> int:
    """Return how many characters of its line stand before a character."""
    return index - max((found.end() for found in LINE_BREAK.finditer(text, max(0, index - 4096), index)), default=0)


def _start(char: str) -> tuple[str, str]:
    if char == "\t":
        return "a tab in the indentation", _SPACES
    if char == "%":
        return 'a line cannot begin with "%"', "indent it to make it part of the text above, or quote it"
    return f"a value cannot begin with {quoted(char)}", _QUOTE


def _line(text: str, index: int) -> str:
    """Return the line of a character."""
    before = [found.end() for found in LINE_BREAK.finditer(text, max(0, index - 4096), index)]
    begin = before[-1] if before else max(0, index - 4096)
    end = LINE_BREAK.search(text, index, index + 4096)
    return text[begin : end.start() if end else index + 4096]
