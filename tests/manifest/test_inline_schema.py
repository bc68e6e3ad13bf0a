"""JSON Schemas that stand in manifests: what is wrong with them, and that nothing outside them is ever read."""

import socket
from pathlib import Path
from typing import Any

import pytest

from loomd.manifest.inline_schema import BadSchema, schema_faults, validator_of

TYPES = "expected one of array, boolean, integer, null, number, object, string, got "


@pytest.mark.parametrize(
    ("schema", "pointer", "message"),
    [
        pytest.param({"type": "strin"}, "/type", f'{TYPES}"strin": did you mean "string"?', id="type"),
        pytest.param({"items": {"type": "x"}}, "/items/type", f'{TYPES}"x"', id="type-inside"),
        pytest.param({"properties": {"type": "x"}}, "/properties/type", '"x" is not of types', id="field-called-type"),
        pytest.param({"type": ["string", "nul"]}, "/type", "a list is not what JSON Schema takes here", id="types"),
        pytest.param(
            {"properties": {"a/b": {"minLength": -1}}}, "/properties/a~1b/minLength", "-1 is less", id="range"
        ),
        pytest.param({"pattern": "("}, "/pattern", '"(" is not a "regex"', id="pattern"),
        pytest.param({"required": "a"}, "/required", 'is not of type "array"', id="required"),
        pytest.param({"anyOf": [{}, {"$ref": "#/$defs/a"}]}, "/anyOf/1/$ref", 'got "#/$defs/a"', id="nowhere"),
        pytest.param({"$ref": "other.json"}, "/$ref", "expected a part of this schema, as in #/$defs/name", id="file"),
        pytest.param({"$schema": "http://x.example/s"}, "/$schema", "expected a draft of JSON Schema", id="draft"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(schema: dict[str, Any], pointer: str, message: str) -> None:
    """The place inside the schema is told, in words that say what is taken there."""
    ((place, text, code),) = schema_faults(schema, "/output")
    assert (place, code) == (f"/output{pointer}", "invalid-value")
    assert message in text
    assert "any of the schemas" not in text


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({}, id="empty"),
        pytest.param({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}, id="draft-7"),
        pytest.param({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}, id="reference"),
        pytest.param({"properties": {"next": {"$ref": "#"}}}, id="recursive"),
    ],
)
def test_a_good_schema_has_no_fault(schema: dict[str, Any]) -> None:
    """Older drafts, and references inside the schema, are fine."""
    assert list(schema_faults(schema, "")) == []


def test_a_schema_reads_no_file_and_opens_no_connection(tmp_path: Path) -> None:
    """A reference to a file, or to a service that is there, is refused before anybody asks for it."""
    (tmp_path / "a.json").write_text("{}")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        for target in ((tmp_path / "a.json").as_uri(), f"http://127.0.0.1:{server.getsockname()[1]}/a.json"):
            with pytest.raises(BadSchema, match="expected a part of this schema") as caught:
                validator_of({"properties": {"a": {"$ref": target}}})
            assert caught.value.pointer == "/properties/a/$ref"
        with pytest.raises(BlockingIOError):
            server.accept()
