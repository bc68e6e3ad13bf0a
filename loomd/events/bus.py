"""Spreads events to whoever listens. Emitting never blocks and never fails because of a listener.

A handler is a plain call and must be quick; it hears all events, those of some types or patterns (`tool.*`), or those
of one task with everything that it is split into. What is not transient is journaled first, so that it has a number. A
stream is a bounded queue for a slow reader; one that falls behind is ended and told so, the emitter is never slowed.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec

from loomd.clock import Clock
from loomd.errors import Overloaded
from loomd.events.event import TRANSIENT, AnyFact, Event, facts_of
from loomd.events.fact import Fact

Handler = Callable[[Event], None]

Recorder = Callable[[Event, str], int]
"""Takes an event and its checkpoint key (or "") into the journal and returns its sequence number."""

_set = msgspec.structs.force_setattr

_log = logging.getLogger("loomd.events")


class _Listener(NamedTuple):
    """A handler, and the types of facts that it hears; None for all."""

    handler: Handler
    facts: frozenset[type[Fact]] | None


class Bus:
    """One bus per process."""

    def __init__(self, clock: Clock, record: Recorder | None = None) -> None:
        self._clock = clock
        self._record = record
        self._listeners: tuple[_Listener, ...] = ()
        self._hearing: dict[type[Fact], tuple[Handler, ...]] = {}
        """Who hears a type of facts, in the order in which they came; filled when one is emitted."""

    def subscribe(self, handler: Handler, *types: type[Fact] | str, task: str = "") -> Callable[[], None]:
        """Call `handler` with every event from now on that it is to hear; the returned function ends that.

        Args:
            handler: who hears.
            types: types of facts, or patterns over their names such as `tool.*`; all of them by default.
            task: only the events of this task and of all that it is split into; all by default.

        Raises:
            NotFound: no type of facts has such a name.
        """
        facts = frozenset(fact for one in types for fact in facts_of(one)) if types else None
        listener = _Listener(_within(handler, task) if task else handler, facts)
        self._listeners = (*self._listeners, listener)
        self._hearing = {}

        def unsubscribe() -> None:
            self._listeners = tuple(one for one in self._listeners if one is not listener)
            self._hearing = {}

        return unsubscribe

    def _hear(self, fact: type[Fact]) -> tuple[Handler, ...]:
        """Return who hears facts of a type, and remember it until somebody comes or goes."""
        handlers = tuple(one.handler for one in self._listeners if one.facts is None or fact in one.facts)
        self._hearing[fact] = handlers
        return handlers

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
            event = Event(fact, self._clock.now(), agent=agent, key=key)
        else:
            event = Event(
                fact,
                self._clock.now(),
                scope.task,
                agent,
                scope.parent,
                scope.namespace,
                scope.revision,
                key=key,
                within=scope.call,
            )
        kind, kept = type(fact), scope is None or scope.kept
        if kept and self._record is not None and kind not in TRANSIENT:
            _set(event, "seq", self._record(event, key))
        handlers = self._hearing.get(kind)
        for handler in self._hear(kind) if handlers is None else handlers:
            try:
                handler(event)
            except Exception:
                _log.exception("a listener failed on %s", event.type)
        return event

    @asynccontextmanager
    async def stream(
        self, limit: int = 10_000, wanted: Callable[[Event], bool] = lambda _: True
    ) -> "AsyncGenerator[Stream, None]":
        """Yield the events from now on.

        Args:
            limit: how many may wait; a reader that lets more than these wait is ended.
            wanted: which ones; the others take no place.
        """
        stream = Stream(limit, wanted)
        unsubscribe = self.subscribe(stream.put)
        try:
            yield stream
        finally:
            unsubscribe()


def _within(handler: Handler, task: str) -> Handler:
    """Return a handler that hears only of a task and of what it is split into."""
    parts = f"{task}."

    def hear(event: Event) -> None:
        if event.task == task or event.task.startswith(parts):
            handler(event)

    return hear


class Stream:
    """The events for one reader, in order; made by `Bus.stream`.

    Attributes:
        seen: number of the last event that went by, wanted or not.
    """

    def __init__(self, limit: int, wanted: Callable[[Event], bool]) -> None:
        self.seen = 0
        self._limit = limit
        self._wanted = wanted
        self._waiting: deque[Event] = deque()
        self._some = asyncio.Event()
        self._behind = False

    def put(self, event: Event) -> None:
        """Take an event; from the first one on that finds no place none is taken any more."""
        if self._behind:
            return
        if self._wanted(event):
            self._behind = len(self._waiting) >= self._limit
            self._some.set()
            if self._behind:
                return
            self._waiting.append(event)
        self.seen = event.seq or self.seen

    @property
    def idle(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    async def batch(self) -> list[Event]:
        """Wait until there are events and return all that wait.

        Raises:
            Overloaded: the reader fell behind; all that waited until then was returned before.
        """
        await self._wait()
        events = list(self._waiting)
        self._waiting.clear()
        return events

    def __aiter__(self) -> "Stream":
        """Return itself."""
        return self

    async def __anext__(self) -> Event:
        """Wait for the next event.

        Raises:
            Overloaded: as above.
        """
        await self._wait()
        return self._waiting.popleft()

    async def _wait(self) -> None:
        while not self._waiting:
            if self._behind:
                raise Overloaded("this reader fell behind the events: read again from the journal")
            self._some.clear()
            await self._some.wait()


class Scope:
    """The envelope that all events of one task share; what is not `kept` is spread and not journaled.

    What happens in delegated work has the key of the tool call that it happens below, `call`.
    """

    __slots__ = ("bus", "call", "kept", "namespace", "parent", "revision", "task")

    def __init__(
        self,
        bus: Bus,
        task: str,
        parent: str = "",
        namespace: str = "default",
        revision: str = "",
        *,
        kept: bool = True,
        call: str = "",
    ) -> None:
        self.bus = bus
        self.task = task
        self.parent = parent
        self.namespace = namespace
        self.revision = revision
        self.kept = kept
        self.call = call

    def within(self, call: str) -> "Scope":
        """Return the envelope for work below a tool call."""
        return Scope(self.bus, self.task, self.parent, self.namespace, self.revision, kept=self.kept, call=call)

    def emit(self, fact: AnyFact, agent: str = "", key: str = "") -> Event:
        """Journal and spread a fact of this task."""
        return self.bus.emit(fact, self, agent, key)
