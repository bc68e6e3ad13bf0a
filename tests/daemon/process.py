"""A daemon in a child process, and what the tests do with it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from loomd.api.client import Client
from loomd.errors import Unreachable
from tests import nursery
from tests.nursery import Process

TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec:
  type: scripted
  replies:
    - {when: slow, text: at last, delay: DELAY, times: null}
    - {text: The answer is 42., times: null}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: script, description: answers everything}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: team}
spec: {agents: [ada]}
"""
PATIENCE = 30.0
"""Seconds in which everything must have come to what a test waits for."""


class Daemon:
    """A daemon that keeps all it has in one folder and follows `manifests` in it.

    Attributes:
        home: the folder.
        folder: the manifests.
        client: a client of its socket.
        environment: variables that it is started with.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "manifests"
        self.folder.mkdir(exist_ok=True)
        self.client = Client(home / "s.sock")
        self.environment = os.environ | {"LOOMD_STATE": str(home / "state"), "LOOMD_SOCKET": str(home / "s.sock")}
        self._process: subprocess.Popen[bytes] | Process | None = None

    @property
    def process(self) -> "subprocess.Popen[bytes] | Process":
        """Return the process."""
        assert self._process is not None
        return self._process

    @property
    def socket(self) -> Path:
        """Return the path of its socket."""
        return self.home / "s.sock"

    @property
    def log(self) -> str:
        """Return what it logged."""
        path = self.home / "log"
        return path.read_text() if path.exists() else ""

    def write(self, text: str = TEAM.replace("DELAY", "30s")) -> None:
        """Write the manifests."""
        (self.folder / "team.yaml").write_text(text)

    def configure(self, **settings: Any) -> str:
        """Write the settings and return the path of their file; the folder is followed unless they say otherwise."""
        path = self.home / "loomd.yaml"
        path.write_text(yaml.safe_dump({"watch": [str(self.folder)], **settings}))
        return str(path)

    def launch(self, *options: str, native: bool = False, **how: Any) -> None:
        """Start it: `--watch` its folder unless the options name a file of settings.

        Args:
            options: what its command says more.
            native: start it from nothing, not from the nursery: it inherits what this process may do.
            how: arguments of `Popen`, for one that is started from nothing too.
        """
        watched = [] if "--config" in options else ["--watch", str(self.folder)]
        command = [sys.executable, "-m", "loomd", "serve", *watched, *options]
        with (self.home / "log").open("ab") as log:
            where: dict[str, Any] = {"stdout": log, "stderr": log, "env": self.environment, **how}
            native = native or bool(how) or self._is_preloaded
            self._process = subprocess.Popen[bytes](command, **where) if native else Process(command, **where)

    def adopt(self, process: "subprocess.Popen[bytes] | Process") -> None:
        """Take a process that was started otherwise."""
        self._process = process

    def start(self, *options: str, **how: Any) -> None:
        """Start it and wait until it takes work."""
        self.launch(*options, **how)
        self.until(self.is_ready)

    def ask(self, path: str, host: str = "localhost") -> tuple[int, str]:
        """Return status and text of a GET.

        Raises:
            Unreachable: nobody listens.
        """
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            try:
                connection.connect(str(self.socket))
                connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
                got = b""
                while piece := connection.recv(65536):
                    got += piece
            except OSError as error:
                raise Unreachable("not yet") from error
        head, _, body = got.decode().partition("\r\n\r\n")
        return (int(head.split()[1]) if head else 0), body

    def is_ready(self) -> bool:
        """Return whether it takes work."""
        return self.ask("/readyz")[0] == 200

    def is_alive(self) -> bool:
        """Return whether it answers."""
        return self.ask("/livez")[0] == 200

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.tell(number)
        return self.process.wait(timeout=PATIENCE)

    def loomd(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a verb against it."""
        command = [sys.executable, "-m", "loomd", *arguments]
        if self._is_preloaded:
            return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)  # noqa: S603  # our own command
        return nursery.run(command, self.environment)

    @property
    def _is_preloaded(self) -> bool:
        """Return whether its processes have another library before their own, which none of the nursery gets."""
        return "LD_PRELOAD" in self.environment

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; no daemon yet is not yet."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                if holds():
                    return
            except Unreachable:
                assert self.process.poll() is None, self.log
            time.sleep(0.02)
        raise AssertionError(f"it never came to that:\n{self.log}")

    def until_described(self, text: str) -> None:
        """Wait until the agent that serves has a description."""
        self.until(lambda: self.description() == text)

    def until_logged(self, text: str) -> None:
        """Wait until something is in the log."""
        self.until(lambda: text in self.log)

    def kill(self) -> None:
        """End it when it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def description(self) -> str:
        """Return the description of the agent that serves."""
        return str(self.client.get("namespaces", "default", "agents", "ada")["spec"]["description"])
