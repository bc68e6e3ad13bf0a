"""Turns files into what serves: load, compare, open the new beside the old, keep it on disk, swap one pointer.

A change that fails anywhere before the swap leaves everything as it was and says so. Sources call `apply`; the engine
leases `topology`. It never reads a folder or a socket itself.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from loomd.errors import LoomdError
from loomd.events.event import ConfigLoaded, ConfigRejected
from loomd.manifest.load import Loader
from loomd.manifest.object import EMPTY, Snapshot
from loomd.manifest.problem import Problems
from loomd.manifest.source import SourceFile
from loomd.reconcile.keep import left_out
from loomd.reconcile.plan import Plan, diff
from loomd.store.base import StoredFile
from loomd.topology import Services, Topology, open_topology

_log = logging.getLogger("loomd.reconcile")

Files = Mapping[str, tuple[SourceFile, ...]]
"""The files of every source, by the source's name."""


class Reconciler:
    """Holds the topology that serves and the files that it was made from.

    Attributes:
        topology: what serves now; lease it before use.
        rejected: what was refused last, by source, as long as it was not mended.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._files: Files = {}
        self._loader = Loader()
        self._lock = asyncio.Lock()
        self.topology = Topology(EMPTY)
        self.rejected: dict[str, tuple[str, ...]] = {}

    @property
    def revision(self) -> str:
        """Return the revision that serves."""
        return self.topology.snapshot.revision

    @property
    def last_error(self) -> str:
        """Return what is wrong with refused candidates, one per line, or an empty string."""
        return "\n".join(f"{source}: {line}" for source, lines in self.rejected.items() for line in lines)

    def files(self, source: str) -> tuple[SourceFile, ...]:
        """Return the files of a source that serve now."""
        return self._files.get(source, ())

    async def restore(self) -> None:
        """Open the last known good files of all sources; when that fails, report it and serve nothing yet."""
        stored: dict[str, tuple[SourceFile, ...]] = {}
        for file in await self._services.store.load_files():
            item = SourceFile(Path(file.root), file.path, file.data)
            stored[file.source] = (*stored.get(file.source, ()), item)
        if not stored:
            return
        async with self._lock:
            self._files = stored
            try:
                snapshot = await asyncio.to_thread(self._loader.load, _all(stored))
                self.topology = await open_topology(snapshot, self._services)
            except Exception as error:
                self.reject("last known good", error)

    async def apply(self, source: str, files: Sequence[SourceFile], dry_run: bool = False, prune: bool = True) -> Plan:
        """Make the files of one source what serves, together with those of all other sources.

        Args:
            source: name of the source, its absolute path.
            files: all its files.
            dry_run: load and compare only.
            prune: delete the objects that the source had before and that its files no longer declare; otherwise they
                are kept as they are.

        Raises:
            Problems: the manifests are not valid.
            LoomdError: something could not be opened or stored; the old revision serves on.
        """
        async with self._lock:
            try:
                return await self._apply(source, tuple(files), dry_run, prune)
            except Exception as error:
                if not dry_run:
                    self.reject(source, error)
                raise

    def reject(self, source: str, error: Exception) -> None:
        """Report a candidate that cannot serve."""
        lines = _lines(error)
        self.rejected[source] = lines
        self._services.bus.emit(ConfigRejected(source, lines))
        if not isinstance(error, LoomdError):
            _log.error("%s: refused because of a fault", source, exc_info=error)

    async def close(self) -> None:
        """Stop serving; what is leased closes after its last lease."""
        async with self._lock:
            old, self.topology = self.topology, Topology(EMPTY)
            await old.retire()

    async def _apply(self, source: str, files: tuple[SourceFile, ...], dry_run: bool, prune: bool) -> Plan:
        files, snapshot = await asyncio.to_thread(self._load, source, files, prune)
        plan = diff(self.topology.snapshot, snapshot)
        if dry_run:
            return plan
        if not plan.effective:
            await self._keep(source, files, plan.after)
            return plan
        fresh = await open_topology(snapshot, self._services, self.topology)
        try:
            await self._keep(source, files, plan.after)
        except BaseException:
            await fresh.retire()
            raise
        old, self.topology = self.topology, fresh
        changes = tuple(str(change) for change in plan.effective)
        self._services.bus.emit(ConfigLoaded(source, changes))
        _log.info("%s: revision %s serves: %s", source, plan.after, ", ".join(changes))
        await old.retire()
        return plan

    def _load(self, source: str, files: tuple[SourceFile, ...], prune: bool) -> tuple[tuple[SourceFile, ...], Snapshot]:
        """Return the files of a source, with those that keep what it had before, and the snapshot with all others."""
        if not prune:
            files += left_out(self._loader.documents(self.files(source)), self._loader.documents(files))
        return files, self._loader.load(_all({**self._files, source: files}))

    async def _keep(self, source: str, files: tuple[SourceFile, ...], revision: str) -> None:
        """Remember the files as last known good, on disk and here."""
        if files != self._files.get(source):
            stored = [StoredFile(source, str(file.root), file.path, file.data) for file in files]
            await self._services.store.save_files(source, stored, revision)
            self._files = {**self._files, source: files}
        self.rejected.pop(source, None)
        self.rejected.pop("last known good", None)


def _all(files: Files) -> list[SourceFile]:
    return [file for _, items in sorted(files.items()) for file in items]


def _lines(error: Exception) -> tuple[str, ...]:
    if isinstance(error, Problems):
        return tuple(str(problem) for problem in error.problems)
    if isinstance(error, LoomdError):
        return (str(error),)
    return (f"{type(error).__name__}: {error}",)
