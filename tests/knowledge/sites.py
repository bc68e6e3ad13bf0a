"""Servers of pages, for tests of knowledge bases that read the web."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Site:
    """A web server.

    Attributes:
        url: its address.
        pages: what it answers, by path: bytes and media type, a status, or where it leads.
        asked: paths with the headers of what was asked.
        gate: answers wait for it.
    """

    url: str = ""
    pages: dict[str, Any] = field(default_factory=dict[str, Any])
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list[tuple[str, dict[str, str]]])
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer as the pages say, with a version of each."""
        self.asked.append((request.path, dict(request.headers)))
        await self.gate.wait()
        found = self.pages.get(request.path, 404)
        if isinstance(found, int):
            return web.Response(status=found)
        if isinstance(found, str):
            return web.Response(status=302, headers={"Location": found})
        data, media = found
        version = f'"{hash(data)}"'
        if request.headers.get("If-None-Match") == version:
            return web.Response(status=304)
        return web.Response(body=data, headers={"Content-Type": media, "ETag": version})

    def paths(self) -> list[str]:
        """Return what was asked since the last time."""
        found = [path for path, _ in self.asked]
        self.asked.clear()
        return found


def page(text: str, *links: str) -> tuple[bytes, str]:
    """Return a page with a text and links."""
    anchors = "".join(f'<a href="{one}">more</a>\n' for one in links)
    return f"<nav>{anchors}</nav>\n<h1>Page</h1>\n<p>{text}</p>".encode(), "text/html; charset=utf-8"


@asynccontextmanager
async def serving() -> AsyncGenerator[Site, None]:
    """Yield a server on loopback."""
    made = Site()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.gate.set()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    made.gate.set()
    await runner.cleanup()


def source(site: Site, *paths: str, **fields: Any) -> dict[str, Any]:
    """Return a source that reads pages of a site on loopback."""
    urls = [f"{site.url}{path}" for path in paths]
    return {"type": "http", "urls": urls, "allowHosts": ["127.0.0.1"], **fields}
