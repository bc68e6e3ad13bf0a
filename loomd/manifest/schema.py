"""The published contract: one JSON Schema (draft 2020-12) per kind, made from the types.

The files in `schemas/` are generated and committed; at run time they are read, and a kind without a file gets its
schema in memory. Descriptions are the docstrings under the fields: they are taken from the source text while
generating only, never at import. Called by `convert`, the verbs `schema` and `explain`, and the generator.
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
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from loomd.manifest.kind import API_VERSION, Kind, find_kinds
from loomd.manifest.object import Metadata

BASE_URL = "https://loomd.dev/schemas/v1"
"""Where schemas are published; part of every `$id`."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"
COMBINED = "manifest"
"""Name of the schema that covers all kinds."""

JsonSchema = dict[str, Any]


def schema_of(kind: Kind) -> JsonSchema:
    """Return a kind's schema: from its file when it is one of loomd's own and has one, else made from its types."""
    path = schema_folder() / f"{kind.name.lower()}.json"
    if find_kinds().get(kind.name) is kind and path.is_file():
        loaded: JsonSchema = json.loads(path.read_bytes())
        return loaded
    return generate_schema(kind)


def schema_folder() -> Path:
    """Return the folder of the generated schemas: beside this module in a package, else that of the repository."""
    here = Path(__file__).parent
    packaged = here / "schemas"
    return packaged if packaged.is_dir() else here.parent.parent / "schemas"


def generate_schema(kind: Kind) -> JsonSchema:
    """Make a kind's schema from its types."""
    parts, definitions = _generate({kind.name: kind})
    return {"$schema": DIALECT, "$id": f"{BASE_URL}/{kind.name.lower()}.json", **parts[kind.name], "$defs": definitions}


def generate_combined(kinds: Mapping[str, Kind]) -> JsonSchema:
    """Make the schema of all kinds together, for an editor that knows only that a file holds manifests."""
    parts, definitions = _generate(kinds)
    documents = {f"{name}Document": part for name, part in parts.items()}
    chosen = [
        {
            "if": {"properties": {"kind": {"const": name}}, "required": ["kind"]},
            "then": {"$ref": f"#/$defs/{name}Document"},
        }
        for name in kinds
    ]
    summary = "\n".join(f"{name}: {kind.summary}" for name, kind in kinds.items())
    return {
        "$schema": DIALECT,
        "$id": f"{BASE_URL}/{COMBINED}.json",
        "title": "loomd manifest",
        "description": "One document of a loomd manifest; `kind` says which fields it has.",
        "type": "object",
        "properties": {
            "apiVersion": {"const": API_VERSION, "description": "Version of the manifest format."},
            "kind": {"enum": list(kinds), "description": summary},
        },
        "required": ["apiVersion", "kind"],
        "allOf": chosen,
        "$defs": {**documents, **definitions},
    }


def _generate(kinds: Mapping[str, Kind]) -> tuple[dict[str, JsonSchema], JsonSchema]:
    """Return the envelope of each kind, and the definitions that they share."""
    mode: JsonSchemaMode = "validation"
    inputs: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = [
        (name, mode, kind.adapter) for name, kind in kinds.items()
    ]
    inputs.append(("Metadata", mode, TypeAdapter(Metadata)))
    found, shared = TypeAdapter.json_schemas(inputs, schema_generator=_Generator)
    metadata = found["Metadata", mode]
    parts: dict[str, JsonSchema] = {}
    for name, kind in kinds.items():
        spec = found[name, mode]
        parts[name] = {
            "title": name,
            "description": kind.summary,
            "type": "object",
            "properties": {
                "apiVersion": {"const": API_VERSION, "description": "Version of the manifest format."},
                "kind": {"const": name, "description": "Kind of the document."},
                "metadata": {**metadata, "description": "Who the object is."},
                "spec": {"description": kind.summary, **spec},
            },
            "required": ["apiVersion", "kind", "metadata", "spec"],
            "additionalProperties": False,
        }
    return parts, dict(sorted(shared.get("$defs", {}).items()))


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
        for name, info in model.model_fields.items():
            field = result["properties"][info.alias or name]
            if name in texts:
                field["description"] = texts[name]
            elif "const" in field:
                field["description"] = f"Chooses this {name}: {result['description'].splitlines()[0]}"
            if not info.is_required():
                field["default"] = _default(model, name)
        fields = result["properties"]
        result["properties"] = {name: fields[name] for name in sorted(fields, key=lambda name: name != "type")}
        return result

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        """Return a `oneOf` that names its discriminator and requires it."""
        result = super().tagged_union_schema(schema)
        tag = str(schema["discriminator"])
        names = sorted(str(name) for name in schema["choices"])
        return {**result, "required": [tag], "properties": {tag: {"enum": names}}}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Return the schema without the default: `model_schema` writes it as a manifest would."""
        return self.generate_inner(schema["schema"])


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
    return texts


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
