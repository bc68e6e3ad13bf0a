"""A state directory belongs to one store and is held by one process at a time.

Holds the rules of who may open it; knows nothing of what is inside the database.
"""

import errno
import fcntl
import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import platformdirs

from loomd.errors import Conflict, Damaged, Permanent, Temporary
from loomd.store.wal import damage

DATABASE = "loomd.db"
_MARKER = "identity.json"
_LOCK = "lock"
_OPEN = "open.json"
"""There while a store is open: after a kill it says that the log belongs to the database, and who wrote it when."""
_OURS = {
    _LOCK,
    _MARKER,
    f"{_MARKER}.new",
    _OPEN,
    f"{_OPEN}.new",
    DATABASE,
    f"{DATABASE}-wal",
    f"{DATABASE}-shm",
    f"{DATABASE}-journal",
}
_TRIES, _PAUSE = 3, 0.01
"""How often a lock is tried again, and seconds between."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_COPY = f"{DATABASE}.schema-"
"""How the names of copies begin that are made before the schema changes."""


class StateDirectory:
    """A claimed state directory; the claim ends with `release` or with the process."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path = path
        self._lock = lock

    @property
    def database(self) -> Path:
        """Return the path of the database."""
        return self.path / DATABASE

    def check(self, identity: str, *, fresh: bool) -> None:
        """Compare the database's identity with the marker; a fresh directory gets its marker.

        Args:
            identity: of the database.
            fresh: whether nothing was ever kept in it.

        Raises:
            Damaged: the database is not the one that this directory was made with.
        """
        if fresh and not is_marked(self.path):
            self._write(_MARKER, {"format": "loomd-state", "id": identity})
        compare(self.path, identity)

    def refuse_loss(self) -> None:
        """Look at what was left, before anything is opened.

        Raises:
            Damaged: what was written last is lost: the database is empty, or its log is damaged or missing.
        """
        lost = loss(self.path)
        if lost:
            raise Damaged(lost)

    def refuse_emptied(self) -> None:
        """Refuse a database without a table where there was one with tables.

        Raises:
            Damaged: it has lost all.
        """
        if (self.path / _MARKER).exists():
            raise Damaged(emptied(self.path))

    def begin(self) -> None:
        """Note durably that the store is open and has a log."""
        self._write(_OPEN, {"pid": os.getpid(), "boot": _boot()})

    def end(self) -> None:
        """Note that the log is not needed any more once the database is closed."""
        with suppress(OSError):  # the directory is gone or read-only: then the log stays as well
            (self.path / _OPEN).unlink(missing_ok=True)

    def _write(self, name: str, value: dict[str, object]) -> None:
        path = self.path / name
        fresh = path.with_name(f"{name}.new")
        with typed(self.path):
            fresh.write_text(json.dumps(value) + "\n", encoding="utf-8")
            settle(fresh, path)

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
    with typed(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_foreign(path)
        lock = _lock(path)
        try:
            _refuse_gutted(path)
            path.chmod(0o700)
        except BaseException:
            lock.close()
            raise
    return StateDirectory(path, lock)


@contextmanager
def typed(path: Path) -> Generator[None]:
    """Let what the system refuses in a state directory be an error that says what to do.

    Raises:
        Permanent: it cannot be created, read or written.
        Temporary: there is no space.
    """
    try:
        yield
    except OSError as error:
        file = Path(str(error.filename or path))
        inner = file.relative_to(path) if file.is_relative_to(path) else file
        place = "" if file == path else f"{inner}: "
        text = f"state directory {path}: {place}{error.strerror}"
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}:
            raise Temporary(f"{text}: free space, or look after the disk") from error
        raise Permanent(f"{text}: choose another or mend its permissions") from error


def holder(path: Path) -> str:
    """Return the process id that last locked a state directory, or an empty string."""
    try:
        return (path / _LOCK).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def compare(path: Path, identity: str) -> None:
    """Compare the identity of the database in a state directory with its marker.

    Raises:
        Damaged: they differ, or the marker cannot be read.
    """
    marker = path / _MARKER
    if not marker.exists():
        raise Damaged(
            f"{marker} is missing, so nothing says whose {DATABASE} this is: put it back from the backup that the "
            f'database is of, or write {{"id":"{identity}"}} into it to take this one on purpose'
        )
    try:
        expected = json.loads(marker.read_text(encoding="utf-8"))["id"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise Damaged(f"{marker} cannot be read ({error}): restore the directory from a backup") from error
    if expected != identity:
        raise Damaged(
            f"{path / DATABASE} has identity {identity or '(none)'}, {marker.name} says {expected}: "
            "the database was swapped; restore the right one"
        )


def loss(path: Path) -> str:
    """Return what of a state directory that no process holds is lost, and what to do; or an empty string."""
    database, log, left = path / DATABASE, path / f"{DATABASE}-wal", path / _OPEN
    if (path / _MARKER).exists() and database.exists() and not database.stat().st_size:
        return emptied(path)
    if not left.exists():
        return ""
    if not log.exists() or not log.stat().st_size:
        return (
            f"{log} is missing, although the last process was killed: what it wrote last is lost, unless another "
            f"program closed the database; restore a backup, or remove {left.name} to go on with what is left"
        )
    found = damage(log, torn=_booted_since(left))
    if found:
        return (
            f"{log} is damaged: {found}; what was written last is lost: restore a backup, or remove {log.name} and "
            f"{left.name} to go on with what is left"
        )
    return ""


def emptied(path: Path) -> str:
    """Return what is to say of a state directory whose database is empty."""
    return f"{path / DATABASE} is empty: restore it from a backup, or remove the directory to start anew"


def is_marked(path: Path) -> bool:
    """Return whether a state directory carries its identity; one that was never open once does not."""
    return (path / _MARKER).exists()


def is_ours(path: Path) -> bool:
    """Return whether a folder is a state directory, or what is left of one."""
    return is_marked(path) or (path / DATABASE).exists()


def is_held(path: Path) -> bool:
    """Return whether a process holds a state directory."""
    try:
        with (path / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _booted_since(left: Path) -> bool:
    """Return whether the machine may have been started anew since a store was open."""
    try:
        before = json.loads(left.read_text(encoding="utf-8"))["boot"]
    except (ValueError, KeyError, TypeError, OSError):
        return True
    return not before or before != _boot()


def _boot() -> str:
    """Return what tells one start of the machine from another; empty where nothing does."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _refuse_foreign(path: Path) -> None:
    names = {entry.name for entry in path.iterdir()}
    foreign = {name for name in names - _OURS if not name.startswith(_COPY)}
    if _MARKER not in names and foreign and not _has_database(path):
        raise Conflict(f"{path} is not a state directory of loomd (it holds {min(foreign)}): choose an empty one")


def _has_database(path: Path) -> bool:
    """Return whether there is a database with something in it: whose it is, itself says."""
    database = path / DATABASE
    return database.is_file() and database.stat().st_size > 0


def _refuse_gutted(path: Path) -> None:
    if (path / _MARKER).exists() and not (path / DATABASE).exists():
        raise Damaged(f"{path} lost its {DATABASE}: restore it from a backup, or remove the directory to start anew")


def _lock(path: Path) -> IO[str]:
    lock = (path / _LOCK).open("a+", encoding="ascii")
    try:
        _take(lock)
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


def _take(lock: IO[str]) -> None:
    """Lock a file, and try again for a moment: whoever looks whether it is locked locks it too.

    Raises:
        BlockingIOError: another process holds it.
    """
    for _ in range(_TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_PAUSE)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def settle(fresh: Path, path: Path) -> None:
    """Put a file that is written in the place of another, so that a power cut leaves the one or the other whole."""
    _flush(fresh)
    fresh.replace(path)
    _flush(path.parent)


def _flush(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
