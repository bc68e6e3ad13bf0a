"""Where tasks wait for the world outside: for signals, for people's decisions, and for time to go by.

What arrives is on disk before whoever waits is woken, and before whoever sent it is answered. Waiting goes by the wall
clock, so that it goes on while the process is down. Called by the recorder for tasks, by the engine for the API.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec

from loomd.agents.approval import Ask, Decision
from loomd.clock import Clock
from loomd.errors import Conflict, NotFound, Temporary
from loomd.store.base import Store
from loomd.store.records import ApprovalRecord

T = TypeVar("T")

_GLANCE = 30.0
"""Seconds after which whoever waits looks at the wall clock again: it may have been set."""

_encode = msgspec.json.Encoder().encode
_decision = msgspec.json.Decoder(Decision).decode


class Mailbox:
    """What reaches tasks from outside. All methods belong to one event loop."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: dict[str, set[asyncio.Event]] = {}

    async def send(self, task: str, name: str, value: object) -> None:
        """Keep a JSON value for a task, and wake it when it waits for that name.

        Raises:
            Conflict: something was sent under this name before.
        """
        if not await self._store.put_signal(task, name, _encode(value), self._clock.now()):
            raise Conflict(f'Task/{task}: "{name}" was sent before, and the first one counts')
        self._wake(f"{task}/{name}")

    async def receive(self, task: str, name: str, until: float) -> object:
        """Return what was or will be sent to a task under a name.

        Raises:
            TimeoutError: nothing came until then, in wall-clock seconds.
        """

        async def look() -> bytes | None:
            return await self._store.get_signal(task, name)

        body = await self._wait(f"{task}/{name}", look, until)
        if body is None:
            raise TimeoutError
        return msgspec.json.decode(body)

    async def ask(self, record: ApprovalRecord) -> ApprovalRecord:
        """Keep a question, unless it was asked before the process ended; return it as it is kept."""
        return await self._store.ask(record)

    async def decide(self, approval: str, decision: Decision) -> ApprovalRecord:
        """Keep what a person decided, and wake the task that waits for it; to say the same again changes nothing.

        Raises:
            NotFound: there is no such question.
            Conflict: it was decided otherwise or by somebody else, has expired, or its task has ended.
        """
        clock = self._clock
        wanted = msgspec.structs.replace(decision, at=clock.now())
        stored = await self._store.decide(approval, _encode(wanted), clock.now)
        if stored is None:
            raise NotFound(f"no approval {approval!r}: `loomd get approvals` lists them")
        if not stored.decision:
            raise Conflict(f"Approval/{approval} has expired: nobody answered in time")
        kept = _decision(stored.decision)
        if kept.verdict == "expired" and kept.reason:
            raise Conflict(f"Approval/{approval} is closed: {kept.reason}")
        if (kept.verdict, kept.by) != (decision.verdict, decision.by):
            raise Conflict(f"Approval/{approval} is decided already: {kept.said()}")
        self._wake(approval)
        return stored

    async def decision(self, record: ApprovalRecord) -> Decision:
        """Return what is decided about a question; when nobody does in time, that it expired."""

        async def look() -> bytes | None:
            stored = await self._store.get_approval(record.id)
            return stored.decision or None if stored is not None else None

        body = record.decision or await self._wait(record.id, look, record.expires)
        if body is None:
            stored = await self._store.decide(record.id, _encode(Decision("expired", at=self._clock.now())))
            body = stored.decision if stored is not None else _encode(Decision("expired"))
        return _decision(body)

    async def sleep(self, until: float) -> None:
        """Return at a wall-clock time."""
        while (left := until - self._clock.now()) > 0:  # noqa: ASYNC110  # nobody tells when the wall clock is set
            await asyncio.sleep(min(left, _GLANCE))

    async def _wait(self, key: str, look: Callable[[], Awaitable[T | None]], until: float) -> T | None:
        """Return what is found, looking whenever somebody wakes whoever waits for `key`; None after `until`."""
        async with self._woken(key) as woken:
            while True:
                woken.clear()
                glance = _GLANCE
                try:
                    found = await look()
                except Temporary as error:  # it cannot be read now: whether it is there shows later
                    found, glance = None, error.retry_after or _GLANCE
                left = until - self._clock.now()
                if found is not None or left <= 0:
                    return found
                try:
                    async with asyncio.timeout(min(left, glance)):
                        await woken.wait()
                except TimeoutError:
                    continue

    @asynccontextmanager
    async def _woken(self, key: str) -> AsyncGenerator[asyncio.Event, None]:
        event = asyncio.Event()
        waiting = self._waiting.setdefault(key, set())
        waiting.add(event)
        try:
            yield event
        finally:
            waiting.discard(event)
            if not waiting:
                self._waiting.pop(key, None)

    def _wake(self, key: str) -> None:
        for event in self._waiting.get(key, ()):
            event.set()


def question(ask: Ask, task: str, namespace: str, key: str, now: float) -> ApprovalRecord:
    """Return a question as it is kept; asked again for the very same call it has the same id."""
    name = hashlib.sha256(f"{task}\0{key}\0{ask.digest}".encode()).hexdigest()[:10]
    return ApprovalRecord(f"a-{name}", task, namespace, _encode(ask), now, now + ask.ttl)
