"""Signals, and what the service manager is told: over real notify sockets, as systemd makes them."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from loomd.notify import Notifier
from tests.daemon.process import PATIENCE, TEAM, Daemon

OTHER = TEAM.replace("DELAY", "30s").replace("everything", "all")


class Manager:
    """A service manager's end of the notify socket."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        listener.settimeout(PATIENCE)

    def hear(self) -> dict[str, str]:
        """Return the next message."""
        lines = self._listener.recv(65536).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def wait_for(self, name: str) -> dict[str, str]:
        """Return the next message in which a name stands."""
        while name not in (said := self.hear()):
            pass
        return said


@contextmanager
def managed(address: str | Path) -> Generator[Manager]:
    """Yield a service manager that listens at an address; `@name` is one without a file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        text = str(address)
        listener.bind(f"\0{text[1:]}" if text.startswith("@") else text)
        yield Manager(listener)


@pytest.mark.parametrize("abstract", [False, True], ids=["file", "abstract"])
def test_the_service_manager_is_told_everything(daemon: Daemon, tmp_path: Path, abstract: bool) -> None:
    """READY, RELOADING with its time, READY again, STOPPING: in this order, over either sort of socket."""
    address = f"@loomd-{secrets.token_hex(8)}" if abstract else str(tmp_path / "notify")
    with managed(address) as manager:
        daemon.environment["NOTIFY_SOCKET"] = address
        daemon.start()
        ready = manager.wait_for("READY")
        assert ready["READY"] == "1"
        assert ready["STATUS"] == "revision 1 serves, 3 objects"
        before = time.monotonic_ns() // 1000
        daemon.tell(signal.SIGHUP)
        reloading = manager.wait_for("RELOADING")
        assert reloading["RELOADING"] == "1"
        assert before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        assert manager.wait_for("READY")["STATUS"] == "revision 1 serves, 3 objects"
        daemon.tell(signal.SIGTERM)
        assert manager.wait_for("STOPPING")["STOPPING"] == "1"
        assert daemon.process.wait(timeout=PATIENCE) == 0


def test_a_reload_is_done_when_all_is_read(daemon: Daemon, tmp_path: Path) -> None:
    """What stands in a followed folder at SIGHUP serves when READY comes, without waiting for an event."""
    with managed(tmp_path / "notify") as manager:
        daemon.environment["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        daemon.start("--config", daemon.configure())
        manager.wait_for("READY")
        daemon.write(OTHER)
        assert daemon.description() == "answers everything"
        daemon.tell(signal.SIGHUP)
        manager.wait_for("RELOADING")
        assert manager.wait_for("READY")["STATUS"] == "revision 2 serves, 3 objects"
        assert daemon.description() == "answers all"


@pytest.mark.parametrize(
    ("settings", "manifest", "refused"),
    [({"grace": "soon"}, OTHER, "settings"), ({}, "kind: [", "manifests")],
    ids=["settings", "manifests"],
)
def test_a_refused_reload_ends_with_ready(
    daemon: Daemon, tmp_path: Path, settings: dict[str, str], manifest: str, refused: str
) -> None:
    """READY comes although something was refused, and STATUS names it; readiness does not flip."""
    with managed(tmp_path / "notify") as manager:
        daemon.environment["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        daemon.start("--config", daemon.configure())
        manager.wait_for("READY")
        daemon.configure(**settings)
        daemon.write(manifest)
        daemon.tell(signal.SIGHUP)
        manager.wait_for("RELOADING")
        assert f"refused: {daemon.folder if refused == 'manifests' else refused}" in manager.wait_for("READY")["STATUS"]
        status, text = daemon.ask("/readyz?verbose")
        assert status == 200
        assert f"[-]{'settings' if refused == 'settings' else f'source {daemon.folder}'} refused" in text
        assert "loomd_config_last_reload_successful 0" in daemon.ask("/metrics")[1]
        daemon.configure()
        daemon.write()
        daemon.tell(signal.SIGHUP)
        manager.wait_for("RELOADING")
        assert "refused" not in manager.wait_for("READY")["STATUS"]
        assert "loomd_config_last_reload_successful 1" in daemon.ask("/metrics")[1]


def test_the_watchdog_hears_signs_of_life(daemon: Daemon, tmp_path: Path) -> None:
    """WATCHDOG=1 comes more often than the manager asks for, also while tasks drain."""
    with managed(tmp_path / "notify") as manager:
        daemon.environment |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        daemon.start("--grace", "6s")
        moments = []
        for _ in range(12):
            manager.wait_for("WATCHDOG")
            moments.append(time.monotonic())
        assert median(later - sooner for sooner, later in pairwise(moments[1:])) < 0.4
        daemon.loomd("submit", "something slow")
        daemon.tell(signal.SIGTERM)
        manager.wait_for("STOPPING")
        manager.wait_for("WATCHDOG")
        manager.wait_for("WATCHDOG")
        assert daemon.process.wait(timeout=PATIENCE) == 0


def test_a_watchdog_that_is_meant_for_another_process_is_ignored() -> None:
    """WATCHDOG_PID names whose it is, and what is no number asks for nothing."""
    meant = Notifier.of({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "7"}, 7)
    assert meant.watchdog == 1.0
    assert Notifier.of({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "8"}, 7).watchdog == 0.0
    assert Notifier.of({"WATCHDOG_USEC": "soon"}, 7).watchdog == 0.0


def test_a_manager_that_is_gone_or_full_does_no_harm(tmp_path: Path) -> None:
    """Nothing is raised when nobody listens, or when nobody reads; and a line stays a line."""
    gone = Notifier(str(tmp_path / "nobody"))
    gone.ready("here")
    gone.close()
    gone.ready("not any more")
    with managed(tmp_path / "notify") as manager:
        notifier = Notifier(str(tmp_path / "notify"))
        notifier.status("two\nlines \udcff")
        assert manager.hear() == {"STATUS": "two lines ?"}
        began = time.monotonic()
        for _ in range(1 + int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())):
            notifier.alive()
        notifier.ready("nobody reads")
        assert time.monotonic() - began < PATIENCE
        notifier.close()


def test_a_stop_before_anything_serves_is_a_stop(daemon: Daemon) -> None:
    """SIGTERM while the daemon waits for its first valid manifests ends it with 0."""
    daemon.write("kind: [")
    daemon.launch()
    daemon.until(daemon.is_alive)
    assert daemon.ask("/readyz")[0] == 503
    assert daemon.stop() == 0


def test_a_reload_before_anything_serves_reads_again(daemon: Daemon) -> None:
    """SIGHUP is no reason to end, also before the daemon is ready."""
    daemon.write("kind: [")
    daemon.launch("--config", daemon.configure())
    daemon.until_logged("refused")
    daemon.write()
    daemon.tell(signal.SIGHUP)
    daemon.until(daemon.is_ready)
    assert daemon.description() == "answers everything"


def test_many_signals_to_reload_are_one_after_the_other(daemon: Daemon) -> None:
    """A storm of SIGHUP with changing files ends with the last files, and stops cleanly."""
    daemon.start()
    for number in range(40):
        daemon.write(TEAM.replace("DELAY", "30s").replace("everything", f"all {number}"))
        daemon.tell(signal.SIGHUP)
    daemon.until_described("answers all 39")
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_draining_is_told_and_takes_no_work(daemon: Daemon, number: signal.Signals) -> None:
    """Not ready first, then no more work, then the grace; a second signal does not wait for it and exits with 130."""
    daemon.start("--grace", "1h")
    daemon.loomd("submit", "something slow")
    daemon.tell(number)
    daemon.until(lambda: daemon.ask("/readyz")[0] == 503)
    assert daemon.is_alive()
    assert "[-]work is not taken" in daemon.ask("/readyz?verbose")[1]
    refused = daemon.loomd("submit", "more")
    assert refused.returncode == 2
    assert "takes no work" in refused.stderr
    assert daemon.loomd("get", "agents").returncode == 0
    assert daemon.stop(number) == 130  # long before the grace is over


def test_a_stop_with_twenty_tasks_and_fifty_streams(daemon: Daemon) -> None:
    """SIGTERM ends quickly and with 0 however many tasks run and streams are open; every task goes on afterwards."""
    daemon.write(TEAM.replace("DELAY", "2s"))
    daemon.start("--grace", "300ms")
    tasks = [
        daemon.client.post("namespaces", "default", "tasks", body={"goal": f"something slow {number}"})["id"]
        for number in range(20)
    ]
    paths = ["/v1/events?follow=1", "/apis/loomd.dev/v1/all?watch=1", "/apis/loomd.dev/v1/tasks?watch=1"]
    readers = []
    for number in range(50):
        reader = socket.socket(socket.AF_UNIX)
        reader.settimeout(PATIENCE)
        reader.connect(str(daemon.socket))
        reader.sendall(f"GET {paths[number % 3]} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert reader.recv(4096).startswith(b"HTTP/1.1 200")
        readers.append(reader)
    assert daemon.stop() == 0
    for reader in readers:
        got = b""
        while piece := reader.recv(65536):
            got += piece
        assert got.endswith(b"0\r\n\r\n"), "a stream ends, it does not break off"
        assert b"the daemon stops" in got
        reader.close()
    daemon.start()
    for task in tasks:
        found = daemon.client.get("namespaces", "default", "tasks", task, wait="1")
        assert found["status"]["phase"] == "Succeeded"


def test_closed_standard_files_do_not_end_it(daemon: Daemon) -> None:
    """Started without standard input, output and error, the daemon serves, reloads and stops with 0."""
    daemon.environment["PYTHONUNBUFFERED"] = "1"
    script = 'exec "$0" "$@" 0<&- 1>&- 2>&-'
    command = ["/bin/sh", "-c", script, sys.executable, "-m", "loomd", "serve", "--watch", str(daemon.folder)]
    daemon.adopt(subprocess.Popen(command, env=daemon.environment))  # noqa: S603  # our own command
    daemon.until(daemon.is_ready)
    files = {number: str(Path(f"/proc/{daemon.process.pid}/fd/{number}").readlink()) for number in range(3)}
    assert set(files.values()) == {"/dev/null"}
    daemon.write("kind: [")
    daemon.tell(signal.SIGHUP)
    daemon.until(lambda: "refused" in daemon.ask("/readyz?verbose")[1])
    assert daemon.stop() == 0


def test_a_log_that_nobody_reads_any_more_does_not_end_it(daemon: Daemon) -> None:
    """When the pipe behind standard output and error breaks, the daemon goes on and stops with 0."""
    reading, writing = os.pipe()
    daemon.start(stdout=writing, stderr=writing)
    os.close(writing)
    os.close(reading)
    daemon.write("kind: [")
    daemon.tell(signal.SIGHUP)
    daemon.until(lambda: "refused" in daemon.ask("/readyz?verbose")[1])
    daemon.write(OTHER)
    daemon.until_described("answers all")
    assert daemon.stop() == 0
