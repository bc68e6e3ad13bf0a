"""The daemon as a process: started, reloaded, killed and resumed through its command line."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from loomd.api.client import Client
from loomd.errors import Unreachable

TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec:
  type: scripted
  replies:
    - {when: slow, text: at last, delay: DELAY, times: null}
    - {text: The answer is 42., times: null}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: script, description: answers everything}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: team}
spec: {agents: [ada]}
"""

NEEDS_A_FILE = """---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: nothing}
spec: {type: python, file: tool.py, function: nothing, description: Does nothing.}
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Daemon:
    """A daemon in a child process."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "manifests"
        self.folder.mkdir(exist_ok=True)
        self.client = Client(home / "s.sock")
        self.environment = os.environ | {"LOOMD_STATE": str(home / "state"), "LOOMD_SOCKET": str(home / "s.sock")}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "loomd", "serve", "--watch", str(self.folder), *options]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)  # noqa: S603  # our own command
        self.until(self.is_ready)

    def is_ready(self) -> bool:
        """Return whether it takes work."""
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self.home / "s.sock"))
            except OSError as error:
                raise Unreachable("not yet") from error
            connection.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(4096)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=20)

    def loomd(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a verb against it."""
        command = [sys.executable, "-m", "loomd", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603  # our own command

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; no daemon yet is not yet."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                if holds():
                    return
            except Unreachable:
                assert self.process is not None
                assert self.process.poll() is None, self.log
            time.sleep(0.02)
        raise AssertionError(f"it never came to that:\n{self.log}")

    @property
    def log(self) -> str:
        """Return what it logged."""
        return (self.home / "log").read_text()

    def description(self) -> str:
        """Return the description of the agent that serves."""
        return str(self.client.get("namespaces", "default", "agents", "ada")["spec"]["description"])


@pytest.fixture
def daemon(tmp_path: Path) -> Generator[Daemon, None, None]:
    """Yield a daemon that is not started yet; it is killed at the end."""
    made = Daemon(tmp_path)
    (made.folder / "team.yaml").write_text(TEAM.replace("DELAY", "30s"))
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def test_a_watched_folder_is_followed(daemon: Daemon) -> None:
    """An edit serves at once; a broken one is reported and the last good one serves on, until it is mended."""
    daemon.start()
    assert daemon.description() == "answers everything"
    file = daemon.folder / "team.yaml"
    good = file.read_text()
    file.write_text(good.replace("everything", "all"))
    daemon.until(lambda: daemon.description() == "answers all")
    file.write_text(good.replace("everything", "nothing").replace("provider: script", "provider: skript"))
    daemon.until(lambda: "config.rejected" in daemon.loomd("events").stdout)
    assert daemon.description() == "answers all"
    assert 'did you mean "script"' in daemon.loomd("events").stdout + daemon.log
    file.write_text(good.replace("everything", "much"))
    daemon.until(lambda: daemon.description() == "answers much")
    assert daemon.stop() == 0


def test_a_restart_serves_the_last_good_set(daemon: Daemon) -> None:
    """Broken files at the start do not take away what served before."""
    daemon.start()
    assert daemon.stop() == 0
    assert not (daemon.home / "s.sock").exists()
    (daemon.folder / "team.yaml").write_text("kind: [")
    daemon.start()
    assert daemon.description() == "answers everything"
    assert "refused" in daemon.log


def test_a_second_daemon_is_refused(daemon: Daemon) -> None:
    """The state directory and the socket have one owner, who is named."""
    daemon.start()
    assert daemon.process is not None
    second = daemon.loomd("serve")
    assert second.returncode == 1
    assert f"held by process {daemon.process.pid}" in second.stderr
    third = daemon.loomd("serve", "--state", str(daemon.home / "other"))
    assert third.returncode == 1
    assert f"served by process {daemon.process.pid}" in third.stderr


def test_a_killed_daemon_resumes_its_tasks(daemon: Daemon) -> None:
    """A task that was accepted before kill -9 is answered after the restart, from its last recorded phase."""
    daemon.start()
    task = daemon.loomd("submit", "something slow").stdout.strip()
    daemon.until(lambda: '"phase": "scale"' in daemon.loomd("events", "--task", task, "-o", "json").stdout)
    assert daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    (daemon.folder / "team.yaml").write_text(TEAM.replace("DELAY", "1ms"))
    daemon.start()
    found = daemon.client.get("namespaces", "default", "tasks", task, wait="1")
    assert found["status"]["phase"] == "Succeeded"
    assert found["status"]["output"] == "at last"
    started = [e["data"] for e in daemon.client.events(task=task) if e["data"]["type"] == "phase.started"]
    assert [fact["phase"] for fact in started].count("sense") == 1
    assert [fact["phase"] for fact in started].count("execute") == 2


def test_a_task_waits_until_what_it_needs_serves_again(daemon: Daemon) -> None:
    """Started again without a file that the manifests need, the daemon fails no task; mended, it goes on with it."""
    tool = daemon.folder / "tool.py"
    tool.write_text("def nothing() -> str:\n    return ''\n")
    (daemon.folder / "team.yaml").write_text(TEAM.replace("DELAY", "30s") + NEEDS_A_FILE)
    daemon.start()
    task = daemon.loomd("submit", "something slow").stdout.strip()
    daemon.stop(signal.SIGKILL)
    tool.unlink()
    daemon.start()
    assert daemon.client.get("namespaces", "default", "tasks", task)["status"]["phase"] == "Running"
    assert "waits: Cluster/team does not serve" in daemon.log
    (daemon.folder / "team.yaml").write_text(TEAM.replace("DELAY", "1ms"))
    daemon.until(lambda: daemon.client.get("namespaces", "default", "tasks", task)["status"]["phase"] == "Succeeded")


def test_a_stop_waits_for_the_grace_and_keeps_the_rest(daemon: Daemon) -> None:
    """SIGTERM with a running task and an open stream ends with 0; the task is kept for the next start."""
    daemon.start("--grace", "0.2")
    task = daemon.loomd("submit", "something slow").stdout.strip()
    with subprocess.Popen(
        [sys.executable, "-m", "loomd", "events", "-f"], env=daemon.environment, stdout=subprocess.PIPE
    ) as follower:
        assert follower.stdout is not None
        follower.stdout.readline()
        assert daemon.stop() == 0
        follower.wait(timeout=20)
    (daemon.folder / "team.yaml").write_text(TEAM.replace("DELAY", "1ms"))
    daemon.start()
    assert daemon.client.get("namespaces", "default", "tasks", task, wait="1")["status"]["phase"] == "Succeeded"


def test_a_second_signal_exits_at_once(daemon: Daemon) -> None:
    """Whoever insists does not wait for running tasks."""
    daemon.start()
    daemon.loomd("submit", "something slow")
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGINT)
    daemon.until(lambda: "stopping" in daemon.log)
    assert daemon.stop(signal.SIGINT) == 130


def test_the_verbs_talk_to_people(daemon: Daemon) -> None:
    """get, describe, submit, apply and events say what there is."""
    daemon.start()
    asked = daemon.loomd("submit", "what is it?", "--wait")
    assert asked.returncode == 0
    assert asked.stdout == "The answer is 42.\n"
    assert [line.split()[0] for line in asked.stderr.splitlines()] == [
        "TASK",
        "SENSE",
        "MATCH",
        "SCALE",
        "EXECUTE",
        "EVALUATE",
        "ADAPT",
    ]
    assert daemon.loomd("get", "all", "-o", "name").stdout.splitlines()[:3] == [
        "Agent/ada",
        "Cluster/team",
        "Provider/script",
    ]
    task = daemon.loomd("get", "tasks", "-o", "name").stdout.strip()
    described = daemon.loomd("describe", task).stdout
    for part in ("Phases:", "Bids:", "Answer:", "The answer is 42.", "execute"):
        assert part in described
    assert "Conditions:" in daemon.loomd("describe", "agent", "ada").stdout
    unchanged = daemon.loomd("apply", "-f", str(daemon.folder))
    assert unchanged.stdout.splitlines()[0] == "Provider/script unchanged"
    (daemon.folder / "more.yaml").write_text("kind: [")
    broken = daemon.loomd("apply", "-f", str(daemon.folder))
    assert broken.returncode == 1
    assert "more.yaml" in broken.stderr
    assert daemon.loomd("get", "gadgets").returncode == 2


def test_a_client_answers_quickly(daemon: Daemon) -> None:
    """`loomd get` loads neither pydantic nor an HTTP framework."""
    daemon.start()
    code = (
        "import sys; from loomd.cli.main import run; run(['get', 'agents']);"
        "print(sorted({'pydantic', 'aiohttp', 'msgspec', 'watchfiles'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=daemon.environment, capture_output=True, text=True)  # noqa: PLW1510, S603  # judged by its output
    assert done.stdout.splitlines()[-1] == "[]"
