"""What a published schema says of a field beyond its type: a title, examples, and when a change takes effect.

All of it is for people and editors; nothing here decides whether a value is valid. Called by `schema` while a schema
is generated.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from loomd.manifest.rule import PATTERN_MESSAGE

_Schema = dict[str, Any]

RELOAD = "x-loomd-reload"
"""Name of the reload class in a schema."""

_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_SPELLED = {"api": "API", "id": "ID", "rrf": "RRF", "url": "URL", "json": "JSON", "k": "K"}


def title_of(name: str) -> str:
    """Return the name of a field in the words of people: `maxTokens` -> `Max tokens`, `baseUrl` -> `Base URL`."""
    found: list[str] = _WORD.findall(name)
    words = [_SPELLED.get(word.lower(), word.lower()) for word in found]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def annotate(tops: Iterable[_Schema], definitions: _Schema) -> None:
    """Give every field a title, examples and its reload class, the words for people first.

    Args:
        tops: schemas whose fields are completed, in place.
        definitions: what their references lead to, completed too.
    """
    tops = list(tops)
    pending = [*tops, *definitions.values()]
    while pending:
        one = pending.pop()
        for name, field in one.get("properties", {}).items():
            one["properties"][name] = _annotated(name, field, definitions)
        if "discriminator" in one:
            tag, mapping = one["discriminator"]["propertyName"], one["discriminator"]["mapping"]
            texts = {name: definitions[ref.rpartition("/")[2]]["description"] for name, ref in mapping.items()}
            field = one["properties"][tag]
            field["enumDescriptions"] = [texts[name].partition("\n")[0] for name in field["enum"]]
        pending += [*one.get("properties", {}).values(), *_inside(one)]
    settle_reload(tops, definitions)


def _annotated(name: str, field: _Schema, definitions: _Schema) -> _Schema:
    field = {"title": title_of(name), **field}
    examples = examples_of(field, definitions)
    if examples:
        field["examples"] = examples
    _say_patterns(field)
    first: _Schema = {key: field[key] for key in ("title", "description") if key in field}
    last = {key: field[key] for key in ("default", "examples", RELOAD) if key in field}
    return {**first, **{key: value for key, value in field.items() if key not in first | last}, **last}


def _say_patterns(field: _Schema) -> None:
    """Say in words, by its examples, what a pattern of a field asks for, where its type does not say it."""
    texts = " or ".join(str(one) for one in field.get("examples", ()) if isinstance(one, str))
    for one in [field, *field.get("anyOf", ())]:
        if "pattern" in one and texts:
            one.setdefault(PATTERN_MESSAGE, f"expected text such as {texts}")


def examples_of(schema: _Schema, definitions: _Schema) -> list[Any]:
    """Return values that show how a field is written, as far as its schema tells them; empty when it tells none."""
    if schema.get("examples"):
        return list(schema["examples"])
    if "const" in schema or "enum" in schema:
        return list(schema.get("enum", ())) or [schema["const"]]
    default = schema.get("default")
    if schema.get("type") == "boolean":
        return [not default, bool(default)]
    if default not in (None, "", [], {}):
        return [default]
    return _examples_inside(schema, definitions)


def _examples_inside(schema: _Schema, definitions: _Schema) -> list[Any]:
    """Return examples that are put together from those of items, types and fields."""
    if "$ref" in schema:
        return examples_of(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    arms = [one for key in ("anyOf", "oneOf") for one in schema.get(key, ()) if one.get("type") != "null"]
    if arms:
        return [one for arm in arms for one in examples_of(arm, definitions)[:1]]
    if schema.get("type") == "array":
        return [[one] for one in examples_of(schema.get("items", {}), definitions)]
    fields = schema.get("properties", {})
    asked = {name for one in _conditions(schema) for name in one.get("required", ())}
    needed = [name for name in fields if name == "type" or name in asked] or list(fields)[:1]
    found = {name: examples_of(fields[name], definitions)[:1] for name in needed}
    return [{name: values[0] for name, values in found.items() if values}] if found else []


def _conditions(schema: _Schema) -> Iterator[_Schema]:
    """Yield what says which fields must be there: the schema itself, and the first choice of each of its rules."""
    yield schema
    for rule in schema.get("allOf", ()):
        yield from [*rule.get("anyOf", ()), *rule.get("oneOf", ())][:1]


def settle_reload(tops: Iterable[_Schema], definitions: _Schema) -> None:
    """Write the reload class into every field: its own, else that of the field that holds it, else `new-tasks`.

    Args:
        tops: schemas whose fields are completed, in place.
        definitions: what their references lead to, completed too.

    Raises:
        TypeError: a field is reached through fields that take effect at different times and does not say its own.
    """
    inherited: dict[int, str] = {}
    reached: set[tuple[str, str]] = set()
    pending = [(top, "new-tasks") for top in tops]
    while pending:
        one, above = pending.pop()
        target = (str(one.get("$ref", "")).rpartition("/")[2], above)
        if target[0] and target not in reached:
            reached.add(target)
            pending.append((definitions[target[0]], above))
        for name, field in one.get("properties", {}).items():
            if RELOAD not in field or id(field) in inherited:
                if inherited.setdefault(id(field), above) != above:
                    raise TypeError(f"{one.get('title')}.{name} takes effect at different times: mark it with Reload")
                field[RELOAD] = above
            pending.append((field, field[RELOAD]))
        pending += [(inner, above) for inner in _inside(one)]


def _inside(schema: _Schema) -> Iterator[_Schema]:
    """Yield the schemas of items, of values, and of the arms of unions."""
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield schema[key]
    for key in ("anyOf", "oneOf"):
        yield from schema.get(key, ())
