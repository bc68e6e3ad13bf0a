"""What a person has at a terminal: a folder of manifests, verbs, and a terminal that shows colours."""

import contextlib
import io
import os
import pty
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from pathlib import Path

from loomd.cli.main import run
from tests import nursery
from tests.daemon.process import PATIENCE, Daemon

TEAM = """\
# who thinks
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script, namespace: SPACE}
spec:
  type: scripted
  replies:
    - {when: slow, text: at last, delay: 60s, times: null}
    - {text: The answer is 42., times: null}
---
# Ada answers
apiVersion: loomd.dev/v1
kind: Agent
metadata:
  name: ada
  namespace: SPACE
  labels: {team: docs}  # hers
spec:
  provider: script
  description: answers everything
  prompt: |
    You are Ada.
    Answer briefly.
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: team, namespace: SPACE}
spec: {agents: [ada]}
"""
BOB = """\
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: bob, namespace: SPACE}
spec: {provider: script, description: helps}
"""

Ran = subprocess.CompletedProcess[str]


class TerminalStream(io.TextIOWrapper):
    """A stream that says that it is a terminal; what was written and flushed is in `written`."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self.written = io.BytesIO()
        super().__init__(self.written, encoding)

    def isatty(self) -> bool:
        """Return that it is."""
        return True


class Folder:
    """A folder of manifests in a namespace of a daemon.

    Attributes:
        daemon: the daemon.
        path: the folder.
        space: the namespace.
    """

    def __init__(self, daemon: Daemon, path: Path, space: str) -> None:
        self.daemon = daemon
        self.path = path / "manifests"
        self.path.mkdir()
        self.space = space
        self.write("team.yaml", TEAM)

    def write(self, name: str, text: str) -> Path:
        """Write a manifest and return its path."""
        path = self.path / name
        path.write_text(text.replace("SPACE", self.space))
        return path

    def change(self, old: str, new: str, name: str = "team.yaml") -> None:
        """Replace a text that is there once in a manifest."""
        text = (self.path / name).read_text()
        assert text.count(old) == 1
        (self.path / name).write_text(text.replace(old, new))

    def loomd(self, *arguments: str, stdin: str = "", **variables: str) -> Ran:
        """Run a verb in the folder above the manifests, in this process: quick, and otherwise as at a terminal."""
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.path.parent),
            _environment(self.daemon.environment | variables),
            _stdin(stdin),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run(arguments)
        return Ran(arguments, code, out.getvalue(), err.getvalue())

    def process(self, *arguments: str, stdin: str = "", **variables: str) -> Ran:
        """Run a verb in the folder above the manifests, in a process of its own."""
        command = [sys.executable, "-m", "loomd", *arguments]
        return nursery.run(command, self.daemon.environment | variables, self.path.parent, stdin)

    def said(self, *arguments: str, stdin: str = "", **variables: str) -> str:
        """Run a verb that must succeed and return what it prints."""
        ran = self.loomd(*arguments, stdin=stdin, **variables)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def apply(self, *options: str) -> str:
        """Apply the folder and return what is printed."""
        return self.said("apply", "-f", "manifests", *options)

    def position(self) -> int:
        """Return the number of the revision that serves."""
        return int(self.daemon.client.get("rollout")["number"])

    def description(self, name: str = "ada") -> str:
        """Return the description of an agent that serves."""
        return str(self.daemon.client.get("namespaces", self.space, "agents", name)["spec"]["description"])


class Terminal:
    """A verb at a terminal of its own: everything that it writes, and keys for it."""

    def __init__(self, folder: Folder, *arguments: str, **variables: str) -> None:
        self.text = ""
        self._master, slave = pty.openpty()
        environment = {"TERM": "xterm", "COLUMNS": "200", **folder.daemon.environment, **variables}
        command = ["setsid", "--ctty", sys.executable, "-m", "loomd", *arguments]
        self.process = subprocess.Popen(  # noqa: S603  # our own command
            command, env=environment, cwd=folder.path.parent, stdin=slave, stdout=slave, stderr=slave, close_fds=True
        )
        os.close(slave)

    def until(self, text: str) -> None:
        """Read until a text was written."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.text:
            assert time.monotonic() < deadline, self.text
            if not self._read(0.1) and self.process.poll() is not None:
                assert text in self.text, self.text

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def end(self) -> int:
        """Read to the end and return the exit code."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read(0.1)
        while self._read(0):
            pass
        os.close(self._master)
        return self.process.wait(timeout=1)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            piece = os.read(self._master, 65536)
        except OSError:  # the other side is closed
            return False
        self.text += piece.decode(errors="replace")
        return bool(piece)


class Screen:
    """A verb at a terminal in tmux: what stands on the screen, and keys for it."""

    def __init__(self, tmux: str, server: Path) -> None:
        self._command = [tmux, "-S", str(server), "-f", "/dev/null"]

    def start(self, folder: Folder, *arguments: str, **variables: str) -> None:
        """Run a verb; when it ends, the screen says `ended with CODE`."""
        named = folder.daemon.environment.items()
        own = {name: value for name, value in named if name.startswith(("LOOMD_", "XDG_"))}
        given = [f"{name}={value}" for name, value in (own | variables).items()]
        command = shlex.join(["env", *given, sys.executable, "-m", "loomd", *arguments])
        size = ("-x", "120", "-y", "40", "-c", str(folder.path.parent))
        self._tmux("new-session", "-d", *size, f"{command}; echo ended with $?; cat")

    def type(self, *keys: str) -> None:
        """Press keys, as tmux names them."""
        self._tmux("send-keys", *keys)

    def shown(self) -> str:
        """Return what stands on the screen."""
        return self._tmux("capture-pane", "-p")

    def until(self, text: str) -> str:
        """Wait until a text stands on the screen, and return the screen."""
        deadline = time.monotonic() + PATIENCE
        while text not in (shown := self.shown()):
            assert time.monotonic() < deadline, shown
            time.sleep(0.05)
        return shown

    def close(self) -> None:
        """End all that runs in it."""
        subprocess.run([*self._command, "kill-server"], capture_output=True, check=False)  # noqa: S603  # a fixed command

    def _tmux(self, *arguments: str) -> str:
        command = [*self._command, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603  # a fixed command


@contextlib.contextmanager
def _environment(wanted: Mapping[str, str]) -> Generator[None]:
    """Let these be all variables."""
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(wanted)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _stdin(text: str) -> Generator[None]:
    """Let standard input hold a text."""
    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(text.encode()))
    try:
        yield
    finally:
        sys.stdin = before
