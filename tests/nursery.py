"""A process that has loomd in memory already and forks others from it, so that their start costs no imports.

What it forks is `python -m loomd ARGUMENTS` or `python -c CODE ARGUMENTS` from where its modules are loaded: a process
of its own, with files, a folder and an environment of its own, ended by signals alone. Tests of what comes before that
(the interpreter, imports, limits and libraries that a process is born with) use `subprocess`.

`Process` asks the nursery of the test process, `python -m tests.nursery FD`, for one; the first who does starts it.
"""

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from loomd.cli import main as verbs
from loomd.manifest.convert import accepts, types_accept
from loomd.manifest.kind import find_kinds

ROOT = Path(__file__).parents[1]
_LARGEST = 1 << 17
"""Bytes of an order, most of them the environment."""


class Process:
    """A process from the nursery: what `subprocess.Popen` is to one that was started otherwise.

    Attributes:
        args: its command.
        pid: its number.
        returncode: what `poll` or `wait` found: its exit code, or less than nothing for the signal that ended it.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        *,
        stdin: IO[Any] | int = subprocess.DEVNULL,
        stdout: IO[Any] | int = subprocess.DEVNULL,
        stderr: IO[Any] | int = subprocess.DEVNULL,
    ) -> None:
        self.args = list(command)
        self.returncode: int | None = None
        order = json.dumps([self.args[1:], str(cwd), dict(os.environ if env is None else env)]).encode()
        assert len(order) < _LARGEST
        null = os.open(os.devnull, os.O_RDWR)
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        files = [null if file == subprocess.DEVNULL else _number(file) for file in (stdin, stdout, stderr)]
        with theirs:
            socket.send_fds(_desk(), [order], [*files, theirs.fileno()])
        os.close(null)
        self.pid = int(self._line.recv(32))

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code once it has ended.

        Raises:
            TimeoutExpired: it still runs after so many seconds.
        """
        if self.returncode is None:
            if not select.select([self._line], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self.returncode = int(self._line.recv(32))
            self._line.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def run(
    command: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path = ROOT, said: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end and return its exit code and what it wrote.

    Args:
        command: the command.
        env: its environment.
        cwd: its folder.
        said: what it reads from its standard input, a pipe; no more than a pipe holds.
    """
    reader, writer = os.pipe()
    os.write(writer, said.encode())
    os.close(writer)
    with os.fdopen(reader) as given, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = Process(command, env, cwd, stdin=given, stdout=out, stderr=err)
        try:
            code = process.wait()
        finally:
            process.kill()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(list(command), code, out.read(), err.read())


def _number(file: IO[Any] | int) -> int:
    return file if isinstance(file, int) else file.fileno()


@cache
def _desk() -> socket.socket:
    """Return the socket that the nursery of this process takes orders from."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _LARGEST)
    command = [sys.executable, "-m", "tests.nursery", str(theirs.fileno())]
    with theirs:
        process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)  # noqa: S603  # this module

    def leave() -> None:
        ours.close()
        process.wait()

    atexit.register(leave)
    return ours


def main() -> None:
    """Fork what is ordered until nobody is there to order more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who sits with a child is not waited for
    desk = socket.socket(fileno=int(sys.argv[1]))
    _load()
    gc.collect()
    gc.freeze()
    while True:
        order, handles, *_ = socket.recv_fds(desk, _LARGEST, 4)
        if not order:
            return
        if not os.fork():
            desk.close()
            words, folder, environment = json.loads(order)
            *files, line = handles
            if _is_sitter(files, socket.socket(fileno=line)):
                os._exit(0)
            _become(words, folder, environment, files)
            return
        for handle in handles:
            os.close(handle)


def _load() -> None:
    """Import what daemons and the processes of tests need, and make what they read manifests with; start nothing."""
    for name in ("loomd.cli.foreground", "loomd.cli.serve", "tests.engine.world"):
        importlib.import_module(name)
    for kind in find_kinds().values():
        accepts(kind, {})
        types_accept(kind, {})


def _is_sitter(files: list[int], line: socket.socket) -> bool:
    """Fork the process itself, and tell its number and its end; return whether this is who did so."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if not child:
        line.close()
        return False
    for file in files:  # whoever reads them sees the end
        os.close(file)
    with suppress(BrokenPipeError, ConnectionError):
        line.send(str(child).encode())
        line.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
    return True


def _become(words: list[str], folder: str, environment: dict[str, str], files: list[int]) -> None:
    """Do what the interpreter does with a command."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  # as the interpreter does
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  # as it does
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115  # as it does
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    how, what, *arguments = words
    if how == "-c":
        sys.argv = ["-c", *arguments]
        exec(what, {"__name__": "__main__"})  # noqa: S102  # the code of a test
        return
    assert (how, what) == ("-m", "loomd"), words
    sys.argv = ["loomd", *arguments]
    verbs.main()


if __name__ == "__main__":
    main()
