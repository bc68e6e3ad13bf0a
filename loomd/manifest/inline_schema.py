"""JSON Schemas that stand in manifests: what a tool takes, what an agent answers.

Each is whole in itself: what it refers to stands in it too, so that nothing is fetched and no file is read. Called by
the specs that hold one when they are validated, and by whoever checks values against it.
"""

import re
from collections.abc import Iterator
from typing import Any, NoReturn

from loomd.errors import Permanent
from loomd.manifest.wording import did_you_mean, escape, got, quoted

Schema = dict[str, Any]

_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_QUOTED = re.compile(r"'([^']*)'")


class BadSchema(Permanent):
    """A schema cannot be used.

    Attributes:
        pointer: JSON pointer of the place in it.
    """

    def __init__(self, pointer: str, message: str) -> None:
        self.pointer = pointer
        super().__init__(message)


def validator_of(schema: Schema) -> Any:
    """Return the validator of a schema, with `iter_errors`.

    Raises:
        BadSchema: it is no JSON Schema, or refers to something that is not in it.
    """
    import jsonschema_rs  # noqa: PLC0415  # a compiled library that only those need who have a schema

    try:
        return jsonschema_rs.validator_for(schema, retriever=_refuse)
    except jsonschema_rs.ValidationError as error:
        pointer = "".join(f"/{escape(str(part))}" for part in error.instance_path)
        raise _explained(schema, pointer, error.message) from None
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise _explained(schema, "", str(error).partition("\n")[0]) from None


def schema_faults(schema: Schema, pointer: str) -> Iterator[tuple[str, str, str]]:
    """Yield why a schema cannot be used, as `Spec.check` does.

    Args:
        schema: the schema.
        pointer: JSON pointer of the field that holds it.
    """
    try:
        validator_of(schema)
    except BadSchema as error:
        yield pointer + error.pointer, str(error), "invalid-value"


def _refuse(address: str) -> NoReturn:
    raise ValueError(address)


def _explained(schema: Schema, pointer: str, message: str) -> BadSchema:
    """Return what is wrong in words, at its place."""
    value = _at(schema, pointer)
    if pointer.endswith("/type") and not pointer.endswith("/properties/type") and isinstance(value, str):
        hint = did_you_mean(value, _TYPES)
        expected = f"expected one of {', '.join(_TYPES)}, got {quoted(value)}"
        return BadSchema(pointer, f"{expected}{f': {hint}' if hint else ''}")
    named = {name for found in _QUOTED.findall(message) for name in (found, f"#{found}")}
    for place, target in () if pointer else _references(schema, ""):
        if target in named:
            wanted = (
                "a draft of JSON Schema" if place.endswith("$schema") else "a part of this schema, as in #/$defs/name"
            )
            return BadSchema(place, f"expected {wanted}, got {quoted(target)}")
    if "any of the schemas" in message:  # says nothing to whoever wrote the value
        message = f"{got(value, '')} is not what JSON Schema takes here"
    return BadSchema(pointer, f"no valid JSON Schema, {message}")


def _at(value: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value


def _references(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Yield where a schema refers to something, and to what."""
    if isinstance(value, dict):
        for key, inner in value.items():
            place = f"{pointer}/{escape(str(key))}"
            if key in ("$ref", "$dynamicRef", "$schema") and isinstance(inner, str):
                yield place, inner
            yield from _references(inner, place)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _references(inner, f"{pointer}/{index}")
