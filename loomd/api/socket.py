"""The Unix socket of a daemon: bound for its user alone, taken over when stale, refused when somebody listens."""

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


@contextmanager
def bound(path: Path) -> Generator[socket.socket]:
    """Yield a bound socket with mode 0600; its file is removed at the end.

    Raises:
        Conflict: another process listens there, or the file is no socket.
        Permanent: the path is too long, or cannot be made.
    """
    if len(os.fsencode(path)) > _LONGEST:
        raise Permanent(f"socket {path}: longer than {_LONGEST} bytes: choose another with LOOMD_SOCKET")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _remove_stale(path)
            _bind(listener, path)
        except OSError as error:
            raise Permanent(f"socket {path}: {error.strerror or error}: choose another with LOOMD_SOCKET") from error
        mine = path.stat().st_ino
        try:
            yield listener
        finally:
            if path.exists() and path.stat().st_ino == mine:
                path.unlink()
    finally:
        listener.close()


def _bind(listener: socket.socket, path: Path) -> None:
    before = os.umask(0o177)
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
        raise Conflict(f"socket {path}: there is a file of another kind: move it, or choose another with LOOMD_SOCKET")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        raise Conflict(f"socket {path} is served by process {_peer(probe)}: stop it, or choose another socket")


def _peer(probe: socket.socket) -> str:
    """Return the process id at the other end where the system tells it."""
    if not hasattr(socket, "SO_PEERCRED"):
        return "unknown"
    raw = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return str(struct.unpack("3i", raw)[0])
