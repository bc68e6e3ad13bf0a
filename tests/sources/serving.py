"""A reconciler on a real store with all that it follows, for as long as a test lasts."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

from loomd.clock import SystemClock
from loomd.events.bus import Bus
from loomd.events.event import Event
from loomd.events.journal import Journal
from loomd.manifest.delivery import Delivery
from loomd.manifest.object import Ref
from loomd.manifest.source import SourceFile
from loomd.reconcile.plan import Plan
from loomd.reconcile.reconciler import Reconciler
from loomd.reconcile.state import SourceState
from loomd.sources.runner import Sources
from loomd.store.sqlite import open_store
from loomd.topology import Services

_LOOK = 0.05


def provider(name: str, text: str = "yes") -> str:
    """Return the manifest of a provider."""
    spec = f'{{type: scripted, replies: [{{text: "{text}", times: null}}]}}'
    return f"apiVersion: loomd.dev/v1\nkind: Provider\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def git_source(name: str, url: str, *fields: str) -> str:
    """Return the manifest of a git source that looks often."""
    spec = "".join(
        f"  {field}\n" for field in (f"url: {url}", "interval: 50ms", "retry: {first: 50ms, longest: 100ms}", *fields)
    )
    return f"apiVersion: loomd.dev/v1\nkind: GitSource\nmetadata: {{name: {name}}}\nspec:\n{spec}"


class Serving:
    """What serves, and what happened to it."""

    def __init__(self, reconciler: Reconciler, sources: Sources, services: Services) -> None:
        self.reconciler = reconciler
        self.sources = sources
        self.services = services
        self.events: list[Event] = []
        self._heard = asyncio.Event()
        services.bus.subscribe(self._hear)

    def _hear(self, event: Event) -> None:
        self.events.append(event)
        self._heard.set()

    async def apply(self, *manifests: str, source: str = "-", root: Path = Path("/nonexistent")) -> Plan:
        """Apply manifests by hand."""
        files = tuple(SourceFile(root, f"{at}.yaml", text.encode()) for at, text in enumerate(manifests))
        return await self.reconciler.apply(Delivery(source, files))

    async def until(self, holds: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until something holds; it is looked at again at every event, and from time to time."""
        async with asyncio.timeout(seconds):
            while not holds():
                self._heard.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK):
                        await self._heard.wait()

    async def serves(self, *names: str) -> None:
        """Wait until exactly these objects serve, `Kind/name`."""
        await self.until(lambda: self.names == sorted(names))

    @property
    def names(self) -> list[str]:
        """Return the objects that serve."""
        return sorted(str(ref) for ref in self.reconciler.topology.snapshot.objects)

    def spec(self, kind: str, name: str) -> object:
        """Return the spec of an object that serves."""
        return self.reconciler.topology.snapshot.objects[Ref(kind, name)].raw

    def source(self, name: str) -> SourceState:
        """Return what is known of a source."""
        return self.reconciler.source(f"git/default/{name}")

    @property
    def folders(self) -> list[str]:
        """Return the folders of the git sources that are known."""
        top = self.services.store.directory / "sources" / "git"
        return sorted(path.parent.name for path in top.glob("*/*/source.json"))


@asynccontextmanager
async def serving(state: Path, directories: Sequence[Path] = (), quiet: float = 0.05) -> AsyncGenerator[Serving, None]:
    """Serve what is stored, and follow what is declared, for as long as the context lasts."""
    async with open_store(state) as store:
        clock = SystemClock()
        services = Services(store, Bus(clock, Journal(store).record), clock, state / "models")
        reconciler = Reconciler(services)
        await reconciler.load()
        await reconciler.restore()
        sources = Sources(reconciler, services, directories, quiet, Random(1))
        made = Serving(reconciler, sources, services)
        await sources.start()
        running = asyncio.ensure_future(sources.run())
        try:
            yield made
        finally:
            running.cancel()
            await asyncio.wait([running])
            await reconciler.close()
            assert running.cancelled(), running.result()
