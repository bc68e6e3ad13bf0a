"""Does a text satisfy a JSON Schema? Used for structured answers."""

import json

from loomd.encoded import unfenced
from loomd.manifest.inline_schema import validator_of
from loomd.messages import JsonObject


def plain(text: str, schema: JsonObject | None) -> str:
    """Return an answer without the fence of Markdown in which models like to put JSON, where JSON is wanted."""
    return text if schema is None else unfenced(text)


def violation(text: str, schema: JsonObject) -> str | None:
    """Return what is wrong with a text that should be JSON of a schema, or None when nothing is.

    The message names the place and the rule, for a model to mend it.

    Raises:
        BadSchema: the schema cannot be used.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        return f"not JSON ({error.msg} at character {error.pos})"
    first = next(validator_of(schema).iter_errors(value), None)
    if first is None:
        return None
    place = "/".join(str(part) for part in first.instance_path) or "the top level"
    return f"at {place}: {first.message}"
