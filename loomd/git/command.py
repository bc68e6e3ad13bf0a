"""Runs the `git` command: with an environment made anew, bounded output, and an end for everything that it started.

Git takes nothing from the configuration of the system or of a user, asks nobody, runs no hook and speaks no protocol
but the one that a contact allows. Never knows what a command is for. Called by the mirror, the export and the check
of signatures.
"""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from loomd.errors import Damaged, Permanent, Temporary, Unreachable
from loomd.manifest.source import printable
from loomd.manifest.wording import without_secrets

MAX_OUTPUT = 16 << 20
"""Most bytes that a command may print."""
LONGEST = 600.0
"""Seconds after which a command that talks to nobody is ended."""

_CHUNK = 1 << 16
_TOLD = 4 << 10
"""Bytes of the end of standard error that are kept."""
_LINE = 300
_LEFT = 5.0
"""Seconds in which the pipes of a command that was ended must close."""

_INHERITED = (
    "PATH",
    *("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"),
    *("GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)
"""What git takes over from the daemon's environment: where programs are, the way out, and whom to trust on it."""

_VARIABLES = {
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PROTOCOL_FROM_USER": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
_CONFIG = {
    "core.bigFileThreshold": "32m",  # larger files are streamed: a repository cannot ask for more memory than that
    "core.deltaBaseCacheLimit": "32m",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.symlinks": "false",
    "fetch.recurseSubmodules": "false",
    "fetch.unpackLimit": "1",
    "gc.auto": "0",
    "gpg.x509.program": "false",
    "http.followRedirects": "false",
    "maintenance.auto": "false",
    "pack.threads": "1",
    "protocol.allow": "never",
    "submodule.recurse": "false",
}


@dataclass(frozen=True)
class Contact:
    """What git is told for one contact with a remote; by default it may not make any.

    Attributes:
        protocol: the one that is allowed.
        config: settings of git.
        variables: environment variables.
        files: open files that git inherits, by number.
    """

    protocol: str = "none"
    config: Mapping[str, str] = field(default_factory=dict[str, str])
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    files: tuple[int, ...] = ()


LOCAL = Contact()
"""No contact with anybody."""


@dataclass(frozen=True)
class Done:
    """How a command ended: its exit code, standard output, and the end of standard error as printable lines."""

    code: int
    out: bytes
    err: tuple[str, ...]

    @property
    def text(self) -> str:
        """Return standard output without the newline at its end."""
        return os.fsdecode(self.out).rstrip("\n")

    @property
    def reason(self) -> str:
        """Return the line of standard error that says most."""
        fatal = [line for line in self.err if line.startswith(("fatal: ", "error: "))]
        return (fatal or [line for line in self.err if line] or [f"git ended with code {self.code}"])[-1]


class Git:
    """Runs git in one folder.

    Args:
        folder: where it runs; a bare repository, or a folder that is none.
        bare: whether the folder is a repository.
    """

    def __init__(self, folder: Path, bare: bool = True) -> None:
        self.folder = folder
        self._bare = bare

    async def run(
        self, *arguments: str, contact: Contact = LOCAL, limit: int = MAX_OUTPUT, program: str = "git"
    ) -> Done:
        """Return how a command ended.

        Args:
            arguments: the command and its arguments.
            contact: whom it may talk to.
            limit: most bytes that it may print.
            program: what runs; it may be one that git itself makes use of.

        Raises:
            Permanent: it is not installed, or printed too much.
            Unreachable: it took too long.
        """
        async with self.start(*arguments, contact=contact, program=program) as process:
            assert process.stdout is not None  # noqa: S101  # both are pipes
            assert process.stderr is not None  # noqa: S101  # both are pipes
            try:
                async with asyncio.timeout(LONGEST):
                    out, err = await asyncio.gather(_read(process, process.stdout, limit), _tail(process.stderr))
                    code = await process.wait()
            except TimeoutError:
                raise Unreachable(f"{program} {arguments[0]} did not end within {LONGEST:g} s") from None
        if out is None:
            raise Permanent(f"{program} {arguments[0]} printed more than {limit:,} bytes: the repository is too large")
        return Done(code, out, _lines(err))

    async def ask(self, *arguments: str, limit: int = MAX_OUTPUT) -> str:
        """Return what a command prints that fails only when the repository is damaged.

        Raises:
            Damaged: it failed.
            Temporary: the disk is full.
        """
        done = await self.run(*arguments, limit=limit)
        if done.code == 0:
            return done.text
        if "No space left on device" in done.reason:
            raise Temporary(f"{self.folder}: git {arguments[0]}: {done.reason}: free some space")
        raise Damaged(f"{self.folder} is damaged, git {arguments[0]}: {done.reason}: it is fetched anew")

    @asynccontextmanager
    async def start(
        self, *arguments: str, contact: Contact = LOCAL, feed: bool = False, program: str = "git"
    ) -> AsyncGenerator[asyncio.subprocess.Process, None]:
        """Run a command for as long as the context lasts; at its end it and all that it started are gone.

        Args:
            arguments: the command and its arguments.
            contact: whom it may talk to.
            feed: whether its standard input is a pipe.
            program: what runs.

        Raises:
            Permanent: it is not installed.
            Damaged: the folder is gone.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                program,
                *arguments,
                stdin=asyncio.subprocess.PIPE if feed else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=self.folder,
                env=self._environment(contact),
                pass_fds=contact.files,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            if not self.folder.is_dir():
                raise Damaged(f"{self.folder} is gone: it is made anew") from error
            raise Permanent(f"{program} is not installed: install it, or mend PATH") from error
        except OSError as error:
            raise Temporary(f"{program} cannot be started: {error.strerror}") from error
        try:
            yield process
        finally:
            await _end(process)

    def _environment(self, contact: Contact) -> dict[str, str]:
        config = {**_CONFIG, **contact.config}
        numbered = {
            f"GIT_CONFIG_{part}_{number}": text
            for number, pair in enumerate(config.items())
            for part, text in zip(("KEY", "VALUE"), pair, strict=True)
        }
        return {
            **{name: os.environ[name] for name in _INHERITED if name in os.environ},
            **_VARIABLES,
            "HOME": str(self.folder),  # no .netrc of anybody
            "GIT_ALLOW_PROTOCOL": contact.protocol,
            "GIT_CEILING_DIRECTORIES": str(self.folder.parent),
            **({"GIT_DIR": str(self.folder)} if self._bare else {}),
            "GIT_CONFIG_COUNT": str(len(config)),
            **numbered,
            **contact.variables,
        }


async def _read(process: asyncio.subprocess.Process, stream: asyncio.StreamReader, limit: int) -> bytes | None:
    """Return all that a command prints, or end it and return None when that is too much."""
    parts: list[bytes] = []
    size = 0
    while part := await stream.read(_CHUNK):
        size += len(part)
        if size > limit:
            _kill(process)
            return None
        parts.append(part)
    return b"".join(parts)


async def _tail(stream: asyncio.StreamReader) -> bytes:
    """Return the end of a stream, once it ended."""
    kept = b""
    while part := await stream.read(_CHUNK):
        kept = (kept + part)[-_TOLD:]
    return kept


def _lines(err: bytes) -> tuple[str, ...]:
    """Return standard error as lines for people: printable, short, without the passwords of addresses."""
    text = err.decode("utf-8", "surrogateescape").replace("\r", "\n")
    return tuple(without_secrets(printable(line.strip())[:_LINE]) for line in text.split("\n") if line.strip())


def _kill(process: asyncio.subprocess.Process) -> None:
    """End a command and all that it started, which is in its process group."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


async def _end(process: asyncio.subprocess.Process) -> None:
    _kill(process)
    if process.stdin is not None:
        process.stdin.close()
    with suppress(TimeoutError):  # a process that left the group may hold a pipe open
        async with asyncio.timeout(_LEFT):
            for stream in (process.stdout, process.stderr):
                while stream is not None and await stream.read(_CHUNK):
                    pass
    await process.wait()
