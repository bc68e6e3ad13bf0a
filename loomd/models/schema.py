"""Makes JSON Schemas fit for a small model: nothing without an end, and values to show in worked examples.

Pure functions on decoded schemas. They check nothing: whoever owns the schema validates what comes back.
"""

from collections.abc import Mapping
from typing import Any, cast

from loomd.messages import JsonObject

_BRANCHES = ("anyOf", "oneOf", "allOf")
_TABLES = ("properties", "$defs", "definitions")


def capped(schema: JsonObject, text: int, items: int) -> JsonObject:
    """Return the schema with `maxLength` and `maxItems` wherever they are missing.

    A small model that has lost its way writes one string or one list until it is stopped.

    Args:
        schema: a JSON Schema.
        text: characters that a string may have.
        items: members that a list may have.
    """
    result = dict(schema)
    kinds = _kinds(schema)
    if "string" in kinds and not {"enum", "const", "pattern", "format"} & schema.keys():
        result.setdefault("maxLength", max(text, _number(schema.get("minLength"))))
    if "array" in kinds:
        result.setdefault("maxItems", max(items, _number(schema.get("minItems"))))
    for key, value in schema.items():
        if key in _TABLES and isinstance(value, dict):
            result[key] = {name: _capped_any(inner, text, items) for name, inner in value.items()}
        elif key in _BRANCHES and isinstance(value, list):
            result[key] = [_capped_any(inner, text, items) for inner in value]
        elif key in {"items", "additionalProperties", "prefixItems"}:
            result[key] = _capped_any(value, text, items)
    return result


def _capped_any(value: object, text: int, items: int) -> object:
    if isinstance(value, dict):
        return capped(cast("JsonObject", value), text, items)
    if isinstance(value, list):
        return [_capped_any(inner, text, items) for inner in cast("list[object]", value)]
    return value


def _kinds(schema: Mapping[str, object]) -> set[str]:
    kind = schema.get("type")
    return {kind} if isinstance(kind, str) else set(cast("list[str]", kind)) if isinstance(kind, list) else set()


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def sample(schema: JsonObject, name: str = "", turn: int = 0) -> Any:
    """Return a value that fits the schema, the same one every time, for a worked example.

    Args:
        schema: a JSON Schema; references inside it are not followed.
        name: the field's name; it makes the sample of a string tell something.
        turn: another number gives another value.
    """
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("examples", "enum"):
        values = schema.get(key)
        if isinstance(values, list) and values:
            return values[turn % len(values)]
    for key in _BRANCHES:
        branches = schema.get(key)
        if isinstance(branches, list) and branches and isinstance(branches[0], dict):
            return sample(cast("JsonObject", branches[0]), name, turn)
    return _sample_of_type(schema, name, turn)


def _sample_of_type(schema: JsonObject, name: str, turn: int) -> Any:
    kinds = _kinds(schema)
    if "integer" in kinds or "number" in kinds:
        low = schema.get("minimum", schema.get("exclusiveMinimum"))
        high = schema.get("maximum", schema.get("exclusiveMaximum"))
        value = (12, 7, 30)[turn % 3]
        if isinstance(low, int | float) and value <= low:
            value = int(low) + 1 + turn
        if isinstance(high, int | float) and value >= high:
            value = int(high) - 1
        return value
    if "boolean" in kinds:
        return turn % 2 == 0
    if "array" in kinds:
        inner = schema.get("items")
        return [sample(cast("JsonObject", inner), name, turn)] if isinstance(inner, dict) else []
    if "object" in kinds or "properties" in schema:
        return sample_arguments(schema, turn)
    return _sample_text(name, turn)


def sample_arguments(schema: JsonObject, turn: int = 0) -> JsonObject:
    """Return an object with the required fields of a schema of type object (all fields when none is required)."""
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    wanted = schema.get("required") or list(properties)
    fields = cast("dict[str, JsonObject]", properties)
    return {
        name: sample(inner, name, turn)
        for name, inner in fields.items()
        if name in cast("list[str]", wanted) and isinstance(inner, dict)
    }


_TEXTS = {
    "city": ("Lisbon", "Oslo", "Quito"),
    "place": ("Lisbon", "Oslo", "Quito"),
    "location": ("Lisbon", "Oslo", "Quito"),
    "country": ("Portugal", "Norway", "Ecuador"),
    "name": ("Ada", "Blaise", "Grace"),
    "date": ("2024-03-01", "2023-07-15", "2025-01-31"),
    "url": ("https://example.org/a", "https://example.org/b", "https://example.org/c"),
    "path": ("notes.txt", "src/main.py", "data/input.csv"),
    "file": ("notes.txt", "src/main.py", "data/input.csv"),
    "unit": ("km", "kg", "m"),
    "currency": ("EUR", "NOK", "USD"),
    "expression": ("12 * 4", "(7 + 5) / 2", "30 - 8"),
}
_OTHER_TEXTS = ("red apples", "old maps", "garden birds")


def _sample_text(name: str, turn: int) -> str:
    words = name.lower()
    for word, texts in _TEXTS.items():
        if word in words:
            return texts[turn % len(texts)]
    return _OTHER_TEXTS[turn % len(_OTHER_TEXTS)]
