"""The published contract: one JSON Schema (draft 2020-12) per kind, made from the types.

The files in `schemas/` are generated and committed; at run time they are read, and a kind without a file gets its
schema in memory. Descriptions are the docstrings under the fields: they are taken from the source text while
generating only, never at import. Every field has a title, a description, examples that are valid, the reload class,
and a default unless it must be written; the default `null` stands for a field that is unset. Called by `convert`, the
verbs `schema` and `explain`, and the generator.
"""

import ast
import inspect
import json
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from loomd.manifest.annotation import annotate
from loomd.manifest.foreign import is_core
from loomd.manifest.kind import API_VERSION, Kind, find_kinds
from loomd.manifest.object import Metadata
from loomd.manifest.quantity import NO_NEWLINE, UNIT
from loomd.manifest.rule import spelled

BASE_URL = "https://loomd.dev/schemas/v1"
"""Where schemas are published; part of every `$id`."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"
COMBINED = "manifest"
"""Name of the schema that covers all kinds."""

JsonSchema = dict[str, Any]


def schema_of(kind: Kind) -> JsonSchema:
    """Return a kind's schema: from its file when it is one of loomd's own and has one, else made from its types.

    Files know no types of packages, so that those that are installed are taken from the types.
    """
    path = schema_folder() / f"{kind.name.lower()}.json"
    if is_core() and find_kinds().get(kind.name) is kind and path.is_file():
        loaded: JsonSchema = json.loads(path.read_bytes())
        return loaded
    return generate_schema(kind)


def combined_schema() -> JsonSchema:
    """Return the schema of all kinds together, from its file unless packages bring types."""
    path = schema_folder() / f"{COMBINED}.json"
    if not is_core() or not path.is_file():
        return generate_combined(find_kinds())
    loaded: JsonSchema = json.loads(path.read_bytes())
    return loaded


def schema_folder() -> Path:
    """Return the folder of the generated schemas: beside this module in a package, else that of the repository."""
    here = Path(__file__).parent
    packaged = here / "schemas"
    return packaged if packaged.is_dir() else here.parent.parent / "schemas"


def resolve(schema: JsonSchema, root: JsonSchema) -> JsonSchema:
    """Return a schema with its reference replaced; what stands beside the reference wins."""
    ref = schema.get("$ref")
    if ref is None:
        return schema
    target: JsonSchema = root["$defs"][ref.rpartition("/")[2]]
    return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}


def generate_schema(kind: Kind) -> JsonSchema:
    """Make a kind's schema from its types."""
    parts, definitions = _generate({kind.name: kind})
    return {"$schema": DIALECT, "$id": f"{BASE_URL}/{kind.name.lower()}.json", **parts[kind.name], "$defs": definitions}


def generate_combined(kinds: Mapping[str, Kind]) -> JsonSchema:
    """Make the schema of all kinds together, for an editor that knows only that a file holds manifests."""
    parts, definitions = _generate(kinds)
    documents = {f"{name}Document": part for name, part in parts.items()}
    summaries = [kind.summary for kind in kinds.values()]
    fields: JsonSchema = {
        "apiVersion": _API_VERSION,
        "kind": {
            "description": "Kind of the document; it says which fields the spec has.",
            "type": "string",
            "enum": list(kinds),
            "enumDescriptions": summaries,
        },
    }
    top: JsonSchema = {
        "$schema": DIALECT,
        "$id": f"{BASE_URL}/{COMBINED}.json",
        "title": "loomd manifest",
        "description": "One document of a loomd manifest; `kind` says which fields it has.",
        "type": "object",
        "properties": fields,
        "required": ["apiVersion", "kind"],
        "allOf": [_when("kind", name, f"#/$defs/{name}Document") for name in kinds],
    }
    annotate([top], {})
    return {**top, "$defs": {name: _chosen(one) for name, one in {**documents, **definitions}.items()}}


def generate_model(name: str, model: type[BaseModel]) -> JsonSchema:
    """Make the schema of a file that is no manifest, called `<name>.json`."""
    top: JsonSchema = TypeAdapter(model).json_schema(schema_generator=_Generator)
    definitions = top.pop("$defs", {})
    annotate([top], definitions)
    return {"$schema": DIALECT, "$id": f"{BASE_URL}/{name}.json", **top, "$defs": definitions}


def _when(tag: str, name: str, reference: str, needed: bool = True) -> JsonSchema:
    condition = {"type": "object", "properties": {tag: {"const": name}}, **({"required": [tag]} if needed else {})}
    return {"if": condition, "then": {"$ref": reference}}


def _chosen(value: Any) -> Any:
    """Return a schema whose tagged unions are conditions, so that an editor looks at the chosen type only."""
    if isinstance(value, list):
        return [_chosen(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {key: inner if key in _PLAIN else _chosen(inner) for key, inner in value.items()}
    union = found.pop("discriminator", None)
    if union is None:
        return found
    found["type"] = "object"
    del found["oneOf"]
    tag = union["propertyName"]
    default = found["properties"][tag].get("default")
    found["allOf"] = [_when(tag, name, to, needed=name != default) for name, to in union["mapping"].items()]
    return found


_PLAIN = ("default", "examples", "const", "enum")
"""Keywords that hold values, not schemas."""

_API_VERSION: JsonSchema = {"description": "Version of the manifest format.", "type": "string", "const": API_VERSION}


def _generate(kinds: Mapping[str, Kind]) -> tuple[dict[str, JsonSchema], JsonSchema]:
    """Return the envelope of each kind, and the definitions that they share."""
    mode: JsonSchemaMode = "validation"
    inputs: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = [
        (name, mode, kind.adapter) for name, kind in kinds.items()
    ]
    inputs.append(("Metadata", mode, TypeAdapter(Metadata)))
    found, shared = TypeAdapter.json_schemas(inputs, schema_generator=_Generator)
    definitions = dict(sorted(shared.get("$defs", {}).items()))
    parts = {name: _envelope(kind, found["Metadata", mode], found[name, mode]) for name, kind in kinds.items()}
    annotate(parts.values(), definitions)
    return parts, definitions


def _envelope(kind: Kind, metadata: JsonSchema, spec: JsonSchema) -> JsonSchema:
    """Return the schema of a document around the schema of its spec."""
    name = kind.name
    fields: JsonSchema = {
        "apiVersion": dict(_API_VERSION),
        "kind": {"description": "Kind of the document.", "type": "string", "const": name},
        "metadata": {"description": "Who the object is.", "examples": [{"name": name.lower()}], **metadata},
        "spec": {"description": kind.summary, **spec},
    }
    return {
        "title": name,
        "description": kind.summary,
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


class _Generator(GenerateJsonSchema):
    """Pydantic's schemas with descriptions from docstrings, defaults as they are written, and `type` required."""

    schema_dialect = DIALECT

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Return False: a field is called what it is called."""
        del schema
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Return the schema of a model with the docstrings of its fields."""
        result = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        texts = field_docs(model)
        result["description"] = _summary(model)
        fields: JsonSchema = {}
        for name, info in sorted(model.model_fields.items(), key=lambda item: item[0] != "type"):
            alias = info.alias or name
            field = result["properties"][alias]
            if name in texts:
                field["description"] = texts[name]
            elif "const" in field:
                field["description"] = f"Chooses this {name}: {result['description'].splitlines()[0]}"
            for one in (field, *field.get("anyOf", ())):
                one.update(_above_zero(one, info))
                one.pop("gt", None)
            if not info.is_required():
                field["default"] = _default(model, name)
            fields[alias] = field
        result["properties"] = fields
        return result

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        """Return a string's schema; at the end of a pattern stands the end of the text, never a newline before it."""
        result = super().str_schema(schema)
        if result.get("pattern", "").endswith("$"):
            result["pattern"] += NO_NEWLINE
        return result

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        """Return a `oneOf` that names its discriminator and requires it."""
        result = super().tagged_union_schema(schema)
        tag = str(schema["discriminator"])
        names = sorted(str(name) for name in schema["choices"])
        text = f"Chooses the {tag}, which says what other fields there are: {', '.join(names)}."
        field = {"description": text, "type": "string", "enum": names}
        return {**result, "required": [tag], "properties": {tag: field}}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Return the schema without the default: `model_schema` writes it as a manifest would."""
        return self.generate_inner(schema["schema"])


def _above_zero(field: JsonSchema, info: FieldInfo) -> JsonSchema:
    """Return what a text with a unit must have when its number must be above 0: a digit that is not 0.

    Args:
        field: the schema of a field, or of one of several that it may have.
        info: the field.
    """
    lowest = max((getattr(one, "gt", getattr(one, "ge", 0)) for one in info.metadata), default=0)
    above = UNIT in field and (lowest > 0 or any(hasattr(one, "gt") for one in info.metadata))
    return spelled(("[1-9]", "expected more than 0")) if above else {}


def _default(model: type[BaseModel], name: str) -> Any:
    """Return a field's default as it would be written in a manifest."""
    info = model.model_fields[name]
    value = info.get_default(call_default_factory=True, validated_data={})
    whole = model.model_construct(**{name: value})
    return next(iter(whole.model_dump(mode="json", by_alias=True, include={name}, warnings=False).values()))


def _summary(model: type[BaseModel]) -> str:
    """Return a class docstring up to its first section (`Attributes:`, `Raises:`)."""
    lines: list[str] = []
    for line in (inspect.getdoc(model) or "").splitlines():
        if line.rstrip().endswith(":") and line.split(":")[0] in ("Attributes", "Args", "Raises", "Example", "Note"):
            break
        lines.append(line)
    return "\n".join(lines).strip()


def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstring under each field of a model, inherited ones included, on one line."""
    texts: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if base is not BaseModel and issubclass(base, BaseModel):
            texts |= _docs_in(base)
    return {name: text for name, text in texts.items() if name in model.model_fields}


@cache
def _docs_in(model: type[BaseModel]) -> dict[str, str]:
    module = sys.modules.get(model.__module__)
    if module is None or module.__file__ is None:
        return {}
    node: Any = _tree(module.__file__)
    for name in model.__qualname__.split("."):
        node = next((one for one in node.body if isinstance(one, ast.ClassDef) and one.name == name), None)
        if node is None:
            return {}
    texts: dict[str, str] = {}
    for before, after in zip(node.body, node.body[1:], strict=False):
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and isinstance(after, ast.Expr):
            text = getattr(after.value, "value", None)
            if isinstance(text, str):
                texts[before.target.id] = " ".join(inspect.cleandoc(text).split())
    return texts


@cache
def _tree(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text(encoding="utf-8"))
