"""One connection to a service: a request goes out, its answer comes in, and then the next may follow.

It never decides where to connect (`dial`) or whether to send again (`http`); one request at a time. Only as much of a
body is taken from the socket as its reader keeps up with.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from loomd.providers.framing import HEAD_LIMIT, Body, Garbled, Head, read_head
from loomd.providers.transport import Broken

_AHEAD = 1 << 18
"""Bytes of a body that may wait for their reader."""
_BUFFER = memoryview(bytearray(1 << 16))
"""What the socket is read into."""


class Connection(asyncio.BufferedProtocol):
    """A connection over TCP or TLS."""

    __slots__ = (
        "_ahead",
        "_block",
        "_body",
        "_busy",
        "_error",
        "_gone",
        "_over",
        "_paused",
        "_pieces",
        "_settled",
        "_transport",
        "_waiter",
        "head",
        "heard",
        "idle_since",
    )

    def __init__(self, gone: Callable[["Connection"], None]) -> None:
        """Take what is called once the connection is over."""
        self.idle_since = 0.0
        """Time of the event loop's clock at which its last answer ended."""
        self.heard = False
        """Whether any byte of the current answer came."""
        self.head: Head | None = None
        """The head of the current answer; None until it came, see `news`."""
        self._gone = gone
        self._transport: asyncio.Transport | None = None
        self._over: asyncio.Future[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._busy = False
        self._block = b""
        self._body: Body | None = None
        self._pieces: list[bytes] = []
        self._ahead = 0
        self._paused = False
        self._settled: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; asyncio calls it, and `dial` after a tunnel was built."""
        self._transport = cast("asyncio.Transport", transport)

    @property
    def usable(self) -> bool:
        """Return whether another request may be sent."""
        return (
            self._error is None and not self._busy and self._transport is not None and not self._transport.is_closing()
        )

    def send(self, data: bytes) -> None:
        """Begin a request with all of its bytes."""
        self._busy, self.heard, self._block, self.head, self._body = True, False, b"", None, None
        if self._transport is not None:
            self._transport.write(data)

    def news(self) -> asyncio.Future[None]:
        """Return what ends when something more of the answer came.

        Raises:
            Broken: the connection ended, or what came is no HTTP.
            Exception: what `fail` was given.
        """
        if self._error is not None:
            raise self._error
        self._waiter = waiter = asyncio.get_running_loop().create_future()
        return waiter

    async def read(self) -> bytes:
        """Return the body that came since, empty at its end.

        Raises:
            Broken: the connection ended before the body, or what came is no HTTP.
            Exception: what `fail` was given.
        """
        while not self._pieces:
            if self._body is not None and self._body.done:
                return b""
            await self.news()
        piece = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._ahead = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return piece

    @property
    def ended(self) -> bool:
        """Return whether the whole body came."""
        return self._body is not None and self._body.done

    def release(self) -> bool:
        """End the answer and return whether the connection may be used again; otherwise it is closed."""
        if self.ended and self.head is not None and self.head.keep and self._body is not None:
            self._busy = self._body.excess
            self._pieces.clear()
        if not self.usable or self._paused:
            self.abort()
            return False
        self._ahead = 0
        return True

    def drain(self, settled: Callable[[], None]) -> None:
        """Throw away what is left of the body, and call back when it is over or the connection is."""
        self._pieces.clear()
        self._settled = settled
        if self._paused:
            self.abort()
        self._wake()

    def fail(self, error: Exception) -> None:
        """Close the connection; whoever waits for the answer gets the error."""
        if self._error is None:
            self._error = error
        self.abort()
        self._wake()

    def abort(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    async def closed(self) -> None:
        """Close the connection and wait until it is."""
        if self._transport is not None:
            self._over = asyncio.get_running_loop().create_future()
            self._transport.abort()
            await self._over

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go; asyncio calls it. All connections share it: what came is taken at once."""
        del sizehint
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Take what came; asyncio calls it."""
        data = bytes(_BUFFER[:nbytes])
        if not self._busy:
            self.abort()  # nobody asked: it says goodbye, or is no HTTP server
            return
        self.heard = True
        try:
            if self._body is None:
                data = self._take_head(data)
            if self._body is not None:
                self._take_body(self._body, data)
        except Garbled as error:
            self.fail(Broken(f"what came is no HTTP answer: {error}"))
            return
        self._wake()

    def eof_received(self) -> None:
        """Take the end of what comes; asyncio calls it and closes the connection."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of the connection; asyncio calls it."""
        self._transport = None
        if self._error is not None:
            pass  # we closed it
        elif exc is None and self._body is not None and self._body.end():
            self._body.done = True
        else:
            self._error = Broken(type(exc).__name__ if exc else "it was closed before the answer ended")
        self._gone(self)
        self._wake()
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

    def _take_head(self, data: bytes) -> bytes:
        """Look for the head and return what is beyond it."""
        while True:
            block = self._block + data if self._block else data
            end = block.find(b"\r\n\r\n")
            if end < 0:
                if len(block) > HEAD_LIMIT:
                    raise Garbled(f"its head is longer than {HEAD_LIMIT} bytes")
                self._block = block
                return b""
            head, data, self._block = read_head(block[:end]), block[end + 4 :], b""
            if head.status >= 200:  # what comes before is no answer yet
                self.head, self._body = head, head.body()
                return data

    def _take_body(self, body: Body, data: bytes) -> None:
        if body.done:
            body.excess = body.excess or bool(data)
            return
        piece = body.feed(data) if data else b""
        if not piece or self._settled is not None:
            return
        self._pieces.append(piece)
        self._ahead += len(piece)
        if self._ahead > _AHEAD and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _wake(self) -> None:
        if (waiter := self._waiter) is not None:
            self._waiter = None
            if not waiter.done():  # whoever waited is gone
                waiter.set_result(None)
        if self._settled is not None and (self.ended or self._error is not None or self._transport is None):
            settled, self._settled = self._settled, None
            settled()
