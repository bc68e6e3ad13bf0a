"""Wakes tasks that wait for somebody to take them, when an auction may come out otherwise. Called by `cluster`."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager, suppress

from loomd.cluster.condition import HEARD
from loomd.events.cluster import ProposalDecided
from loomd.events.event import Event, TaskCompleted, TaskFailed
from loomd.events.room import BudgetWarning
from loomd.topology import Services

_STIRS = (*HEARD, ProposalDecided, TaskCompleted, TaskFailed, BudgetWarning)
"""Who the members are, what is believed of them, and how much they have in hand changes with these. What has no event,
such as a service that is called again or a day that begins, is noticed at the next look."""


class Stirring:
    """One who waits; fits `amoeba.world.Stirring`."""

    def __init__(self, services: Services) -> None:
        """Wait from now on: what happens before the first call is not missed."""
        self._clock = services.clock
        self._stirred = asyncio.Event()

    def hear(self, event: Event) -> None:
        """Take over that something happened; a handler for the bus."""
        del event
        self._stirred.set()

    async def wait(self, until: float, every: float) -> bool:
        """Return True once something has changed, or after `every` seconds; False when it is `until`, wall-clock."""
        left = until - self._clock.now()
        if left <= 0:
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(min(left, every)):
                await self._stirred.wait()
        self._stirred.clear()
        return True


@contextmanager
def stirring(services: Services) -> Generator[Stirring]:
    """Return what waits until another auction may come out otherwise."""
    one = Stirring(services)
    unsubscribe = services.bus.subscribe(one.hear, *_STIRS)
    try:
        yield one
    finally:
        unsubscribe()
