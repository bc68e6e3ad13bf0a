"""A JSON Schema as people read it: the fields of a kind with type, default and description.

Called by the verb `explain` and by the generator of the reference.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from loomd.errors import NotFound
from loomd.manifest.quantity import UNIT
from loomd.manifest.schema import JsonSchema, resolve
from loomd.manifest.wording import did_you_mean

_TYPES = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false", "null": "nothing"}

_UNITS = {"time": "duration", "size": "size"}
_REF = "x-loomd-ref"
_SHORT = 30


@dataclass(frozen=True)
class Node:
    """A part of a schema, references resolved.

    Attributes:
        schema: what is said of the value.
        root: the whole schema, which holds the definitions.
        name: name of the field, or of the type of a union.
        required: whether it must be written.
    """

    schema: JsonSchema
    root: JsonSchema
    name: str = ""
    required: bool = False

    @property
    def description(self) -> str:
        """Return what it is for."""
        return str(self.schema.get("description", ""))

    @property
    def default(self) -> str:
        """Return the default as YAML would have it, or an empty text."""
        value = self.schema.get("default")
        return "" if value is None else json.dumps(value, ensure_ascii=False)

    @property
    def type(self) -> str:
        """Return what a value looks like."""
        return _type(self.schema, self.root)

    def fields(self) -> list["Node"]:
        """Return the fields of a mapping, or of the only kind of mapping that the value may be; required first."""
        inner = _mapping(self.schema, self.root)
        if "oneOf" in inner:
            return []
        needed = inner.get("required", [])
        found = [
            Node(resolve(field, self.root), self.root, name, name in needed)
            for name, field in inner.get("properties", {}).items()
        ]
        return sorted(found, key=lambda field: not field.required)

    def variants(self) -> list["Node"]:
        """Return the types of a union, named by what `type` must be."""
        inner = _mapping(self.schema, self.root)
        mapping: dict[str, str] = inner.get("discriminator", {}).get("mapping", {})
        return [Node(resolve({"$ref": ref}, self.root), self.root, name) for name, ref in mapping.items()]

    def models(self) -> Iterator["Node"]:
        """Yield the mappings with fields below this one, each once, this one left out."""
        seen: set[str] = {str(self.schema.get("title", ""))}
        pending = [*self.fields(), *self.variants()]
        while pending:
            node = pending.pop(0)
            inner = _mapping(node.schema, self.root)
            title = str(inner.get("title", ""))
            if "oneOf" not in inner and (not title or title in seen):
                continue
            seen.add(title)
            found = Node(inner, self.root, node.name)
            if inner.get("properties") and "oneOf" not in inner:
                yield found
            pending.extend([*found.fields(), *found.variants()])

    def child(self, name: str) -> "Node":
        """Return a field, or a type of a union, or a field that any type of the union has.

        Raises:
            NotFound: there is none; the text names the closest.
        """
        known = {one.name: one for one in [*self.fields(), *self.variants()]}
        for variant in self.variants():
            for field in variant.fields():
                known.setdefault(field.name, field)
        if name not in known:
            hint = did_you_mean(name, known, "one of") or "it has no fields"
            raise NotFound(f"no field {name}{f' in {self.name}' if self.name else ''}: {hint}")
        return known[name]


def outline(schema: JsonSchema) -> Node:
    """Return the top of a schema."""
    return Node(schema, schema, str(schema.get("title", "")))


def _mapping(schema: JsonSchema, root: JsonSchema) -> JsonSchema:
    """Return the mapping inside a value: itself, the items of a list, the values of a mapping, the arm of a union."""
    schema = resolve(schema, root)
    if _REF in schema:
        return {}
    if "properties" in schema or "oneOf" in schema:
        return schema
    inner: list[Any] = [schema.get("items"), schema.get("additionalProperties"), *schema.get("anyOf", [])]
    for one in inner:
        if isinstance(one, dict):
            found = _mapping(one, root)
            if "properties" in found or "oneOf" in found:
                return found
    return {}


def _type(schema: JsonSchema, root: JsonSchema) -> str:
    schema = resolve(schema, root)
    if _REF in schema:
        target = str(schema[_REF])
        return f"name of {'an' if target[0] in 'AEIO' else 'a'} {target}"
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " or ".join(json.dumps(one) for one in schema["enum"])
    if "anyOf" in schema:
        arms = [_type(one, root) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(arms))
    if "oneOf" in schema:
        return "one of " + ", ".join(schema.get("discriminator", {}).get("mapping", {}))
    return _plain_type(schema, root)


def _plain_type(schema: JsonSchema, root: JsonSchema) -> str:
    kind = schema.get("type", "any value")
    if kind == "array":
        items = schema.get("items", {})
        return f"list of {items[_REF]} names" if _REF in items else f"list of {_type(items, root)}"
    if kind == "object":
        values = schema.get("additionalProperties")
        if isinstance(values, dict):
            return f"mapping to {_type(values, root)}"
        return str(schema.get("title", "mapping")) if "properties" in schema else "mapping"
    if "x-loomd-template" in schema:
        return "template"
    if UNIT in schema:
        return f"{_UNITS[schema[UNIT]]} such as {schema['examples'][0]}"
    if kind == "string" and schema.get("examples") and len(str(schema["examples"][0])) <= _SHORT:
        return f"text such as {schema['examples'][0]}"
    low, above, high = schema.get("minimum"), schema.get("exclusiveMinimum"), schema.get("maximum")
    limits = f" above {above}" if above is not None else f" from {low}" if low is not None else ""
    limits += f" to {high}" if high is not None else ""
    return _TYPES.get(kind, str(kind)) + limits
