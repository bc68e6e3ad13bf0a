"""MCP servers over streamable HTTP that do wrong: what people and models are told of it."""

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from loomd.errors import ToolFailed
from loomd.testing import open_spec
from loomd.tools.mcp import McpTools
from tests.tools.test_mcp import ECHO, until

Json = dict[str, Any]
Do = Callable[[web.Request, Json], Awaitable[web.StreamResponse | None]]
"""Answers a message, or leaves it to an honest server by returning None."""


class Server:
    """A server that is honest but for what `do` answers.

    Attributes:
        do: see `Do`.
        session: name of the session that there is.
        begun: how many sessions began.
        tools: what it offers.
    """

    def __init__(self) -> None:
        self.do: Do | None = None
        self.session = ""
        self.begun = 0
        self.tools: list[Json] = [ECHO]
        self.calls: list[Json] = []

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        body = await request.read()
        message: Json = json.loads(body) if body else {}
        if self.do is not None and (answer := await self.do(request, message)) is not None:
            return answer
        if request.method != "POST":
            return web.Response(status=405)
        if "id" not in message:
            return web.Response(status=202)
        return self._honest(request, message)

    def _honest(self, request: web.Request, message: Json) -> web.Response:
        method: str = message["method"]
        params: dict[str, Any] = message.get("params", {})
        if method == "server/discover":
            return reply(message, error={"code": -32601, "message": "Method not found"})
        if method == "initialize":
            self.begun += 1
            self.session = f"session-{self.begun}"
            about = {"capabilities": {"tools": {}}, "serverInfo": {"name": "it", "version": "1"}}
            result = {"protocolVersion": params["protocolVersion"], **about}
            return reply(message, headers={"Mcp-Session-Id": self.session}, result=result)
        if request.headers.get("Mcp-Session-Id") != self.session:
            return web.json_response(
                {"jsonrpc": "2.0", "id": None, "error": {"code": -32001, "message": "?"}}, status=404
            )
        if method == "tools/list":
            return reply(message, result={"tools": self.tools})
        self.calls.append(params)
        return reply(message, result={"content": [{"type": "text", "text": params["arguments"]["text"]}]})


def reply(message: Json, headers: dict[str, str] | None = None, **more: object) -> web.Response:
    """Return the answer to a message."""
    return web.json_response({"jsonrpc": "2.0", "id": message["id"], **more}, headers=headers)


@asynccontextmanager
async def served(folder: Path, do: Do | None = None, **more: object) -> AsyncGenerator[tuple[McpTools, Server], None]:
    """Yield the tools of a server, and the server."""
    server = Server()
    server.do = do
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/mcp", server.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        spec = {
            "type": "mcp",
            "url": f"http://127.0.0.1:{runner.addresses[0][1]}/mcp",
            "allowHosts": ["127.0.0.1"],
            "startTimeout": "30s",
            "stopTimeout": "300ms",
            "retry": "10ms",
            "maxRetry": "50ms",
            **more,
        }
        async with open_spec("Tool", spec, folder) as live:
            yield live, server
    finally:
        await runner.cleanup()


def only(method: str, status: int = 200, **answer: Any) -> Do:
    """Answer one method in a way, and leave all else to the server."""

    async def do(_: web.Request, message: Json) -> web.StreamResponse | None:
        return web.Response(status=status, **answer) if method in ("", message.get("method")) else None

    return do


async def never(_: web.Request, message: Json) -> web.StreamResponse | None:
    """Never answer when tools are asked for."""
    if message.get("method") == "tools/list":
        await asyncio.sleep(3600)
    return None


OTHER = {"Location": "http://localhost:9/mcp"}
HTML: dict[str, Any] = {"text": "<html>", "content_type": "text/html"}


@pytest.mark.parametrize(
    ("do", "told"),
    [
        pytest.param(only("", 401), r"refused: HTTP 401: check spec\.headers", id="401"),
        pytest.param(only("", 403, **HTML), r"refused: HTTP 403: check spec\.headers", id="403"),
        pytest.param(only("", 404), r"refused: HTTP 404: check spec\.url", id="404"),
        pytest.param(only("", 500, text='{"error": "boom"}', content_type="application/json"), "HTTP 500", id="500"),
        pytest.param(only("", 307, headers=OTHER), "Redirect to http://localhost:9/mcp not followed", id="redirect"),
        pytest.param(only("", **HTML), "Unexpected content type: text/html", id="html"),
        pytest.param(only("", text="{", content_type="application/json"), "no message of the protocol", id="no-json"),
        pytest.param(never, r"no answer within 0\.3 s \(spec\.startTimeout\)", id="late"),
    ],
)
async def test_why_a_server_is_not_there(tmp_path: Path, do: Do, told: str) -> None:
    """What it answered instead is told, not only that the connection ended."""
    more = {"startTimeout": "300ms"} if do is never else {}
    async with served(tmp_path, do, **more) as (live, _):
        await until(live, "True")
        assert_told(live.health()[0].message, told)


async def test_a_list_that_comes_too_late(tmp_path: Path) -> None:
    """A server that does not answer any more when it is asked for its tools again is given up, with the reason."""
    async with served(tmp_path, startTimeout="300ms", refresh="20ms") as (live, server):
        server.do = never
        await until(live, "True")
        assert_told(live.health()[0].message, r"no answer within 0\.3 s \(spec\.startTimeout\)")


@pytest.mark.parametrize(
    ("do", "told"),
    [
        pytest.param(only("tools/call", 500), "refused the call: HTTP 500$", id="500"),
        pytest.param(only("tools/call", 401), r"refused the call: HTTP 401: check spec\.headers", id="401"),
        pytest.param(only("tools/call", text="{"), "no message of the protocol$|content type", id="no-json"),
        pytest.param(
            only("tools/call", text="[" * 3000, content_type="application/json"),
            r"may have had its effect: it sends a message of more than 2048 bytes \(spec\.maxMessage\)$",
            id="large",
        ),
    ],
)
async def test_a_call_that_is_not_answered(tmp_path: Path, do: Do, told: str) -> None:
    """The model is told what came instead of a result."""
    async with served(tmp_path, do, maxMessage="2Ki") as (live, _):
        with pytest.raises(ToolFailed) as caught:
            await live.tools[0].call({"text": "hi"})
        assert_told(str(caught.value), told)


async def test_an_error_of_the_protocol_with_a_status(tmp_path: Path) -> None:
    """What the server itself says is wrong goes before the status with which it says that."""
    body = json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": -32602, "message": "no such page"}})
    do = only("tools/call", 400, text=body, content_type="application/json")
    async with served(tmp_path, do) as (live, _):
        with pytest.raises(ToolFailed, match="refused the call: no such page"):
            await live.tools[0].call({"text": "hi"})


async def test_a_server_that_forgot_the_session(tmp_path: Path) -> None:
    """A server that began anew gets a new session, and the call that found it out is made again: nobody took it."""
    async with served(tmp_path) as (live, server):
        tool = live.tools[0]
        assert await tool.call({"text": "one"}) == "one"
        await asyncio.sleep(0.02)  # longer than `retry`: it served well
        server.session = "another"
        assert await asyncio.gather(*(tool.call({"text": text}) for text in ("two", "three"))) == ["two", "three"]
        assert server.begun == 2
        assert len(server.calls) == 3
        assert live.health()[0].status == "False"


async def test_a_call_under_way_when_the_session_ends(tmp_path: Path) -> None:
    """A call that was taken is not made again: it may have had its effect."""
    begun = asyncio.Event()

    async def hangs(_: web.Request, message: Json) -> None:
        if message.get("method") == "tools/call" and message["params"]["arguments"]["text"] == "slow":
            begun.set()
            await asyncio.sleep(3600)

    async with served(tmp_path, hangs) as (live, server):
        tool = live.tools[0]
        async with asyncio.TaskGroup() as group:
            slow = group.create_task(_outcome(tool.call({"text": "slow"})))
            await begun.wait()
            await asyncio.sleep(0.02)
            server.session = "another"
            assert await tool.call({"text": "quick"}) == "quick"
        assert "may have had its effect: it does not know the session any more" in slow.result()


async def test_a_server_that_forgets_every_session(tmp_path: Path) -> None:
    """It is not asked without a pause."""
    async with served(tmp_path, retry="100ms", maxRetry="100ms") as (live, server):
        server.do = only("tools/list", 404)
        server.session = "another"
        began = time.monotonic()
        with pytest.raises(ToolFailed, match=r"is not there: .*it does not know the session any more"):
            await live.tools[0].call({"text": "hi"})
        await asyncio.sleep(0.5)
        assert server.begun < 3 + (time.monotonic() - began) / 0.05


async def _outcome(call: Awaitable[str]) -> str:
    try:
        return await call
    except ToolFailed as error:
        return str(error)


def assert_told(text: str, pattern: str) -> None:
    """Check that a text says something."""
    assert re.search(pattern, text), text
