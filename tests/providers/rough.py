"""A server on a bare socket that sends exactly the bytes it is told to, and misbehaves in every way one can."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from ssl import SSLContext

Script = Callable[["Visit"], Awaitable[None]]
"""What the server does with one request."""


@dataclass
class Visit:
    """One request, and the way to answer it."""

    head: bytes
    body: bytes
    writer: asyncio.StreamWriter
    number: int
    """Which request of its connection it is, from 0."""

    async def say(self, *pieces: bytes) -> None:
        """Send bytes as they are."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def hang(self) -> None:
        """Do nothing until the other side has gone."""
        await asyncio.Event().wait()

    def reset(self) -> None:
        """Drop the connection with a reset."""
        self.writer.transport.abort()


@dataclass
class Rough:
    """The server: where it is and what it was asked."""

    url: str = ""
    connections: int = 0
    visits: list[Visit] = field(default_factory=list[Visit])


def answer(body: bytes, *, status: str = "200 OK", kind: str = "text/event-stream", extra: Sequence[str] = ()) -> bytes:
    """Return a whole answer of known length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *extra]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked_head(*extra: str) -> bytes:
    """Return the head of an event stream in chunks."""
    lines = ["HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked", *extra]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Return data as one chunk; empty for the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@contextlib.asynccontextmanager
async def rough(script: Script, tls: SSLContext | None = None) -> AsyncGenerator[Rough, None]:
    """Yield a server that plays a script for every request."""
    server = Rough()
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        number = 0
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                body = await reader.readexactly(_length(head))
                visit = Visit(head, body, writer, number)
                server.visits.append(visit)
                await script(visit)
                number += 1
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass
        finally:
            running.discard(task)
            writer.transport.abort()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    server.url = f"{scheme}://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.sleep(0)


async def until(true: Callable[[], object]) -> None:
    """Wait for what nobody tells of."""
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110  # the state of another party has no event
            await asyncio.sleep(0.002)


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0
