"""A reconciler on a real store, and files to give it."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from loomd.clock import Clock, SystemClock
from loomd.events.bus import Bus
from loomd.events.event import Event
from loomd.events.journal import Journal
from loomd.manifest.delivery import Delivery
from loomd.manifest.source import SourceFile
from loomd.reconcile.plan import Plan
from loomd.reconcile.reconciler import Bounds, Reconciler
from loomd.reconcile.stage import Move
from loomd.store.records import StoredFile
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

    async def apply(self, source: str, files: Sequence[SourceFile], *, dry_run: bool = False, **terms: Any) -> Plan:
        """Deliver the files of a source."""
        return await self.reconciler.apply(Delivery(source, tuple(files), **terms), dry_run)

    async def stored(self) -> list[StoredFile]:
        """Return the files of the newest stored revision."""
        revisions = await self.services.store.revisions()
        return await self.services.store.files(revisions[0].number) if revisions else []

    @property
    def types(self) -> list[str]:
        """Return the types of the events, in order."""
        return [event.type for event in self.events]


Open = Callable[..., AbstractAsyncContextManager[Seen]]
Make = Callable[..., SourceFile]


@asynccontextmanager
async def _open(
    state: Path, clock: Clock | None = None, bounds: Bounds | None = None, move: Move | None = None
) -> AsyncGenerator[Seen, None]:
    async with open_store(state) as store:
        hands = clock or SystemClock()
        services = Services(store, Bus(hands, Journal(store).record), hands, state / "models")
        reconciler = Reconciler(services, bounds, move)
        await reconciler.load()
        yield Seen(reconciler, services)
        await reconciler.close()


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Return a maker of reconcilers on one state directory; it takes a clock, bounds, and how tasks are moved."""
    return partial(_open, tmp_path / "state")
