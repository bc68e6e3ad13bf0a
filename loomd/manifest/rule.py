"""Rules over several fields, and rules with words of their own, as JSON Schema: for `json_schema_extra` of a spec.

A rule that only the types know would surprise an editor and every other reader of the schemas. What a JSON Schema
cannot say (a sum, a comparison of two fields) stays with the types. Called by specs when they are defined.
"""

from typing import Any

MESSAGE = "errorMessage"
"""Keyword that holds what people are told instead of the words for the rule; editors know it too."""

PATTERN_MESSAGE = "patternErrorMessage"
"""Keyword that holds what people are told of a text that does not fit the pattern; editors know it too."""

_SET = {"not": {"type": "null"}}


def exactly_one(*names: str) -> dict[str, Any]:
    """Return the rule that exactly one of these fields is set; null counts as unset."""
    arms = [{"required": [name], "properties": {name: _SET}} for name in names]
    return {"allOf": [{"oneOf": arms, MESSAGE: f"expected exactly one of {', '.join(names)}"}]}


def some_of(message: str, **fields: dict[str, Any]) -> dict[str, Any]:
    """Return the rule that at least one of these fields is as said.

    Args:
        message: what people are told.
        fields: a schema for each field, by the name that the manifest uses; null counts as unset.
    """
    arms = [{"required": [name], "properties": {name: {**_SET, **field}}} for name, field in fields.items()]
    return {"allOf": [{"anyOf": arms, MESSAGE: message}]}


def depending(field: str, *cases: tuple[list[str], dict[str, Any]]) -> dict[str, Any]:
    """Return the rule that a mapping is as said when a field has one of some values.

    Args:
        field: name of the field.
        cases: values of the field, and what holds for them.
    """
    conditions = [({"required": [field], "properties": {field: {"enum": values}}}, then) for values, then in cases]
    return {"allOf": [{"if": condition, "then": then} for condition, then in conditions]}


def never(message: str, **fields: dict[str, Any]) -> dict[str, Any]:
    """Return the rule that these fields never all are as said.

    Args:
        message: what people are told.
        fields: a schema for each field, by the name that the manifest uses.
    """
    return {"allOf": [{"not": {"required": list(fields), "properties": fields}, MESSAGE: message}]}


def spelled(*rules: tuple[str, str]) -> dict[str, Any]:
    """Return the rule that a text fits all of these patterns.

    Args:
        rules: pattern, and what people are told of a text that does not fit it.
    """
    return {"allOf": [{"pattern": pattern, MESSAGE: message} for pattern, message in rules]}
