"""Values as YAML that people read and edit: keys in their order, several lines as a block. Called by routes and verbs.

What loomd reads back is the same value: a text that YAML 1.2 would take for a number is quoted.
"""

from functools import cache
from typing import Any

from loomd.manifest.scalar import resolve

_WIDTH = 120


def to_yaml(value: Any) -> str:
    """Return a JSON value as YAML."""
    import yaml  # noqa: PLC0415  # only this form needs it

    text = yaml.dump(value, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=_WIDTH)
    return str(text)


@cache
def _dumper() -> Any:
    import yaml  # noqa: PLC0415  # only this form needs it

    class Dumper(yaml.CSafeDumper):
        """Writes text so that it stays text."""

    def represent(dumper: Any, text: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=_style(text))

    Dumper.add_representer(str, represent)
    return Dumper


def _style(text: str) -> str | None:
    if "\n" in text:
        return "|"
    try:
        return None if isinstance(resolve(text), str) else "'"
    except ValueError:
        return "'"
