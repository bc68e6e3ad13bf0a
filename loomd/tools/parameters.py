"""The arguments of a tool whose manifest says what it takes, as a JSON Schema of type object.

Called by the types that fill placeholders, `http` and `shell`, and by those whose tools say themselves what they take.
"""

from collections.abc import Iterator
from typing import Any

from loomd.errors import Permanent, ToolFailed
from loomd.manifest.inline_schema import BadSchema, schema_faults, validator_of
from loomd.messages import JsonObject
from loomd.tools.context import WITHIN
from loomd.tools.placeholder import names_in

_DEEPEST = 32
"""Levels of a schema; deeper ones are for no model, and cost stack to compile."""
_TOLD = 10
"""Most misfits that a model is told of at once."""


def parameter_faults(parameters: JsonObject, *templates: tuple[str, object]) -> Iterator[tuple[str, str, str]]:
    """Yield, as `Spec.check` does, why parameters cannot be used, and placeholders that are none of them.

    Args:
        parameters: the field `parameters`.
        templates: JSON pointer and value of each field that may hold placeholders.
    """
    properties = parameters.get("properties")
    if parameters.get("type") != "object" or not isinstance(properties, dict):
        yield "/parameters", "expected a JSON Schema of type object with properties", "invalid-value"
        return
    yield from schema_faults(parameters, "/parameters")
    for pointer, template in templates:
        for name in dict.fromkeys(names_in(template)):
            if name not in properties and not name.startswith(WITHIN):
                known = ", ".join(properties) or "none"
                text = f"expected a property of spec.parameters, got {{{name}}}: the properties are {known}"
                yield pointer, text, "invalid-value"


def schema_fault(parameters: JsonObject) -> str:
    """Return why no model can be told of parameters that somebody else says, or an empty string."""
    if _deeper(parameters, _DEEPEST):
        return f"its schema has more than {_DEEPEST} levels"
    if parameters.get("type") != "object":
        return "its schema is not of type object"
    try:
        validator_of(parameters)
    except BadSchema as error:
        return f"its schema cannot be used: {error}"
    return ""


def _deeper(value: object, levels: int) -> bool:
    """Return whether a JSON value has more levels."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return levels == 0 or any(_deeper(one, levels - 1) for one in inner)
    return False


def arguments_validator(owner: str, parameters: JsonObject) -> Any:
    """Return what checks arguments, for `refuse_misfits`.

    Raises:
        Permanent: the parameters are no JSON Schema.
    """
    try:
        return validator_of(parameters)
    except BadSchema as error:
        raise Permanent(f"{owner} spec.parameters: {error}") from error


def refuse_misfits(validator: Any, arguments: JsonObject) -> None:
    """Refuse arguments that do not fit.

    Raises:
        ToolFailed: with what is wrong with each, for the model.
    """
    wrong = [
        f"{'.'.join(str(part) for part in error.instance_path) or 'arguments'}: {error.message}"
        for error in validator.iter_errors(arguments)
    ]
    if wrong:
        raise ToolFailed(f"the arguments are refused: {'; '.join(wrong[:_TOLD])}")
