"""What is there and what becomes of it, as server-sent events: ADDED, MODIFIED, DELETED, and BOOKMARK once all is told.

Nothing is queued for a reader: it is told the difference between what it saw last and what is there when it is ready
for more, so a slow one misses what lies between and never the end. Every watch begins with all that is there, so there
is nothing to take up again: `Last-Event-ID` says nothing here. Called by the route modules.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from loomd.api.guard import encode
from loomd.api.reader import KEEPALIVE, SILENCE, Send, frame, stream
from loomd.daemon import System
from loomd.events.event import Event
from loomd.events.fact import Fact

REFRESH = 1.0
"""Seconds after which a watcher looks again without being told: conditions change without an event."""
PAUSE = 0.05
"""Seconds between two looks, so that many changes at once are told together."""


@dataclass(frozen=True)
class Shown:
    """One thing that is watched: what tells two states of it apart, and how it is shown."""

    state: object
    show: Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Sight:
    """What a look found, by a key that names it.

    Attributes:
        things: what was found.
        whole: whether that is all there is, so that what is missing is gone.
    """

    things: Mapping[str, Shown]
    whole: bool = True


Look = Callable[[float, frozenset[str]], Awaitable[Sight]]
"""Returns what is there: at the given moment of the event loop's clock or later, after events of the given tasks."""


class Lookout:
    """Looks on behalf of all who watch the same: as often as one of them needs to, not as often as there are some."""

    def __init__(self, look: Callable[[], Awaitable[Mapping[str, Shown]]]) -> None:
        self._look = look
        self._began = -1.0
        self._seen: Mapping[str, Shown] = {}
        self._lock = asyncio.Lock()

    async def since(self, moment: float) -> Mapping[str, Shown]:
        """Return what there was at a moment of the event loop's clock, or later."""
        async with self._lock:
            if self._began < moment:
                self._began = _now()
                self._seen = await self._look()
            return self._seen


class Watch:
    """What one reader knows, and what it is told next.

    Args:
        system: whose events wake the watcher.
        look: what is there.
        moves: facts after which it is worth to look again at once.
    """

    def __init__(self, system: System, look: Look, moves: tuple[type[Fact], ...]) -> None:
        self._system = system
        self._look = look
        self._moves = moves
        self._woken = asyncio.Event()
        self._moved: set[str] = set()
        self._since = _now()
        self._known: dict[str, tuple[object, Mapping[str, Any]]] = {}

    async def tell(self, send: Send) -> None:
        """Send what is there and then every change, until the reader leaves."""
        unsubscribe = self._system.bus.subscribe(self._hear, *self._moves)
        try:
            version = str(self._system.reconciler.number)
            mark = encode({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": version}}})
            await send(b"".join([*await self._news(), frame("BOOKMARK", mark)]))
            silent = 0.0
            while True:
                await asyncio.sleep(PAUSE)
                silent += await self._wait()
                frames = await self._news()
                if frames or silent >= KEEPALIVE:
                    silent = 0.0
                    await send(b"".join(frames) or SILENCE)
        finally:
            unsubscribe()

    def _hear(self, event: Event) -> None:
        if isinstance(event.data, self._moves):
            self._moved.add(event.task)
            self._since = _now()
            self._woken.set()

    async def _wait(self) -> float:
        """Wait until it is worth to look again and return the seconds that it took."""
        began = _now()
        try:
            async with asyncio.timeout(REFRESH):
                await self._woken.wait()
        except TimeoutError:
            if not self._woken.is_set():
                self._since = _now() - REFRESH / 2  # what another watcher has seen a moment ago will do
        return _now() - began

    async def _news(self) -> list[bytes]:
        """Return what leads from what the reader knows to what is there, and note that it knows it."""
        self._woken.clear()
        moved, self._moved = frozenset(self._moved), set()
        sight = await self._look(self._since, moved)
        frames: list[bytes] = []
        for key, one in sight.things.items():
            before = self._known.get(key)
            if before is None or before[0] != one.state:
                body = one.show()
                self._known[key] = (one.state, body if sight.whole else {})
                frames.append(_news("ADDED" if before is None else "MODIFIED", body))
        if sight.whole:
            gone = [key for key in self._known if key not in sight.things]
            frames.extend(_news("DELETED", self._known.pop(key)[1]) for key in gone)
        return frames


async def watch(request: web.Request, system: System, look: Look, moves: tuple[type[Fact], ...]) -> web.StreamResponse:
    """Answer with what is there and then with every change, until the reader leaves."""
    return await stream(request, system, Watch(system, look, moves).tell)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _news(kind: str, body: Mapping[str, Any]) -> bytes:
    return frame(kind, encode({"type": kind, "object": body}))
