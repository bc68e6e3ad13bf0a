"""Placeholders `{name}` in the parts of a web request, filled with arguments without changing what surrounds them.

Called by the `http` type.
"""

import re
from collections.abc import Iterator
from urllib.parse import quote

import msgspec

from loomd.errors import ToolFailed
from loomd.messages import JsonObject

_NAME = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


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
    missing = [name for name in _NAME.findall(template) if name not in arguments]
    if missing:
        raise ToolFailed(f'the argument "{missing[0]}" is missing')
    return _NAME.sub(lambda match: as_text(arguments[match[1]]), template)


def as_text(value: object) -> str:
    """Return a string as it is and anything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _absent(template: object, arguments: JsonObject) -> bool:
    whole = _NAME.fullmatch(template) if isinstance(template, str) else None
    return whole is not None and whole[1] not in arguments
