"""Events as server-sent events: replayed from the journal, then live, without a gap and without a duplicate.

What has a number is sent only when it is on disk, so that `Last-Event-ID` always leads back. A reader that falls
behind is dropped with an `error` event; the emitter is never slowed.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import msgspec
from aiohttp import web

from loomd.daemon import System
from loomd.errors import LoomdError, Permanent
from loomd.events.event import Event

KEEPALIVE = 15.0
"""Seconds of silence after which a comment is sent, so that a vanished reader is noticed."""

_PAGE = 1000

_encode = msgspec.json.Encoder().encode


async def stream_events(request: web.Request, system: System) -> web.StreamResponse:
    """Answer with the events after `after` or `Last-Event-ID`; of one task and its children when `task` is given."""
    after = _after(request)
    task = request.query.get("task", "")
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    try:
        if request.query.get("follow") == "1":
            await _follow(response, system, after, task)
        else:
            await _replay(response, system, after, task)
    except LoomdError as error:
        await response.write(b"event: error\ndata: " + _encode(str(error)) + b"\n\n")
    except ConnectionError:
        return response  # the reader is gone: nobody to tell
    await response.write_eof()
    return response


async def _replay(response: web.StreamResponse, system: System, after: int, task: str) -> int:
    """Send what is in the journal and return the last number."""
    while True:
        rows = await system.store.read(after=after, task=task, limit=_PAGE, tree=True)
        await response.write(b"".join(_frame(row.seq, row.type, row.body) for row in rows))
        after = rows[-1].seq if rows else after
        if len(rows) < _PAGE:
            return after


async def _follow(response: web.StreamResponse, system: System, after: int, task: str) -> None:
    async with system.bus.stream() as live:
        after = await _replay(response, system, after, task)
        async with aclosing(_or_silence(live)) as events:
            async for event in events:
                if event is None:
                    await response.write(b": \n\n")
                elif _belongs(event, task) and (event.seq == 0 or event.seq > after):
                    await system.store.durable(event.seq)
                    await response.write(_frame(event.seq, event.type, _encode(event)))


async def _or_silence(live: AsyncIterator[Event]) -> AsyncGenerator[Event | None, None]:
    """Yield events as they come, and None after a while without any."""
    pending = asyncio.ensure_future(anext(live))
    try:
        while True:
            done, _ = await asyncio.wait([pending], timeout=KEEPALIVE)
            if not done:
                yield None
                continue
            yield pending.result()
            pending = asyncio.ensure_future(anext(live))
    finally:
        pending.cancel()


def _belongs(event: Event, task: str) -> bool:
    return not task or event.task == task or event.task.startswith(f"{task}.")


def _frame(seq: int, kind: str, body: bytes) -> bytes:
    number = b"id: %d\n" % seq if seq else b""
    return number + b"event: " + kind.encode() + b"\ndata: " + body + b"\n\n"


def _after(request: web.Request) -> int:
    said = request.headers.get("Last-Event-ID") or request.query.get("after") or "0"
    if not said.isdigit():
        raise Permanent(f"after: expected a sequence number, got {said!r}")
    return int(said)
