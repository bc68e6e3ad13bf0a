"""Where models are kept, and how a finished file is told from an unfinished one.

Each model has a folder of its own. Beside each file stands `<file>.sha256`, in the form of `sha256sum`, written after
the bytes were hashed: opening a model looks at size and marker only, `loomd models verify` hashes again.
"""

import contextlib
import hashlib
import os
import shutil
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import IO

from loomd.errors import Conflict

BLOCK = 1 << 22
"""Bytes read, hashed and written at a time."""


PARTIAL = "partial"
"""Folder of what is unfinished, inside the folder of models."""


class Stopped(Exception):
    """Hashing or joining was told to stop."""


def models_dir() -> Path:
    """Return the folder of models: `LOOMD_MODELS_DIR`, or `models` in the user's data directory."""
    given = os.environ.get("LOOMD_MODELS_DIR")
    if given:
        return Path(given).expanduser().absolute()
    import platformdirs  # noqa: PLC0415  # only needed without the variable

    return Path(platformdirs.user_data_dir("loomd", appauthor=False)) / "models"


def has_marker(path: Path, size: int, sha256: str) -> bool:
    """Return whether a file has the right size and was found right after its last change."""
    try:
        seen, marker = path.stat(), _marker(path)
        known = marker.read_text(encoding="ascii").split()[:1] == [sha256]
        return seen.st_size == size and known and seen.st_mtime_ns <= marker.stat().st_mtime_ns
    except (OSError, UnicodeDecodeError):
        return False


def write_marker(path: Path, sha256: str) -> None:
    """Record that a file was found to have a hash."""
    _marker(path).write_text(f"{sha256}  {path.name}\n", encoding="ascii")


def drop_marker(path: Path) -> None:
    """Forget that a file was found right."""
    _marker(path).unlink(missing_ok=True)


def _marker(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def hash_file(path: Path, progress: Callable[[int], None], stop: threading.Event) -> str:
    """Return the SHA-256 of a file as hex digits. Blocks: call it in a thread.

    Args:
        path: the file.
        progress: called with the bytes read so far.
        stop: ends the work early when set.

    Raises:
        Stopped: `stop` was set.
    """
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            if stop.is_set():
                raise Stopped
            digest.update(block)
            done += len(block)
            progress(done)
    return digest.hexdigest()


def remove(folder: Path, name: str) -> int:
    """Remove a model's folder and what is unfinished of it, and return the bytes that became free.

    Raises:
        Conflict: another process is at work in the folder of models.
    """
    places = [place for place in (folder / name, folder / PARTIAL / name) if place.is_dir()]
    if not places:
        return 0
    with locked(folder):
        freed = sum(path.stat().st_size for place in places for path in place.rglob("*") if path.is_file())
        for place in places:
            shutil.rmtree(place)
    return freed


@contextlib.contextmanager
def locked(folder: Path) -> Generator[None, None, None]:
    """Hold the folder of models for writing, against other processes.

    Raises:
        Conflict: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+b") as file:
        if not _lock(file):
            raise Conflict(f"{folder}: another `loomd models` is at work there: wait for it, then run this again")
        yield


def _lock(file: IO[bytes]) -> bool:
    """Lock a file until it is closed; return whether it was free."""
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415  # exists on this platform only

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415  # exists on this platform only

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
