"""Tells the service manager how the daemon is, over the socket that `NOTIFY_SOCKET` names; without one it is silent.

The protocol is systemd's: one datagram of `NAME=value` lines. Never fails and hardly waits: whoever supervises notices
silence by itself. Its own socket is opened once, so that it speaks also when no more files can be opened. Called by
`lifecycle`.
"""

import logging
import os
import socket
from collections.abc import Mapping

PATIENCE = 0.5
"""Seconds that the service manager may take to make room for a message."""

_log = logging.getLogger("loomd.notify")


class Notifier:
    """Sends states to a service manager.

    Args:
        address: path of its socket, `@name` for one without a file, or empty for nobody.
        watchdog: seconds within which it wants a sign of life, 0 for never.
    """

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self._address = os.fsencode(f"\0{address[1:]}" if address.startswith("@") else address)
        self.watchdog = watchdog
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None
        if self._socket is not None:
            self._socket.settimeout(PATIENCE)

    @staticmethod
    def of(environment: Mapping[str, str], process: int) -> "Notifier":
        """Return the notifier that a process is started with; a watchdog may be meant for another process."""
        wanted = environment.get("WATCHDOG_USEC", "")
        meant = environment.get("WATCHDOG_PID", str(process)) == str(process)
        watchdog = int(wanted) / 1e6 if wanted.isdigit() and meant else 0.0
        return Notifier(environment.get("NOTIFY_SOCKET", ""), watchdog)

    def ready(self, status: str) -> None:
        """Say that it takes work, after the start and after every reload."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self, now: float) -> None:
        """Say that settings and sources are read again; `ready` must follow.

        Args:
            now: monotonic seconds.
        """
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(now * 1e6)}")

    def stopping(self, status: str) -> None:
        """Say that it drains and then ends."""
        self._send("STOPPING=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        """Say in one line what it does."""
        self._send(f"STATUS={text}")

    def alive(self) -> None:
        """Give the sign of life that the watchdog waits for."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        """Say nothing any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is None:
            return
        data = "\n".join(" ".join(line.splitlines()) for line in lines).encode("utf-8", "replace")
        try:
            self._socket.sendto(data, self._address)
        except OSError as error:
            _log.warning("the service manager was not told %s: %s", lines[0], error)
