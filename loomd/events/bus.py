"""Spreads events to whoever listens. Emitting never blocks and never fails because of a listener.

A handler is a plain call and must be quick (the journal's is an append to a list). A stream is a bounded queue for a
slow reader; one that falls behind is ended and told so, the emitter is never slowed.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

from loomd.clock import Clock
from loomd.errors import Overloaded
from loomd.events.event import AnyFact, Event

Handler = Callable[[Event], None]

_log = logging.getLogger("loomd.events")


class Bus:
    """One bus per process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._handlers: tuple[Handler, ...] = ()

    def subscribe(self, handler: Handler) -> Callable[[], None]:
        """Call `handler` with every event from now on; the returned function ends that."""
        self._handlers = (*self._handlers, handler)

        def unsubscribe() -> None:
            self._handlers = tuple(h for h in self._handlers if h is not handler)

        return unsubscribe

    def emit(self, fact: AnyFact, scope: "Scope | None" = None, agent: str = "") -> Event:
        """Wrap a fact in its envelope and spread it."""
        event = self.wrap(fact, scope, agent)
        self.publish(event)
        return event

    def wrap(self, fact: AnyFact, scope: "Scope | None" = None, agent: str = "") -> Event:
        """Return the event for a fact without spreading it."""
        if scope is None:
            return Event(fact, self._clock.now(), agent=agent)
        return Event(fact, self._clock.now(), scope.task, agent, scope.parent, scope.namespace, scope.revision)

    def publish(self, event: Event) -> None:
        """Hand an event to every listener."""
        for handler in self._handlers:
            try:
                handler(event)
            except Exception:
                _log.exception("a listener failed on %s", event.type)

    @asynccontextmanager
    async def stream(self, limit: int = 10_000) -> AsyncGenerator[AsyncIterator[Event], None]:
        """Yield an iterator over the events from now on; at most `limit` may wait.

        Raises:
            Overloaded: from the iterator, when the reader fell behind.
        """
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        behind = False

        def put(event: Event) -> None:
            nonlocal behind
            if behind:
                return
            if queue.qsize() >= limit:
                behind = True
                queue.put_nowait(None)
            else:
                queue.put_nowait(event)

        async def read() -> AsyncIterator[Event]:
            while (event := await queue.get()) is not None:
                yield event
            raise Overloaded("this reader fell behind the events: read again from the journal")

        unsubscribe = self.subscribe(put)
        try:
            yield read()
        finally:
            unsubscribe()


class Scope:
    """The envelope that all events of one task share."""

    __slots__ = ("bus", "namespace", "parent", "revision", "task")

    def __init__(self, bus: Bus, task: str, parent: str = "", namespace: str = "default", revision: str = "") -> None:
        self.bus = bus
        self.task = task
        self.parent = parent
        self.namespace = namespace
        self.revision = revision

    def emit(self, fact: AnyFact, agent: str = "") -> Event:
        """Spread a fact of this task."""
        return self.bus.emit(fact, self, agent)
