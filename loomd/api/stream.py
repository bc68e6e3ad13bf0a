"""Events as server-sent events: replayed from the journal, then live, without a gap and without a duplicate.

An event's `id` is its number in the journal. What has a number is sent only when it is on disk, so that
`Last-Event-ID` always leads back, also after a restart. The number goes on in the comments that break a silence, so
that a reader who is told little need not begin far behind. A reader that falls behind is dropped with an `error`
event, and goes on from the journal when it comes again; the emitter is never slowed.
"""

import asyncio

import msgspec
from aiohttp import web

from loomd.api.exchange import flag, whole_number
from loomd.api.filter import Filter, read_filter
from loomd.api.reader import KEEPALIVE, SILENCE, Send, frame, stream
from loomd.daemon import System
from loomd.errors import Conflict
from loomd.events.bus import Stream
from loomd.events.event import Event, EventsMissing

_PAGE = 500
"""Rows of the journal that are read at once."""
_PIECE = 1 << 18
"""Bytes that are sent at once."""
_WAITING = 10_000
"""Events that may wait for one reader."""
_NOW = "now"

_encode = msgspec.json.Encoder().encode


async def stream_events(request: web.Request, system: System) -> web.StreamResponse:
    """Answer with the events after `Last-Event-ID` or `after`, and with `follow=1` go on with what happens.

    `after=now` is what happens from now on. What else may be asked is in `filter`.

    Raises:
        BadRequest: a number is none.
        NotFound: there is no such type of events.
    """
    said = request.headers.get("Last-Event-ID") or request.query.get("after") or "0"
    after = None if said == _NOW else whole_number(said, "after")
    reader = _Reader(system, read_filter(request))
    follow = flag(request, "follow")

    async def tell(send: Send) -> None:
        await reader.begin(send, after)
        if follow:
            await reader.follow(send)
        else:
            await reader.replay(send)

    return await stream(request, system, tell)


class _Reader:
    """One reader: how far it has come, and how it gets further."""

    def __init__(self, system: System, wanted: Filter) -> None:
        self._system = system
        self._store = system.store
        self._wanted = wanted
        self._after = 0
        self._told = 0

    async def begin(self, send: Send, after: int | None) -> None:
        """Take up the number that the reader knows; say what is not there any more.

        Raises:
            Conflict: the journal never came so far: it is another one.
        """
        extent = await self._store.extent()
        self._after = extent.last if after is None else after
        if self._after > extent.last:
            raise Conflict(
                f"the journal ends at {extent.last}, not at {self._after} or later: "
                "it is another one, or was restored from a backup; read it from the beginning"
            )
        self._told = self._after if after is not None else 0
        if self._after < extent.trimmed and not await self._is_whole():
            missing = Event(EventsMissing(self._after, extent.trimmed), self._system.clock.now())
            await send(frame(missing.type, _encode(missing)))

    async def _is_whole(self) -> bool:
        """Return whether all events of the one task that is wanted are there: they go after its record."""
        return bool(self._wanted.task) and await self._store.get_task(self._wanted.task) is not None

    async def replay(self, send: Send) -> None:
        """Send what is in the journal."""
        loop = asyncio.get_running_loop()
        quiet = loop.time()
        while True:
            rows = await self._store.read(after=self._after, task=self._wanted.task, limit=_PAGE, tree=True)
            chosen = [row for row in rows if self._wanted.takes_row(row)]
            self._after = rows[-1].seq if rows else self._after
            if chosen:
                await self._send(send, [frame(row.type, row.body, row.seq) for row in chosen])
                self._told = chosen[-1].seq
                quiet = loop.time()
            elif loop.time() - quiet > KEEPALIVE:
                await self._reassure(send)
                quiet = loop.time()
            if len(rows) < _PAGE:
                return

    async def follow(self, send: Send) -> None:
        """Send what is in the journal, and then what happens.

        Raises:
            Overloaded: the reader fell behind.
        """
        await self.replay(send)  # with a long way to go nothing needs to wait beside it
        async with self._system.bus.stream(_WAITING, self._wanted.takes) as live:
            live.seen = self._after
            await self.replay(send)
            await self._reassure(send)
            while True:
                try:
                    async with asyncio.timeout(KEEPALIVE):
                        events = await live.batch()
                except TimeoutError:
                    if live.idle:  # otherwise something came in that very moment
                        await self._skip(live)
                        await self._reassure(send)
                else:
                    await self._pass_on(send, events)

    async def _pass_on(self, send: Send, events: list[Event]) -> None:
        """Send events that just happened, once they are on disk, but none that was read from the journal.

        Nor one without a number that came before such: it is over.
        """
        last = max(event.seq for event in events)
        await self._store.durable(last)
        known = max((at for at, event in enumerate(events, 1) if 0 < event.seq <= self._after), default=0)
        fresh = [
            event for at, event in enumerate(events) if event.seq > self._after or (event.seq == 0 and at >= known)
        ]
        await self._send(send, [frame(event.type, _encode(event), event.seq) for event in fresh])
        if last > self._after:
            self._after = self._told = last

    async def _skip(self, live: Stream) -> None:
        """Go past the events that nobody wants."""
        seen = live.seen
        if seen > self._after:
            await self._store.durable(seen)
            self._after = seen

    async def _reassure(self, send: Send) -> None:
        """Send a comment, with the number that the reader has come to when it does not know it."""
        fresh, self._told = self._after > self._told, self._after
        await send(b": \nid: %d\n\n" % self._after if fresh else SILENCE)

    async def _send(self, send: Send, frames: list[bytes]) -> None:
        piece: list[bytes] = []
        size = 0
        for one in frames:
            piece.append(one)
            size += len(one)
            if size >= _PIECE:
                await send(b"".join(piece))
                piece, size = [], 0
        if piece:
            await send(b"".join(piece))
