"""Finds what is marked in a typed spec: references, selectors, templates, names, and the specs inside it.

Called by `convert`.

What a class marks is worked out once, from its annotations; an object is then walked along its values, so the variant
that a union holds needs no guessing. A document that is not valid is walked along its JSON Schema instead, so that
its references and templates are checked all the same.
"""

import types
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

import msgspec
from pydantic import BaseModel

from loomd.manifest.kind import RefTo, Spec
from loomd.manifest.mention import Mention
from loomd.manifest.schema import JsonSchema
from loomd.manifest.selector import Selector, SelectorOf
from loomd.manifest.template import Template
from loomd.manifest.wording import escape

Marker = RefTo | Template | SelectorOf | Mention


class Marked(NamedTuple):
    """A value of a spec that has a meaning beyond its type.

    Attributes:
        pointer: JSON pointer, in the names of the manifest.
        value: a string or a selector that is marked, or a spec.
        marker: what it is marked with, None for a spec.
    """

    pointer: str
    value: Any
    marker: Marker | None


class _Field(msgspec.Struct, frozen=True):
    """A field that may hold something marked; the marks are those of its text values and of its mapping keys."""

    name: str
    alias: str
    default: Any
    values: tuple[Marker, ...]
    keys: tuple[Marker, ...]


def find_marked(spec: Any, pointer: str) -> Iterator[Marked]:
    """Yield every marked string and every spec in a spec, itself first.

    Args:
        spec: a typed spec.
        pointer: where it is in its document, `/spec`.
    """
    if not isinstance(spec, BaseModel):
        return
    if isinstance(spec, Spec):
        yield Marked(pointer, spec, None)
    for field in _fields(type(spec)):
        value = getattr(spec, field.name)
        # An empty default means "refers to nothing".
        if value is None or (value == "" and field.default == ""):
            continue
        yield from _inside(value, f"{pointer}/{field.alias}", field)


def _inside(value: Any, pointer: str, field: _Field) -> Iterator[Marked]:
    if isinstance(value, str | Selector):
        yield from (Marked(pointer, value, marker) for marker in field.values if _fits(marker, value))
    if isinstance(value, BaseModel):
        yield from find_marked(value, pointer)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _inside(item, f"{pointer}/{index}", field)
    elif isinstance(value, dict):
        for key, item in value.items():
            place = f"{pointer}/{escape(str(key))}"
            for marker in field.keys:
                yield Marked(place, key, marker)
            yield from _inside(item, place, field)


def _fits(marker: Marker, value: str | Selector) -> bool:
    """Return whether a marker is about a value: a field may be a name or a selector."""
    return isinstance(marker, SelectorOf) == isinstance(value, Selector)


def find_marked_text(value: Any, schema: JsonSchema, root: JsonSchema, pointer: str = "") -> Iterator[Marked]:
    """Yield every marked string in a document that need not be valid.

    Args:
        value: decoded JSON.
        schema: what the value should be.
        root: the whole schema, which holds the definitions.
        pointer: where the value is.
    """
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if isinstance(value, str) and "x-loomd-template" in schema:
        yield Marked(pointer, value, Template(*schema["x-loomd-template"]))
    if "x-loomd-ref" in schema:
        kind = schema["x-loomd-ref"]
        name = value["name"] if isinstance(value, dict) and value.keys() == {"kind", "name"} else value
        if isinstance(name, str) and name:
            yield Marked(pointer, name, RefTo(kind))
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from find_marked_text(item, schema.get("items", {}), root, f"{pointer}/{index}")
    elif isinstance(value, dict):
        others = schema.get("additionalProperties")
        fields = schema.get("properties", {})
        for key, item in value.items():
            inner = fields.get(key, others if isinstance(others, dict) else {})
            yield from find_marked_text(item, inner, root, f"{pointer}/{escape(key)}")
    for arm in _arms(value, schema):
        yield from find_marked_text(value, arm, root, pointer)


def _arms(value: Any, schema: JsonSchema) -> list[JsonSchema]:
    """Return the members of a union that may be meant."""
    mapping = schema.get("discriminator", {}).get("mapping", {})
    if mapping:
        default = schema["properties"]["type"].get("default")
        name = value.get("type", default) if isinstance(value, dict) else None
        return [{"$ref": mapping[name]}] if isinstance(name, str) and name in mapping else []
    return [*schema.get("anyOf", []), *schema.get("allOf", [])]


@cache
def _fields(model: type[BaseModel]) -> tuple[_Field, ...]:
    """Return the fields of a class that may hold something marked."""
    found: list[_Field] = []
    for name, info in model.model_fields.items():
        values: list[Marker] = [one for one in info.metadata if isinstance(one, Marker)]
        keys: list[Marker] = []
        if _collect(info.annotation, values, keys) or values or keys:
            found.append(_Field(name, info.alias or name, info.default, tuple(values), tuple(keys)))
    return tuple(found)


def _collect(annotation: Any, values: list[Marker], keys: list[Marker]) -> bool:
    """Gather the markers inside an annotation; return whether it may hold specs."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is None:
        return annotation is Any or (isinstance(annotation, type) and issubclass(annotation, BaseModel))
    if origin is Annotated:
        values.extend(one for one in args[1:] if isinstance(one, Marker))
        return _collect(args[0], values, keys)
    if origin is dict:
        _collect(args[0], keys, keys)
        return _collect(args[1], values, keys)
    if origin in (Union, types.UnionType, list, tuple):
        return sum(_collect(arg, values, keys) for arg in args) > 0
    return False
