"""The life of a daemon: start, serve, reload, drain. It hears signals and tells the service manager what it does.

SIGHUP reads the settings and every source again; what is refused changes nothing. SIGTERM and SIGINT take no more
work, give running tasks their grace, and end with 0; a second one ends at once. What talks to programs (the API) is
handed in by the command line, because it is no business of this module.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, closing, contextmanager, suppress
from pathlib import Path
from types import FrameType

from loomd import log
from loomd.cluster.cluster import Cluster
from loomd.daemon import System, open_system
from loomd.errors import LoomdError, Temporary
from loomd.events.event import ConfigLoaded, ConfigRejected, Event
from loomd.notify import Notifier
from loomd.settings import Settings, settle, token_digest
from loomd.sources.runner import Sources
from loomd.store.directory import DATABASE

_log = logging.getLogger("loomd.daemon")

INTERRUPTED = 130
"""Exit code after a second signal to stop."""
SETTINGS = "settings"
"""Name of the settings in events."""

_STOP = (signal.SIGTERM, signal.SIGINT)
HASTE = 10.0
"""Seconds after a start or a reload in which what folders hold should serve; with what takes longer to open, work is
taken by what served last."""
_LOOK = 1.0
"""Seconds between looks whether a set serves, while none does, and whether the state directory is still there."""
_SWEEP = 600.0
"""Most seconds between looks for old tasks; less when they are kept for a short time only."""

Frontend = Callable[[System], AbstractAsyncContextManager[object]]
"""Opens what talks to programs; the API's server fits."""
Reread = Callable[[], Settings]
"""Reads the settings again."""


async def serve(settings: Settings, frontend: Frontend, reread: Reread, notifier: Notifier) -> None:
    """Run until SIGTERM or SIGINT.

    Args:
        settings: what the daemon is told at its start.
        frontend: opens what talks to programs.
        reread: reads the settings again, at SIGHUP.
        notifier: whom to tell.

    Raises:
        Conflict: another daemon holds the state directory, the socket or the address.
    """
    log.configure(settings.log.level, settings.log.format)
    signals = Signals()
    with signals.heard(), closing(notifier):
        async with open_system(settings) as system, frontend(system):
            await Life(system, reread, notifier, signals).run()
    _log.info("stopped")


class Signals:
    """What the process was told so far; a second time to stop ends it at once, also when the event loop does not turn.

    Attributes:
        stop: set by SIGTERM and SIGINT.
        reload: set by SIGHUP; whoever acts on it clears it.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.reload = asyncio.Event()
        self._told = False
        self._loop = asyncio.get_running_loop()

    @contextmanager
    def heard(self) -> Generator[None]:
        """Hear signals for as long as the context lasts. Only in the main thread."""
        before = {number: signal.signal(number, self._hear) for number in (*_STOP, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGHUP:
            self._loop.call_soon_threadsafe(self.reload.set)
        elif self._told:
            os._exit(INTERRUPTED)
        else:
            self._told = True
            self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        _log.info("stopping; a second signal stops at once")
        self.stop.set()


class Life:
    """One daemon from its start to its end."""

    def __init__(self, system: System, reread: Reread, notifier: Notifier, signals: Signals) -> None:
        self._system = system
        self._reread = reread
        self._notifier = notifier
        self._signals = signals
        self._changed = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve until told to stop, then drain."""
        system = self._system
        unsubscribe = system.bus.subscribe(self._hear, ConfigLoaded, ConfigRejected)
        try:
            async with asyncio.TaskGroup() as group:
                living = group.create_task(self._give_signs_of_life())
                running = group.create_task(self._serve())
                await self._signals.stop.wait()
                system.ready = False
                self._notifier.stopping("running tasks end")
                running.cancel()
                await asyncio.wait([running])
                await system.engine.drain(system.settings.grace)
                living.cancel()
        finally:
            unsubscribe()

    def _hear(self, event: Event) -> None:
        del event
        self._changed.set()

    async def _serve(self) -> None:
        """Serve the last known good set, then what the sources hold now; go on with unfinished tasks; follow."""
        system = self._system
        await system.reconciler.restore()
        await self._follow_only(system.settings)
        async with asyncio.TaskGroup() as group:
            looked = asyncio.Event()
            self._following = group.create_task(_follow(system.sources, looked))
            await self._until_looked(looked)
            resumed = await self._resume()
            group.create_task(self._reload_when_told(group))
            await self._until_a_set_serves()
            system.ready = True
            self._notifier.ready(system.summary)
            _log.info("%s: %s, %d tasks resumed", system.settings.state_dir, system.summary, len(resumed))
            group.create_task(self._act_on_change())
            group.create_task(system.schedules.run(lambda: system.ready))
            group.create_task(system.evolutions.run(lambda: system.ready))
            group.create_task(self._watch_state())
            group.create_task(self._remove_old())

    async def _until_looked(self, looked: asyncio.Event) -> None:
        """Wait until what the folders hold serves or is refused; not for long when something served before."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HASTE if self._system.reconciler.topology.live else None):
                await looked.wait()
        if not looked.is_set():
            number = self._system.reconciler.number
            _log.warning("what the folders hold is still being opened; until then revision %d serves", number)

    async def _until_a_set_serves(self) -> None:
        """Wait as long as everything that is followed is refused and nothing served before."""
        while not self._system.serves:
            self._notifier.status(f"waits for valid manifests: {self._system.summary}")
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._changed.wait()

    async def _act_on_change(self) -> None:
        """Go on with tasks that waited for a cluster, and say what serves, whenever that changed."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._notifier.status(self._system.summary)
            await self._resume()

    async def _resume(self) -> list[str]:
        """Go on with tasks that nobody runs; when they cannot be looked at now, that is done a moment later."""
        try:
            return await self._system.engine.resume()
        except LoomdError as error:
            _log.error("tasks that wait could not be looked at: %s", error)
            if isinstance(error, Temporary):
                await asyncio.sleep(_LOOK)
                self._changed.set()
            return []

    async def _watch_state(self) -> None:
        """Take no more work once the state directory is gone or another: what is written then is lost."""
        system = self._system
        database = system.settings.state_dir / DATABASE
        own = _identity(database)
        while True:
            await asyncio.sleep(_LOOK)
            if _identity(database) != own:
                break
        system.ready = False
        system.fault = f"{database} was removed or replaced: nothing is kept any more, start the daemon again"
        _log.critical(system.fault)
        self._notifier.status(system.fault)

    async def _remove_old(self) -> None:
        """Remove ended tasks that are older than the settings say, or more than they allow."""
        system = self._system
        while True:
            await asyncio.sleep(min(_SWEEP, max(_LOOK, system.settings.retention.age / 10)))
            keep = system.settings.retention
            try:
                removed = await system.store.sweep(system.clock.now() - keep.age, keep.tasks)
                for live in tuple(system.reconciler.topology.live.values()):
                    if isinstance(live, Cluster):
                        await live.past.tidy()
            except LoomdError as error:
                _log.warning("old tasks could not be removed: %s", error)
            else:
                if removed:
                    _log.info("%d old tasks removed", removed)

    async def _give_signs_of_life(self) -> None:
        """Tell the watchdog that the event loop turns, twice as often as it asks."""
        while self._notifier.watchdog:
            self._notifier.alive()
            await asyncio.sleep(self._notifier.watchdog / 2)

    async def _reload_when_told(self, group: asyncio.TaskGroup) -> None:
        while True:
            await self._signals.reload.wait()
            self._signals.reload.clear()
            told = self._system.ready
            if told:
                self._notifier.reloading(self._system.clock.monotonic())
            await self._follow_nothing()  # or a folder that is let go could still deliver
            await self._read_again()
            await self._follow_anew(group)
            if told:
                self._notifier.ready(self._system.fault or self._system.summary)

    async def _read_again(self) -> None:
        """Take the settings as they are now, or report why not and keep the old."""
        system = self._system
        try:
            fresh, token = await asyncio.to_thread(self._read)
            await self._follow_only(fresh)
        except Exception as error:
            system.settings_error = str(error)
            system.bus.emit(ConfigRejected(SETTINGS, tuple(str(error).splitlines())))
            unexpected = None if isinstance(error, LoomdError) else error
            _log.error("settings refused, the old ones hold: %s", error, exc_info=unexpected)
            return
        system.settings, system.token = fresh, token
        system.settings_read, system.settings_error = system.clock.now(), ""
        log.configure(fresh.log.level, fresh.log.format)
        _log.info("settings read again")

    async def _follow_nothing(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])

    async def _follow_anew(self, group: asyncio.TaskGroup) -> None:
        """Begin anew to follow what the settings name: every folder is read, every remote is asked."""
        system = self._system
        watch, quiet = system.settings.watch, system.settings.quiet_window
        system.sources = Sources(system.reconciler, system.services, watch, quiet)
        looked = asyncio.Event()
        self._following = group.create_task(_follow(system.sources, looked))
        await self._until_looked(looked)

    def _read(self) -> tuple[Settings, bytes]:
        fresh = self._reread()
        settle(self._system.settings, fresh)
        return fresh, token_digest(fresh)

    async def _follow_only(self, settings: Settings) -> None:
        """Announce the folders that are followed; let go of those that no longer are, and keep what they declared."""
        reconciler, watched = self._system.reconciler, {str(path) for path in settings.watch}
        for state in reconciler.sources():
            if state.type == "directory" and state.name not in watched:
                _log.warning("%s is no longer followed; what it declared stays: loomd delete removes it", state.name)
                await reconciler.forget(state.name, prune=False)
        for name in sorted(watched):
            reconciler.announce(name, "directory")


async def _follow(sources: Sources, looked: asyncio.Event) -> None:
    """Follow everything, until cancelled.

    Args:
        sources: what is followed.
        looked: set once every folder was looked at.
    """
    await sources.start()
    looked.set()
    await sources.run()


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another of the same name, or None when there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116  # nothing else of the file is wanted
    except OSError:
        return None
    return found.st_dev, found.st_ino
