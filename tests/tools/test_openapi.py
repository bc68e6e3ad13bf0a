"""Operations of a described web service, called against a service on this machine."""

import json
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
from aiohttp import web

from loomd.agents.base import Tool, ToolSet
from loomd.errors import ToolFailed
from loomd.messages import JsonObject
from loomd.testing import open_spec
from loomd.tools.openapi import OpenApiTool

LIBRARY = Path(__file__).with_name("library.yaml")
TOKEN = "token-canary-0123456789"


class Library:
    """A service that answers with what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200

    async def take(self, request: web.Request) -> web.Response:
        """Return the request as JSON."""
        body = await request.text()
        kept = ("X-Key", "X-Trace", "X-Order", "Authorization", "Content-Type", "Idempotency-Key", "Host")
        headers = {name: request.headers[name] for name in kept if name in request.headers}
        said = {"method": request.method, "path": request.raw_path, "headers": headers, "body": body}
        return web.json_response(said, status=self.status)


@pytest.fixture
async def library() -> AsyncGenerator[Library, None]:
    """Yield the running service."""
    library = Library()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", library.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    library.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v4"
    yield library
    await runner.cleanup()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a root that holds the document."""
    copy(LIBRARY, tmp_path / "library.yaml")
    return tmp_path


def opened(folder: Path, **more: object) -> AbstractAsyncContextManager[ToolSet]:
    """Open the document with a spec."""
    spec = {"type": "openapi", "file": "library.yaml", "allowHosts": ["127.0.0.1"], **more}
    return open_spec("Tool", spec, folder)


def named(live: ToolSet) -> dict[str, Tool]:
    """Return the tools by name."""
    return {tool.schema.name: tool for tool in live.tools}


def faults(folder: Path, **more: object) -> list[tuple[str, ...]]:
    """Return what validation says of a spec."""
    spec = {"type": "openapi", "file": "library.yaml", **more}
    spec = {name: value for name, value in spec.items() if value is not None}
    return list(OpenApiTool.model_validate(spec).check(folder))


async def test_the_operations(folder: Path) -> None:
    """Every operation that can be called is a tool: reads by GET and HEAD, repeatable by PUT and DELETE, too."""
    async with opened(folder) as live:
        tools = named(live)
    assert list(tools) == [
        "it_findBooks",
        "it_addBook",
        "it_getBook",
        "it_replaceBook",
        "it_deleteBook",
        "it_head_books_isbn",
        "it_changeBook",
        "it_comment",
        "it_listLoans",
        "it_lend",
    ]
    rules = {name: (tool.effects, tool.idempotent) for name, tool in tools.items()}
    assert rules["it_getBook"] == rules["it_head_books_isbn"] == ("read", True)
    assert rules["it_replaceBook"] == rules["it_deleteBook"] == ("external", True)
    assert rules["it_addBook"] == rules["it_changeBook"] == ("external", False)
    assert tools["it_findBooks"].schema.description == "Finds books.\n\nWords in title or author; the best hit first."
    assert tools["it_deleteBook"].schema.description == "DELETE /books/{isbn}"


async def test_what_cannot_be_called_is_said(folder: Path) -> None:
    """An operation that no request of ours fits is listed with the reason, and so is one that was left out."""
    async with opened(folder, exclude=["loans"]) as live:
        rows = {row.tool: (row.state, row.message) for row in live.listed()}  # type: ignore[attr-defined]  # a set of ours
    assert rows["putCover"] == ("Unusable", "its body is no JSON but multipart/form-data")
    assert rows["account"] == ("Unusable", 'it needs the cookie "sid"')
    assert rows["report"][0] == "Unusable"
    assert rows["lend"] == rows["listLoans"] == ("Excluded", "")
    assert rows["findBooks"] == ("Offered", "")


async def test_a_query(folder: Path, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists and mappings are written as the document says, and what the manifest sets is no argument."""
    monkeypatch.setenv("KEY", TOKEN)
    headers = {"X-Key": {"valueFrom": {"env": "KEY"}}, "x-trace": "t1"}
    async with opened(folder, url=library.url, headers=headers, query={"lang": "en"}) as live:
        tool = named(live)["it_findBooks"]
        assert "X-Trace" not in str(tool.schema.parameters)
        assert "Authorization" not in str(tool.schema.parameters)
        arguments: JsonObject = {
            "q": "a&b",
            "limit": 5,
            "tags": ["x", "y"],
            "languages": ["de", "en"],
            "shelves": [1, 2],
            "published": {"from": 1990},
        }
        said = await tool.call(arguments)
    got = json.loads(said)
    wanted = "/v4/books?q=a%26b&limit=5&tags=x&tags=y&languages=de,en&shelves=1%7C2&published[from]=1990&lang=en"
    assert got["path"].replace("%5B", "[").replace("%5D", "]").replace("%2C", ",") == wanted
    assert got["headers"]["X-Key"] == "***", "a secret that comes back is hidden"
    assert got["headers"]["x-trace" if "x-trace" in got["headers"] else "X-Trace"] == "t1"


async def test_a_body(folder: Path, library: Library) -> None:
    """The body is the argument `body`, checked by its schema, sent as the type that the document says."""
    async with opened(folder, url=library.url) as live:
        tools = named(live)
        got = json.loads(await tools["it_addBook"].call({"body": {"isbn": "1", "title": "Momo", "subtitle": None}}))
        with pytest.raises(ToolFailed, match="the arguments are refused"):
            await tools["it_addBook"].call({"body": {"title": "Momo"}})
        patch = json.loads(await tools["it_changeBook"].call({"isbn": "1-X", "body": {"title": "B"}}))
        said = json.loads(await tools["it_comment"].call({"isbn": "1", "body": {"text": "!"}, "body_query": True}))
    assert got["method"] == "POST"
    assert json.loads(got["body"]) == {"isbn": "1", "title": "Momo", "subtitle": None}
    assert got["headers"]["Content-Type"] == "application/json; charset=utf-8"
    assert (patch["path"], patch["headers"]["Content-Type"]) == ("/v4/books/1-X", "application/merge-patch+json")
    assert (said["path"], said["body"]) == ("/v4/books/1/comments?body=true", '{"text":"!"}')


async def test_a_path_and_headers(folder: Path, library: Library) -> None:
    """A value stays one segment of the path, a list in a header has commas, a described JSON stays JSON."""
    async with opened(folder, url=library.url) as live:
        tools = named(live)
        arguments: JsonObject = {"member-id": 7, "filter": {"open": True}, "X-Order": ["due", "title"]}
        got = json.loads(await tools["it_listLoans"].call(arguments))
        book = json.loads(await tools["it_comment"].call({"isbn": "a/../b?c", "body": {"text": "x"}}))
        with pytest.raises(ToolFailed, match=r'may not be "\.\."'):
            await tools["it_comment"].call({"isbn": "..", "body": {"text": "x"}})
    assert got["path"] == "/v4/members/7/loans?filter=%7B%22open%22:true%7D"
    assert got["headers"]["X-Order"] == "due,title"
    assert book["path"] == "/v4/books/a%2F..%2Fb%3Fc/comments"


async def test_this_machine_is_out_of_reach(folder: Path, library: Library) -> None:
    """Addresses are checked as for the type `http`."""
    async with opened(folder, url=library.url, allowHosts=[]) as live:
        with pytest.raises(ToolFailed, match="not on the public internet"):
            await named(live)["it_getBook"].call({"isbn": "1"})


async def test_an_error_of_the_service(folder: Path, library: Library) -> None:
    """What the service answers with an error is a failure with its text."""
    library.status = 404
    async with opened(folder, url=library.url) as live:
        with pytest.raises(ToolFailed, match="HTTP 404"):
            await named(live)["it_getBook"].call({"isbn": "1"})


async def test_choice_and_rules(folder: Path) -> None:
    """Operations are chosen by id or tag, called by a prefix, and ruled one by one."""
    overrides = {
        "lend": {"effects": "write", "idempotent": True, "description": "Lends.", "approval": {"required": "always"}}
    }
    async with opened(
        folder, include=["loans", "getBook"], exclude=["listLoans"], prefix="", overrides=overrides
    ) as live:
        tools = named(live)
    assert list(tools) == ["getBook", "lend"]
    lend = tools["lend"]
    assert (lend.effects, lend.idempotent, lend.schema.description) == ("write", True, "Lends.")
    assert lend.approval is not None
    assert tools["getBook"].approval is None


async def test_an_inline_document(tmp_path: Path, library: Library) -> None:
    """The document may stand in the manifest; the address of its first server counts."""
    document = {
        "openapi": "3.1.0",
        "servers": [{"url": library.url}],
        "paths": {"/ping": {"get": {"responses": {"200": {"description": "Fine."}}}}},
    }
    spec = {"type": "openapi", "document": document, "allowHosts": ["127.0.0.1"]}
    async with open_spec("Tool", spec, tmp_path) as live:
        assert json.loads(await named(live)["it_get_ping"].call({}))["path"] == "/v4/ping"


def test_names_that_nothing_has(folder: Path) -> None:
    """A word in include, exclude or overrides that fits nothing is a problem with a suggestion."""
    found = faults(folder, include=["findBook"], exclude=["loan"], overrides={"lent": {}})
    assert found == [
        ("/include/0", 'expected the name of a tool, got "findBook": did you mean "findBooks"?', "invalid-value"),
        ("/exclude/0", 'expected the name of a tool, got "loan": did you mean "loans"?', "invalid-value"),
        ("/overrides/lent", 'expected the name of a tool, got "lent": did you mean "lend"?', "invalid-value"),
    ]
    assert faults(folder, include=["putCover"])[0][0] == "/include/0"
    assert faults(folder) == []


BAD = {
    "other-file": ("$ref: other.yaml#/Book", "library.yaml:2:", "other files and addresses are not read"),
    "address": ('$ref: "https://example.com/a.yaml"', "library.yaml:2:", "other files and addresses are not read"),
    "missing": ('$ref: "#/components/none"', "library.yaml:2:", "which is not in it"),
    "circle": ('$ref: "#/paths/~1a"', "library.yaml:2:", "leads back to itself"),
    "no-parameter": ("get: {responses: {}}", "library.yaml:2:", 'expected a parameter for "{x}" of the path'),
    "bad-in": ("get: {parameters: [{name: x, in: body}]}", "library.yaml:2:", "expected one of path, query"),
    "no-schema": (
        "get: {parameters: [{name: x, in: path, schema: {type: strin}}]}",
        "library.yaml:2:",
        "no JSON Schema",
    ),
    "no-mapping": ("get: [1]", "library.yaml:2:", "expected an operation, a mapping"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_bad_documents(tmp_path: Path, case: str) -> None:
    """What is wrong in a document is told at its line and column."""
    inside, place, message = BAD[case]
    path = "/a" if case == "circle" else "/a/{x}"
    text = f'{{openapi: 3.0.0, servers: [{{url: "https://example.com"}}], paths: {{"{path}":\n  {{{inside}}}}}}}\n'
    (tmp_path / "library.yaml").write_text(text, encoding="utf-8")
    (found,) = faults(tmp_path)
    assert found[0] == "/file"
    assert found[1].startswith(place)
    assert message in found[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("swagger: '2.0'\npaths: {}\n", "expected openapi 3.0 or 3.1, got Swagger 2"),
        ("openapi: 4.0.0\npaths: {}\n", 'got "4.0.0"'),
        ("openapi: 3.0.0\n", "expected paths, a mapping"),
        ("- 1\n", "expected an OpenAPI document"),
        ("openapi: 3.0.0\npaths: {}\n---\na: 1\n", "expected one document"),
        ("openapi: [\n", "library.yaml:"),
        ("openapi: 3.0.0\npaths: {}\n", "set spec.url"),
        ("openapi: 3.0.0\nservers: [{url: /v1}]\npaths: {}\n", 'got "/v1": set spec.url'),
    ],
)
def test_what_is_no_document(tmp_path: Path, text: str, message: str) -> None:
    """A text that is not what this type reads is refused with what to do."""
    (tmp_path / "library.yaml").write_text(text, encoding="utf-8")
    found = faults(tmp_path)
    assert message in found[0][1]


def test_two_of_one_name(tmp_path: Path) -> None:
    """Two operations of one id, or of names that models cannot tell apart, are refused."""
    one = "{get: {operationId: a.b, responses: {}}}"
    head = 'openapi: 3.0.0\nservers: [{url: "https://example.com"}]\n'
    document = tmp_path / "library.yaml"
    document.write_text(f"{head}paths:\n  /a: {one}\n  /b: {one}\n", encoding="utf-8")
    assert 'expected an operationId of its own, got "a.b"' in faults(tmp_path)[0][1]
    document.write_text(f"{head}paths:\n  /a: {one}\n  /b: {one.replace('a.b', 'a_b')}\n", encoding="utf-8")
    assert "expected operations with names of their own" in faults(tmp_path)[0][1]


def test_a_schema_without_end(tmp_path: Path) -> None:
    """Schemas that grow by their references are bounded, and the message says how to go on."""
    levels = ",".join(
        f'"s{n}": {{"type": "object", "properties": {{"a": {{"$ref": "#/components/schemas/s{n + 1}"}}, '
        f'"b": {{"$ref": "#/components/schemas/s{n + 1}"}}}}}}'
        for n in range(30)
    )
    text = (
        '{"openapi": "3.0.0", "servers": [{"url": "https://example.com"}], "paths": {"/a": {"post": {"requestBody": '
        '{"content": {"application/json": {"schema": {"$ref": "#/components/schemas/s0"}}}}}}}, '
        f'"components": {{"schemas": {{{levels}, "s30": {{"type": "string"}}}}}}}}'
    )
    (tmp_path / "library.yaml").write_text(text, encoding="utf-8")
    assert "leave it out with spec.exclude" in faults(tmp_path)[0][1]


def test_secrets_stand_elsewhere(folder: Path) -> None:
    """A secret in plain text is refused."""
    found: Any = faults(folder, headers={"Authorization": TOKEN}, url="https://api.example.com/v1?token=abc")
    assert [one[0] for one in found] == ["/headers/Authorization", "/url"]
    assert TOKEN not in str(found)
