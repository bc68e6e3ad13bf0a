"""The composition root: the one place where what should be and what runs meet.

`open_system` wires store, events, reconciler and engine; `serve` keeps them running until a signal. What talks to
programs (the API) is handed in by the command line, because it lives above.
"""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from loomd.clock import Clock, SystemClock
from loomd.engine.base import Engine
from loomd.engine.local import LocalEngine
from loomd.events.bus import Bus
from loomd.events.event import ConfigLoaded, Event
from loomd.events.journal import Journal
from loomd.reconcile.reconciler import Reconciler
from loomd.sources.directory import DirectorySource
from loomd.store.base import Store
from loomd.store.sqlite import open_store
from loomd.topology import Services

_log = logging.getLogger("loomd.daemon")

INTERRUPTED = 130
"""Exit code after a second signal."""


@dataclass(frozen=True)
class Settings:
    """What a daemon is told at its start; none of it changes while it runs."""

    state_dir: Path
    """Folder of the store; one daemon holds it."""
    models_dir: Path
    """Folder of the embedded models' files."""
    socket: Path
    """Unix socket of the API."""
    watch: tuple[Path, ...] = ()
    """Folders of manifests to follow."""
    grace: float = 30.0
    """Seconds that running tasks get to end when the daemon stops."""


@dataclass
class System:
    """Everything wired together.

    Attributes:
        settings: what it was started with.
        store: what outlives the process.
        bus: where events are spread.
        clock: the time.
        services: what live things borrow.
        reconciler: what serves.
        engine: what runs tasks.
        ready: whether it takes work; False before the start is done and while it drains.
    """

    settings: Settings
    store: Store
    bus: Bus
    clock: Clock
    services: Services
    reconciler: Reconciler
    engine: Engine
    ready: bool = False


Frontend = Callable[[System], AbstractAsyncContextManager[object]]
"""Opens what talks to programs; the API's server fits."""


@asynccontextmanager
async def open_system(settings: Settings) -> AsyncGenerator[System, None]:
    """Wire a system on a state directory; nothing serves yet.

    Raises:
        Conflict: another process holds the state directory.
        Damaged: the store does not match its checksums.
    """
    clock = SystemClock()
    async with open_store(settings.state_dir) as store:
        bus = Bus(clock, Journal(store).record)
        services = Services(store, bus, clock, settings.models_dir)
        reconciler = Reconciler(services)
        engine = LocalEngine(services, lambda: reconciler.topology)
        try:
            yield System(settings, store, bus, clock, services, reconciler, engine)
        finally:
            await engine.drain(0)
            await reconciler.close()


async def serve(settings: Settings, frontend: Frontend) -> None:
    """Run until SIGTERM or SIGINT, then end the running tasks within the grace; a second signal exits at once.

    SIGHUP reads all watched folders again.

    Raises:
        Conflict: another daemon holds the state directory or the socket.
    """
    stop = asyncio.Event()
    async with open_system(settings) as system:
        sources = [DirectorySource(path, system.reconciler) for path in settings.watch]
        with _signals(stop, sources):
            async with frontend(system), asyncio.TaskGroup() as group:
                running = group.create_task(_run(system, sources))
                await stop.wait()
                system.ready = False
                running.cancel()
                await system.engine.drain(settings.grace)
    _log.info("stopped")


async def _run(system: System, sources: list[DirectorySource]) -> None:
    """Serve the last known good set, then what the sources hold now; continue unfinished tasks; follow the sources."""
    await system.reconciler.restore()
    for source in sources:
        await source.scan()
    resumed = await system.engine.resume()
    system.ready = True
    _log.info("serving %s on %s, %d tasks resumed", system.settings.state_dir, system.settings.socket, len(resumed))
    async with asyncio.TaskGroup() as group:
        group.create_task(_resume_on_change(system))
        for source in sources:
            group.create_task(source.run())


async def _resume_on_change(system: System) -> None:
    """Continue tasks that waited for a cluster, whenever another revision serves."""
    changed = asyncio.Event()

    def hear(event: Event) -> None:
        if isinstance(event.data, ConfigLoaded):
            changed.set()

    unsubscribe = system.bus.subscribe(hear)
    try:
        while True:
            await changed.wait()
            changed.clear()
            await system.engine.resume()
    finally:
        unsubscribe()


@contextmanager
def _signals(stop: asyncio.Event, sources: list[DirectorySource]) -> Generator[None]:
    """Turn signals into acts for as long as the context lasts."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        if stop.is_set():
            os._exit(INTERRUPTED)
        _log.info("stopping; a second signal stops at once")
        stop.set()

    def reread() -> None:
        for source in sources:
            source.poke()

    acts = {signal.SIGTERM: end, signal.SIGINT: end, signal.SIGHUP: reread}
    for number, act in acts.items():
        loop.add_signal_handler(number, act)
    try:
        yield
    finally:
        for number in acts:
            loop.remove_signal_handler(number)
