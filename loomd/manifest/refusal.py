"""Says in words why a JSON Schema refused a document. Loads `jsonschema`, so it is called for refused documents only.

A union is entered at the variant that `type` names, or at the one that comes closest, so nobody reads that a value is
"not valid under any of the given schemas". Called by `convert`.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from loomd.manifest.expectation import sample, types_of, within, words_for
from loomd.manifest.quantity import UNIT
from loomd.manifest.rule import MESSAGE, PATTERN_MESSAGE
from loomd.manifest.schema import JsonSchema
from loomd.manifest.wording import closest, did_you_mean, escape, got, is_secret, listed, quoted, read_sentence

MAX_REFUSALS = 200
"""Most refusals told of one document, so that a hostile one cannot keep the explanation busy."""


NOTHING_SET = "none"
"""What was found in a mapping that has none of several fields; it is told at its key, like one that lacks a field."""

_WEIGHTS = {"wrong-type": 1, "unknown-type": 2}
"""What says it better than anything else of the same place: a rule or a choice fails for a wrong type as well."""


@dataclass(frozen=True)
class Refusal:
    """One thing that the schema refuses.

    Attributes:
        pointer: JSON pointer of the value, or of the field that is unknown or missing.
        code: stable code of the problem.
        message: what was expected and what was found, without the object's name.
        hint: the next act, or empty.
        expected: what would be right, or empty when the message or the hint says all there is.
        got: what is there instead, never a secret.
        place: line and column inside a text, from 1, or None for all of it.
        meant: the field that an unknown one may be meant as, or empty.
    """

    pointer: str
    code: str
    message: str
    hint: str = ""
    expected: str = ""
    got: str = ""
    place: tuple[int, int] | None = None
    meant: str = ""


def instead(pointer: str, code: str, expected: str, found: str, hint: str = "") -> Refusal:
    """Return the refusal that one thing was expected and another found."""
    return Refusal(pointer, code, f"expected {expected}, got {found}", hint, expected, found)


def explain(schema: JsonSchema, value: Any) -> Iterator[Refusal]:
    """Yield what a schema refuses in a value, one refusal for each place."""
    found: dict[str, Refusal] = {}
    for error in _validator(json.dumps(schema)).iter_errors(value):
        for refusal in _explain(error, schema):
            known = found.get(refusal.pointer)
            if known is None or _WEIGHTS.get(refusal.code, 0) > _WEIGHTS.get(known.code, 0):
                found[refusal.pointer] = refusal
            if len(found) >= MAX_REFUSALS:
                yield from found.values()
                return
    yield from found.values()


@cache
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator  # noqa: PLC0415  # 0.2 s of import that a valid set never pays

    return Draft202012Validator(json.loads(schema))


def _explain(error: Any, root: JsonSchema) -> Iterator[Refusal]:
    pointer = "".join(f"/{escape(str(part))}" for part in error.absolute_path)
    word = _WORDS.get(error.validator)
    said = error.schema.get(MESSAGE)
    if said:
        sentence = read_sentence(said, _found(error, pointer))
        yield Refusal(pointer, "invalid-value", *sentence)
    elif word is not None:
        yield from word(error, pointer, root)
    else:
        yield Refusal(pointer, "invalid-value", f"does not satisfy `{error.validator}`")


def _found(error: Any, pointer: str) -> str:
    """Return what a rule found: a value, or the fields of a mapping that the rule names and that are set."""
    if not isinstance(error.instance, dict):
        return got(error.instance, pointer)
    if error.validator != "oneOf":
        return ""
    names = [name for arm in error.validator_value for name in arm.get("required", ())]
    return " and ".join(name for name in names if error.instance.get(name) is not None) or NOTHING_SET


def _unknown(error: Any, pointer: str, root: JsonSchema) -> Iterator[Refusal]:
    del root
    yield from unknown_fields(error.instance, error.schema.get("properties", {}), pointer)


def unknown_fields(found: Mapping[str, Any], known: Collection[str], pointer: str) -> Iterator[Refusal]:
    """Yield the fields of a mapping that are not known."""
    expected = f"one of {listed(known)}" if known else "nothing"
    for name, value in found.items():
        if name in known:
            continue
        if value is None and is_secret(pointer):  # {sk-...} is a mapping with a key and without a value
            hint = f"known fields: {listed(known)}" if known else ""
            yield Refusal(pointer, "unknown-field", "unknown field (hidden)", hint, expected, "a field (hidden)")
        else:
            place, hint = f"{pointer}/{escape(name)}", did_you_mean(name, known, "known fields:")
            meant = closest(name, known)
            yield Refusal(
                place, "unknown-field", "unknown field", hint, expected, f"the field {quoted(name)}", meant=meant
            )


def _missing(error: Any, pointer: str, root: JsonSchema) -> Iterator[Refusal]:
    fields = error.schema.get("properties", {})
    for name in error.validator_value:
        if name not in error.instance:
            field = fields.get(name, {})
            yield missing(f"{pointer}/{escape(name)}", f"add {sample(name, field, root)}", words_for(field, root))


def missing(pointer: str, hint: str, expected: str) -> Refusal:
    """Return the refusal that a required field is not there."""
    return Refusal(pointer, "missing-field", "required field is missing", hint, expected, "nothing")


def _wrong_type(error: Any, pointer: str, root: JsonSchema) -> Iterator[Refusal]:
    yield _expected(error.schema, error.instance, pointer, root)


def _expected(schema: JsonSchema, value: Any, pointer: str, root: JsonSchema) -> Refusal:
    """Return the refusal of a value whose type fits nothing that a schema allows."""
    expected, names = words_for(schema, root), types_of(schema, root)
    examples = schema.get("examples", [])
    hint = ""
    if value is None:
        hint = "give it a value, or remove it"
    elif "string" in names and isinstance(value, int | float):
        hint = f"write it like {quoted(str(examples[0]))}" if UNIT in schema else "quote it to make it text"
    elif isinstance(value, str) and {"integer", "number", "boolean"} & names:
        hint = "remove the quotes" if _is_plain(value) else ""
        if "boolean" in names and value.lower() in _SWITCHES:
            hint = f"write {_SWITCHES[value.lower()]}"
    elif isinstance(value, str) and (meant := within(pointer.rpartition("/")[2], value, schema, root)):
        hint = f"write {meant}"
    elif "array" in names and not isinstance(value, list):
        hint = "write it as a list: one line per item, each beginning with -"
    elif "object" in names and isinstance(value, str):
        shown, name = sample(field := pointer.rpartition("/")[2], schema, root), field
        hint = f"write {shown}" if shown != name else ""
    return instead(pointer, "wrong-type", expected, got(value, pointer), hint)


def _is_plain(text: str) -> bool:
    return text in ("true", "false") or text.replace(".", "", 1).isdigit()


def _choice(error: Any, pointer: str, root: JsonSchema) -> Iterator[Refusal]:
    del root
    choices = error.validator_value if error.validator == "enum" else [error.validator_value]
    expected = f"one of {listed(choices)}" if len(choices) > 1 else quoted(str(choices[0]))
    hint = did_you_mean(error.instance, choices) if isinstance(error.instance, str) else ""
    code = "wrong-type" if isinstance(error.instance, dict | list) else "invalid-value"
    if pointer.endswith("/type") and error.validator == "const":
        known, found = f"one of {listed(choices)}", got(error.instance, "")
        yield Refusal(pointer, "unknown-type", f"there is no type {found}", hint or known, known, found)
        return
    yield instead(pointer, code, expected, got(error.instance, pointer), hint)


def _pattern(error: Any, pointer: str, root: JsonSchema) -> Iterator[Refusal]:
    del root
    said = error.schema.get(PATTERN_MESSAGE, f"expected text that matches {error.validator_value}")
    yield instead(pointer, "invalid-value", said.removeprefix("expected "), got(error.instance, pointer))


def _range(error: Any, pointer: str, root: JsonSchema) -> Iterator[Refusal]:
    del root
    limit = error.validator_value
    wanted = _LIMITS[error.validator].format(limit, "" if limit == 1 else "s")
    if isinstance(error.instance, int | float):
        found = got(error.instance, pointer)
    else:
        unit = _UNITS.get(type(error.instance), "part")
        size = len(error.instance)
        found = f"{size or 'no'} {unit}{'' if size == 1 else 's'}"
    yield instead(pointer, "out-of-range", wanted, found)


def _unique(error: Any, pointer: str, root: JsonSchema) -> Iterator[Refusal]:
    del root
    seen: list[Any] = []
    for index, item in enumerate(error.instance):
        if item in seen:
            found = f"{got(item, pointer)} more than once"
            yield instead(f"{pointer}/{index}", "invalid-value", "different items", found, "remove one")
            return
        seen.append(item)


def _union(error: Any, pointer: str, root: JsonSchema) -> Iterator[Refusal]:
    tag = error.schema.get("discriminator", {}).get("propertyName")
    if tag:
        yield from _tagged(error, pointer, tag, root)
        return
    branches = _branches(error)
    fitting = [branch for branch in branches.values() if not any(_is_top_type(one, error) for one in branch)]
    if not fitting:
        yield _expected(error.schema, error.instance, pointer, root)
        return
    said = ([one for inner in branch for one in _explain(inner, root)] for branch in fitting)
    yield from min(said, key=len)  # the one that is nearest to being right


def _is_top_type(inner: Any, outer: Any) -> bool:
    """Return whether a branch refuses a value for its type; all types that a field tells apart are mappings."""
    tagged = "discriminator" in inner.schema and not isinstance(inner.instance, dict)
    return (tagged or inner.validator == "type") and len(inner.absolute_path) == len(outer.absolute_path)


def _branches(error: Any) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for inner in error.context:
        found.setdefault(int(inner.schema_path[0]), []).append(inner)
    return found


def _tagged(error: Any, pointer: str, tag: str, root: JsonSchema) -> Iterator[Refusal]:
    mapping: dict[str, str] = error.schema["discriminator"]["mapping"]
    if not isinstance(error.instance, dict):
        yield _expected({**error.schema, "type": "object"}, error.instance, pointer, root)
        return
    known = f"one of {listed(mapping)}"
    name = error.instance.get(tag, error.schema["properties"][tag].get("default"))
    if name is None and tag not in error.instance:
        yield missing(f"{pointer}/{tag}", f"add {tag}: {known}", known)
    elif not isinstance(name, str) or name not in mapping:
        hint = did_you_mean(name, mapping, "one of") if isinstance(name, str) else known
        found = got(name, "")
        yield Refusal(f"{pointer}/{tag}", "unknown-type", f"there is no {tag} {found}", hint, known, found)
    else:
        chosen = [one.get("$ref") for one in error.validator_value].index(mapping[name])
        for inner in _branches(error).get(chosen, []):
            yield from _explain(inner, root)


_SWITCHES = {"yes": "true", "on": "true", "no": "false", "off": "false", "y": "true", "n": "false"}

_UNITS: dict[Any, str] = {str: "character", list: "item", dict: "field"}

_LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} character{}",
    "maxLength": "at most {} character{}",
    "minItems": "at least {} item{}",
    "maxItems": "at most {} item{}",
    "minProperties": "at least {} field{}",
    "maxProperties": "at most {} field{}",
}

_WORDS: dict[str, Callable[[Any, str, JsonSchema], Iterator[Refusal]]] = {
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
