"""Wakes tasks that wait for somebody to take them, when an auction may come out otherwise. Called by `cluster`."""

import asyncio
from collections.abc import Callable, Container, Generator
from contextlib import contextmanager, suppress

from loomd.cluster.condition import HEARD
from loomd.events.cluster import CapabilityMerged, CapabilityUpdated
from loomd.events.event import Event, TaskCompleted, TaskFailed
from loomd.events.room import BudgetWarning
from loomd.manifest.object import Ref
from loomd.topology import Services

_STIRS = (*HEARD, TaskCompleted, TaskFailed, BudgetWarning)
"""Who the members are, what is believed of them, and how much they have in hand changes with these. What has no event,
such as a service that is called again or a day that begins, is noticed at the next look."""


_BURST = 0.1
"""Shortest time between two auctions of a task that waits, in seconds: what happens within it is one change."""


class Stirring:
    """One who waits; fits `amoeba.world.Stirring`."""

    def __init__(self, services: Services, cluster: Ref, members: Callable[[], Container[str]]) -> None:
        """Wait from now on: what happens before the first call is not missed.

        Args:
            services: the clock.
            cluster: where the task waits.
            members: returns the names of those who belong to the cluster now.
        """
        self._clock = services.clock
        self._cluster = cluster
        self._members = members
        self._stirred = asyncio.Event()
        self._free = 0.0

    def hear(self, event: Event) -> None:
        """Take over that something happened, if it concerns the cluster; a handler for the bus."""
        fact = event.data
        if event.namespace != self._cluster.namespace:
            return
        if getattr(fact, "cluster", self._cluster.name) != self._cluster.name:
            return
        if isinstance(fact, (CapabilityUpdated, CapabilityMerged)) and fact.owner not in self._members():
            return
        self._stirred.set()

    async def wait(self, until: float, every: float) -> bool:
        """Return True once something has changed, or after `every` seconds; False when it is `until`, wall-clock."""
        left = until - self._clock.now()
        if left <= 0:
            return False
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(left, every)):
                await self._stirred.wait()
                await asyncio.sleep(self._free - loop.time())
        self._stirred.clear()
        self._free = loop.time() + _BURST
        return True


@contextmanager
def stirring(services: Services, cluster: Ref, members: Callable[[], Container[str]]) -> Generator[Stirring]:
    """Return what waits until another auction may come out otherwise."""
    one = Stirring(services, cluster, members)
    unsubscribe = services.bus.subscribe(one.hear, *_STIRS)
    try:
        yield one
    finally:
        unsubscribe()
