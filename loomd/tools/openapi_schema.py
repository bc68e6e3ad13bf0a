"""Schemas of an OpenAPI document as JSON Schemas that stand alone: references resolved, circles cut, size bounded.

Pure. Called when a document is read.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from loomd.errors import Permanent
from loomd.manifest.wording import escape

Json = Any
"""A decoded JSON value of a document, of which nothing is known yet."""

MAX_NODES = 2_000
"""Most values in the schema of one operation; a larger one would fill the prompt."""
MAX_LEVELS = 24
"""Levels of a schema; what is deeper is left open."""
MAX_HOPS = 32
"""Most references that lead on to another reference."""

_TAKEN = frozenset(
    (
        "type",
        "format",
        "enum",
        "const",
        "default",
        "description",
        "minimum",
        "maximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "pattern",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "required",
    )
)
_NESTED = frozenset(("items", "additionalProperties", "not", "contains", "propertyNames"))
_LISTS = frozenset(("oneOf", "anyOf", "allOf", "prefixItems"))


class BadDocument(Permanent):
    """A part of a document cannot be used.

    Attributes:
        pointer: JSON pointer of it.
    """

    def __init__(self, pointer: str, message: str) -> None:
        self.pointer = pointer
        super().__init__(message)


def follow(root: Mapping[str, Json], value: Json, pointer: str) -> tuple[Json, str]:
    """Return what a value refers to, and where that stands; a value that refers to nothing is returned as it is.

    Raises:
        BadDocument: it refers to something that is not in the document.
    """
    for _ in range(MAX_HOPS):
        if not isinstance(value, dict) or "$ref" not in value:
            return value, pointer
        target = value["$ref"]
        if not isinstance(target, str) or not target.startswith("#/"):
            text = f'expected a part of this document, such as "#/components/schemas/Pet", got "{target}"'
            raise BadDocument(f"{pointer}/$ref", f"{text}: other files and addresses are not read")
        value, pointer = _at(root, target[1:], f"{pointer}/$ref"), target[1:]
    raise BadDocument(pointer, "expected a value, got a reference that leads back to itself")


def _at(root: Mapping[str, Json], target: str, pointer: str) -> Json:
    value: Json = root
    for part in target.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            raise BadDocument(pointer, f'expected a part of this document, got "#{target}", which is not in it')
    return value


class Schemas:
    """Makes the schemas of one operation."""

    def __init__(self, root: Mapping[str, Json]) -> None:
        """Take the document."""
        self._root = root
        self._left = MAX_NODES

    def whole(self, value: Json, pointer: str, within: tuple[str, ...] = ()) -> dict[str, Json]:
        """Return a schema in which everything stands that it refers to.

        Where a schema holds itself, or is too deep, its inside is left open: any value of its type fits there.

        Args:
            value: the schema in the document.
            pointer: where it stands.
            within: where the schemas stand that this one is inside of.

        Raises:
            BadDocument: it is none, is too large, or refers to something that is not in the document.
        """
        self._left -= 1
        if self._left < 0:
            text = f"expected an operation with at most {MAX_NODES} values in its schemas, got a larger one"
            raise BadDocument(pointer, f"{text}: leave it out with spec.exclude")
        if isinstance(value, bool):
            return {} if value else {"not": {}}
        beside = {name: one for name, one in value.items() if name != "$ref"} if isinstance(value, dict) else {}
        value, pointer = follow(self._root, value, pointer)
        if not isinstance(value, dict):
            raise BadDocument(pointer, "expected a schema, a mapping")
        value = {**value, **beside}
        if pointer in within or len(within) >= MAX_LEVELS:
            return {name: one for name, one in value.items() if name in ("type", "description")}
        made = {name: one for name, one in value.items() if name in _TAKEN}
        made |= dict(self._inside(value, pointer, (*within, pointer)))
        _hide_read_only(made, value)
        return _dialect(made, value)

    def _inside(self, value: dict[str, Json], pointer: str, within: tuple[str, ...]) -> Iterator[tuple[str, Json]]:
        for name, one in value.items():
            place = f"{pointer}/{escape(name)}"
            if name in _NESTED and isinstance(one, dict | bool):
                yield name, one if isinstance(one, bool) else self.whole(one, place, within)
            elif name in _LISTS and isinstance(one, list):
                yield name, [self.whole(item, f"{place}/{at}", within) for at, item in enumerate(one)]
            elif name == "properties" and isinstance(one, dict):
                yield (
                    name,
                    {
                        key: self.whole(item, f"{place}/{escape(key)}", within)
                        for key, item in one.items()
                        if not (isinstance(item, dict) and item.get("readOnly"))
                    },
                )


def _hide_read_only(made: dict[str, Json], value: dict[str, Json]) -> None:
    """Take properties that only answers have out of what is required."""
    properties = value.get("properties")
    if isinstance(properties, dict) and isinstance(made.get("required"), list):
        hidden = {key for key in properties if key not in made["properties"]}
        made["required"] = [name for name in made["required"] if name not in hidden]


def _dialect(made: dict[str, Json], value: dict[str, Json]) -> dict[str, Json]:
    """Return a schema of OpenAPI 3.0 in the words of JSON Schema; one of 3.1 is written in them."""
    for name, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        said = value.get(name)
        if said is True and bound in made:
            made[name] = made.pop(bound)
        elif isinstance(said, int | float) and not isinstance(said, bool):
            made[name] = said
    if value.get("nullable") is True and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
        if isinstance(made.get("enum"), list) and None not in made["enum"]:
            made["enum"] = [*made["enum"], None]
    return made
