"""One reader of server-sent events: what is written to it, and when it is given up. Called by `stream` and `watch`.

A reader that does not take what it is sent is cut off after a while; whoever emits events never waits for one. When
the server stops, its streams end at once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp import web

from loomd.api.guard import cut, encode
from loomd.api.problem import to_json
from loomd.daemon import System
from loomd.errors import LoomdError, Permanent, Unreachable

_log = logging.getLogger("loomd.api")

KEEPALIVE = 15.0
"""Seconds of silence after which a comment is sent, so that a vanished reader is noticed."""
STOPPING = web.AppKey("stopping", asyncio.Event)
"""Set when the server stops."""
SILENCE = b": \n\n"
"""A comment: it says nothing."""

Send = Callable[[bytes], Awaitable[None]]
"""Sends frames; returns when the reader has room for more."""


async def stream(request: web.Request, system: System, tell: Callable[[Send], Awaitable[None]]) -> web.StreamResponse:
    """Answer with the frames that `tell` sends, until it returns, the reader is gone or stuck, or the server stops.

    What it raises is told as a frame of type `error`.

    Args:
        request: what asked for it.
        system: whose settings say how long a reader may take for what it is sent.
        tell: sends the frames.
    """
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    if request.method == "HEAD":
        return response

    async def send(frames: bytes) -> None:
        try:
            async with asyncio.timeout(system.settings.limits.body_time):
                await response.write(frames)
        except TimeoutError:
            cut(request)
            raise ConnectionResetError from None

    telling = asyncio.ensure_future(_told(tell, send))
    stopping = asyncio.ensure_future(request.config_dict[STOPPING].wait())
    try:
        done, _ = await asyncio.wait([telling, stopping], return_when=asyncio.FIRST_COMPLETED)
    finally:
        telling.cancel()
        stopping.cancel()
        await asyncio.wait([telling, stopping])
    if telling not in done:
        with suppress(ConnectionError):
            await send(_error(Unreachable("the daemon stops")))
    return response


def frame(kind: str, data: bytes, number: int = 0) -> bytes:
    """Return a server-sent event.

    Args:
        kind: its type.
        data: JSON on one line.
        number: what a reader gives as `Last-Event-ID` when it comes again; 0 for none.
    """
    identity = b"id: %d\n" % number if number else b""
    return identity + b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


async def _told(tell: Callable[[Send], Awaitable[None]], send: Send) -> None:
    with suppress(ConnectionError):  # the reader is gone: nobody to tell
        try:
            await tell(send)
        except ConnectionError:
            raise
        except LoomdError as error:
            await send(_error(error))
        except Exception as error:
            _log.exception("a stream failed")
            await send(_error(Permanent(f"internal fault ({type(error).__name__}): the daemon's log says more")))


def _error(error: LoomdError) -> bytes:
    return frame("error", encode(to_json(error)))
