"""The resources of MCP servers: of a hostile one that is a fixture, and of the reference server (`make editor`)."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from loomd.errors import ToolFailed
from loomd.testing import open_spec, run_manifests
from loomd.tools.mcp import McpTool, McpTools
from tests.tools.test_mcp import ECHO, HOSTILE, hostile, reference, until, write

NOTE = '{"name":"note","uri":"mem:note","mimeType":"text/plain","size":5}'
PAGE = '{"name":"a page","uriTemplate":"mem:page/{number}"}'


async def call(live: McpTools, tool: str, **arguments: object) -> str:
    """Return what a tool gives."""
    (found,) = [one for one in live.tools if one.schema.name == tool]
    return await found.call(arguments)


async def test_list_and_read(tmp_path: Path) -> None:
    """A model can list what a server has, templates included, and read one of it; both tools only read."""
    async with hostile(tmp_path, "resources", resources=True) as live:
        assert [tool.schema.name for tool in live.tools] == ["it_list_resources", "it_read_resource", "it_echo"]
        assert [tool.effects for tool in live.tools] == ["read", "read", "external"]
        assert "it_read_resource" in live.tools[0].schema.description
        assert await call(live, "it_list_resources") == f'{NOTE}\n{{"name":"x","uri":"mem:x"}}\n{PAGE}'
        assert await call(live, "it_read_resource", uri="mem:note") == "hello"
        with pytest.raises(ToolFailed, match=r'the arguments are refused: .*"uri" is a required property'):
            await call(live, "it_read_resource")
        assert [(row.tool, row.state, row.effects, row.pin != "") for row in live.listed()] == [
            ("echo", "Offered", "external", True),
            ("list_resources", "Offered", "read", False),
            ("read_resource", "Offered", "read", False),
        ]


async def test_only_when_the_manifest_says_so(tmp_path: Path) -> None:
    """A server that has resources brings no tools for them by itself."""
    async with hostile(tmp_path, "resources") as live:
        assert [tool.schema.name for tool in live.tools] == ["it_echo"]


async def test_a_server_without_resources(tmp_path: Path) -> None:
    """The tools are not offered, and people are told why."""
    async with hostile(tmp_path, resources=True) as live:
        assert [tool.schema.name for tool in live.tools if not tool.withdrawn] == ["it_echo"]
        assert [row.message for row in live.listed() if row.state == "Gone"] == ["its server has no resources"] * 2
        with pytest.raises(ToolFailed, match="its server has no resources, go on without it"):
            await call(live, "it_read_resource", uri="mem:note")


async def test_a_server_with_nothing_else(tmp_path: Path) -> None:
    """A server that has no tools, and knows no templates, is none that failed."""
    async with hostile(tmp_path, "resources-only", resources=True) as live:
        assert [tool.schema.name for tool in live.tools] == ["it_list_resources", "it_read_resource"]
        assert (await call(live, "it_list_resources")).startswith(NOTE)
        assert live.health()[0].status == "False"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("binary", "[left out: mem:binary, image/png, about 12 bytes that are no text]"),
        ("called-text", "[left out: mem:called-text, text/plain, about 3 bytes that are no text]"),
        ("called-picture", "hello"),
        ("several", "[mem:1]\none\n[mem:2]\n[left out: mem:2, of no type, about 3 bytes that are no text]"),
        ("empty", "the resource is empty"),
        ("secret", "***"),
    ],
)
async def test_what_a_resource_holds(tmp_path: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text is handed over as it came, whatever its type says; the rest is named and left out, and secrets hidden."""
    monkeypatch.setenv("CANARY", "canary-0123456789")
    env = {"TOKEN": {"valueFrom": {"env": "CANARY"}}}
    async with hostile(tmp_path, "resources", resources=True, env=env) as live:
        assert await call(live, "it_read_resource", uri=f"mem:{name}") == text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hang", "no result within 1 s"),
        ("die", r"the connection to its server broke, .*: it ended"),
        ("flood", r"more than 50 lines a second \(spec.maxRate\)"),
        ("long", r"a line of more than 65536 bytes \(spec.maxMessage\)"),
        ("huge", r"a line of more than 65536 bytes \(spec.maxMessage\)"),
        ("odd", "its server answered with something that is no resource"),
        ("unknown", "its server answered with something that is no resource"),
        ("\ud800", "the arguments hold characters that are no text: leave them out"),
    ],
)
async def test_what_a_server_does_wrong(tmp_path: Path, name: str, message: str) -> None:
    """Whatever happens, the call ends in time with a text for the model, and the server is there again."""
    caps: dict[str, Any] = {
        "maxMessage": "64Ki",
        "maxRate": 50,
        "overrides": {"read_resource": {"timeout": "1s" if name == "hang" else "20s"}},
    }
    async with hostile(tmp_path, "resources", resources=True, **caps) as live:
        with pytest.raises(ToolFailed, match=message):
            await call(live, "it_read_resource", uri=f"mem:{name}")
        await until(live, "False")
        if name not in ("hang", "flood", "die", "long", "huge"):  # those start it anew, or keep it busy
            assert await call(live, "it_read_resource", uri="mem:note") == "hello"


async def test_characters_that_are_no_text(tmp_path: Path) -> None:
    """What cannot be sent is refused, and breaks no connection: neither that of tools."""
    async with hostile(tmp_path) as live:
        with pytest.raises(ToolFailed, match="the arguments hold characters that are no text"):
            await call(live, "it_echo", text="a\ud800")
        assert await call(live, "it_echo", text="a") == "a"


async def test_a_large_resource_is_cut(tmp_path: Path) -> None:
    """A resource that is no larger than a message is cut like the result of any tool."""
    async with hostile(tmp_path, "resources", resources=True, keep="1Ki") as live:
        assert (await call(live, "it_read_resource", uri="mem:huge")).endswith("[cut: 1024 of 3000000 bytes]")


async def test_lists_without_an_end(tmp_path: Path) -> None:
    """A list ends at its length or its size, however many pages there are, also when nothing is on them."""
    async with hostile(tmp_path, "resources-endless", resources=True, maxResources=5) as live:
        lines = (await call(live, "it_list_resources")).splitlines()
        assert (len(lines), lines[-1]) == (6, "[there are more, which are not listed]")
    async with hostile(tmp_path / "large", "resources-large", resources=True, maxMessage="8Mi") as live:
        assert await call(live, "it_list_resources") == "[there are more, which are not listed]"
    async with hostile(tmp_path / "idle", "resources-idle", resources=True, maxResources=5) as live:
        assert await call(live, "it_list_resources") == PAGE
    async with hostile(tmp_path / "odd", "resources-odd", resources=True) as live:
        with pytest.raises(ToolFailed, match="something that is no list of resources"):
            await call(live, "it_list_resources")


async def test_what_the_manifest_says_of_them(tmp_path: Path) -> None:
    """They are named by `exclude` and `overrides` like other tools, `include` need not name them."""
    more: dict[str, Any] = {"include": ["other"], "exclude": ["list_resources"]}
    own = {"read_resource": {"description": "Reads a page.", "effects": "external", "approval": {"required": "always"}}}
    async with hostile(tmp_path, "resources", resources=True, prefix="wiki_", overrides=own, **more) as live:
        (tool,) = live.tools
        assert (tool.schema.name, tool.schema.description) == ("wiki_read_resource", "Reads a page.")
        assert tool.effects == "external"
        assert tool.approval is not None
        rows = {row.tool: (row.state, row.approval) for row in live.listed()}
    assert rows["list_resources"][0] == "Excluded"
    assert rows["read_resource"] == ("Offered", "always")


async def test_a_tool_of_the_same_name(tmp_path: Path) -> None:
    """A tool of the server cannot take the place of one that loomd makes."""
    file = write(tmp_path / "tools.json", [{**ECHO, "name": "read_resource"}])
    async with hostile(tmp_path, "resources", file, resources=True) as live:
        assert await call(live, "it_read_resource", uri="mem:note") == "hello"
        (row,) = [row for row in live.listed() if row.state == "Unusable"]
        assert row.message == 'another tool of this server is called "it_read_resource" as well'
    async with hostile(tmp_path, "resources", file) as live:
        assert await call(live, "it_read_resource", text="hi") == "hi"


def test_a_pin_for_what_is_not_the_servers(tmp_path: Path) -> None:
    """A pin that nothing would look at is a problem."""
    spec = {"type": "mcp", "command": "true", "resources": True, "pins": {"read_resource": "0" * 32}}
    assert [place for place, *_ in McpTool.model_validate(spec, by_alias=True).check(tmp_path)] == [
        "/pins/read_resource"
    ]


async def test_the_reference_server(tmp_path: Path) -> None:
    """The server that has everything has documents, and templates that make texts and bytes."""
    async with open_spec("Tool", {**reference("server-everything"), "resources": True}, tmp_path) as live:
        rows = [json.loads(line) for line in (await call(live, "it_list_resources")).splitlines()]
        (document,) = [row["uri"] for row in rows if row["name"] == "architecture.md"]
        assert "Everything Server" in await call(live, "it_read_resource", uri=document)
        (template,) = [row["uriTemplate"] for row in rows if row["name"] == "Dynamic Text Resource"]
        text = await call(live, "it_read_resource", uri=template.replace("{resourceId}", "7"))
        assert text.startswith("Resource 7: This is a plaintext resource")
        (template,) = [row["uriTemplate"] for row in rows if row["name"] == "Dynamic Blob Resource"]
        blob = await call(live, "it_read_resource", uri=template.replace("{resourceId}", "7"))
        assert blob.startswith("[left out: demo://resource/dynamic/blob/7")
        with pytest.raises(ToolFailed, match=r"its server refused the call: .*not found"):
            await call(live, "it_read_resource", uri="demo://nowhere")


WORK = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {{name: local}}
spec:
  type: scripted
  replies:
    - {{toolCalls: [{{name: wiki_read_resource, arguments: {{uri: "mem:note"}}}}]}}
    - {{toolCalls: [{{name: wiki_read_resource, arguments: {{uri: "mem:x"}}}}]}}
    - {{text: "It says hello."}}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {{name: wiki}}
spec: {{type: mcp, command: {program}, args: [{server}, resources], resources: true, stopTimeout: 300ms}}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {{name: clerk}}
spec:
  description: Reads notes.
  provider: local
  tools: [wiki]
  permissions: {{allow: ["wiki_read_resource(uri=mem:note)"]}}
"""


async def test_at_work(tmp_path: Path) -> None:
    """An agent reads a resource, and its permissions say which."""
    ran = await run_manifests(WORK.format(program=sys.executable, server=HOSTILE), "what does the note say?", tmp_path)
    assert ran.result.phase == "Succeeded"
    told = [str(event.data) for event in ran.events if "Tool" in type(event.data).__name__]
    assert any("hello" in one for one in told)
    assert not any("unknown" in one for one in told)
