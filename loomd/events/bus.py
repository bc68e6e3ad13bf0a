"""Spreads events to whoever listens. Emitting never blocks and never fails because of a listener.

A handler is a plain call and must be quick. What is not transient is journaled first, so that it has a number. A
stream is a bounded queue for a slow reader; one that falls behind is ended and told so, the emitter is never slowed.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from loomd.clock import Clock
from loomd.errors import Overloaded
from loomd.events.event import TRANSIENT, AnyFact, Event

Handler = Callable[[Event], None]

Recorder = Callable[[Event, str], int]
"""Takes an event and its checkpoint key (or "") into the journal and returns its sequence number."""

_log = logging.getLogger("loomd.events")


class Bus:
    """One bus per process."""

    def __init__(self, clock: Clock, record: Recorder | None = None) -> None:
        self._clock = clock
        self._record = record
        self._handlers: tuple[Handler, ...] = ()

    def subscribe(self, handler: Handler) -> Callable[[], None]:
        """Call `handler` with every event from now on; the returned function ends that."""
        self._handlers = (*self._handlers, handler)

        def unsubscribe() -> None:
            self._handlers = tuple(h for h in self._handlers if h is not handler)

        return unsubscribe

    def emit(self, fact: AnyFact, scope: "Scope | None" = None, agent: str = "", key: str = "") -> Event:
        """Wrap a fact in its envelope, journal it unless it is transient, and hand it to every listener.

        Args:
            fact: what happened.
            scope: the task that it belongs to, or None for the system.
            agent: who did it.
            key: checkpoint key in the journal, stored at most once per task.

        Returns:
            the event; its `seq` can be waited for with `Store.durable`.
        """
        if scope is None:
            event = Event(fact, self._clock.now(), agent=agent)
        else:
            event = Event(fact, self._clock.now(), scope.task, agent, scope.parent, scope.namespace, scope.revision)
        if self._record is not None and not isinstance(fact, TRANSIENT):
            msgspec.structs.force_setattr(event, "seq", self._record(event, key))
        for handler in self._handlers:
            try:
                handler(event)
            except Exception:
                _log.exception("a listener failed on %s", event.type)
        return event

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

    def emit(self, fact: AnyFact, agent: str = "", key: str = "") -> Event:
        """Journal and spread a fact of this task."""
        return self.bus.emit(fact, self, agent, key)
