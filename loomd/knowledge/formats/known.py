"""Finds the formats, and the one that a document is written in. The folder is the registry."""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from pathlib import PurePosixPath
from types import MappingProxyType

from loomd.knowledge.formats.base import Format

_FOLDER = "loomd.knowledge.formats"
PLAIN = "text"
"""The format of what has no other."""


@cache
def find_formats() -> Mapping[str, Format]:
    """Return every format by name; importing them loads no parser."""
    package = importlib.import_module(_FOLDER)
    modules = (importlib.import_module(one.name) for one in pkgutil.iter_modules(package.__path__, f"{_FOLDER}."))
    formats = [one for one in (getattr(module, "FORMAT", None) for module in modules) if isinstance(one, Format)]
    return MappingProxyType({one.name: one for one in formats})


def format_of(path: str, media: str = "") -> Format:
    """Return the format of a document: that of its media type, else of its suffix, else plain text.

    Args:
        path: its name; only the end counts.
        media: its media type, without parameters; empty when nobody said one.
    """
    formats = find_formats()
    end = suffix_of(path)
    by_suffix = next((one for one in formats.values() if end in one.suffixes), formats[PLAIN])
    if not media or media in formats[PLAIN].media:  # servers call every source file text/plain
        return by_suffix
    return next((one for one in formats.values() if media in one.media), by_suffix)


def suffix_of(path: str) -> str:
    """Return the end of a name with its dot, lower-case, or an empty text."""
    return PurePosixPath(path).suffix.lower()
