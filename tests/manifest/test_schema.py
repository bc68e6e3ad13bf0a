"""The published schemas: complete, fresh, and usable by an editor."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import jsonschema_rs
import pytest

from loomd.manifest.kind import Kind, Spec, find_kinds
from loomd.manifest.quantity import Duration
from loomd.manifest.schema import field_docs, generate_combined, generate_schema

KINDS = list(find_kinds().values())


def by_name(kind: Kind) -> str:
    """Return the id of a case."""
    return kind.name


def fields_of(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every field of every model of a schema with its dotted name."""
    for model, definition in {schema["title"]: schema, **schema["$defs"]}.items():
        for name, field in definition.get("properties", {}).items():
            yield f"{model}.{name}", field


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_every_field_is_described(kind: Kind) -> None:
    """An editor has a text for every field of every kind: the docstring under the field."""
    silent = [name for name, field in fields_of(generate_schema(kind)) if not field.get("description")]
    assert silent == []


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_defaults_satisfy_their_own_schema(kind: Kind) -> None:
    """A default that the schema shows can be written into a manifest."""
    schema = generate_schema(kind)
    for name, field in fields_of(schema):
        if "default" in field:
            one = {"$defs": schema["$defs"], **field}
            assert jsonschema_rs.Draft202012Validator(one).is_valid(field["default"]), name


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_schema_is_draft_2020_12(kind: Kind) -> None:
    """Every schema is a valid schema with a stable address."""
    schema = generate_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"https://loomd.dev/schemas/v1/{kind.name.lower()}.json"


def test_combined_schema_dispatches_on_kind() -> None:
    """The schema of all kinds refuses a spec of one kind under the name of another."""
    schema = generate_combined(find_kinds())
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema_rs.Draft202012Validator(schema)
    document = {"apiVersion": "loomd.dev/v1", "kind": "Agent", "metadata": {"name": "a"}, "spec": {"provider": "p"}}
    assert check.is_valid(document)
    assert not check.is_valid({**document, "kind": "Provider"})


class Crate(Spec):
    """Holds things.

    Attributes:
        time: not shown.
    """

    time: Duration = 90.0
    """How long
    it lasts."""
    type: str = "x"


def test_docstrings_and_defaults_become_text() -> None:
    """The docstring under a field is its description, and a default is written as in a manifest."""
    assert field_docs(Crate) == {"time": "How long it lasts."}
    schema = generate_schema(Kind("Crate", "crates", Crate, "A test."))
    spec = schema["properties"]["spec"]
    model = schema["$defs"]["Crate"] if "$ref" in json.dumps(spec) else spec
    assert model["properties"]["time"]["default"] == "90s"
    assert model["description"] in ("Holds things.", "A test.")
