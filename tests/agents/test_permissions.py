"""Which tool calls an agent may make."""

from typing import Any

import pytest

from loomd.agents.permissions import Permissions, effective, misnamed
from loomd.messages import ToolSchema


def rules(**fields: Any) -> Permissions:
    """Return permissions as a manifest declares them."""
    return Permissions.model_validate(fields)


@pytest.mark.parametrize(
    ("fields", "tool", "arguments", "verdict"),
    [
        ({}, "files", {}, "allowed"),
        ({"deny": ["files"]}, "files", {}, "denied"),
        ({"deny": ["files"]}, "search", {}, "allowed"),
        ({"deny": ["files(action=write)"]}, "files", {"action": "read"}, "allowed"),
        ({"deny": ["files(action=write)"], "allow": ["files"]}, "files", {"action": "write"}, "denied"),
        ({"deny": ["files(path=/etc/*)"], "ask": ["files"]}, "files", {"path": "/etc/x"}, "denied"),
        ({"ask": ["files(action=write)"], "allow": ["files"]}, "files", {"action": "write"}, "asked"),
        ({"ask": ["files(action=write)"], "allow": ["files"]}, "files", {"action": "read"}, "allowed"),
        ({"ask": ["files"], "allow": []}, "files", {}, "asked"),
        ({"ask": ["files"], "allow": []}, "search", {}, "denied"),
        ({"allow": ["files(action=read)"]}, "files", {"action": "write"}, "denied"),
        ({"allow": ["files(paths=/a/*)"]}, "files", {"paths": ["/a/x", "/b"]}, "denied"),
        ({"deny": ["files(paths=/b*)"]}, "files", {"paths": ["/a/x", "/b"]}, "denied"),
        ({"allow": []}, "files", {}, "denied"),
    ],
)
def test_deny_before_ask_before_allow(
    fields: dict[str, Any], tool: str, arguments: dict[str, Any], verdict: str
) -> None:
    """What is denied is denied, what is asked is asked, and what is not allowed is denied where anything is."""
    permissions = rules(**fields)
    refusal, asks = permissions.refusal(tool, arguments), permissions.asks(tool, arguments)
    assert ("denied" if refusal else "asked" if asks else "allowed") == verdict
    assert not refusal or "not permitted" in refusal


@pytest.mark.parametrize(
    ("fields", "hidden"),
    [
        ({}, False),
        ({"deny": ["files"]}, True),
        ({"deny": ["fi*"]}, True),
        ({"deny": ["files(action=write)"]}, False),
        ({"allow": ["search"]}, True),
        ({"allow": ["files(action=read)"]}, False),
        ({"allow": ["search"], "ask": ["files(action=read)"]}, False),
    ],
)
def test_a_tool_that_may_never_be_called_is_hidden(fields: dict[str, Any], *, hidden: bool) -> None:
    """A model is not told of it."""
    assert rules(**fields).hides("files") is hidden


def test_defaults_of_the_tool_count() -> None:
    """An argument that is left out has the value that the tool declares for it."""
    schema = ToolSchema("files", "", {"properties": {"action": {"type": "string", "default": "write"}, "path": {}}})
    assert effective(schema, {"path": "a"}) == {"action": "write", "path": "a"}
    assert effective(schema, {"action": "read"}) == {"action": "read"}
    assert rules(deny=["files(action=write)"]).refusal("files", effective(schema, {"path": "a"}))


def test_arguments_that_the_tool_does_not_take() -> None:
    """A misspelled argument is told when the tool is known, unless it takes any."""
    schema = ToolSchema("files", "", {"properties": {"action": {}}, "additionalProperties": False})
    permissions = rules(deny=["files(acton=write)", "files(action=write)", "fi*(acton=1)"])
    assert list(misnamed(permissions, schema)) == [
        'spec.permissions.deny[0]: expected an argument of the tool "files", got "acton": did you mean "action"?'
    ]
    assert not list(misnamed(permissions, ToolSchema("files", "", {"properties": {"action": {}}})))
