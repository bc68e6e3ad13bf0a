"""A state directory belongs to one store and is held by one process at a time.

Holds the rules of who may open it; knows nothing of what is inside the database.
"""

import fcntl
import json
import os
from pathlib import Path
from typing import IO

import platformdirs

from loomd.errors import Conflict, Damaged, Permanent

DATABASE = "loomd.db"
_MARKER = "identity.json"
_LOCK = "lock"
_OURS = {_LOCK, _MARKER, f"{_MARKER}.new", DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal"}


class StateDirectory:
    """A claimed state directory; the claim ends with `release` or with the process."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path = path
        self._lock = lock

    @property
    def database(self) -> Path:
        """Return the path of the database."""
        return self.path / DATABASE

    def check(self, identity: str) -> None:
        """Compare the database's identity with the marker; a fresh directory gets its marker.

        Raises:
            Damaged: the database is not the one that this directory was made with.
        """
        marker = self.path / _MARKER
        if not marker.exists():
            _write_durably(marker, json.dumps({"format": "loomd-state", "id": identity}) + "\n")
            return
        try:
            expected = json.loads(marker.read_text(encoding="utf-8"))["id"]
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise Damaged(f"{marker} cannot be read ({error}): restore the directory from a backup") from error
        if expected != identity:
            raise Damaged(
                f"{self.database} has identity {identity or '(none)'}, {marker.name} says {expected}: "
                "the database was swapped; restore the right one"
            )

    def release(self) -> None:
        """Let another process claim the directory."""
        self._lock.close()


def default_directory() -> Path:
    """Return the state directory: `LOOMD_STATE`, or `state` in the user's data directory."""
    given = os.environ.get("LOOMD_STATE")
    if given:
        return Path(given).expanduser().absolute()
    return Path(platformdirs.user_data_dir("loomd", appauthor=False)) / "state"


def claim(path: Path) -> StateDirectory:
    """Create the directory if needed, refuse a foreign one, and lock it for this process.

    Raises:
        Conflict: another process holds it, or it holds something that is not ours.
        Damaged: it is ours, but its database is gone.
        Permanent: it cannot be created or written.
    """
    path = path.absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_foreign(path)
        lock = _lock(path)
    except OSError as error:
        raise Permanent(f"state directory {path}: {error.strerror}: choose another or mend its permissions") from error
    try:
        _refuse_gutted(path)
        path.chmod(0o700)
    except BaseException:
        lock.close()
        raise
    return StateDirectory(path, lock)


def holder(path: Path) -> str:
    """Return the process id that last locked a state directory, or an empty string."""
    try:
        return (path / _LOCK).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _refuse_foreign(path: Path) -> None:
    names = {entry.name for entry in path.iterdir()}
    if _MARKER not in names and names - _OURS:
        example = min(names - _OURS)
        raise Conflict(f"{path} is not a state directory of loomd (it holds {example}): choose an empty one")


def _refuse_gutted(path: Path) -> None:
    if (path / _MARKER).exists() and not (path / DATABASE).exists():
        raise Damaged(f"{path} lost its {DATABASE}: restore it from a backup, or remove the directory to start anew")


def _lock(path: Path) -> IO[str]:
    lock = (path / _LOCK).open("a+", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise Conflict(
            f"state directory {path} is held by process {holder(path) or 'unknown'}: stop it, or choose another"
        ) from None
    except BaseException:
        lock.close()
        raise
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def _write_durably(path: Path, text: str) -> None:
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
