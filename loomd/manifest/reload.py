"""When a changed field takes effect, read from the schema of its kind: `x-loomd-reload` of the field.

A field of a list or of a mapping takes effect with the field that holds the list or the mapping. Nothing is looked at
but the schema, so a plan can ask for every field that differs. Called by the plan of a change.
"""

from collections.abc import Collection, Iterator
from functools import cache
from typing import cast, get_args

from loomd.manifest.annotation import RELOAD
from loomd.manifest.kind import Kind, ReloadClass
from loomd.manifest.schema import JsonSchema, schema_of

_URGENCY: tuple[ReloadClass, ...] = ("restart", "immediate", "new-tasks")


def reload_class(kind: Kind, pointer: str, type_: object = None) -> ReloadClass:
    """Return when a change of a field takes effect.

    Args:
        kind: the kind of the object.
        type_: the type of its spec; without one, types that have the field are not told apart.
        pointer: JSON pointer from the top of the document, `/spec/limits/tokens`; a value that the schema does not
            know, such as one in a free mapping, takes effect with the nearest field above it.
    """
    root = _schema(kind)
    found: ReloadClass = "new-tasks"
    arms = [root]
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        arms = [inner for arm in arms for inner in _inner(arm, name, root)]
        if pointer.startswith("/spec") and name == "spec":
            arms = [one for arm in arms for one in _arms(arm, root) if _fits(one, type_)] or arms
        marks = {one[RELOAD] for one in arms if one.get(RELOAD) in get_args(ReloadClass)}
        found = _most_urgent(marks) or found
    return found


def _fits(arm: JsonSchema, type_: object) -> bool:
    """Return whether an arm of a union holds the fields of a type."""
    own = arm.get("properties", {}).get("type", {}).get("const")
    return "properties" in arm and "oneOf" not in arm and (type_ is None or own is None or own == type_)


def _most_urgent(marks: Collection[str]) -> ReloadClass | None:
    return next((one for one in _URGENCY if one in marks), None)


@cache
def _schema(kind: Kind) -> JsonSchema:
    return schema_of(kind)


def _inner(schema: JsonSchema, name: str, root: JsonSchema) -> Iterator[JsonSchema]:
    """Yield what a schema says of a field or of an item: one schema for each arm of a union that knows it."""
    for arm in _arms(schema, root):
        known = arm.get("properties", {}).get(name)
        found = known or arm.get("additionalProperties") or (arm.get("items") if name.isdigit() else None)
        if isinstance(found, dict):
            yield cast("JsonSchema", found)


def _arms(schema: JsonSchema, root: JsonSchema) -> Iterator[JsonSchema]:
    """Yield a schema, what it refers to, and the arms of its unions."""
    yield schema
    if "$ref" in schema:
        yield from _arms(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    for key in ("anyOf", "oneOf"):
        for arm in schema.get(key, ()):
            yield from _arms(arm, root)
