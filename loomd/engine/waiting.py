"""When a task waits: for people, for a signal, or for somebody to take it. Called by the record of a task."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec

from loomd.agents.approval import Decision
from loomd.engine.lent import Lent
from loomd.events.event import ApprovalResolved


class Received(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of waiting for a signal."""

    value: object = None
    late: bool = False


class Wait(NamedTuple):
    """When a task waited for people, because of which step; `ended` is None as long as it waits."""

    step: str
    began: float
    ended: float | None = None


@asynccontextmanager
async def queued(lent: Lent) -> AsyncGenerator[None, None]:
    """Let a task be known to wait for somebody to take it; it goes on elsewhere when another revision serves."""
    await lent.mark("Queued")
    try:
        with lent.services.serving.listening(lent.follow):
            if lent.behind():  # since before it waited
                lent.follow()
            yield
    finally:
        await lent.mark("Running")


def said_of(fact: ApprovalResolved) -> Decision:
    """Return what people decided, as it is recorded."""
    return Decision(fact.verdict, fact.by, fact.reason, fact.at)
