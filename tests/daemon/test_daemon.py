"""The daemon as a process: started, reloaded, killed and resumed through its command line."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from loomd.store.check import check
from tests.daemon.process import TEAM, Daemon

NEEDS_A_FILE = """---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: nothing}
spec: {type: python, file: tool.py, function: nothing, description: Does nothing.}
"""
SLOW = TEAM.replace("DELAY", "5s")
"""Manifests with an answer that takes longer than to kill a daemon."""


def status(daemon: Daemon, task: str) -> dict[str, Any]:
    """Return the status of a task."""
    found: dict[str, Any] = daemon.client.get("namespaces", "default", "tasks", task)["status"]
    return found


def test_a_watched_folder_is_followed(daemon: Daemon) -> None:
    """An edit serves at once; a broken one is reported and the last good one serves on, until it is mended."""
    daemon.start()
    assert daemon.description() == "answers everything"
    file = daemon.folder / "team.yaml"
    good = file.read_text()
    file.write_text(good.replace("everything", "all"))
    daemon.until_described("answers all")
    file.write_text(good.replace("everything", "nothing").replace("provider: script", "provider: skript"))
    daemon.until(lambda: "config.rejected" in daemon.loomd("events").stdout)
    assert daemon.description() == "answers all"
    assert 'did you mean "script"' in daemon.loomd("events").stdout + daemon.log
    file.write_text(good.replace("everything", "much"))
    daemon.until_described("answers much")
    assert daemon.stop() == 0


def test_a_restart_serves_the_last_good_set(daemon: Daemon) -> None:
    """Broken files at the start do not take away what served before."""
    daemon.start()
    assert daemon.stop() == 0
    assert not (daemon.home / "s.sock").exists()
    daemon.write("kind: [")
    daemon.start()
    assert daemon.description() == "answers everything"
    assert "refused" in daemon.log


def test_it_is_said_that_nothing_serves_yet(daemon: Daemon) -> None:
    """On a first start with broken manifests no verb says that the daemon is starting, or that a revision serves."""
    daemon.write("kind: [")
    daemon.launch()
    daemon.until(daemon.is_alive)
    daemon.until(lambda: "config.rejected" in daemon.loomd("events").stdout)
    for verb in (("submit", "hello"), ("rollout", "undo")):
        said = daemon.loomd(*verb)
        assert said.returncode == 2
        assert said.stderr.splitlines()[-1] == (  # after what is said of what takes longer than a second
            f"error: nothing serves yet, so no work is taken: refused is {daemon.folder}; "
            "`loomd describe sources` and the log say why"
        )
    status = daemon.loomd("rollout", "status")
    assert status.returncode == 4
    assert status.stdout.startswith(f"nothing serves yet; refused is the newest state of {daemon.folder}: ")


KEYED = """\
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: far}
spec: {type: openai, model: m, apiKey: {valueFrom: {file: KEY}}}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: far, description: answers}
"""


def test_it_is_said_what_cannot_be_opened_again(daemon: Daemon, tmp_path: Path) -> None:
    """What was applied has no source that tells of it: the log does, and so does whoever wants work to be done."""
    key, manifest = tmp_path / "key", tmp_path / "keyed.yaml"
    key.write_text("secret")
    manifest.write_text(KEYED.replace("KEY", str(key)))
    daemon.start("--config", daemon.configure(watch=[]))
    applied = daemon.loomd("apply", "-f", str(manifest))
    assert applied.returncode == 0, applied.stderr
    daemon.stop()
    key.unlink()
    daemon.launch("--config", daemon.configure(watch=[]))
    daemon.until_logged("revision 1, which served last, cannot be opened, and nothing serves:")
    assert str(key) in daemon.log
    said = daemon.loomd("submit", "hello").stderr
    assert said.startswith("error: nothing serves yet, so no work is taken: what served last cannot be opened: ")
    assert str(key) in said


def test_a_second_daemon_is_refused(daemon: Daemon) -> None:
    """The state directory and the socket have one owner, who is named."""
    daemon.start()
    second = daemon.loomd("serve")
    assert second.returncode == 1
    assert f"held by process {daemon.process.pid}" in second.stderr
    third = daemon.loomd("serve", "--state", str(daemon.home / "other"))
    assert third.returncode == 1
    assert f"served by process {daemon.process.pid}" in third.stderr


def test_a_killed_daemon_resumes_its_tasks(daemon: Daemon) -> None:
    """A task accepted before kill -9 is answered after it, from its last phase, by the agents that it began with."""
    daemon.write(SLOW)
    daemon.start()
    task = daemon.loomd("submit", "something slow").stdout.strip()
    daemon.until(lambda: '"phase": "scale"' in daemon.loomd("events", "--task", task, "-o", "json").stdout)
    assert daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    daemon.write(SLOW.replace("at last", "by others"))
    daemon.start()
    found = daemon.client.get("namespaces", "default", "tasks", task, wait="1")
    assert found["status"]["phase"] == "Succeeded"
    assert found["status"]["output"] == "at last"
    happened = [e["data"] for e in daemon.client.events(task=task)]
    ended = [fact.get("phase", "resumed") for fact in happened if fact["type"] in {"phase.completed", "task.resumed"}]
    assert ended == ["sense", "match", "scale", "resumed", "execute", "evaluate", "adapt"]


@pytest.mark.parametrize("broken", ["def broken(:", None])
def test_the_last_good_set_serves_with_its_own_files(daemon: Daemon, broken: str | None) -> None:
    """Killed when a tool's file is broken or gone, a daemon serves what was good, and its tasks go on."""
    tool, text = daemon.folder / "tool.py", "def nothing() -> str:\n    return ''\n"
    tool.write_text(text)
    daemon.write(SLOW + NEEDS_A_FILE)
    daemon.start()
    task = daemon.loomd("submit", "something slow").stdout.strip()
    tool.unlink() if broken is None else tool.write_text(broken)
    daemon.until(lambda: "refused" in daemon.ask("/readyz?verbose")[1])
    daemon.stop(signal.SIGKILL)
    daemon.start()
    assert "tool.py" in daemon.ask("/readyz?verbose")[1]
    daemon.until(lambda: status(daemon, task)["phase"] == "Succeeded")
    assert [path.stat().st_mode & 0o777 for path in (daemon.home / "state").glob("copies*")] == [0o700]
    tool.write_text(text)
    daemon.until(lambda: "refused" not in daemon.ask("/readyz?verbose")[1])
    assert daemon.stop() == 0
    assert check(daemon.home / "state").findings == ()


def lose_copies(daemon: Daemon) -> None:
    """Take away what is kept of files that manifests name."""
    with closing(sqlite3.connect(daemon.home / "state" / "loomd.db")) as db:
        assert db.execute("DELETE FROM blobs WHERE digest IN (SELECT digest FROM files WHERE target != '')").rowcount
        db.commit()


def test_a_task_waits_until_what_it_needs_serves_again(daemon: Daemon) -> None:
    """Without a file that its manifests need, a daemon is not ready and fails no task; mended, it goes on."""
    tool, text = daemon.folder / "tool.py", "def nothing() -> str:\n    return ''\n"
    tool.write_text(text)
    daemon.write(SLOW + NEEDS_A_FILE)
    daemon.start("--grace", "0.2")
    task = daemon.loomd("submit", "something slow").stdout.strip()
    daemon.stop()
    lose_copies(daemon)
    tool.unlink()
    daemon.launch()
    daemon.until_logged(f"Task/{task} waits: ")
    assert "[-]set nothing serves yet" in daemon.ask("/readyz?verbose")[1]
    tool.write_text(text)
    daemon.until(lambda: status(daemon, task)["phase"] == "Succeeded")


def test_a_task_whose_revision_is_gone_goes_on_when_it_is_told_to(daemon: Daemon) -> None:
    """It waits and says why, until a person lets it go on on what serves."""
    tool = daemon.folder / "tool.py"
    tool.write_text("def nothing() -> str:\n    return ''\n")
    daemon.write(SLOW + NEEDS_A_FILE)
    daemon.start("--grace", "0.2")
    task = daemon.loomd("submit", "something slow").stdout.strip()
    daemon.stop()
    lose_copies(daemon)
    tool.unlink()
    daemon.write(TEAM.replace("DELAY", "1ms"))
    daemon.start()
    daemon.until(lambda: status(daemon, task)["phase"] == "Pending")
    assert "tool.py" in status(daemon, task)["reason"]
    assert f"`loomd retry task/{task}` runs it anew" in daemon.loomd("describe", f"task/{task}").stdout
    assert "goes on, on what serves now" in daemon.loomd("resume", f"task/{task}").stdout
    daemon.until(lambda: status(daemon, task)["phase"] == "Succeeded")
    assert "task.moved" in daemon.loomd("events", "--task", task).stdout


def test_a_stop_waits_for_the_grace_and_keeps_the_rest(daemon: Daemon) -> None:
    """SIGTERM with a running task and an open stream ends with 0; the task is kept for the next start."""
    daemon.write(SLOW)
    daemon.start("--grace", "0.2")
    task = daemon.loomd("submit", "something slow").stdout.strip()
    with subprocess.Popen(
        [sys.executable, "-m", "loomd", "events", "-f"], env=daemon.environment, stdout=subprocess.PIPE
    ) as follower:
        assert follower.stdout is not None
        follower.stdout.readline()
        assert daemon.stop() == 0
        follower.terminate()
    daemon.start()
    assert daemon.client.get("namespaces", "default", "tasks", task, wait="1")["status"]["phase"] == "Succeeded"


def test_a_second_signal_exits_at_once(daemon: Daemon) -> None:
    """Whoever insists does not wait for running tasks."""
    daemon.start()
    daemon.loomd("submit", "something slow")
    daemon.tell(signal.SIGINT)
    daemon.until_logged("stopping")
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
    for part in ("Phases:", "bid ada", "Answer:", "The answer is 42.", "execute"):
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
