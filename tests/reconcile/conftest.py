"""A reconciler on a real store, and files to give it."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from loomd.clock import SystemClock
from loomd.events.bus import Bus
from loomd.events.event import Event
from loomd.events.journal import Journal
from loomd.manifest.source import SourceFile
from loomd.reconcile.reconciler import Reconciler
from loomd.store.sqlite import open_store
from loomd.topology import Services

PROVIDER = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {{name: {name}}}
spec:
  type: scripted
  replies: [{{text: "{text}", times: null}}]
"""


@pytest.fixture
def provider(tmp_path: Path) -> Callable[..., SourceFile]:
    """Return a maker of files that declare a scripted provider."""

    def make(name: str, text: str = "yes", path: str = "") -> SourceFile:
        return SourceFile(tmp_path, path or f"{name}.yaml", PROVIDER.format(name=name, text=text).encode())

    return make


class Seen:
    """A reconciler and the events that it emitted."""

    def __init__(self, reconciler: Reconciler, services: Services) -> None:
        self.reconciler = reconciler
        self.services = services
        self.events: list[Event] = []
        services.bus.subscribe(self.events.append)

    @property
    def types(self) -> list[str]:
        """Return the types of the events, in order."""
        return [event.type for event in self.events]


@asynccontextmanager
async def _open(state: Path) -> AsyncGenerator[Seen, None]:
    async with open_store(state) as store:
        clock = SystemClock()
        services = Services(store, Bus(clock, Journal(store).record), clock, state / "models")
        reconciler = Reconciler(services)
        yield Seen(reconciler, services)
        await reconciler.close()


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[], AbstractAsyncContextManager[Seen]]:
    """Return a maker of reconcilers on one state directory."""
    return lambda: _open(tmp_path / "state")
