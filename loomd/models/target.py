"""The file that a fetch is to produce: written aside, hashed while written, and renamed only when it is right.

Called by the sources (`wheels`, `url`, `copy`) with the bytes they found; it knows none of them.
"""

import asyncio
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from loomd.errors import Damaged
from loomd.models.place import BLOCK, Stopped, drop_marker, write_marker
from loomd.models.registry import ModelFile

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all."""


@dataclass(frozen=True)
class Target:
    """One file to fetch.

    Attributes:
        file: what it must be.
        path: where it goes.
        partial: folder for what is not finished, on the same file system.
        progress: told how far the fetch is.
        stop: ends blocking work early when set.
    """

    file: ModelFile
    path: Path
    partial: Path
    progress: Progress
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def unfinished(self) -> Path:
        """Return where the bytes are written before they are known to be right."""
        return self.partial / f"{self.file.name}.unfinished"

    async def land(self, chunks: Callable[[], Iterable[bytes]], origin: str) -> None:
        """Write the bytes aside in a thread, check them, and rename them into place.

        Args:
            chunks: returns the bytes; called and iterated in the thread.
            origin: names the source in an error.

        Raises:
            Damaged: size or SHA-256 is not the expected one; nothing is left behind.
            OSError: the disk is full or cannot be written; nothing is left behind.
        """
        try:
            await asyncio.to_thread(self._write, chunks, origin)
        except asyncio.CancelledError:
            self.stop.set()
            raise

    async def land_file(self, written: Path, origin: str) -> None:
        """Check bytes that are already in the folder for unfinished files, and rename them into place.

        Raises:
            Damaged: size or SHA-256 is not the expected one; the file is removed.
        """

        def check() -> None:
            try:
                self._accept(written, _hash(_read(written), self.stop), origin)
            except Damaged:
                written.unlink(missing_ok=True)
                raise

        try:
            await asyncio.to_thread(check)
        except asyncio.CancelledError:
            self.stop.set()
            raise

    def _write(self, chunks: Callable[[], Iterable[bytes]], origin: str) -> None:
        try:
            with self.unfinished.open("wb") as out:
                found = _hash(chunks(), self.stop, out.write)
                out.flush()
                os.fsync(out.fileno())
            self._accept(self.unfinished, found, origin)
        finally:
            self.unfinished.unlink(missing_ok=True)

    def _accept(self, written: Path, found: tuple[int, str], origin: str) -> None:
        """Rename the written bytes into place if they are the expected ones."""
        size, digest = found
        if size != self.file.size:
            raise Damaged(f"{origin}: expected {self.file.size:,} bytes, got {size:,}")
        if digest != self.file.sha256:
            raise Damaged(f"{origin}: expected SHA-256 {self.file.sha256}, got {digest}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        drop_marker(self.path)
        written.replace(self.path)
        write_marker(self.path, digest)


def _hash(chunks: Iterable[bytes], stop: threading.Event, write: Callable[[bytes], int] = len) -> tuple[int, str]:
    """Return size and SHA-256 of all chunks, handing each to `write` as well."""
    digest = hashlib.sha256()
    size = 0
    for chunk in chunks:
        if stop.is_set():
            raise Stopped
        digest.update(chunk)
        write(chunk)
        size += len(chunk)
    return size, digest.hexdigest()


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def copy_of(path: Path) -> Callable[[], Iterator[bytes]]:
    """Return the chunks of a file elsewhere, for `Target.land`."""
    return lambda: _read(path)
