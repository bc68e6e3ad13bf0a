"""Which documents a search looks in: by what they say of themselves and what their source says of them. Pure."""

import re
from collections.abc import Collection, Mapping
from functools import lru_cache

from loomd.knowledge.formats.base import Value

Filter = Mapping[str, str | list[str]]
"""What a manifest wants of documents: a value, or one of several, for each property."""
Where = tuple[tuple[str, tuple[str, ...]], ...]
"""Properties with the values of which each must have one; nothing wants nothing."""
PATH = "path"
"""The property that every document has by itself: what it is cited by."""


def where_of(*filters: Filter | None) -> Where:
    """Return all filters together: a document must fit each of them."""
    pairs = (pair for one in filters if one for pair in one.items())
    return tuple((name, (values,) if isinstance(values, str) else tuple(values)) for name, values in pairs)


def fits(where: Where, path: str, properties: Mapping[str, Value | list[Value]]) -> bool:
    """Return whether a document is looked in.

    Args:
        where: what is wanted.
        path: what the document is cited by.
        properties: what is known of it.
    """
    known = {**properties, PATH: path}
    return all(any(_fits(text, wanted) for text in _texts(known.get(name))) for name, wanted in where)


def lacking(where: Where, known: Collection[str]) -> list[str]:
    """Return the properties for which a filter asks and that no document has, sorted.

    Args:
        where: what is wanted.
        known: the names of all properties of all documents.
    """
    return sorted({name for name, _ in where} - {PATH, *known})


def asks_in_vain(name: str) -> str:
    """Return what is said of a filter that asks for a property which no document has."""
    return f'no document has the property "{name}", for which the filter asks'


def _texts(value: Value | list[Value] | None) -> list[str]:
    if value is None:
        return []
    values = value if isinstance(value, list) else [value]
    return [str(one).lower() if isinstance(one, bool) else str(one) for one in values]


def _fits(text: str, wanted: tuple[str, ...]) -> bool:
    return any(_pattern(one).fullmatch(text) for one in wanted)


@lru_cache(maxsize=1024)
def _pattern(wanted: str) -> "re.Pattern[str]":
    return re.compile(".*".join(re.escape(part) for part in wanted.split("*")), re.DOTALL)
