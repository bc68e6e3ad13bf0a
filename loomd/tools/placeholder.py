"""Placeholders `{name}` in the parts of a web request or a command, filled without changing what surrounds them.

`{context.session}` and its like name what is said of the call itself.

Called by the types `http` and `shell`.
"""

import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote

import msgspec

from loomd.errors import ToolFailed
from loomd.messages import JsonObject

_NAME = re.compile(r"\{((?:context\.)?[A-Za-z_][A-Za-z0-9_]*)\}")


def names_in(template: object) -> Iterator[str]:
    """Yield the names of the placeholders in every string of a JSON value."""
    if isinstance(template, str):
        yield from _NAME.findall(template)
    elif isinstance(template, dict):
        for value in template.values():
            yield from names_in(value)
    elif isinstance(template, list):
        for value in template:
            yield from names_in(value)


def fill_path(template: str, arguments: JsonObject) -> str:
    """Return a URL whose placeholders are filled with percent-encoded text: a value stays one segment.

    Raises:
        ToolFailed: an argument is missing, or is `.`, `..` or empty and would change the path.
    """

    def put(match: re.Match[str]) -> str:
        if match[1] not in arguments:
            raise ToolFailed(f'the argument "{match[1]}" is missing')
        return as_segment(match[1], as_text(arguments[match[1]]))

    return _NAME.sub(put, template)


def as_segment(name: str, text: str) -> str:
    """Return the text of an argument as one percent-encoded segment of a path.

    Raises:
        ToolFailed: it is `.`, `..` or empty and would change the path.
    """
    if text in ("", ".", ".."):
        raise ToolFailed(f'the argument "{name}" may not be "{text}"')
    return quote(text, safe="", errors="replace")


def fill_query(template: dict[str, str], arguments: JsonObject) -> list[tuple[str, str]]:
    """Return query parameters; one whose argument is missing is left out, a list becomes several."""
    pairs: list[tuple[str, str]] = []
    for key, text in template.items():
        whole = _NAME.fullmatch(text)
        if any(name not in arguments for name in _NAME.findall(text)):
            continue
        value = arguments[whole[1]] if whole else None
        if isinstance(value, list):
            pairs += [(key, as_text(item)) for item in value]
        else:
            pairs.append((key, _NAME.sub(lambda match: as_text(arguments[match[1]]), text)))
    return pairs


def fill_json(template: object, arguments: JsonObject) -> object:
    """Return a JSON value; a string that is one placeholder becomes the argument itself, with its type.

    Raises:
        ToolFailed: an argument is missing inside a longer text.
    """
    if isinstance(template, dict):
        filled = ((key, value) for key, value in template.items() if not _absent(value, arguments))
        return {key: fill_json(value, arguments) for key, value in filled}
    if isinstance(template, list):
        return [fill_json(value, arguments) for value in template if not _absent(value, arguments)]
    if not isinstance(template, str):
        return template
    whole = _NAME.fullmatch(template)
    if whole:
        return arguments[whole[1]]
    return fill_text(template, arguments)


def fill_command(template: Sequence[str], arguments: JsonObject) -> list[str]:
    """Return the arguments of a command; a part whose argument is missing is left out, a list becomes several parts.

    A value stays within its part, and never becomes an option: where a part begins with a placeholder, what fills it
    may not begin with `-`, unless the template says `--` before it.

    Raises:
        ToolFailed: a value would be read as an option, or cannot be handed to a program.
    """
    filled: list[str] = []
    for at, part in enumerate(template):
        whole = _NAME.fullmatch(part)
        value = arguments.get(whole[1]) if whole else None
        if any(name not in arguments for name in _NAME.findall(part)):
            continue
        if isinstance(value, list):
            texts = [as_text(item) for item in value]
        else:
            texts = [_NAME.sub(lambda match: as_text(arguments[match[1]]), part)]
        first = _NAME.match(part)
        if first and "--" not in template[:at] and any(text.startswith("-") for text in texts):
            raise ToolFailed(f'the argument "{first[1]}" may not begin with "-": it would be read as an option')
        filled += [_handed(text, first[1] if first else part) for text in texts]
    return filled


def fill_text(template: str, arguments: JsonObject) -> str:
    """Return a text with its placeholders filled.

    Raises:
        ToolFailed: an argument is missing.
    """
    missing = [name for name in _NAME.findall(template) if name not in arguments]
    if missing:
        raise ToolFailed(f'the argument "{missing[0]}" is missing')
    return _NAME.sub(lambda match: as_text(arguments[match[1]]), template)


def _handed(text: str, name: str) -> str:
    """Return a text that a program can be given as an argument."""
    if "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise ToolFailed(f'the argument "{name}" holds null characters, or what is no Unicode: leave them out')
    return text


def as_text(value: object) -> str:
    """Return a string as it is and anything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _absent(template: object, arguments: JsonObject) -> bool:
    whole = _NAME.fullmatch(template) if isinstance(template, str) else None
    return whole is not None and whole[1] not in arguments
