"""The composition root: the one place where what should be and what runs meet.

`open_system` wires store, events, reconciler, sources, engine and schedules on a state directory, and starts nothing:
`loomd run` and tests use it as it is, `lifecycle` makes a daemon of it.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from loomd.clock import Clock, SystemClock
from loomd.engine.base import Engine
from loomd.engine.feedback import Feedback
from loomd.engine.local import LocalEngine
from loomd.events.bus import Bus
from loomd.events.journal import Journal
from loomd.evolution.runner import Evolutions
from loomd.reconcile.reconciler import Bounds, Reconciler
from loomd.schedules.runner import Schedules
from loomd.settings import Settings, token_digest
from loomd.sources.runner import Sources
from loomd.store.base import Store
from loomd.store.sqlite import open_store
from loomd.topology import Services, Topology

__all__ = ["Settings", "System", "open_system"]


@dataclass
class System:
    """Everything wired together.

    Attributes:
        settings: what it is told; another one after a reload.
        store: what outlives the process.
        bus: where events are spread.
        clock: the time.
        services: what live things borrow.
        reconciler: what serves.
        engine: what runs tasks.
        feedback: what takes what people say of answers.
        sources: what is followed; it does nothing before it is started.
        schedules: what is submitted by the clock; it does nothing before it is started.
        evolutions: what gives agents better instructions; it does nothing before it is started.
        token: SHA-256 of what the API over TCP wants, empty when it does not listen there.
        settings_read: wall-clock seconds at which the settings were last read and taken.
        settings_error: why the settings were refused at the last reload, or empty.
        fault: why no work is taken any more until somebody acts, or empty.
        ready: whether it takes work; False before the first set serves and while it drains.
    """

    settings: Settings
    store: Store
    bus: Bus
    clock: Clock
    services: Services
    reconciler: Reconciler
    engine: Engine
    feedback: Feedback
    sources: Sources
    schedules: Schedules
    evolutions: Evolutions
    token: bytes
    settings_read: float
    settings_error: str = ""
    fault: str = ""
    ready: bool = False

    @property
    def serves(self) -> bool:
        """Return whether there is a set that serves; without anything declared that is the empty one."""
        return bool(self.reconciler.topology.live) or not self.reconciler.stale

    @property
    def summary(self) -> str:
        """Return what serves and what is refused, on one line."""
        reconciler = self.reconciler
        text = f"revision {reconciler.number} serves, {len(reconciler.topology.live)} objects"
        refused = [*sorted(reconciler.rejected), *(["settings"] if self.settings_error else [])]
        return f"{text}; refused: {', '.join(refused)}" if refused else text


@asynccontextmanager
async def open_system(settings: Settings, clock: Clock | None = None) -> AsyncGenerator[System, None]:
    """Wire a system on a state directory; nothing serves yet.

    Args:
        settings: what it is told.
        clock: the time; the machine's by default.

    Raises:
        Conflict: another process holds the state directory.
        Damaged: the store does not match its checksums.
        Unauthorized: the API is to listen on TCP, and its token cannot be read.
    """
    clock = clock or SystemClock()
    token = token_digest(settings)
    async with open_store(settings.state_dir) as store:
        bus = Bus(clock, Journal(store).record)
        services = Services(store, bus, clock, settings.models_dir, packages=settings.allow_packages)

        async def move(topology: Topology) -> None:
            evolutions.leave(topology)
            await engine.move(topology)

        bounds = Bounds(settings.history, settings.live_snapshots, settings.drain)
        reconciler = Reconciler(services, bounds, move)
        engine = LocalEngine(services, lambda: reconciler.topology, reconciler.pinned)
        sources = Sources(reconciler, services, settings.watch, settings.quiet_window)
        schedules = Schedules(services, engine, lambda: reconciler.topology, reconciler.status)
        evolutions = Evolutions(services, lambda: reconciler.topology, engine.result)
        system = System(
            settings,
            store,
            bus,
            clock,
            services,
            reconciler,
            engine,
            Feedback(services, lambda: reconciler.topology),
            sources,
            schedules,
            evolutions,
            token,
            settings_read=clock.now(),
        )
        await services.accounts.load(store, clock)
        await services.averages.load(store, clock)
        await reconciler.load()
        try:
            yield system
        finally:
            await engine.drain(0)
            await reconciler.close()
