"""Runs a language model in a process of its own, and keeps it running.

The process is started on first use, shared by all who use the same model with the same settings, started again when it
died, and ended with the last user. Inference therefore never blocks the event loop and cannot take the daemon down.
This module knows how to reach the model, not how to talk to it: that is the `local` provider.
"""

import asyncio
import importlib.util
import json
import os
import secrets
import sys
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from weakref import WeakKeyDictionary

import msgspec

from loomd.errors import Permanent, Unreachable

_CHILD = Path(__file__).with_name("llama_child.py")
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
_RESTART_WINDOW = 300.0
_LONGEST_PAUSE = 8.0
_STOP_SECONDS = 3.0
_NEWS_SECONDS = 1.0


class Settings(msgspec.Struct, frozen=True):
    """What to run.

    Attributes:
        model: the GGUF file.
        name: what the model is called in replies and errors.
        context: tokens of context, shared by the requests that are answered at once.
        parallel: how many requests are answered at once; more wait.
        threads: processor threads; 0 means the processors this process may use, at most 8.
        start_timeout: seconds until the model must be ready.
        restarts: how often it may be started again within 5 minutes.
    """

    model: Path
    name: str
    context: int = 8192
    parallel: int = 2
    threads: int = 0
    start_timeout: float = 120.0
    restarts: int = 5


class Endpoint(NamedTuple):
    """Where the model answers, and the key it asks for."""

    url: str
    key: str


class Llama:
    """One model that is served by a child process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._child: _Child | None = None
        self._endpoint: Endpoint | None = None
        self._starting = asyncio.Lock()
        self._starts: deque[float] = deque()
        self.users = 0

    @property
    def pid(self) -> int | None:
        """Return the process id of the child, or None when none is running."""
        return self._child.pid if self._child is not None and self._child.alive else None

    async def endpoint(self) -> Endpoint:
        """Return where the model answers; start it when it is not running.

        Raises:
            Permanent: the model cannot be loaded, or its process keeps dying.
            Unreachable: it did not become ready in time.
        """
        async with self._starting:
            if self._endpoint is None or self._child is None or not self._child.alive:
                await self._pause()
                self._endpoint = await self._start()
            return self._endpoint

    async def settle(self) -> None:
        """Wait a moment for the news of the child's end: a broken connection comes before it."""
        if self._child is not None:
            await self._child.ended(_NEWS_SECONDS)

    def last_words(self) -> str:
        """Return the last lines that the child wrote to standard error."""
        return self._child.last_words() if self._child is not None else ""

    async def close(self) -> None:
        """End the child."""
        async with self._starting:
            if self._child is not None:
                await self._child.end()
            self._child = self._endpoint = None

    async def _pause(self) -> None:
        """Wait before another start: not at all before the first two, then twice as long each time.

        Raises:
            Permanent: it died too often.
        """
        now = asyncio.get_running_loop().time()
        while self._starts and now - self._starts[0] > _RESTART_WINDOW:
            self._starts.popleft()
        if len(self._starts) > self.settings.restarts:
            raise Permanent(
                f"{self.settings.name}: the model's process died {len(self._starts)} times within "
                f"{_RESTART_WINDOW:.0f} s, it is not started again for now; it said: {self.last_words() or 'nothing'}"
            )
        again = len(self._starts) - 1
        if again > 0:
            await asyncio.sleep(min(_LONGEST_PAUSE, 0.25 * 2**again))
        self._starts.append(now)

    async def _start(self) -> Endpoint:
        if self._child is not None:
            await self._child.end()
        settings = self.settings
        key = secrets.token_urlsafe(24)
        child = self._child = await _launch()
        line = {"model": str(settings.model), "name": settings.name, "context": settings.context, "key": key}
        child.tell(json.dumps({**line, "parallel": settings.parallel, "threads": settings.threads}))
        try:
            async with asyncio.timeout(settings.start_timeout):
                address = await child.address
        except TimeoutError:
            await child.end()
            raise Unreachable(
                f"{settings.name}: the model was not ready within {settings.start_timeout:g} s; raise startTimeout"
            ) from None
        except BaseException:
            await child.end()
            raise
        if not address:
            raise Permanent(
                f"{settings.name}: {settings.model} could not be loaded (exit code {child.code}): "
                f"{child.last_words() or 'the process said nothing'}"
            )
        return Endpoint(address, key)


class _Child(asyncio.SubprocessProtocol):
    """The parent's view of the child: its address, its last words, its end."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.address: asyncio.Future[str] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._words: deque[bytes] = deque(maxlen=64)
        self._out = b""
        self._transport: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        if isinstance(transport, asyncio.SubprocessTransport):
            self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take the address from standard output, and the last words from standard error."""
        if fd != 1:
            self._words.append(data[-4096:])
            return
        self._out += data
        if b"\n" in self._out and not self.address.done():
            self.address.set_result(self._out.split(b"\n", 1)[0].decode())

    def process_exited(self) -> None:
        """Note the end."""
        if not self._ended.done():
            self._ended.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up waiting for an address: the process ended and everything that it wrote was read."""
        del exc
        if not self.address.done():
            self.address.set_result("")

    @property
    def alive(self) -> bool:
        """Return whether the process runs."""
        return not self._ended.done()

    @property
    def code(self) -> int | None:
        """Return the exit code."""
        return self._transport.get_returncode() if self._transport else None

    @property
    def pid(self) -> int | None:
        """Return the process id."""
        return self._transport.get_pid() if self._transport else None

    def tell(self, line: str) -> None:
        """Write a line to standard input."""
        stdin = self._transport.get_pipe_transport(0) if self._transport else None
        if isinstance(stdin, asyncio.WriteTransport):
            stdin.write(f"{line}\n".encode())

    def last_words(self) -> str:
        """Return the last lines of standard error."""
        return "\n".join(b"".join(self._words).decode(errors="replace").strip().splitlines()[-6:])

    async def ended(self, patience: float) -> None:
        """Wait for the end of the process, for so many seconds at most."""
        await asyncio.wait([self._ended], timeout=patience)

    async def end(self) -> None:
        """Close standard input, which ends the child; kill it when it does not go."""
        transport = self._transport
        if transport is None:
            return
        if self.alive:
            if stdin := transport.get_pipe_transport(0):
                stdin.close()
            await self.ended(_STOP_SECONDS)
            if self.alive:
                transport.kill()
                await asyncio.wait([self._ended])
        transport.close()


async def _launch() -> _Child:
    environment = {name: value for name, value in os.environ.items() if name in _INHERITED}
    _, child = await asyncio.get_running_loop().subprocess_exec(
        _Child, sys.executable, "-P", str(_CHILD), env={**environment, "OMP_WAIT_POLICY": "passive"}
    )
    return child


_running: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Settings, Llama]] = WeakKeyDictionary()


@asynccontextmanager
async def shared(settings: Settings) -> AsyncGenerator[Llama, None]:
    """Lend the model; everyone with equal settings gets the same one, the last one out ends it. Starts nothing yet.

    Raises:
        Permanent: the runtime is not installed.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise Permanent(f"{settings.name}: the runtime is not installed: pip install 'loomd[local]'")
    here = _running.setdefault(asyncio.get_running_loop(), {})
    llama = here.setdefault(settings, Llama(settings))
    llama.users += 1
    try:
        yield llama
    finally:
        llama.users -= 1
        if llama.users == 0:
            del here[settings]
            await llama.close()
