"""Runs one program to its end, or ends it: with everything that it started, at once, and whatever it wrote.

No shell is involved, nothing of the daemon's environment is handed over, output is read up to a limit. Called by what
makes sandboxes.
"""

import asyncio
import os
import signal
import tempfile
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from loomd.errors import ToolFailed

_PIECE = 64 << 10

Argv = Callable[[Mapping[str, int]], Sequence[str]]
"""Returns program and arguments, given the numbers of the open files that they get by name."""


@dataclass(frozen=True)
class Command:
    """What is run.

    Attributes:
        argv: what is run; the program is a path.
        env: its whole environment.
        cwd: folder to begin in, or None for that of the daemon.
        stdin: what it can read; None for nothing.
        user: numeric id of the user and group to become first, or None to stay what the daemon is.
        files: contents to hand over as open files, by name.
    """

    argv: Argv
    env: Mapping[str, str]
    cwd: Path | None = None
    stdin: bytes | None = None
    user: int | None = None
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
        code: its exit code; below 0 the number of the signal that ended it.
        out: what it wrote to standard output, and to standard error unless that was read apart.
        err: what it wrote to standard error.
        told: what it wrote to further files, by their names.
    """

    code: int
    out: bytes
    err: bytes
    told: Mapping[str, bytes]


async def run(command: Command, *, limit: int, apart: bool, told: Sequence[str] = ()) -> Ended:
    """Run a program; whenever this returns or raises, also by a cancellation, all that it started has been killed.

    Without a sandbox that is its process group, and when it is ended early, all that descends from it.

    Args:
        command: what is run.
        limit: most bytes that it may write to each file.
        apart: whether standard error is read apart from standard output.
        told: names of further files to write to.

    Raises:
        ToolFailed: it cannot be started, or wrote too much.
    """
    with ExitStack() as stack:
        loop = asyncio.get_running_loop()
        pipes = {name: _Pipe(stack, loop, limit) for name in ("out", *["err"] * apart, *told)}
        numbers = {name: _file(stack, data) for name, data in command.files.items()}
        numbers |= {name: pipes[name].inner for name in told}
        stdin = asyncio.subprocess.DEVNULL if command.stdin is None else _file(stack, command.stdin)
        process = await _start(command, stdin, pipes, numbers)
        try:
            for pipe in pipes.values():
                pipe.listen(partial(_kill, process))
            await process.wait()
        finally:
            _kill(process)
            await asyncio.shield(process.wait())
        read = {name: pipe.rest() for name, pipe in pipes.items()}
        if any(pipe.full for pipe in pipes.values()):
            raise ToolFailed(f"it wrote more than {limit} bytes and was ended")
        return Ended(process.returncode or 0, read["out"], read.get("err", b""), {name: read[name] for name in told})
    raise AssertionError("unreachable")  # the stack swallows nothing


def how_it_ended(code: int) -> str:
    """Return how a program ended, in words.

    Args:
        code: a shell's exit code: numbers above 128 are signals.
    """
    try:
        name = signal.Signals(code - 128).name
    except ValueError:
        return f"exit code {code}"
    why = {"SIGXCPU": ": it took too much processor time", "SIGXFSZ": ": it wrote too large a file"}
    return f"exit code {code}, by signal {name}{why.get(name, '')}"


async def _start(command: Command, stdin: int, pipes: Mapping[str, "_Pipe"], numbers: Mapping[str, int]) -> Process:
    argv = command.argv(numbers)
    drop: dict[str, Any] = {}
    if command.user is not None:
        drop = {"user": command.user, "group": command.user, "extra_groups": []}
    try:
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=stdin,
            stdout=pipes["out"].inner,
            stderr=pipes["err"].inner if "err" in pipes else asyncio.subprocess.STDOUT,
            env=dict(command.env),
            cwd=command.cwd,
            pass_fds=tuple(numbers.values()),
            start_new_session=True,
            **drop,
        )
    except OSError as error:
        raise ToolFailed(f'"{Path(argv[0]).name}" cannot be started: {error.strerror}') from error
    finally:
        for pipe in pipes.values():
            pipe.hand_over()


def _kill(process: Process) -> None:
    """Kill a process with all that descends from it, and its group, of which it is the leader."""
    descendants = _descendants(process.pid) if process.returncode is None else []
    with suppress(ProcessLookupError, PermissionError):  # all of it has ended
        os.killpg(process.pid, signal.SIGKILL)
    for pid in descendants:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _descendants(root: int) -> list[int]:
    """Return the processes that descend from one, as far as their parents live; none where there is no `/proc`."""
    children: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):  # it has ended meanwhile
            parent = int(place.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(place.parent.name))
    found, waiting = [], [root]
    while waiting:
        inner = children.get(waiting.pop(), [])
        found += inner
        waiting += inner
    return found


def _file(stack: ExitStack, data: bytes) -> int:
    """Return the number of an open file that holds these bytes."""
    file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  # the stack closes it
    file.write(data)
    file.seek(0)
    return file.fileno()


def _nothing() -> None:
    """Do nothing."""


class _Pipe:
    """What a process writes to one of its files."""

    def __init__(self, stack: ExitStack, loop: asyncio.AbstractEventLoop, limit: int) -> None:
        self._outer, self.inner = os.pipe()
        os.set_blocking(self._outer, False)
        self._loop = loop
        self._limit = limit
        self._data = bytearray()
        self._when_full: Callable[[], object] = _nothing
        self.full = False
        stack.callback(self._close)

    def hand_over(self) -> None:
        """Close the end that the process has now."""
        os.close(self.inner)
        self.inner = -1

    def listen(self, when_full: Callable[[], object]) -> None:
        """Read what comes from now on, and call a function when it is too much."""
        self._when_full = when_full
        self._loop.add_reader(self._outer, self._read)

    def rest(self) -> bytes:
        """Return all that was written, once the process has ended."""
        while self._read():
            pass
        return bytes(self._data)

    def _read(self) -> bool:
        """Read a piece; return whether there may be more."""
        try:
            piece = os.read(self._outer, _PIECE)
        except BlockingIOError:
            return False
        self._data += piece
        if len(self._data) > self._limit:
            self.full = True
            self._when_full()
        if not piece or self.full:
            self._loop.remove_reader(self._outer)
            return False
        return True

    def _close(self) -> None:
        self._loop.remove_reader(self._outer)
        os.close(self._outer)
        if self.inner >= 0:
            os.close(self.inner)
