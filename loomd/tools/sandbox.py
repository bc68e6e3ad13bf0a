"""Where a command runs: in a sandbox that is made for the one call, with limits that the kernel keeps.

Bubblewrap gives it namespaces of its own and a file system in which only programs and declared paths exist. Nothing of
a sandbox outlives its call: when its first process ends, or the daemon does, the kernel kills the rest. Called by
what runs the calls of tools.
"""

import math
import os
import platform
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from loomd.errors import Permanent
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Bytes, Duration
from loomd.tools.process import Argv, Command, run
from loomd.tools.seccomp import seccomp_filter

SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for."""
NOBODY = 65534
"""User and group of what runs in a sandbox: the daemon's own rights without them when it is root."""
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_FILES = ("ld.so.cache", "alternatives", "localtime", "timezone", "mime.types")
"""What programs read below /etc, and everybody may."""
_NETWORK_FILES = (
    "resolv.conf",
    "hosts",
    "nsswitch.conf",
    "gai.conf",
    "services",
    "protocols",
    "ssl",
    "ca-certificates",
)
_NAMESPACES = ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
_NEEDED = {"--size": "0.7", "--json-status-fd": "0.4"}
_HELP = 1 << 20
_LENT = "/sys"
"""Folder in the place of which a daemon that is root shows what it lends, to this one call: nobody's data is there."""
_AS_ROOT = f"the daemon is root, so commands run as user {NOBODY}: give that user access, or run the daemon as another"


class ProcessLimits(Spec):
    """What a command may use; the kernel ends or refuses what goes beyond."""

    cpu: Duration = Field(default=60.0, gt=0)
    """Processor time of each of its processes, rounded up to whole seconds."""
    memory: Bytes = Field(default=2 << 30, ge=1)
    """Address space of each of its processes. Programs that reserve much and use little (Node, Java) need more."""
    processes: int = Field(default=64, ge=1, le=100_000)
    """Processes and threads at once; counted for the sandbox, and not without one."""
    file_size: Bytes = Field(default=64 << 20, ge=0)
    """Largest file that it may write."""
    open_files: int = Field(default=256, ge=8, le=1_000_000)
    """Files that each of its processes may have open."""
    scratch: Bytes = Field(default=64 << 20, ge=1)
    """Size of the sandbox's `/tmp`, and of its shared memory; both are kept in memory."""
    output: Bytes = Field(default=16 << 20, ge=1)
    """What it may write to standard output and standard error, or give as the result of a function; with more it is
    ended."""


@dataclass(frozen=True)
class Paths:
    """What a command sees beside the system, with links resolved.

    Attributes:
        read: what it may read.
        write: folders that it may change.
        workdir: folder that it begins in; None for an empty one.
        hidden: folder that it never sees, although it may lie below the others: the daemon's own state.
        lent: what it may read although its user could not look there: a daemon that is root lends it.
    """

    read: Sequence[Path]
    write: Sequence[Path]
    workdir: Path | None
    hidden: Path
    lent: Sequence[Path] = ()


@dataclass(frozen=True)
class Bubblewrap:
    """A sandbox by bubblewrap.

    Attributes:
        program: `bwrap`.
        limits: what a command may use.
        network: whether it may use the network of this machine.
        no_namespaces: whether this `bwrap` can forbid further user namespaces; else the filter of calls does alone.
        calls: the filter of system calls.
    """

    program: str
    limits: ProcessLimits
    network: bool
    no_namespaces: bool
    calls: bytes

    def command(self, argv: Argv, env: Mapping[str, str], paths: Paths, stdin: bytes | None) -> Command:
        """Return what runs a program in the sandbox; it tells through the file `status` whether it came so far."""
        user = NOBODY if os.geteuid() == 0 else None
        lending = user is not None and bool(paths.lent)
        lent = {path: Path(_LENT, str(at)) if lending else path for at, path in enumerate(paths.lent)}
        lender = self._lender(lent) if lending else []

        def line(files: Mapping[str, int]) -> list[str]:
            return [
                *(*lender, self.program, *_NAMESPACES, "--die-with-parent", "--new-session", "--hostname", "sandbox"),
                *(() if self.network else ("--unshare-net",)),
                *(("--disable-userns",) if self.no_namespaces else ()),
                *("--uid", str(NOBODY), "--gid", str(NOBODY), "--cap-drop", "ALL"),
                *("--json-status-fd", str(files["status"]), "--seccomp", str(files["calls"])),
                *self._files(paths, lent),
                *("--", *limited(self.limits, argv(files), processes=True)),
            ]

        return Command(line, env, Path("/"), stdin, None if lending else user, {"calls": self.calls})

    def _lender(self, lent: Mapping[Path, Path]) -> list[str]:
        """Return what makes paths reachable under other names, then gives up the rights of root and runs the rest."""
        bound = [part for path, place in lent.items() for part in ("--ro-bind", str(path), str(place))]
        rights = ("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
        nobody = ("--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups")
        ends = ("--unshare-pid", "--die-with-parent")  # root may not signal nobody without rights, its namespace can
        outer = [self.program, *ends, *rights, "--dev-bind", "/", "/", "--tmpfs", _LENT, *bound]
        return [*outer, "--", find_program("setpriv"), *nobody, "--"]

    def _files(self, paths: Paths, lent: Mapping[Path, Path]) -> Iterator[str]:
        """Yield the arguments that make the file system."""
        yield from ("--ro-bind", "/usr", "/usr")
        for name in _SYSTEM:
            place = Path("/", name)
            if place.is_symlink():
                yield from ("--symlink", str(place.readlink()), str(place))
            elif place.is_dir():
                yield from ("--ro-bind", str(place), str(place))
        for name in (*_FILES, *(_NETWORK_FILES if self.network else ())):
            yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
        size = str(self.limits.scratch)
        yield from ("--proc", "/proc", "--dev", "/dev", "--size", size, "--tmpfs", "/dev/shm")  # noqa: S108  # the sandbox's own
        yield from ("--remount-ro", "/dev", "--size", size, "--tmpfs", "/tmp")  # noqa: S108  # the sandbox's own
        seen = [*paths.read, *([paths.workdir] if paths.workdir else [])]
        bound = {path: ("--ro-bind", place) for path, place in lent.items()}
        bound |= {path: ("--ro-bind", path) for path in seen}
        bound |= {path: ("--bind", path) for path in paths.write}
        for path, (how, place) in sorted(bound.items()):  # a folder comes before what is in it
            yield from (how, str(place), str(path))
        if any(paths.hidden.is_relative_to(path) for path in bound):
            yield from ("--size", "4096", "--tmpfs", str(paths.hidden), "--remount-ro", str(paths.hidden))
        yield from ("--remount-ro", "/", "--chdir", str(paths.workdir or "/tmp"))  # noqa: S108  # the sandbox's own


async def open_bubblewrap(limits: ProcessLimits, paths: Paths, *, network: bool) -> Bubblewrap:
    """Return the sandbox of this machine, once a program has run in it.

    Args:
        limits: what a command may use.
        paths: what it will see.
        network: whether it may use the network.

    Raises:
        Permanent: it is not installed, too old, or not allowed here; the text says what to do.
    """
    program = shutil.which("bwrap", path=SEARCH)
    instead = 'or write "sandbox: none" if the command may do whatever the daemon may'
    if program is None:
        raise Permanent(f"bubblewrap is not installed: install the package bubblewrap, {instead}")
    told = await run(Command(lambda _: [program, "--help"], {}), limit=_HELP, apart=False)
    flags = set(told.out.decode("utf-8", "replace").split())
    for flag, version in _NEEDED.items():
        if flag not in flags:
            raise Permanent(f"{program} does not know {flag}: install bubblewrap {version} or newer, {instead}")
    calls = seccomp_filter(platform.machine())
    sandbox = Bubblewrap(program, limits, network, "--disable-userns" in flags, calls)
    if os.geteuid() == 0:
        _refuse_unwritable(paths.write)
    nothing = [find_program("true")]
    command = sandbox.command(lambda _: nothing, {}, paths, None)
    tried = await run(command, limit=_HELP, apart=False, told=["status"])
    if not was_set_up(tried.told["status"]):
        why = tried.out.decode("utf-8", "replace").strip() or f"exit code {tried.code}"
        if os.geteuid() == 0 and "namespace" not in why:
            raise Permanent(f"the sandbox cannot be made ({why}): {_AS_ROOT}")
        raise Permanent(f"the sandbox cannot be made here ({why}): allow user namespaces, {instead}")
    return sandbox


def _refuse_unwritable(folders: Iterable[Path]) -> None:
    """Refuse folders that a command could not change, because a daemon that is root gives it nobody's rights.

    Raises:
        Permanent: naming the first.
    """
    for folder in folders:
        found = folder.stat()
        if not (found.st_mode & stat.S_IWOTH or (found.st_uid == NOBODY and found.st_mode & stat.S_IWUSR)):
            raise Permanent(f"expected a folder that user {NOBODY} may change, got {folder}: {_AS_ROOT}")


def was_set_up(told: bytes) -> bool:
    """Return whether a sandbox was made and its program begun, by what bubblewrap told of it."""
    return b'"exit-code"' in told


def limited(limits: ProcessLimits, argv: Sequence[str], *, processes: bool) -> list[str]:
    """Return a command with its limits; it is also the first to go when the machine is out of memory.

    Args:
        limits: what it may use.
        argv: what is run.
        processes: whether processes are counted: in a sandbox they are its own, elsewhere all those of the user.

    Raises:
        Permanent: a program of util-linux is missing.
    """
    kept = {
        "cpu": math.ceil(limits.cpu),
        "as": limits.memory,
        "fsize": limits.file_size,
        "nofile": limits.open_files,
        "core": 0,
    }
    if processes:
        kept["nproc"] = limits.processes
    flags = [f"--{name}={value}" for name, value in kept.items()]
    return [find_program("prlimit"), *flags, "--", find_program("choom"), "-n", "1000", "--", *argv]


def find_program(name: str) -> str:
    """Return the path of a program.

    Raises:
        Permanent: it is not installed.
    """
    found = shutil.which(name, path=SEARCH)
    if found is None:
        raise Permanent(f'there is no program "{name}" in {SEARCH}: install it, or write its path')
    return found
