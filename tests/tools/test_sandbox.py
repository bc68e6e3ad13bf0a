"""Attacks from within: each is tried with the sandbox, and what would succeed without one is shown to succeed."""

import os
import platform
import shutil
import socket
from collections.abc import Generator
from pathlib import Path

import pytest

from loomd.errors import Permanent, ToolFailed
from loomd.tools.seccomp import _MACHINES, seccomp_filter
from tests.tools.sandboxed import Shell, open_folder, opener

SECRET = "the-secret-of-the-state"


@pytest.fixture
def folder() -> Generator[Path]:
    """Yield the root of the manifest, with a file that is nobody's business."""
    with open_folder() as folder:
        (folder / "private").write_text(SECRET)
        (folder / "data").mkdir()
        (folder / "data" / "open").write_text("for all")
        yield folder


@pytest.fixture
def shell(folder: Path) -> Shell:
    """Return an opener of tools, given a command and fields."""
    return opener(folder)


async def tried(shell: Shell, script: str, **more: object) -> str:
    """Return what a script gives, or what is said of its failure."""
    async with shell("bash", "-c", script, **more) as live:
        try:
            return await live.call({})
        except ToolFailed as error:
            return str(error)


async def test_files_of_the_machine(shell: Shell) -> None:
    """What is not declared does not exist."""
    paths = ["/etc/shadow", "/etc/passwd", "/root", "/home", "/var", "/sys", "/run", "/opt", "/srv", "/boot", "/mnt"]
    told = await tried(shell, f"for i in {' '.join(paths)}; do cat $i; done")
    assert told.count("No such file or directory") == len(paths)


async def test_files_below_the_root(shell: Shell, folder: Path) -> None:
    """Only declared paths below the root are seen; what is declared for reading cannot be changed."""
    assert "No such file" in await tried(shell, f"cat {folder}/private")
    assert "No such file" in await tried(shell, f"cat {folder}/private", read=["data"])
    more = {"read": ["data"], "workdir": "data"}
    assert await tried(shell, "cat open", **more) == "for all"
    assert "Read-only file system" in await tried(shell, "echo x > open", **more)
    assert "Read-only file system" in await tried(shell, "rm open", **more)
    assert (folder / "data" / "open").read_text() == "for all"


async def test_the_state_of_the_daemon(shell: Shell, folder: Path) -> None:
    """The daemon's own folder stays hidden, also when it lies below one that may be read."""
    async with shell("bash", "-c", "ls -A state && cat private", read=["."], workdir=".") as live:
        assert (folder / "state").is_dir()
        assert await live.call({}) == SECRET
    with pytest.raises(Permanent, match="the daemon's own state is there"):
        async with shell("true", read=["state"]):
            pass


async def test_nothing_else_can_be_written(shell: Shell) -> None:
    """Outside its scratch folder and what is declared nothing can be written."""
    places = ["/x", "/usr/x", "/dev/x", "/etc/x", "/proc/x", "/bin/x", "/proc/sys/kernel/core_pattern"]
    told = await tried(shell, f"for i in {' '.join(places)}; do echo x > $i && echo WRITTEN; done; true", write=["w"])
    assert "WRITTEN" not in told
    assert len(told.splitlines()) == len(places)


async def test_a_link_leads_nowhere(shell: Shell, folder: Path) -> None:
    """A link in a folder that may be changed does not lead out, and a folder that becomes one is refused."""
    more = {"write": ["w"], "workdir": "w"}
    script = f"ln -s {folder}/private p; ln -s /etc/shadow s; ln -s ../private q; cat p s q; echo x > p"
    told = await tried(shell, script, **more)
    assert SECRET not in told
    assert told.count("No such file") == 3
    assert (folder / "private").read_text() == SECRET
    async with shell("cat", "private", read=["data"], workdir="data") as live:
        shutil.rmtree(folder / "data")
        (folder / "data").symlink_to("/etc")
        with pytest.raises(ToolFailed, match="expected a path that stays below"):
            await live.call({})


async def test_calls_share_nothing(shell: Shell) -> None:
    """Each call begins with an empty scratch folder."""
    async with shell("bash", "-c", "ls -A /tmp /dev/shm; echo x | tee /tmp/a > /dev/shm/a") as live:
        first = await live.call({})
        assert first == await live.call({})
        assert "a" not in first.split()


@pytest.mark.parametrize("network", [False, True], ids=["without", "with"])
async def test_the_network(shell: Shell, network: bool) -> None:
    """Nothing is reached, this machine's services included, unless the manifest allows it."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        told = await tried(shell, f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo REACHED", network=network)
    assert ("REACHED" in told) is network


async def test_abstract_sockets(shell: Shell) -> None:
    """A socket without a path is no way out either."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0loomd-test-{os.getpid()}")
        server.listen()
        script = (
            "use Socket; socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die;"
            f'print connect($s, pack("Sa*", AF_UNIX, "\\0loomd-test-{os.getpid()}")) ? "REACHED" : "refused: $!"'
        )
        async with shell("perl", "-e", script) as live:
            assert "refused" in await live.call({})
        async with shell("perl", "-e", script, sandbox="none") as live:
            assert await live.call({}) == "REACHED"


async def test_other_processes(shell: Shell) -> None:
    """A command sees no process but its own, and reaches none."""
    told = await tried(shell, f"kill -9 {os.getpid()} || echo MISSED; ls -d /proc/[0-9]* | wc -l")
    assert "MISSED" in told
    assert int(told.splitlines()[-1]) <= 6


async def test_rights(shell: Shell) -> None:
    """A command has no rights and gets none; its user is nobody."""
    told = await tried(shell, "id -u; grep -E '^(CapEff|CapPrm|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status")
    lines = dict(line.split(":\t") for line in told.splitlines()[1:])
    assert told.startswith("65534\n")
    assert {int(lines[name], 16) for name in ("CapEff", "CapPrm")} == {0}
    assert (lines["NoNewPrivs"], lines["Seccomp"]) == ("1", "2")
    assert "Operation not permitted" in await tried(shell, "unshare --user --map-root-user id")
    assert "Operation not permitted" in await tried(shell, "chroot /usr ls")


async def test_refused_system_calls(shell: Shell) -> None:
    """Each listed call is not permitted, whatever its arguments."""
    machine = _MACHINES[platform.machine()]
    listed = {**machine.denied, **machine.alike}
    script = "for (@ARGV) { $! = 0; syscall($_, 0, 0, 0, 0, 0); print $! + 0, ' ' }"
    async with shell("perl", "-e", script, *(str(number) for number in listed.values())) as live:
        told = (await live.call({})).split()
    assert {call for call, error in zip(listed, told, strict=True) if error != "1"} == set()


async def test_refused_arguments(shell: Shell) -> None:
    """A new user namespace, writing into a terminal and odd sockets are refused; the rest of these calls works."""
    machine = _MACHINES[platform.machine()]
    script = "; ".join(
        f"$! = 0; syscall({', '.join(str(part) for part in parts)}); print $! + 0, ' '"
        for parts in [
            (machine.clone, 0x10000011, 0, 0, 0, 0),
            (machine.ioctl, 0, 0x5412, 0),
            (machine.ioctl, 0, 0x5401, 0),
            (machine.socket, 40, 1, 0),
            (machine.socket, 38, 5, 0),
            (machine.socket, 1, 1, 0),
            (435, 0, 0),
        ]
    )
    async with shell("perl", "-e", script) as live:
        assert await live.call({}) == "1 1 25 1 1 0 38 "


def test_an_unknown_machine() -> None:
    """A machine whose calls are not known gets no sandbox rather than half of one."""
    with pytest.raises(Permanent, match="system calls are known for x86_64 and aarch64, this machine is riscv64"):
        seccomp_filter("riscv64")
    assert len(seccomp_filter("aarch64")) % 8 == 0


async def test_a_fork_bomb(shell: Shell) -> None:
    """A fork bomb meets its limit, and ends with its call."""
    told = await tried(shell, "bomb() { bomb | bomb; }; bomb", timeout="2s", limits={"processes": 20})
    assert "Resource temporarily unavailable" in told or told == "no result within 2 s"
    script = 'for (1..60) { my $p = fork; die "$_ $!" unless defined $p; sleep 9 unless $p } print "ALL"'
    async with shell("perl", "-e", script, limits={"processes": 20}) as live:
        with pytest.raises(ToolFailed, match="Resource temporarily unavailable"):
            await live.call({})


async def test_memory(shell: Shell) -> None:
    """A process gets no more memory than it may have."""
    script = 'my $x = "a" x (400 << 20); print length $x'
    async with shell("perl", "-e", script, limits={"memory": "256Mi"}) as live:
        with pytest.raises(ToolFailed, match="Out of memory"):
            await live.call({})
    async with shell("perl", "-e", script, limits={"memory": "2Gi"}) as live:
        assert await live.call({}) == str(400 << 20)


@pytest.mark.parametrize("place", ["/tmp/big", "/dev/shm/big", "big"])  # noqa: S108  # the sandbox's own
async def test_large_files(shell: Shell, folder: Path, place: str) -> None:
    """Ten gigabytes are not written, neither on disk nor in memory."""
    script = f"head -c 10G /dev/zero > {place}; code=$?; stat -c %s {place}; exit $code"
    limits = {"fileSize": "1Mi", "scratch": "512Ki"}
    told = await tried(shell, script, workdir="w", write=["w"], limits=limits)
    assert "SIGXFSZ" in told or "No space left" in told or "File too large" in told
    assert int(told.split()[-1]) <= 1 << 20
    assert sum(path.stat().st_size for path in (folder / "w").iterdir()) <= 1 << 20


async def test_processor_time(shell: Shell) -> None:
    """A busy loop ends when its time is up, long before the call's own time-out."""
    told = await tried(shell, "while :; do :; done", limits={"cpu": "1s"}, timeout="30s")
    assert "it took too much processor time" in told or "SIGKILL" in told


async def test_open_files(shell: Shell) -> None:
    """A process opens no more files than it may."""
    script = 'for (1..30) { open($f[$_], "<", "/dev/null") or die "$_ $!" } print "ALL"'
    async with shell("perl", "-e", script, limits={"openFiles": 16}) as live:
        with pytest.raises(ToolFailed, match="Too many open files"):
            await live.call({})
