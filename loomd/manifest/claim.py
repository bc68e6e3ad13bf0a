"""The name that a document claims, as far as it can be told: also when it is not valid, or not read to its end.

Never judges. Called by `build` and `convert`, so that every problem can name its object.
"""

from typing import Any

from loomd.manifest.object import Ref

MAX_NAME = 253
"""Longest name of which problems speak, in characters: the longest DNS name. One that is longer claims nothing."""


def claimed(value: Any) -> Ref | None:
    """Return the name that a document claims, or None when it claims none.

    Args:
        value: decoded JSON.
    """
    if not isinstance(value, dict):
        return None
    metadata, kind = value.get("metadata"), value.get("kind", "")
    if not isinstance(metadata, dict):
        return None
    ref = Ref(kind, metadata.get("name", ""), metadata.get("namespace", "default"))
    return ref if all(_is_name(part) for part in ref) else None


def _is_name(value: Any) -> bool:
    """Return whether a value may stand in a message as a name: on one line, and not endless."""
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable()
