"""Command: a program that gets each call as JSON on standard input.

Exit code 0 lets the call pass, with what standard output says (a JSON mapping) in place of fields; 2 refuses it, with
standard error as the reason; any other code is a failure. No shell is involved. What takes too long, or belongs to work
that is given up, is ended with everything that it started.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

from pydantic import Field

from loomd.encoded import ANYTHING, read_json, to_json
from loomd.errors import BadReply, Permanent, Refused
from loomd.interceptors.hook import Hook, HookSpec
from loomd.manifest.inside import inside, named
from loomd.manifest.program import program_faults
from loomd.manifest.quantity import Bytes
from loomd.messages import JsonObject
from loomd.topology import Parts

_REFUSES = 2
_CHUNK = 1 << 16
_TOLD = 2000
"""Characters of standard error that are told."""
_LEFT = 5.0
"""Seconds in which the pipes of a program that was ended must close."""
_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ")
"""What a command takes over from the daemon's environment; secrets may stand in the rest of it."""


class CommandInterceptor(HookSpec):
    """Asks a program."""

    type: Literal["command"] = "command"
    argv: list[str] = Field(min_length=1, examples=[["python3", "hooks/check.py"]])
    """Program and arguments, without a shell. A program with a slash in its name is a file below the manifest's root,
    any other one is found on the PATH. It runs in that root, with little more than PATH in its environment."""
    max_output: Bytes = Field(default=1 << 20, ge=1)
    """Most bytes that it may print; one that prints more has failed."""

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield a program that is not there or may not be run."""
        if "/" not in self.argv[0]:
            yield from program_faults(self.argv[0], "/argv/0")
            return
        try:
            path = inside(root, self.argv[0])
        except Permanent as error:
            yield "/argv/0", str(error)
            return
        if not os.access(path, os.X_OK):
            yield "/argv/0", f'expected a program, got "{self.argv[0]}", which may not be run: chmod +x it'

    def reads(self, root: Path) -> Iterator[Path]:
        """Yield the program, if it is a file below the root."""
        if "/" in self.argv[0]:
            yield named(root, self.argv[0])

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["CommandHook", None]:
        """Yield the live interceptor.

        Raises:
            Permanent: the program is not there.
        """
        program = self.argv[0]
        found = str(inside(parts.root, program)) if "/" in program else shutil.which(program)
        if found is None:
            raise Permanent(f'{parts.declared.ref} spec.argv[0]: "{program}" is not on the PATH of the daemon')
        yield CommandHook(self, parts, found)


class CommandHook(Hook):
    """Runs the program."""

    def __init__(self, spec: CommandInterceptor, parts: Parts, program: str) -> None:
        super().__init__(spec, parts)
        self._argv = (program, *spec.argv[1:])
        self._most = spec.max_output
        self._root = parts.root

    async def consult(self, document: JsonObject) -> object:
        """Return what the program prints.

        Raises:
            Refused: it ended with 2.
            BadReply: it ended with another code than 0, printed too much, or no JSON.
        """
        code, out, err = await self._run(to_json(document) + b"\n")
        said = err.decode("utf-8", "replace").strip()[:_TOLD]
        if code == _REFUSES:
            raise Refused(said or "it gave no reason")
        if code != 0:
            ended = f"signal {-code}" if code < 0 else f"code {code}"
            raise BadReply(f"{self._argv[0]} ended with {ended}{f': {said}' if said else ''}")
        if not out.strip():
            return None
        try:
            return read_json(out, ANYTHING)
        except ValueError as error:
            raise BadReply(f"{self._argv[0]} printed something that is no JSON: {error}") from error

    async def _run(self, document: bytes) -> tuple[int, bytes, bytes]:
        """Return exit code, standard output and standard error; nothing that was started is left behind."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self._argv,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            cwd=self._root,
            env={name: os.environ[name] for name in _INHERITED if name in os.environ},
            start_new_session=True,
        )
        try:
            out, err, _ = await asyncio.gather(
                self._read(process.stdout), self._read(process.stderr), _feed(process.stdin, document)
            )
            return await process.wait(), out, err
        finally:
            await asyncio.shield(_end(process))

    async def _read(self, stream: asyncio.StreamReader | None) -> bytes:
        """Return all that is printed.

        Raises:
            BadReply: it is too much.
        """
        assert stream is not None  # noqa: S101  # all are pipes
        parts: list[bytes] = []
        size = 0
        while part := await stream.read(_CHUNK):
            parts.append(part)
            size += len(part)
            if size > self._most:
                raise BadReply(f"{self._argv[0]} printed more than {self._most} bytes")
        return b"".join(parts)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a program and all that it started, which is in its process group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdin is not None:
        process.stdin.close()
    with suppress(TimeoutError):  # a process that left the group may hold a pipe open
        async with asyncio.timeout(_LEFT):
            for stream in (process.stdout, process.stderr):
                while stream is not None and await stream.read(_CHUNK):
                    pass
    await process.wait()


async def _feed(stream: asyncio.StreamWriter | None, document: bytes) -> None:
    """Write all of a document, unless nobody reads it."""
    assert stream is not None  # noqa: S101  # all are pipes
    with suppress(BrokenPipeError, ConnectionResetError):
        stream.write(document)
        await stream.drain()
        stream.close()
        await stream.wait_closed()
