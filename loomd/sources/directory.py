"""Watches a folder of manifests. File events are hints: on any of them, and every minute, it rescans by content.

A folder that is missing, empty, unreadable or half written never deletes anything: that is reported and what was good
stays. It never parses a manifest.
"""

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from watchfiles import Change, awatch

from loomd.errors import LoomdError, Permanent, Temporary
from loomd.manifest.problem import Position, Problem, Problems
from loomd.manifest.source import SourceFile, read_folder

_log = logging.getLogger("loomd.sources")


class Target(Protocol):
    """Where a source delivers; the reconciler fits by shape."""

    def files(self, source: str) -> tuple[SourceFile, ...]:
        """Return the files of a source that serve now."""
        ...

    async def apply(self, source: str, files: Sequence[SourceFile]) -> object:
        """Make these files what serves."""
        ...

    def reject(self, source: str, error: Exception) -> None:
        """Report what cannot be delivered."""
        ...


class DirectorySource:
    """One watched folder.

    Args:
        path: the folder; it may come and go.
        target: where its files are delivered.
        quiet: seconds without another file event before a rescan.
        every: seconds between rescans without any event.
    """

    def __init__(self, path: Path, target: Target, quiet: float = 0.3, every: float = 60.0) -> None:
        self.path = path.absolute()
        self.name = str(self.path)
        self._target = target
        self._quiet = quiet
        self._every = every
        self._hint = asyncio.Event()
        self._moved = True
        self._seen = ""
        self._reported = ""

    def poke(self) -> None:
        """Rescan soon, also when nothing seems to have changed."""
        self._seen = self._reported = ""
        self._hint.set()

    async def run(self) -> None:
        """Deliver now and on every change, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_parent())
            watcher: asyncio.Task[None] | None = None
            while True:
                self._hint.clear()
                if self._moved:  # a recreated folder: the old watcher is deaf
                    self._moved = False
                    if watcher is not None:
                        watcher.cancel()
                    watcher = group.create_task(self._watch())
                    await asyncio.sleep(0)  # it listens before the scan, so that no change falls between
                await self.scan()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._every):
                        await self._hint.wait()

    async def scan(self) -> None:
        """Read the folder and deliver its files when they differ from the last ones."""
        try:
            files, digest = await self._read()
            if digest == self._seen:
                return
            _refuse_vanished(self.path, self._target.files(self.name), files)
        except LoomdError as error:
            self._report(error)
            return
        try:
            await self._target.apply(self.name, files)
        except Temporary as error:  # the target has reported it; the next rescan tries again
            _log.warning("%s: %s", self.name, error)
        except Problems as error:  # reported by the target; the same bytes would fail again
            self._seen = digest
            self._log_refusal(error)
        except Exception as error:  # reported by the target; a key, a model or a file may come, so it is tried again
            self._log_refusal(error)
        else:
            self._seen = digest
            self._reported = ""

    async def _read(self) -> tuple[list[SourceFile], str]:
        """Return the manifests, and a digest of the whole folder, once two readings in a row agree."""
        read = await asyncio.to_thread(_read_all, self.path)
        while True:
            again = await asyncio.to_thread(_read_all, self.path)
            if again == read:
                return read
            read = again
            await asyncio.sleep(self._quiet)

    def _report(self, error: LoomdError) -> None:
        self._seen = ""
        if self._log_refusal(error):
            self._target.reject(self.name, error)

    def _log_refusal(self, error: Exception) -> bool:
        """Say why the folder is refused, once for each reason; return whether it was said."""
        if str(error) == self._reported:
            return False
        self._reported = str(error)
        serves = "what it held before serves on" if self._target.files(self.name) else "nothing of it serves yet"
        _log.error("%s: refused, %s; it is read again every %g s:\n%s", self.name, serves, self._every, error)
        return True

    async def _watch(self) -> None:
        try:
            async for _ in self._changes(self.path, recursive=True):
                self._hint.set()
        except OSError as error:
            _log.warning("%s: cannot be watched (%s): it is read every %g s", self.name, error, self._every)

    async def _watch_parent(self) -> None:
        try:
            async for changes in self._changes(self.path.parent, recursive=False):
                if any(path == self.name for _, path in changes):
                    self._moved = True
                    self._hint.set()
        except OSError as error:
            _log.warning("%s: cannot be watched (%s)", self.path.parent, error)

    def _changes(self, path: Path, recursive: bool) -> AsyncGenerator[set[tuple[Change, str]], None]:
        quiet = round(self._quiet * 1000)
        return awatch(path, watch_filter=None, step=quiet, debounce=10 * quiet, recursive=recursive)


def _read_all(root: Path) -> tuple[list[SourceFile], str]:
    """Return the manifests below a folder, and a digest of their contents and of what other files look like.

    Documents, tools and skills that manifests name are among the other files: name, size and time of change tell that
    they may have changed, loading tells whether they did.
    """
    files = read_folder(root)
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.path}\0{len(file.data)}\0".encode())
        whole.update(file.data)
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            with suppress(OSError):  # gone again: the next event tells
                seen = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118  # a thousand files in 3 ms
                whole.update(f"{folder}/{name}\0{seen.st_size}\0{seen.st_mtime_ns}\0".encode())
    return files, whole.hexdigest()


def _refuse_vanished(root: Path, old: Sequence[SourceFile], new: Sequence[SourceFile]) -> None:
    """Refuse an empty folder, and files that became empty: half written is not deleted."""
    if old and not new:
        raise Permanent(
            f"{root} holds no manifests any more, {len(old)} files serve on: an empty folder deletes nothing"
        )
    held = {file.path for file in old if file.data.strip()}
    empty = [file for file in new if file.path in held and not file.data.strip()]
    if empty:
        raise Problems(
            Problem(Position(file.name), "empty", "the file became empty", hint="write it again, or delete it")
            for file in empty
        )
