"""Which documents a search looks in: by what they say of themselves and what their source says of them. Pure."""

import re
from collections.abc import Collection, Iterable, Mapping
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


def unmet(where: Where, documents: Iterable[tuple[str, Mapping[str, Value | list[Value]]]]) -> tuple[str, ...]:
    """Return what a filter asks for in vain, in sentences; nothing where a document fits it, or there is none.

    Args:
        where: what is wanted.
        documents: what each is cited by, and what is known of it.
    """
    pending, names, is_empty = dict.fromkeys(where), {PATH}, True
    for path, properties in documents:
        if fits(where, path, properties):
            return ()
        is_empty = False
        names.update(properties)
        pending = dict.fromkeys(one for one in pending if not fits((one,), path, properties))
    if is_empty:
        return ()
    said = tuple(_in_vain(values, name) if name in names else asks_in_vain(name) for name, values in pending)
    return said or ("no document has everything for which the filter asks",)


def _in_vain(values: Iterable[str], name: str) -> str:
    either = " or ".join(f'"{one}"' for one in values)
    return f'no document has {either} as its "{name}", for which the filter asks'


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
