"""A web service on this machine that speaks, or misspeaks, the wire formats of the real ones."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from loomd.agents.base import ChatModel
from loomd.testing import open_spec
from tests.ports import free_port

Open = Callable[..., AbstractAsyncContextManager[ChatModel]]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Service:
    """The service: what it was asked, and what it answers."""

    def __init__(self) -> None:
        self.url = ""
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.paths: list[str] = []
        self.handler: Handler | None = None

    def says(
        self,
        body: bytes | str | object,
        *,
        status: int = 200,
        content_type: str = "text/event-stream",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer every call with a body: bytes, text, or a value to write as JSON."""
        if not isinstance(body, bytes | str):
            body, content_type = json.dumps(body), "application/json"
        data = body if isinstance(body, bytes) else body.encode()

        async def answer(_: web.Request) -> web.StreamResponse:
            return web.Response(body=data, status=status, content_type=content_type, headers=headers)

        self.handler = answer

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Record a call and answer it."""
        assert self.handler is not None
        self.bodies.append(await request.json())
        self.headers.append(request.headers)
        self.paths.append(request.path)
        return await self.handler(request)


@pytest.fixture
async def service() -> AsyncGenerator[Service, None]:
    """Yield the running service."""
    service = Service()
    app = web.Application()
    app.router.add_post("/{path:.*}", service.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield service
    await runner.cleanup()


@pytest.fixture
def provider(tmp_path: Path) -> Open:
    """Return an opener of Provider specs; `clock` and `live` (open things by ref) may be given."""
    return partial(open_spec, "Provider", folder=tmp_path)


@pytest.fixture
def unused_port() -> int:
    """Return a port on which nothing listens."""
    return free_port()
