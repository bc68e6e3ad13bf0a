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

_DIALS = 128
"""Connections that are made at once: one under way takes more memory than a call that waits for its turn."""
_DIALLING = 10.0
"""Seconds that making one may take, so that dials that hang do not hold the places of all others for long."""
_KEEP = 30.0
"""Seconds for which an idle connection is kept."""
_RACE = 1.0
"""Seconds within which a used connection is lost when the service was closing it while the request was under way."""

_GRAIN = 0.001
"""Seconds by which a timer may come early."""

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
        self.proxy = route.proxy_address
        self._route = route
        self._sign = sign
        self._signed: tuple[str, Mapping[str, str], bytes] = ("", {}, b"")
        self._idle: deque[Connection] = deque()
        self._all: set[Connection] = set()
        self._dials = asyncio.Semaphore(_DIALS)
        self._sweeper: asyncio.TimerHandle | None = None
        self._ends: dict[Connection, float] = {}
        """When the calls under way are over, by the clock of the event loop."""
        self._watcher: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(self, body: Callable[[], bytes], key: str, headers: Mapping[str, str], end: float) -> Response:
        """Send a request; see `Transport`."""
        connection, used, again = self._take(), True, False
        while True:
            if connection is None:
                connection, used = await self._connect(end, fresh=again)
            sent = self._watch(connection, end)
            try:
                connection.send(_whole(self._front(key, headers), body()))  # kept nowhere
                while (head := connection.head) is None:
                    await connection.news()
                return _HttpResponse(self, connection, head)
            except Broken:
                self.leave(connection)
                # A service closes an idle connection whenever it likes, also while a request is on its way to it.
                if not used or connection.heard or asyncio.get_running_loop().time() - sent > _RACE:
                    raise
                connection, again = None, True
            except BaseException:
                self.leave(connection)
                raise

    async def close(self) -> None:
        """Release all connections."""
        self._closed = True
        for timer in (self._sweeper, self._watcher):
            if timer is not None:
                timer.cancel()
        await asyncio.gather(*[connection.closed() for connection in self._all])

    def give_back(self, connection: Connection, *, whole: bool) -> None:
        """Take a connection whose answer is done with: for another request, when it can be used for one.

        Args:
            connection: the connection.
            whole: all that matters of the answer came; the end of the body may still be on its way.
        """
        self._ends.pop(connection, None)
        if whole and not connection.ended:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(LINGER, connection.abort)
            connection.drain(lambda: self._settle(connection, timer))
        elif not connection.release() or self._closed:
            connection.abort()
        else:
            self._keep(connection)

    def leave(self, connection: Connection) -> None:
        """Give up a connection with the call on it."""
        self._ends.pop(connection, None)
        connection.abort()

    def _watch(self, connection: Connection, end: float) -> float:
        """Let the call on a connection fail when it is over, and return the time; one timer watches over all calls."""
        loop = asyncio.get_running_loop()
        self._ends[connection] = end
        if self._watcher is None or end < self._watcher.when():
            if self._watcher is not None:
                self._watcher.cancel()
            self._watcher = loop.call_at(end, self._end_late)
        return loop.time()

    def _end_late(self) -> None:
        """Fail the calls that are over."""
        loop = asyncio.get_running_loop()
        self._watcher, now = None, loop.time() + _GRAIN
        for connection in [one for one, end in self._ends.items() if end <= now]:
            del self._ends[connection]
            connection.fail(TimeoutError())
        if self._ends and not self._closed:
            self._watcher = loop.call_at(min(self._ends.values()), self._end_late)

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

    async def _connect(self, end: float, *, fresh: bool) -> tuple[Connection, bool]:
        """Return a connection, and whether it was used before: one that came back while this call waited for a place.

        Args:
            end: when the call is over.
            fresh: whether it must be a new one.

        Raises:
            TimeoutError: the call is over.
            Broken: no connection was made.
        """
        async with asyncio.timeout_at(end), self._dials:
            if not fresh and (known := self._take()) is not None:
                return known, True
            try:
                async with asyncio.timeout(_DIALLING):
                    connection = await dial(self._route, lambda: Connection(self._all.discard))
            except TimeoutError:
                raise Broken(f"no connection was made within {_DIALLING:g} s") from None
        self._all.add(connection)
        return connection, False

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


def _whole(front: bytes, body: bytes) -> bytes:
    """Return a request as it is sent."""
    return b"%b%d\r\n\r\n%b" % (front, len(body), body)


class _HttpResponse:
    """An answer that is being read."""

    __slots__ = ("_connection", "_transport", "headers", "read", "status")

    def __init__(self, transport: HttpTransport, connection: Connection, head: Head) -> None:
        self.status = head.status
        self.headers = head.headers
        self.read = connection.read
        self._transport = transport
        self._connection = connection

    async def close(self, *, whole: bool) -> None:
        self._transport.give_back(self._connection, whole=whole)
