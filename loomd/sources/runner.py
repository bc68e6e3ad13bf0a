"""Keeps everything going that is followed: folders that the daemon is told of, and repositories that manifests declare.

A `GitSource` is followed from when it serves until it does not any more; then what it declared is deleted, or kept, as
it said. It may be declared by any source, a repository that it leads to included. One that fails is begun again. Never
reads a file or talks to a remote itself. Called by `daemon` and `lifecycle`.
"""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from random import Random

from loomd.errors import Conflict, NotFound
from loomd.events.event import Event, SourceResumed
from loomd.git.place import Place, find_places
from loomd.manifest.object import EMPTY, Object
from loomd.manifest.wording import did_you_mean
from loomd.sources.base import Source, Target
from loomd.sources.directory import DirectorySource, Pace
from loomd.sources.git import GitSource
from loomd.topology import Services

_log = logging.getLogger("loomd.sources")

KIND = "GitSource"
AGAIN = 5.0
"""Seconds after which a source that failed unexpectedly is begun again."""


class Sources:
    """All that is followed.

    Args:
        target: where files are delivered.
        services: tells what serves, and what changes.
        directories: the folders to follow.
        quiet: seconds without an event after which a folder is read.
        draw: makes the random part of the waits for remotes.
    """

    def __init__(
        self,
        target: Target,
        services: Services,
        directories: Sequence[Path],
        quiet: float = Pace.quiet,
        draw: Random | None = None,
    ) -> None:
        self._target = target
        self._services = services
        self._top = services.store.directory / "sources" / "git"
        self._draw = draw or Random()  # noqa: S311  # spreads requests over time, no secret
        self._folders = [DirectorySource(path, target, Pace(quiet=quiet), clock=services.clock) for path in directories]
        self._repositories: dict[str, tuple[GitSource, asyncio.Task[None]]] = {}
        self._moved = asyncio.Event()

    async def start(self) -> None:
        """Look at every folder once, so that what they hold serves before anything else begins; no remote is asked."""
        for folder in self._folders:
            await folder.scan()

    async def run(self) -> None:
        """Follow everything, until cancelled."""
        unsubscribe = self._services.bus.subscribe(self._hear, SourceResumed)
        try:
            with self._services.serving.listening(self._moved.set):
                async with asyncio.TaskGroup() as group:
                    for folder in self._folders:
                        group.create_task(_keep(folder))
                    await self._follow_repositories(group)
        finally:
            unsubscribe()
            self._repositories = {}

    def poke(self, name: str | None = None) -> None:
        """Look soon, and deliver also when nothing seems to have changed.

        Args:
            name: a source; by default all of them.

        Raises:
            NotFound: no source of that name is followed.
            Conflict: it is suspended by its own manifest.
        """
        sources, declared = self._sources(), self._declared()
        if name is None:
            for source in sources.values():
                source.poke()
            return
        if name not in sources and name not in declared:
            known = [*sources, *declared]
            hint = did_you_mean(name, known, "followed are") or "nothing is followed: loomd serve --watch DIR"
            raise NotFound(f"no source {name!r} is followed: {hint}")
        if name in declared and declared[name].spec.suspend:
            raise Conflict(f"{name} is suspended by spec.suspend: set it to false where it is declared")
        if name in sources:
            sources[name].poke()
        else:  # it is declared, and about to look anyway
            self._target.ask(name)

    def _sources(self) -> dict[str, Source]:
        found: dict[str, Source] = {folder.name: folder for folder in self._folders}
        return found | {name: source for name, (source, _) in self._repositories.items()}

    def _declared(self) -> dict[str, Object]:
        """Return the git sources that serve, by the names of what they deliver."""
        return {_place(self._top, item).source: item for item in self._services.serving.snapshot.of_kind(KIND)}

    def _hear(self, event: Event) -> None:
        if isinstance(event.data, SourceResumed):
            source = self._sources().get(event.data.source)
            if source is not None:
                source.poke()

    async def _follow_repositories(self, group: asyncio.TaskGroup) -> None:
        while True:
            self._moved.clear()
            try:
                await self._settle(group)
            except Exception:
                _log.exception("the git sources could not be settled; that is tried again in %g s", AGAIN)
                await asyncio.sleep(AGAIN)
                continue
            await self._moved.wait()

    async def _settle(self, group: asyncio.TaskGroup) -> None:
        """Follow what is declared now, and nothing else."""
        if self._services.serving.snapshot is EMPTY:  # nothing ever served: that says nothing about what is wanted
            return
        wanted = self._declared()
        for name, (source, _) in list(self._repositories.items()):
            if name not in wanted or wanted[name].spec != source.spec:
                await self._stop(name)
        for place in await asyncio.to_thread(lambda: list(find_places(self._top))):
            if place.source not in wanted:
                await self._forget(place)
        for name, item in wanted.items():
            if name not in self._repositories:
                await self._start(group, item)

    async def _start(self, group: asyncio.TaskGroup, item: Object) -> None:
        place = _place(self._top, item)
        await asyncio.to_thread(place.enter, item.spec.prune)
        self._target.announce(place.source, "git")
        source = GitSource(item.ref, item.spec, self._target, self._services.bus, place, self._draw)
        self._repositories[place.source] = (source, group.create_task(_keep(source)))

    async def _stop(self, name: str) -> None:
        _, running = self._repositories.pop(name)
        running.cancel()
        await asyncio.wait([running])

    async def _forget(self, place: Place) -> None:
        """Let go of a source whose object is gone, and of what earlier ones left behind and nothing uses any more."""
        if place.known:
            prune = place.prune
            what = "is deleted" if prune else "stays: loomd delete removes it"
            _log.warning("%s is no longer declared; what it declared %s", place.source, what)
            await self._target.forget(place.source, prune)
        await asyncio.to_thread(place.leave, await self._target.roots())


def _place(top: Path, item: Object) -> Place:
    return Place(top, item.ref.namespace, item.ref.name)


async def _keep(source: Source) -> None:
    """Run a source; begin it again when it fails."""
    while True:
        try:
            await source.run()
        except Exception:
            _log.exception("%s failed unexpectedly; it is begun again in %g s", source.name, AGAIN)
            await asyncio.sleep(AGAIN)
