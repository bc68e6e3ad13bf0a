"""How bytes get to an MCP server and back: a process with pipes, or streamable HTTP. What may go wrong ends the link.

A server is not trusted: a line that is too long, too many messages at once, or a pipe that nobody empties breaks the
link, and what the server writes beside messages is dropped. The process leads a group of its own, which is killed as a
whole. Called by the supervised server; what is said is not looked at here.
"""

import asyncio
import os
import signal
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loomd.encoded import ANYTHING, read_json
from loomd.errors import LoomdError, Unreachable
from loomd.tools.web import Web

if TYPE_CHECKING:
    import httpx2

_INHERITED = ("PATH", "HOME", "LANG")
_WORDS = 4096
_CHUNK = 64 << 10
_POLL = 0.01
_ERRORS_RATE = 1 << 20
"""Bytes of standard error that are read in a second; a server that writes more waits."""

_REFUSAL = 64 << 10
"""Bytes of a refusal that are read for its reason."""
ENDED = "the connection ended"
"""Why a link cannot go on when nothing says more."""
FORGOTTEN = "it does not know the session any more"
"""The error of a request that a server refuses that began anew, for example; it was not taken, and the link is over."""

Broken = Callable[[str], None]
"""Is told why a link cannot go on."""
Streams = tuple[Any, Any]
"""What the SDK reads messages from, and what it writes them to."""
Link = Callable[[Broken], AbstractAsyncContextManager[Streams]]
"""Opens a link."""


@dataclass(frozen=True)
class Caps:
    """What one server may do: largest message in bytes, messages in a second, tools, seconds to connect and to stop."""

    message: int
    rate: int
    tools: int
    start: float
    stop: float


@dataclass(frozen=True)
class Command:
    """What is run, with the variables that it gets beside the few that every process needs, in which folder."""

    words: Sequence[str]
    variables: Mapping[str, str]
    folder: Path


class Meter:
    """Counts what comes within a second."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._since = 0.0
        self._count = 0

    def over(self, amount: int = 1) -> bool:
        """Return whether more came within the second than may."""
        now = asyncio.get_running_loop().time()
        if now - self._since >= 1:
            self._since, self._count = now, 0
        self._count += amount
        return self._count > self._limit


class Process:
    """One server that runs, and its end of the pipes."""

    def __init__(self, process: asyncio.subprocess.Process, caps: Caps, broken: Broken) -> None:
        self._process = process
        self._caps = caps
        self._broken = broken
        self._words: deque[bytes] = deque(maxlen=8)

    async def read(self, to: Any) -> None:
        """Hand over the messages that the server writes, until there is no more; what is no message is dropped."""
        from mcp.shared.message import SessionMessage  # noqa: PLC0415  # heavy, only a live server needs it
        from mcp_types import jsonrpc_message_adapter  # noqa: PLC0415  # see above

        meter = Meter(self._caps.rate)
        out = self._process.stdout
        async with to:
            while out is not None and (line := await self._line(out)):
                if meter.over():
                    self._broken(f"it sends more than {self._caps.rate} lines a second (spec.maxRate)")
                    return
                with suppress(ValueError):
                    await to.send(SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False)))
        self._broken(f"it ended{self._said()}")

    async def _line(self, out: asyncio.StreamReader) -> bytes:
        try:
            return await out.readline()
        except ValueError:
            self._broken(f"it writes a line of more than {self._caps.message} bytes (spec.maxMessage)")
            return b""

    async def write(self, said: Any) -> None:
        """Hand over what is said to the server; a pipe that it does not empty breaks the link."""
        pipe = self._process.stdin
        async with said:
            async for one in said:
                text = one.message.model_dump_json(by_alias=True, exclude_unset=True)
                try:
                    if pipe is not None:
                        pipe.write(text.encode() + b"\n")
                        async with asyncio.timeout(self._caps.start):
                            await pipe.drain()
                except TimeoutError:
                    self._broken(f"it reads nothing for {self._caps.start:g} s")
                    return
                except OSError:
                    self._broken(f"it does not read any more{self._said()}")
                    return

    async def overhear(self) -> None:
        """Keep the last words of standard error, for people."""
        errors = self._process.stderr
        while errors is not None and (chunk := await errors.read(_CHUNK)):
            self._words.append(chunk[-_WORDS:])
            await asyncio.sleep(len(chunk) / _ERRORS_RATE)

    def _said(self) -> str:
        words = b"".join(self._words)[-_WORDS:].decode(errors="replace").strip().splitlines()
        code = self._process.returncode
        ending = "" if code is None else f" with exit code {code}"
        return f"{ending}; it said: {' | '.join(words[-3:])}" if words else ending

    async def end(self, pumps: "Sequence[asyncio.Task[None]]") -> None:
        """Close its input, which asks it to end; then end it and all that it started.

        Args:
            pumps: what reads and writes, cancelled already.
        """
        await asyncio.gather(*pumps, return_exceptions=True)
        pipe = self._process.stdin
        if pipe is not None:
            pipe.close()
        if not await self._gone():
            self._signal(signal.SIGTERM)
            await self._gone()
        self._signal(signal.SIGKILL)
        await self._gone()
        self._process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001  # nothing public closes pipes that a grandchild holds

    async def _gone(self) -> bool:
        """Return whether it ended in time; `wait` would wait for the pipes, too, which others may hold."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._caps.stop):
                while self._process.returncode is None:  # noqa: ASYNC110  # see above: there is no event for it
                    await asyncio.sleep(_POLL)
        return self._process.returncode is not None

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


@asynccontextmanager
async def run_process(command: Command, caps: Caps, broken: Broken) -> AsyncGenerator[Streams, None]:
    """Start a server and yield its streams; it and all that it started are killed at the end.

    Raises:
        Unreachable: it cannot be started.
    """
    from anyio import create_memory_object_stream  # noqa: PLC0415  # comes with the SDK

    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    try:
        started = await asyncio.create_subprocess_exec(
            *command.words,
            env={**environment, **command.variables},
            cwd=command.folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=caps.message,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise Unreachable(f'"{command.words[0]}" cannot be started: {error}') from error
    process = Process(started, caps, broken)
    heard_in, heard = create_memory_object_stream[Any](0)
    said, said_out = create_memory_object_stream[Any](0)
    pumps = [
        asyncio.create_task(pump)  # noqa: TID251  # kept until they are done
        for pump in (process.read(heard_in), process.write(said_out), process.overhear())
    ]
    try:
        yield heard, said
    finally:
        for pump in pumps:
            pump.cancel()
        for stream in (heard_in, heard, said, said_out):
            stream.close()
        await _to_the_end(process.end(pumps))


async def _to_the_end(doing: "Coroutine[Any, Any, None]") -> None:
    """Do something to its end, however often this is cancelled meanwhile: a process must not be left behind.

    Raises:
        asyncio.CancelledError: this was cancelled; it is done all the same.
    """
    task = asyncio.create_task(doing)  # noqa: TID251  # kept until it is done
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


@asynccontextmanager
async def reach(
    web: Web, url: str, headers: Callable[[], dict[str, str]], caps: Caps, broken: Broken
) -> AsyncGenerator[Streams, None]:
    """Yield the streams of a server that is reached by streamable HTTP.

    Args:
        web: what may be reached.
        url: the endpoint.
        headers: returns what is sent along, asked at each request.
        caps: what the server may do.
        broken: is told why the link cannot go on.
    """
    import httpx2  # noqa: PLC0415  # heavy, only a live server needs it
    from anyio import create_memory_object_stream  # noqa: PLC0415  # comes with the SDK
    from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415  # see above

    transport: Any = _transport(web, headers, caps, broken)
    async with (
        httpx2.AsyncClient(transport=transport, trust_env=False) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=caps.message) as (raw, said),
    ):
        heard_in, heard = create_memory_object_stream[Any](0)
        pump = asyncio.create_task(_metered(raw, heard_in, caps, broken))  # noqa: TID251  # kept until it is done
        try:
            yield heard, said
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
            heard_in.close()
            heard.close()


async def _metered(raw: Any, to: Any, caps: Caps, broken: Broken) -> None:
    meter = Meter(caps.rate)
    async with to:
        async for message in raw:
            if meter.over():
                broken(f"it sends more than {caps.rate} messages a second (spec.maxRate)")
                return
            await to.send(message)
    broken(ENDED)


def _transport(web: Web, headers: Callable[[], dict[str, str]], caps: Caps, broken: Broken) -> Any:
    """Return what makes the SDK's requests: checked like those of every tool, with bounded answers."""
    import httpx2  # noqa: PLC0415  # heavy, only a live server needs it
    from aiohttp import ClientError, ClientTimeout  # noqa: PLC0415  # costs 0.2 s
    from yarl import URL  # noqa: PLC0415  # comes with aiohttp

    class Body(httpx2.AsyncByteStream):
        """An answer as it comes: in all, or in a second where it has no end, at most as large as a message may be."""

        def __init__(self, answer: Any) -> None:
            self._answer = answer

        async def __aiter__(self) -> "AsyncGenerator[bytes, None]":
            endless = self._answer.content_type == "text/event-stream"
            meter, size = Meter(caps.message), 0
            try:
                async for chunk in self._answer.content.iter_chunked(_CHUNK):
                    size += len(chunk)
                    if meter.over(len(chunk)) or (not endless and size > caps.message):
                        text = f"it sends a message of more than {caps.message} bytes (spec.maxMessage)"
                        broken(text)
                        raise httpx2.ReadError(text)
                    yield chunk
            except (ClientError, OSError) as error:
                raise httpx2.ReadError(type(error).__name__) from error

        async def aclose(self) -> None:
            self._answer.close()

    class Checked(httpx2.AsyncBaseTransport):
        """Sends requests to where they may go."""

        async def handle_async_request(self, request: "httpx2.Request") -> "httpx2.Response":
            url = URL(str(request.url), encoded=True)
            body = await request.aread()
            own = {name: value for name, value in request.headers.items() if name not in _HOP}
            limit = ClientTimeout(total=caps.stop if request.method == "DELETE" else None, sock_connect=caps.start)
            try:
                web.check(url)
                answer = await web.session.request(
                    request.method,
                    url,
                    data=body or None,
                    headers={**own, **headers()},
                    allow_redirects=False,
                    timeout=limit,
                )
            except (ClientError, OSError, LoomdError) as error:
                text = f"{url.host} cannot be reached: {type(error).__name__}"
                text = str(error) if isinstance(error, LoomdError) else text
                broken(text)
                raise httpx2.ConnectError(text) from error
            if answer.status >= HTTPStatus.BAD_REQUEST:
                refusal = await _refusal(answer, caps, in_session=_SESSION in request.headers)
                return httpx2.Response(answer.status, json=refusal, request=request)
            found = [(name, value) for name, value in answer.headers.items() if name.lower() not in _CODED]
            return httpx2.Response(answer.status, headers=found, stream=Body(answer), request=request)

    return Checked()


async def _refusal(answer: Any, caps: Caps, *, in_session: bool) -> dict[str, Any]:
    """Return what a server says that answers with a status of 400 or above: its own error, or the status in words.

    Within a session 404 says that there is no such session any more; the request was not taken.
    """
    from aiohttp import ClientError  # noqa: PLC0415  # costs 0.2 s
    from mcp_types import INTERNAL_ERROR, METHOD_NOT_FOUND  # noqa: PLC0415  # heavy, only a live server needs it

    found: object = None
    with suppress(ClientError, OSError, ValueError):  # a time-out is an OSError, too
        try:
            async with asyncio.timeout(caps.start):
                found = read_json(await answer.content.read(_REFUSAL), ANYTHING)
        finally:
            answer.close()
    status = answer.status
    said = found.get("error") if isinstance(found, dict) else None
    code = said.get("code") if isinstance(said, dict) else None
    missing = status == HTTPStatus.NOT_FOUND
    if missing and in_session and code != METHOD_NOT_FOUND:
        return _error(INTERNAL_ERROR, FORGOTTEN)
    if isinstance(found, dict) and isinstance(said, dict) and "message" in said and code is not None:
        return found
    return _error(METHOD_NOT_FOUND if missing else INTERNAL_ERROR, f"HTTP {status}{_HINTS.get(status, '')}")


def _error(code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}


_SESSION = "mcp-session-id"
_HINTS = {
    HTTPStatus.UNAUTHORIZED: ": check spec.headers, and the secret that is named there",
    HTTPStatus.FORBIDDEN: ": check spec.headers, and what its key may do",
    HTTPStatus.NOT_FOUND: ": check spec.url",
    HTTPStatus.METHOD_NOT_ALLOWED: ": check spec.url",
}
_HOP = frozenset(("host", "connection", "accept-encoding", "content-length", "transfer-encoding", "user-agent"))
_CODED = frozenset(("content-encoding", "content-length", "transfer-encoding"))
