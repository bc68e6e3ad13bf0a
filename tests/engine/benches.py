"""Benches of the engines that there are: the local one on its real store, and the same one in virtual time."""

import asyncio
import copy
import shutil
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from loomd.clock import Clock
from loomd.daemon import Settings, System, open_system
from loomd.engine.base import Engine
from loomd.engine.intake import new_task
from loomd.events.event import Event
from loomd.manifest.delivery import Delivery
from loomd.manifest.source import read_path
from loomd.store.records import ApprovalRecord, TaskRecord
from tests.chaos.system import write_system
from tests.engine.conformance import Living
from tests.engine.copies import lose_copies
from tests.simulation.loop import Killed, VirtualLoop
from tests.simulation.store import Disk, Faults, SimulatedStore
from tests.simulation.system import Outside, Process, WallClock


class LocalBench:
    """A folder. Killed is a process whose folder was copied at that moment, and that is then forgotten."""

    moment = 6.0

    def __init__(self, home: Path) -> None:
        self._home = home / "home"

    @property
    def effects(self) -> Counter[str]:
        """Return how often each call had its effect."""
        path = self._home / "effects"
        return Counter(line.split()[0] for line in path.read_text().splitlines()) if path.exists() else Counter()

    def run(self, scenario: Callable[[], Awaitable[None]]) -> None:
        """Run a scenario."""

        async def within() -> None:
            async with asyncio.timeout(60):
                await scenario()

        asyncio.run(within())

    @asynccontextmanager
    async def open(self, *, changed: bool = False) -> AsyncGenerator[Living, None]:
        """Open a system on the folder."""
        write_system(self._home / "manifests")
        if changed:
            with (self._home / "manifests" / "tool.py").open("a") as file:
                file.write("CHANGED = True\n")
        async with self._open() as system:
            if changed:
                lose_copies(self._home / "state")
            yield _LocalLiving(system, self._home / "manifests")

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[System, None]:
        home = self._home
        async with open_system(Settings(home / "state", home / "models", home / "s")) as system:
            await system.reconciler.apply(_delivery(home / "manifests"))
            yield system

    def kill_after(self, goal: str, count: int) -> bool:
        """Run a task until so many checkpoints are on disk; go on with what the disk held at that moment."""
        shutil.rmtree(self._home, ignore_errors=True)
        write_system(self._home / "manifests")
        copied = self._home.with_name("copy")
        if not asyncio.run(self._live_until(goal, count, copied)):
            return False
        shutil.rmtree(self._home)
        copied.rename(self._home)
        return True

    async def _live_until(self, goal: str, count: int, copied: Path) -> bool:
        async with self._open() as system:
            keys: list[Event] = []
            reached = asyncio.Event()

            def hear(event: Event) -> None:
                if event.key:
                    keys.append(event)
                if len(keys) == count:
                    reached.set()

            system.bus.subscribe(hear)
            task = await system.engine.submit(new_task(goal, system.clock))
            ended = asyncio.ensure_future(system.engine.result(task))
            dying = asyncio.ensure_future(reached.wait())
            await asyncio.wait([ended, dying], return_when=asyncio.FIRST_COMPLETED)
            dying.cancel()
            if ended.done():
                return False
            await system.store.durable(keys[count - 1].seq)
            shutil.copytree(self._home, copied)
            await system.engine.drain(0)
            await asyncio.wait([ended])
            ended.exception()
            return True


class _LocalLiving:
    """A system that is open."""

    def __init__(self, system: System, folder: Path) -> None:
        self._system = system
        self._folder = folder

    @property
    def engine(self) -> Engine:
        return self._system.engine

    @property
    def clock(self) -> Clock:
        return self._system.clock

    async def questions(self) -> list[ApprovalRecord]:
        return await self._system.store.list_approvals(pending=True)

    async def records(self) -> list[TaskRecord]:
        return await self._system.store.list_tasks()

    async def change(self) -> int:
        before = self._system.reconciler.topology
        path = self._folder / "team.yaml"
        path.write_text(path.read_text().replace("Does things", "Does more things"))
        await self._system.reconciler.apply(_delivery(self._folder))
        return await self._system.engine.move(before)


class SimulatedBench:
    """A disk in memory, and processes in virtual time."""

    moment = 60.0

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._disk = Disk()
        self._outside = Outside()
        self._draw = Random(0)

    @property
    def effects(self) -> Counter[str]:
        """Return how often each call had its effect."""
        return Counter({key: len(times) for key, times in self._outside.effects.items()})

    def run(self, scenario: Callable[[], Awaitable[None]]) -> None:
        """Run a scenario."""
        loop = VirtualLoop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(asyncio.ensure_future(scenario(), loop=loop))
        except Killed:
            loop.bury()
            raise
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    @asynccontextmanager
    async def open(self, *, changed: bool = False) -> AsyncGenerator[Living, None]:
        """Start a process."""
        process = self._process(Faults())
        await process.serve("r2" if changed else "r1")
        if changed:
            process.lost.add("r1")
        yield _SimulatedLiving(process)
        await process.engine.drain(0)

    def _process(self, faults: Faults) -> Process:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        clock = WallClock(loop, 1_000_000.0)
        store = SimulatedStore(self._disk, self._draw, faults, clock.now, self._outside.tell)
        return Process(store, clock, self._outside, self._draw)

    def kill_after(self, goal: str, count: int) -> bool:
        """Run a task until there were so many commits."""
        self._start()

        async def scenario() -> None:
            process = self._process(Faults(commits=count))
            await process.serve("r1")
            await process.engine.result(await process.engine.submit(new_task(goal, process.clock)))

        try:
            self.run(scenario)
        except Killed:
            self._disk = copy.deepcopy(self._disk)  # what is left of the process has no hand on it
            return True
        return False


class _SimulatedLiving:
    """A process that lives."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @property
    def engine(self) -> Engine:
        return self._process.engine

    @property
    def clock(self) -> Clock:
        return self._process.clock

    async def questions(self) -> list[ApprovalRecord]:
        return await self._process.store.list_approvals(pending=True)

    async def records(self) -> list[TaskRecord]:
        return await self._process.store.list_tasks()

    async def change(self) -> int:
        before = await self._process.open(self._process.revision)
        await self._process.serve(f"{self._process.revision}'")
        return await self._process.engine.move(before)


def _delivery(folder: Path) -> Delivery:
    return Delivery("test", tuple(read_path(folder)))
