"""Says in words why a JSON Schema refused a document. Loads `jsonschema`, so it is called for refused documents only.

A union is entered at the variant that `type` names, or at the one that comes closest, so nobody reads that a value is
"not valid under any of the given schemas". Called by `convert`.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from loomd.manifest.places import escape
from loomd.manifest.schema import JsonSchema
from loomd.manifest.wording import did_you_mean, got, listed, quoted

MAX_REFUSALS = 200
"""Most refusals told of one document, so that a hostile one cannot keep the explanation busy."""

_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}


@dataclass(frozen=True)
class Refusal:
    """One thing that the schema refuses.

    Attributes:
        pointer: JSON pointer of the value, or of the field that is unknown or missing.
        code: stable code of the problem.
        message: what was expected and what was found, without the object's name.
        hint: the next act, or empty.
    """

    pointer: str
    code: str
    message: str
    hint: str = ""


def explain(schema: JsonSchema, value: Any) -> Iterator[Refusal]:
    """Yield what a schema refuses in a value, one refusal for each place."""
    found: dict[str, Refusal] = {}
    for error in _validator(json.dumps(schema)).iter_errors(value):
        for refusal in _explain(error):
            # A union also lists its types as a choice; that no such type exists says it better.
            if refusal.pointer not in found or refusal.code == "unknown-type":
                found[refusal.pointer] = refusal
            if len(found) >= MAX_REFUSALS:
                yield from found.values()
                return
    yield from found.values()


@cache
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator  # noqa: PLC0415  # 0.2 s of import that a valid set never pays

    return Draft202012Validator(json.loads(schema))


def _explain(error: Any) -> Iterator[Refusal]:
    pointer = "".join(f"/{escape(str(part))}" for part in error.absolute_path)
    word = _WORDS.get(error.validator)
    if word is not None:
        yield from word(error, pointer)
    else:
        yield Refusal(pointer, "invalid-value", f"does not satisfy `{error.validator}`")


def _unknown(error: Any, pointer: str) -> Iterator[Refusal]:
    known = error.schema.get("properties", {})
    for name in error.instance:
        if name not in known:
            hint = did_you_mean(name, known, "known fields:")
            yield Refusal(f"{pointer}/{escape(name)}", "unknown-field", "unknown field", hint)


def _missing(error: Any, pointer: str) -> Iterator[Refusal]:
    names = error.schema.get("properties", {})
    for name in error.validator_value:
        if name not in error.instance:
            text = names.get(name, {}).get("description", "")
            yield Refusal(f"{pointer}/{escape(name)}", "missing-field", "required field is missing", text)


def _wrong_type(error: Any, pointer: str) -> Iterator[Refusal]:
    wanted = error.validator_value
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    yield _expected(names, error.schema, error.instance, pointer)


def _expected(names: list[str], schema: JsonSchema, value: Any, pointer: str) -> Refusal:
    expected = " or ".join(_TYPES.get(name, name) for name in names if name != "null" or len(names) == 1)
    examples = schema.get("examples", [])
    if examples and "string" in names:
        expected += f" such as {listed(quoted(one) for one in examples if isinstance(one, str))}"
    hint = ""
    if value is None:
        hint = "give it a value, or remove the field"
    elif "string" in names and isinstance(value, int | float):
        hint = f"write it like {quoted(str(examples[0]))}" if examples else "quote it to make it text"
    elif isinstance(value, str) and {"integer", "number", "boolean"} & set(names):
        hint = "remove the quotes" if _is_plain(value) else ""
    elif "array" in names and not isinstance(value, list):
        hint = "write it as a list: one line per item, each beginning with -"
    return Refusal(pointer, "wrong-type", f"expected {expected}, got {got(value, pointer)}", hint)


def _is_plain(text: str) -> bool:
    return text in ("true", "false") or text.replace(".", "", 1).isdigit()


def _choice(error: Any, pointer: str) -> Iterator[Refusal]:
    choices = error.validator_value if error.validator == "enum" else [error.validator_value]
    expected = f"one of {listed(choices)}" if len(choices) > 1 else f'"{choices[0]}"'
    hint = did_you_mean(error.instance, choices) if isinstance(error.instance, str) else ""
    found = got(error.instance, pointer)
    code = "wrong-type" if isinstance(error.instance, dict | list) else "invalid-value"
    yield Refusal(pointer, code, f"expected {expected}, got {found}", hint)


def _pattern(error: Any, pointer: str) -> Iterator[Refusal]:
    examples = error.schema.get("examples")
    wanted = f"text such as {listed(quoted(str(one)) for one in examples)}" if examples else "another spelling"
    if not examples and error.validator_value.startswith("^[a-z0-9]([-a-z0-9]"):
        wanted = "lower-case letters, digits and hyphens, at most 63"
    elif not examples:
        wanted = f"text that matches {error.validator_value}"
    yield Refusal(pointer, "invalid-value", f"expected {wanted}, got {got(error.instance, pointer)}")


def _range(error: Any, pointer: str) -> Iterator[Refusal]:
    wanted = _LIMITS[error.validator].format(error.validator_value)
    if isinstance(error.instance, int | float):
        found = got(error.instance, pointer)
    else:
        unit = _UNITS.get(type(error.instance), "part")
        size = len(error.instance)
        found = f"{size} {unit}{'' if size == 1 else 's'}"
    yield Refusal(pointer, "out-of-range", f"expected {wanted}, got {found}")


def _unique(error: Any, pointer: str) -> Iterator[Refusal]:
    del error
    yield Refusal(pointer, "invalid-value", "expected different items, got one more than once")


def _union(error: Any, pointer: str) -> Iterator[Refusal]:
    tag = error.schema.get("discriminator", {}).get("propertyName")
    if tag:
        yield from _tagged(error, pointer, tag)
        return
    branches = _branches(error)
    wanted = [one.validator_value for branch in branches.values() for one in branch if _is_top_type(one, error)]
    fitting = {i: branch for i, branch in branches.items() if not any(_is_top_type(one, error) for one in branch)}
    if not fitting:
        names = [name for one in wanted for name in ([one] if isinstance(one, str) else one)]
        merged = {key: value for part in error.validator_value for key, value in part.items()}
        yield _expected(list(dict.fromkeys(names)), merged, error.instance, pointer)
        return
    best = min(fitting.values(), key=len)
    for inner in best:
        yield from _explain(inner)


def _is_top_type(inner: Any, outer: Any) -> bool:
    return inner.validator == "type" and len(inner.absolute_path) == len(outer.absolute_path)


def _branches(error: Any) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for inner in error.context:
        found.setdefault(int(inner.schema_path[0]), []).append(inner)
    return found


def _tagged(error: Any, pointer: str, tag: str) -> Iterator[Refusal]:
    if not isinstance(error.instance, dict):
        yield _expected(["object"], {}, error.instance, pointer)
        return
    mapping: dict[str, str] = error.schema["discriminator"]["mapping"]
    name = error.instance.get(tag)
    if tag not in error.instance:
        hint = f"one of {listed(mapping)}"
        yield Refusal(f"{pointer}/{tag}", "missing-field", "required field is missing", hint)
    elif not isinstance(name, str) or name not in mapping:
        hint = did_you_mean(name, mapping, "one of") if isinstance(name, str) else f"one of {listed(mapping)}"
        yield Refusal(f"{pointer}/{tag}", "unknown-type", f"no such type: {got(name, '')}", hint)
    else:
        chosen = [one.get("$ref") for one in error.validator_value].index(mapping[name])
        for inner in _branches(error).get(chosen, []):
            yield from _explain(inner)


_UNITS: dict[Any, str] = {str: "character", list: "item", dict: "field"}

_LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} fields",
    "maxProperties": "at most {} fields",
}

_WORDS: dict[str, Callable[[Any, str], Iterator[Refusal]]] = {
    "additionalProperties": _unknown,
    "required": _missing,
    "type": _wrong_type,
    "const": _choice,
    "enum": _choice,
    "pattern": _pattern,
    "uniqueItems": _unique,
    "oneOf": _union,
    "anyOf": _union,
    **dict.fromkeys(_LIMITS, _range),
}
