"""The Unix socket of a daemon: bound for its user or its group, taken over when stale, refused when somebody listens.

Its folder must be safe from others: whoever may write there could put a socket of their own in its place. Called by
`listen`.
"""

import os
import socket
import stat
import struct
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from loomd.errors import Conflict, Permanent

_LONGEST = 107
"""Bytes that a socket's path may have."""
_OTHER = "choose another with --socket or LOOMD_SOCKET"


@contextmanager
def bound(path: Path, mode: int = 0o600) -> Generator[socket.socket]:
    """Yield a bound socket; its file is removed at the end.

    Args:
        path: where its file is made, and its folder when there is none.
        mode: who may connect.

    Raises:
        Conflict: another process listens there, or the file is no socket.
        Permanent: the path is too long, its folder is not safe, or it cannot be made.
    """
    length = len(os.fsencode(path))
    if length > _LONGEST:
        raise Permanent(f"socket {path}: {length} bytes, a socket's path has at most {_LONGEST}: {_OTHER}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_folder(path)
            _remove_stale(path)
            _bind(listener, path, mode)
        except OSError as error:
            raise Permanent(f"socket {path}: {error.strerror or error}: {_OTHER}") from error
        mine = path.stat().st_ino
        try:
            yield listener
        finally:
            if path.exists() and path.stat().st_ino == mine:
                path.unlink()
    finally:
        listener.close()


def _check_folder(path: Path) -> None:
    """Refuse a folder in which others could replace the socket."""
    folder = path.parent.stat()
    if folder.st_mode & stat.S_IWOTH:
        mode = f"{stat.S_IMODE(folder.st_mode):04o}"
        raise Permanent(f"socket {path}: everybody may write to its folder (mode {mode}): {_OTHER}")
    if folder.st_uid not in {0, os.geteuid()}:
        raise Permanent(
            f"socket {path}: its folder belongs to user {folder.st_uid}, the daemon runs as {os.geteuid()}: {_OTHER}"
        )


def _bind(listener: socket.socket, path: Path, mode: int) -> None:
    before = os.umask(0o777 & ~mode)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)


def _remove_stale(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Conflict(f"socket {path}: there is a file of another kind: move it, or {_OTHER}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        raise Conflict(f"socket {path} is served by process {_peer(probe)}: stop it, or {_OTHER}")


def _peer(probe: socket.socket) -> str:
    """Return the process id at the other end where the system tells it."""
    if not hasattr(socket, "SO_PEERCRED"):
        return "unknown"
    raw = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return str(struct.unpack("3i", raw)[0])
