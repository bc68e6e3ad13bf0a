"""Where the API listens: a Unix socket always, a TCP address when the settings name one.

Each listener has connections of its own, fewer than the process may open files, and a few more that get no further
than its health. Called by `server`.
"""

import asyncio
import logging
import resource
import socket
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from loomd.api.guard import Guard
from loomd.api.path import LONGEST_LINE
from loomd.api.reader import STOPPING
from loomd.api.socket import bound
from loomd.daemon import System
from loomd.errors import Conflict, Permanent
from loomd.settings import parse_address

CLOSING = 5.0
"""Seconds that open streams get when the server stops: only who does not read, or hears too late, is cut off."""
LINGER = 1.0
"""Seconds that the rest of a refused body is still taken, so that the client reads why."""
SPARE = 16
"""Connections of a listener beyond its limit, for those who ask for its health."""
KEPT_FILES = 128
"""Open files that are left to the store, the sources and the tasks."""

_log = logging.getLogger("loomd.api")
_log_of_http = logging.getLogger("loomd.api.http")
AddRoutes = Callable[[web.Application], None]


@asynccontextmanager
async def listening(system: System, add_routes: AddRoutes) -> AsyncGenerator[None, None]:
    """Answer requests for as long as the context lasts.

    Raises:
        Conflict: another process listens there.
        Permanent: the socket or the address cannot be used.
    """
    settings = system.settings
    async with AsyncExitStack() as stack:
        local = stack.enter_context(bound(settings.socket, int(settings.socket_mode, 8)))
        await stack.enter_async_context(_answering(system, add_routes, local, remote=False))
        if settings.listen:
            remote = stack.enter_context(bound_address(settings.listen))
            await stack.enter_async_context(_answering(system, add_routes, remote, remote=True))
        yield


@contextmanager
def bound_address(text: str) -> Generator[socket.socket]:
    """Yield a socket that is bound to `host:port`.

    Raises:
        Conflict: another process listens there.
        Permanent: it is no address of this machine, or may not be used.
    """
    host, port = parse_address(text)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise Permanent(f"listen {text}: {error.strerror or error}: choose another address") from error
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
        except OSError as error:
            refused = Conflict if error.errno == 98 else Permanent
            raise refused(f"listen {text}: {error.strerror or error}: choose another address") from error
        yield listener


@asynccontextmanager
async def _answering(
    system: System, add_routes: AddRoutes, listener: socket.socket, *, remote: bool
) -> AsyncGenerator[None, None]:
    limits = system.settings.limits
    most = _room(limits.connections)
    guard = Guard(system, lambda request: door.is_late(request.protocol), remote)
    app = web.Application(middlewares=guard.middlewares, client_max_size=limits.body)
    stopping = app[STOPPING] = asyncio.Event()
    add_routes(app)
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_log_of_http,
        shutdown_timeout=CLOSING,
        handle_signals=False,
        keepalive_timeout=limits.header_time,  # counts from the start of a connection, whatever trickles in
        lingering_time=LINGER,
        auto_decompress=False,
        max_line_size=LONGEST_LINE,
    )
    await runner.setup()
    if runner.server is None:
        raise AssertionError("a runner that is set up has a server")
    door = _Door(runner.server, most)
    opened = await asyncio.get_running_loop().create_server(door, sock=listener)
    _log.info("answers on %s", _name(listener))
    try:
        yield
    finally:
        stopping.set()
        opened.close()
        await runner.cleanup()


class _Door:
    """Lets connections in; beyond the last place they are closed at once."""

    def __init__(self, server: web.Server, most: int) -> None:
        self._server = server
        self._most = most

    def __call__(self) -> asyncio.Protocol:
        return _Arrival(self)

    def admit(self, transport: asyncio.BaseTransport) -> None:
        """Hand a connection to the server, or close it. Not before it is made: many may arrive at once."""
        if len(self._server.connections) >= self._most + SPARE:
            transport.close()
            return
        handler = self._server()
        transport.set_protocol(handler)
        handler.connection_made(transport)

    def is_late(self, connection: asyncio.Protocol) -> bool:
        """Return whether a connection is one too many: those that were there before it go on."""
        return connection in self._server.connections[self._most :]


class _Arrival(asyncio.Protocol):
    """A connection before it is let in."""

    def __init__(self, door: _Door) -> None:
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a place."""
        self._door.admit(transport)


def _room(wanted: int) -> int:
    """Return how many connections a listener may have, so that both leave files for everything else."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = max(1, (files - KEPT_FILES) // 2 - SPARE)
    if possible < wanted:
        _log.warning("%d connections instead of %d: the process may open %d files only", possible, wanted, files)
    return min(wanted, possible)


def _name(listener: socket.socket) -> str:
    address = listener.getsockname()
    if isinstance(address, str):
        return address
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


def _without_requests(record: logging.LogRecord) -> bool:
    """Keep what a client sent out of the log: who speaks no HTTP is answered, and an error is named only."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        return False
    if error is not None:
        record.msg, record.exc_info = f"{record.msg}: {type(error).__name__}", None
    return True


_log_of_http.addFilter(_without_requests)
