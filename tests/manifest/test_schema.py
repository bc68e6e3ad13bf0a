"""The published schemas: every field complete, fresh, and of a shape that an editor can follow."""

import json
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Annotated, Any, get_args

import jsonschema
import jsonschema_rs
import pytest

from loomd.manifest.annotation import RELOAD, title_of
from loomd.manifest.kind import Kind, Reload, ReloadClass, Spec, find_kinds
from loomd.manifest.quantity import Duration
from loomd.manifest.rule import MESSAGE, PATTERN_MESSAGE
from loomd.manifest.schema import (
    BASE_URL,
    DIALECT,
    combined_schema,
    field_docs,
    generate_combined,
    generate_schema,
    schema_folder,
    schema_of,
)
from loomd.settings import settings_schema

GENERATORS: dict[str, Callable[[], dict[str, Any]]] = {
    **{kind.name.lower(): partial(generate_schema, kind) for kind in find_kinds().values()},
    "manifest": partial(generate_combined, find_kinds()),
    "daemon": settings_schema,
}
VALUES = ("default", "examples", "const", "enum")


@cache
def generated(name: str) -> dict[str, Any]:
    """Return a schema as it is made from the types of today, which takes too long to do where tests are collected."""
    return GENERATORS[name]()


def fields_of(schema: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield place, holder and name of every field; what a rule says of fields (`allOf`) is no field."""
    if isinstance(schema, list):
        for index, one in enumerate(schema):
            yield from fields_of(one, f"{place}/{index}")
    elif isinstance(schema, dict):
        for name, field in schema.get("properties", {}).items():
            yield f"{place}/properties/{name}", schema, name
            yield from fields_of(field, f"{place}/properties/{name}")
        for name, one in schema.get("$defs", {}).items():
            yield from fields_of(one, f"{place}/$defs/{name}")
        for key in ("items", "additionalProperties", "anyOf", "oneOf"):
            yield from fields_of(schema.get(key), f"{place}/{key}")


def validator_of(schema: dict[str, Any], place: str, registry: jsonschema_rs.Registry) -> Any:
    """Return the validator of a field of a schema that is in a registry."""
    return jsonschema_rs.Draft202012Validator({"$ref": f"{schema['$id']}#{place}"}, registry=registry)


@pytest.mark.parametrize("name", GENERATORS)
def test_every_field_is_complete(name: str) -> None:
    """Every property has a title, a text, examples, a reload class, and a default unless it is required; all fit it."""
    schema = generated(name)
    found = list(fields_of(schema))
    assert found
    registry = jsonschema_rs.Registry([(schema["$id"], schema)])  # read once: to copy all of it for each field is slow
    for place, holder, field_name in found:
        field, validator = holder["properties"][field_name], validator_of(schema, place, registry)
        assert field["title"], place
        assert field["description"], place
        assert field[RELOAD] in get_args(ReloadClass), place
        assert field["examples"], place
        assert [one for one in field["examples"] if not validator.is_valid(one)] == [], place
        required = field_name in holder.get("required", ())
        assert ("default" in field) is not required or "const" in field, place
        assert "default" not in field or validator.is_valid(field["default"]), place


@pytest.mark.parametrize("name", GENERATORS)
def test_schema_is_draft_2020_12(name: str) -> None:
    """Every schema is a valid schema with a stable address, and is the file of its name."""
    schema = generated(name)
    jsonschema_rs.meta.validate(schema)  # by the dialect that it names
    assert schema["$schema"] == DIALECT
    assert schema["$id"] == f"https://loomd.dev/schemas/v1/{name}.json" == f"{BASE_URL}/{name}.json"
    assert json.loads((schema_folder() / f"{name}.json").read_text("utf-8")) == schema


def test_there_is_a_file_for_every_schema_and_no_other() -> None:
    """The folder holds one schema for each kind, one for all of them, and one for the daemon."""
    assert {path.stem for path in schema_folder().glob("*")} == GENERATORS.keys()


@pytest.mark.parametrize("name", GENERATORS)
def test_patterns_are_said_in_words(name: str) -> None:
    """Nobody is told a regular expression: what a pattern asks for is said beside it."""
    pending: list[Any] = [generated(name)]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            if isinstance(one.get("pattern"), str) and not one["pattern"].startswith("#/"):  # a type of that name
                assert PATTERN_MESSAGE in one or MESSAGE in one, one
            pending += [inner for key, inner in one.items() if key not in VALUES]
        elif isinstance(one, list):
            pending += one


def test_combined_schema_dispatches_on_kind_and_type() -> None:
    """The schema of all kinds looks at the chosen kind and the chosen type only, so that nobody reads about others."""
    check = jsonschema.Draft202012Validator(combined_schema())
    document = {"apiVersion": "loomd.dev/v1", "kind": "Agent", "metadata": {"name": "a"}, "spec": {"provider": "p"}}
    assert check.is_valid(document)
    wrong = list(check.iter_errors({**document, "kind": "Provider"}))
    assert {error.json_path for error in wrong} == {"$.spec"}
    wrong = list(check.iter_errors({**document, "kind": "Provider", "spec": {"type": "openai", "modle": "m"}}))
    assert sorted(error.validator for error in wrong) == ["additionalProperties", "required"]


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
    schema = generate_schema(Kind("Crate", "crates", lambda: Crate, "A test."))
    time = schema["$defs"]["Crate"]["properties"]["time"]
    assert (time["title"], time["default"], time["examples"]) == ("Time", "90s", ["30s", "1h30m"])
    assert schema["$defs"]["Crate"]["description"] == "Holds things."
    assert schema_of(Kind("Crate", "crates", lambda: Crate, "A test.")) == schema


class Slot(Spec):
    """A part."""

    size: int = 1
    """How large it is."""


class Rack(Spec):
    """Takes a part over at once."""

    now: Annotated[Slot, Reload("immediate")] = Slot()
    """The part."""


class Shelf(Rack):
    """Takes two parts over, at different times."""

    later: Slot = Slot()
    """The other part."""


def test_reload_class_is_that_of_the_holder() -> None:
    """A field takes effect with the field that holds it; one that is held in two ways must say when itself."""
    schema = generate_schema(Kind("Rack", "racks", lambda: Rack, "A test."))
    assert schema["$defs"]["Slot"]["properties"]["size"][RELOAD] == "immediate"
    with pytest.raises(TypeError, match=r"Slot\.size takes effect at different times"):
        generate_schema(Kind("Shelf", "shelves", lambda: Shelf, "A test."))


@pytest.mark.parametrize(
    ("name", "title"),
    [("maxTokens", "Max tokens"), ("baseUrl", "Base URL"), ("apiVersion", "API version"), ("topK", "Top K")],
)
def test_title_of_a_field(name: str, title: str) -> None:
    """The title of a field is its name in words."""
    assert title_of(name) == title
