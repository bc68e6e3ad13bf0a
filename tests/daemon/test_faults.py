"""What a daemon survives: a state directory that is gone or read-only, no more files to open, foreign sockets."""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from loomd.errors import Temporary
from tests.daemon.process import PATIENCE, TEAM, Daemon
from tests.daemon.test_reload import free_port
from tests.nursery import Process

NOBODY = 65534


def test_a_second_daemon_on_the_same_state_is_told_who_holds_it(daemon: Daemon) -> None:
    """It ends with 1, names the process, and does the first one no harm; a killed one holds nothing."""
    daemon.start()
    second = daemon.loomd("serve", "--socket", str(daemon.home / "other.sock"))
    assert second.returncode == 1
    assert f"held by process {daemon.process.pid}: stop it, or choose another" in second.stderr
    assert not (daemon.home / "other.sock").exists()
    assert daemon.is_ready()
    assert daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    daemon.start()


def test_of_ten_daemons_at_once_one_serves(daemon: Daemon) -> None:
    """Who takes the state directory first serves; all others end and say so."""
    command = [sys.executable, "-m", "loomd", "serve", "--watch", str(daemon.folder)]
    started: dict[Path, Process] = {}
    for number in range(10):
        path = daemon.home / f"log {number}"
        with path.open("wb") as log:
            started[path] = Process(command, daemon.environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while sum(one.poll() is None for one in started.values()) > 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        running = [one for one in started.values() if one.poll() is None]
        assert len(running) == 1
        daemon.adopt(running[0])
        daemon.until(daemon.is_ready)
        for path, one in started.items():
            if one is not running[0]:
                assert one.returncode == 1
                assert f"held by process {running[0].pid}" in path.read_text()
        assert daemon.stop() == 0
    finally:
        for one in started.values():
            one.kill()
            one.wait()


def test_a_socket_of_somebody_else_is_refused(daemon: Daemon) -> None:
    """A socket that is served is left alone, one that is stale is taken over, another file is never removed."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(daemon.socket))
        other.listen()
        served = daemon.loomd("serve")
        assert served.returncode == 1
        assert f"is served by process {os.getpid()}" in served.stderr
    daemon.start()
    assert daemon.socket.stat().st_mode & 0o777 == 0o600
    assert daemon.stop() == 0
    assert not daemon.socket.exists()
    daemon.socket.write_text("mine")
    foreign = daemon.loomd("serve")
    assert foreign.returncode == 1
    assert "there is a file of another kind" in foreign.stderr
    assert daemon.socket.read_text() == "mine"


def test_a_port_in_use_is_refused(daemon: Daemon, tmp_path: Path) -> None:
    """An address that somebody listens on ends the start and names the address; the socket is gone again."""
    (tmp_path / "token").write_text("the token of this daemon")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        done = daemon.loomd("serve", "--listen", address, "--token-file", str(tmp_path / "token"))
    assert done.returncode == 1
    assert f"listen {address}: Address already in use" in done.stderr
    assert not daemon.socket.exists()


def test_tcp_without_a_token_is_refused(daemon: Daemon, tmp_path: Path) -> None:
    """Nothing is served over TCP without a token, and a token that cannot be read ends the start."""
    address = f"127.0.0.1:{free_port()}"
    bare = daemon.loomd("serve", "--listen", address)
    assert bare.returncode == 1
    assert "an address needs a token, also on loopback" in bare.stderr
    missing = daemon.loomd("serve", "--listen", address, "--token-file", str(tmp_path / "none"))
    assert missing.returncode == 1
    assert "cannot read" in missing.stderr


def test_a_removed_state_directory_is_noticed(daemon: Daemon) -> None:
    """The daemon stays up, takes no more work that it could not keep, and says why, wherever it is asked."""
    daemon.start()
    shutil.rmtree(daemon.home / "state")
    daemon.until(lambda: "was removed or replaced" in daemon.ask("/readyz?verbose")[1])
    assert daemon.is_alive()
    assert not daemon.is_ready()
    daemon.until(lambda: _described(daemon) == "answers everything")
    refused = daemon.loomd("submit", "something")
    assert refused.returncode == 2
    assert "was removed or replaced" in refused.stderr
    daemon.tell(signal.SIGTERM)
    assert daemon.process.wait(timeout=PATIENCE) in {0, 1}
    daemon.start()
    assert daemon.description() == "answers everything"


def _described(daemon: Daemon) -> str:
    """Return what the agent says of itself; nothing where a reader had not opened the database while it was there."""
    try:
        return daemon.description()
    except Temporary:
        return ""


def test_a_read_only_state_directory_ends_the_start(daemon: Daemon) -> None:
    """Whoever may not write there is told which directory it is and what to do; nothing is left behind."""
    state = daemon.home / "closed"
    state.mkdir(mode=0o555)
    leave = f"os.setgid({NOBODY}); os.setuid({NOBODY})" if os.geteuid() == 0 else ""
    code = (
        "import asyncio, os, sys; from pathlib import Path; from loomd.store.sqlite import open_store\n"
        f"from loomd.errors import LoomdError\n{leave}\n"
        "async def main():\n"
        "    async with open_store(Path(sys.argv[1])): pass\n"
        "try: asyncio.run(main())\n"
        "except LoomdError as error: print(error)"
    )
    for folder in [daemon.home, *daemon.home.parents]:
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o111)
    done = subprocess.run([sys.executable, "-c", code, str(state)], capture_output=True, text=True, check=True)  # noqa: S603  # our own command
    assert done.stdout.startswith(f"state directory {state}: lock: Permission denied")
    assert list(state.iterdir()) == []


def test_it_survives_without_files_to_open(daemon: Daemon) -> None:
    """When no more files can be opened nothing dies, and afterwards everything goes on."""
    daemon.start()
    pid = daemon.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used - 2, hard))
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.settimeout(30)
        waiting.connect(str(daemon.socket))
        waiting.sendall(b"GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n")
        daemon.write(TEAM.replace("DELAY", "30s").replace("everything", "all"))
        daemon.tell(signal.SIGHUP)
        daemon.until_logged("Too many open files")
        assert daemon.process.poll() is None
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        assert waiting.recv(4096).startswith(b"HTTP/1.0 200")
    daemon.until_described("answers all")
    assert daemon.loomd("submit", "what is it?", "--wait").stdout == "The answer is 42.\n"
    assert daemon.stop() == 0


def test_a_daemon_with_few_files_makes_fewer_connections(daemon: Daemon) -> None:
    """The limit of connections leaves files for everything else, and that is said."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        daemon.launch(native=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    daemon.until(daemon.is_ready)
    assert "48 connections instead of 256: the process may open 256 files only" in daemon.log
    held = []
    try:
        for _ in range(60):
            one = socket.socket(socket.AF_UNIX)
            one.settimeout(20)
            one.connect(str(daemon.socket))
            held.append(one)
        assert daemon.is_alive()
        daemon.write(TEAM.replace("DELAY", "30s").replace("everything", "all"))
        daemon.until_logged("revision 2")
    finally:
        for one in held:
            one.close()
    daemon.until_described("answers all")
    assert "Too many open files" not in daemon.log


def test_the_group_may_use_the_socket_when_told(daemon: Daemon) -> None:
    """With socketMode 0660 the file has that mode whatever the umask is, and its folder is as it was."""
    before = daemon.home.stat().st_mode
    daemon.start("--config", daemon.configure(socketMode="0660"), umask=0o077)
    assert daemon.socket.stat().st_mode & 0o777 == 0o660
    assert daemon.home.stat().st_mode == before
    assert (daemon.home / "state").stat().st_mode & 0o777 == 0o700
    assert (daemon.home / "state" / "loomd.db").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_others_may_write_to_holds_no_socket(daemon: Daemon) -> None:
    """Nobody else can put a socket in the place of the daemon's."""
    daemon.home.chmod(0o777)
    done = daemon.loomd("serve")
    assert done.returncode == 1
    assert "everybody may write to its folder (mode 0777)" in done.stderr
    daemon.home.chmod(0o755)
