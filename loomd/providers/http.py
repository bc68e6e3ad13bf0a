"""Our own client: one service, its connections kept open, and as little as possible around each request.

Redirects are not followed, because a key must not travel to another place; cookies are not kept; answers are asked for
uncompressed. A request is sent a second time only when a connection that had been used before turned out to be closed
before anything of the answer came.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

from loomd.providers.connection import Connection
from loomd.providers.dial import Route, dial, plan_route
from loomd.providers.framing import Head
from loomd.providers.transport import LINGER, Broken, Response

_KEEP = 30.0
"""Seconds for which an idle connection is kept."""
_RACE = 1.0
"""Seconds within which a used connection is lost when the service was closing it while the request was under way."""

_FRAMING = frozenset(("content-length", "transfer-encoding"))
"""Headers that say where a body ends; they are not for manifests."""

Sign = Callable[[str], Mapping[str, str]]
"""Returns the headers that carry a key; an empty one is none."""


async def open_http(owner: str, url: str, path: str, sign: Sign) -> "HttpTransport":
    """Return the way to a service.

    Args:
        owner: `Provider/name`, for messages.
        url: address of the service; a path and a query of it are kept.
        path: what is asked for below it.
        sign: makes the headers of a key.

    Raises:
        Permanent: the environment names a proxy that cannot be used.
    """
    return HttpTransport(await asyncio.to_thread(plan_route, owner, url, path), sign)


class HttpTransport:
    """Carries requests over connections that are kept open."""

    decodes = False

    def __init__(self, route: Route, sign: Sign) -> None:
        self._route = route
        self._sign = sign
        self._signed: tuple[str, Mapping[str, str], bytes] = ("", {}, b"")
        self._idle: deque[Connection] = deque()
        self._all: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(self, body: bytes, key: str, headers: Mapping[str, str], end: float) -> Response:
        """Send a request; see `Transport`."""
        data = b"%b%d\r\n\r\n%b" % (self._front(key, headers), len(body), body)
        connection = self._take()
        if connection is None:
            return await self._exchange(await self._dial(end), data, end)
        sent = asyncio.get_running_loop().time()
        try:
            return await self._exchange(connection, data, end)
        except Broken:
            # A service closes an idle connection whenever it likes, also while a request is on its way to it.
            if connection.heard or asyncio.get_running_loop().time() - sent > _RACE:
                raise
        return await self._exchange(await self._dial(end), data, end)

    async def close(self) -> None:
        """Release all connections."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        await asyncio.gather(*[connection.closed() for connection in self._all])

    def give_back(self, connection: Connection, *, whole: bool) -> None:
        """Take a connection whose answer is done with: for another request, when it can be used for one.

        Args:
            connection: the connection.
            whole: all that matters of the answer came; the end of the body may still be on its way.
        """
        if whole and not connection.ended:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(LINGER, connection.abort)
            connection.drain(lambda: self._settle(connection, timer))
        elif not connection.release() or self._closed:
            connection.abort()
        else:
            self._keep(connection)

    def _settle(self, connection: Connection, timer: asyncio.TimerHandle) -> None:
        timer.cancel()
        self.give_back(connection, whole=False)

    def _keep(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweeper = loop.call_later(_KEEP, self._sweep)

    def _take(self) -> Connection | None:
        """Return the connection that was used last, if there is one."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.abort()
        return None

    def _sweep(self) -> None:
        """Close what was idle for too long; the longest idle are in front."""
        loop = asyncio.get_running_loop()
        while self._idle and (not self._idle[0].usable or loop.time() - self._idle[0].idle_since >= _KEEP):
            self._idle.popleft().abort()
        self._sweeper = None
        if self._idle:
            self._sweeper = loop.call_at(self._idle[0].idle_since + _KEEP, self._sweep)

    async def _dial(self, end: float) -> Connection:
        async with asyncio.timeout_at(end):
            connection = await dial(self._route, lambda: Connection(self._all.discard))
        self._all.add(connection)
        return connection

    async def _exchange(self, connection: Connection, data: bytes, end: float) -> Response:
        timer = asyncio.get_running_loop().call_at(end, connection.fail, TimeoutError())
        try:
            connection.send(data)
            head = await connection.head()
        except BaseException:
            timer.cancel()
            connection.abort()
            raise
        return _HttpResponse(self, connection, head, timer)

    def _front(self, key: str, headers: Mapping[str, str]) -> bytes:
        """Return a request's head up to the length of its body; it is made again only when the headers changed."""
        known_key, known, front = self._signed
        if front and key == known_key and headers == known:
            return front
        route = self._route
        named = {"host": f"Host: {route.host}\r\n", "accept": "Accept: */*\r\n", "user-agent": "User-Agent: loomd\r\n"}
        named |= {
            "content-type": "Content-Type: application/json\r\n",
            "accept-encoding": "Accept-Encoding: identity\r\n",
        }
        named |= {"authorization": route.key, "proxy-authorization": "" if route.place.tls else route.proxy_key}
        for more in (self._sign(key), headers):
            named |= {name.lower(): f"{name}: {value}\r\n" for name, value in more.items()}
        lines = "".join(line for name, line in named.items() if name not in _FRAMING)
        front = f"POST {route.target} HTTP/1.1\r\n{lines}Content-Length: ".encode("latin-1")
        self._signed = (key, dict(headers), front)
        return front


class _HttpResponse:
    """An answer that is being read; one timer watches over the whole call."""

    __slots__ = ("_connection", "_timer", "_transport", "headers", "read", "status")

    def __init__(
        self, transport: HttpTransport, connection: Connection, head: Head, timer: asyncio.TimerHandle
    ) -> None:
        self.status = head.status
        self.headers = head.headers
        self.read = connection.read
        self._transport = transport
        self._connection = connection
        self._timer = timer

    async def close(self, *, whole: bool) -> None:
        self._timer.cancel()
        self._transport.give_back(self._connection, whole=whole)
