"""A system whose clock is turned by hand, with schedules that are looked at when a test says so."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from loomd.daemon import Settings, System, open_system
from loomd.events.event import Event, ScheduleFired, ScheduleMissed
from loomd.manifest.delivery import Delivery
from loomd.manifest.object import Ref
from loomd.manifest.source import SourceFile
from loomd.schedules.entry import Standing
from loomd.store.records import TaskRecord
from loomd.testing import VirtualClock

TEAM = """---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec:
  type: scripted
  replies:
    - {when: slow, text: at last, delay: 1h, times: null}
    - {text: ok, times: null}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: script}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: team}
spec: {agents: [ada]}
---
"""
REF = Ref("Schedule", "it")


def at(text: str, zone: str = "UTC") -> float:
    """Return a local time, `2026-03-29 06:00`, as wall-clock seconds."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def schedule(expression: str = "0 6 * * *", name: str = "it", **spec: object) -> str:
    """Return the manifest of a schedule."""
    given = {"schedule": expression, "goal": "hello", **spec}
    lines = "".join(f"  {key}: {value!r}\n" for key, value in given.items())
    return f"apiVersion: loomd.dev/v1\nkind: Schedule\nmetadata: {{name: {name}}}\nspec:\n{lines}---\n"


class Bench:
    """A system at a time.

    Attributes:
        system: the system.
        clock: its clock.
        events: what happened, oldest first.
    """

    def __init__(self, system: System, clock: VirtualClock, folder: Path) -> None:
        self.system = system
        self.clock = clock
        self.events: list[Event] = []
        self._folder = folder
        system.bus.subscribe(self.events.append)

    async def serve(self, *texts: str, source: str = "test") -> None:
        """Make manifests serve, and let the schedules know."""
        files = (SourceFile(self._folder, f"{source}.yaml", "".join(texts).encode()),)
        await self.system.reconciler.apply(Delivery(source, files, prune=True, allow_empty=True))
        await self.system.schedules.tick()

    async def go(self, text: str, zone: str = "UTC") -> None:
        """Turn the clock to a time, in either direction, and look."""
        self.clock.advance(at(text, zone) - self.clock.now())
        await self.system.schedules.tick()

    async def walk(self, text: str, step: float = 60.0, zone: str = "UTC") -> None:
        """Turn the clock to a time in steps, and look after each."""
        while self.clock.now() < at(text, zone):
            self.clock.advance(min(step, at(text, zone) - self.clock.now()))
            await self.system.schedules.tick()

    async def tasks(self) -> list[TaskRecord]:
        """Return the tasks, oldest first."""
        return list(reversed(await self.system.store.list_tasks()))

    def fired(self, zone: str = "UTC") -> list[str]:
        """Return when what was started was due, as local times."""
        return [
            f"{datetime.fromtimestamp(event.data.due, ZoneInfo(zone)):%m-%d %H:%M}"
            for event in self.events
            if isinstance(event.data, ScheduleFired)
        ]

    def due(self) -> set[float]:
        """Return when what was started was due, as wall-clock seconds."""
        return {event.data.due for event in self.events if isinstance(event.data, ScheduleFired)}

    def missed(self) -> list[ScheduleMissed]:
        """Return what was given up."""
        return [event.data for event in self.events if isinstance(event.data, ScheduleMissed)]

    @property
    def standing(self) -> Standing:
        """Return how the schedule does."""
        found = self.system.schedules.standing(REF)
        assert found is not None
        return found

    def condition(self, name: str) -> tuple[str, str]:
        """Return status and reason of a condition of the schedule."""
        found = next(one for one in self.system.reconciler.status(REF).conditions if one.type == name)
        return found.status, found.reason


Open = Callable[[str | float], AbstractAsyncContextManager[Bench]]


@pytest.fixture
def begin(tmp_path: Path) -> Open:
    """Return what opens the system on one state directory at a time; what served before serves again."""

    @asynccontextmanager
    async def open_bench(when: str | float) -> AsyncGenerator[Bench, None]:
        clock = VirtualClock(at(when) if isinstance(when, str) else when)
        settings = Settings(tmp_path / "state", tmp_path / "models", tmp_path / "s.sock")
        async with open_system(settings, clock) as system:
            await system.reconciler.restore()
            bench = Bench(system, clock, tmp_path)
            await system.engine.resume()
            await system.schedules.tick()
            yield bench

    return open_bench
