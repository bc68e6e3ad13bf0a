"""What a schema expects of a value: in words for a sentence that goes on, and as a line of a manifest that would do.

Called by `refusal`, for documents that are refused only.
"""

import json
import re
from typing import Any

from loomd.manifest.annotation import examples_of
from loomd.manifest.rule import PATTERN_MESSAGE
from loomd.manifest.schema import JsonSchema, resolve
from loomd.manifest.wording import listed, quoted

_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}
_LONGEST = 72
_PLAIN = re.compile(r"[A-Za-z][\w./-]*")
_WORDS = frozenset(("true", "false", "null"))


def types_of(schema: JsonSchema, root: JsonSchema) -> set[str]:
    """Return the JSON types that a value may have, null left out unless it is the only one."""
    return set(_types(schema, root)) - {"null"} or {"null"}


def _types(schema: JsonSchema, root: JsonSchema) -> list[str]:
    schema = resolve(schema, root)
    if "type" in schema:
        named = schema["type"]
        return [named] if isinstance(named, str) else list(named)
    arms = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    return list(dict.fromkeys(name for arm in arms for name in _types(arm, root)))


def words_for(schema: JsonSchema, root: JsonSchema) -> str:
    """Return what a value should be: `a whole number`, `the name of a Provider`, `a duration such as 30s or 1h30m`."""
    schema = resolve(schema, root)
    if "x-loomd-ref" in schema:
        kind = str(schema["x-loomd-ref"])
        return f"the name of {'an' if kind[0] in 'AEIO' else 'a'} {kind}"
    if PATTERN_MESSAGE in schema:
        return str(schema[PATTERN_MESSAGE]).removeprefix("expected ")
    choices = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if choices:
        return f"one of {listed(choices)}" if len(choices) > 1 else quoted(str(choices[0]))
    arms = [one for key in ("anyOf", "oneOf") for one in schema.get(key, ()) if one.get("type") != "null"]
    if arms and "type" not in schema:
        return " or ".join(dict.fromkeys(words_for(one, root) for one in arms))
    names = [name for name in _types(schema, root) if name != "null"] or ["null"]
    return " or ".join(_TYPES.get(name, name) for name in names)


def sample(name: str, schema: JsonSchema, root: JsonSchema) -> str:
    """Return a field as it could be written, `limits: {steps: 8}`, or its name when there is no short example.

    Args:
        name: name of the field, or number of an item, which is not written.
        schema: what is said of the value.
        root: the whole schema, which holds the definitions.
    """
    examples = [_flow(one) for one in examples_of(schema, root.get("$defs", {})) if one not in ({}, [], "", None)]
    if not examples:
        return name
    text = examples[0] if name.isdigit() else f"{name}: {examples[0]}"
    return text if len(text) <= _LONGEST else name


def within(name: str, value: str, schema: JsonSchema, root: JsonSchema) -> str:
    """Return a field as it was meant where a word of one of its own fields stands in its place, `scale: {type: never}`.

    Args:
        name: name of the field, or number of an item, which is not written.
        value: what stands there.
        schema: what is said of the field.
        root: the whole schema, which holds the definitions.

    Returns:
        Nothing when no field, or more than one, takes that word.
    """
    schema = resolve(schema, root)
    arms = [schema, *(resolve(one, root) for one in schema.get("anyOf", ()))]
    fields = {
        key
        for arm in arms
        for key, field in arm.get("properties", {}).items()
        if value in field.get("enum", [field.get("const")])
    }
    if len(fields) != 1:
        return ""
    inside = f"{{{fields.pop()}: {_flow(value)}}}"
    return inside if name.isdigit() else f"{name}: {inside}"


def _flow(value: Any) -> str:
    """Return a value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(one) for one in value) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
