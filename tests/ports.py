"""Ports for what a test starts: those that nobody else gets meanwhile."""

import secrets
import socket
from contextlib import suppress

_FIRST, _LAST = 20_000, 32_000


def free_port() -> int:
    """Return a port of loopback that nobody listens on, below those that the system gives away by itself."""
    while True:
        port = _FIRST + secrets.randbelow(_LAST - _FIRST)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
