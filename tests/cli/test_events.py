"""`loomd events` at a real daemon: chosen events, and following over a restart."""

import json
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from loomd.api.client import Asked
from tests.cli.terminal import Folder
from tests.daemon.process import TEAM, Daemon

TOKEN = "sk-canary-0123456789abcdef"


@pytest.fixture
def own(tmp_path: Path) -> Generator[Daemon]:
    """Yield a daemon that a test may end."""
    made = Daemon(tmp_path)
    made.write(TEAM.replace("DELAY", "1ms"))
    yield made
    made.kill()


def said(folder: Folder, *arguments: str) -> list[dict[str, Any]]:
    """Return the events that the verb prints."""
    return [json.loads(line) for line in folder.said("events", "-o", "json", *arguments).splitlines()]


def submitted(folder: Folder, goal: str) -> str:
    """Return the id of a task that has ended."""
    task = folder.said("submit", goal, "-n", folder.space).strip()
    folder.said("wait", f"task/{task}", "-n", folder.space)
    return task


def test_events_are_chosen(folder: Folder) -> None:
    """By task, by type, by namespace, by time, and by number."""
    folder.apply()
    task = submitted(folder, "what is it?")
    other = submitted(folder, "and what is that?")
    own = said(folder, "--task", f"task/{task}")
    assert {event["task"] for event in own} == {task}
    assert own == said(folder, "--task", task, "--since", "1h")
    ends = said(folder, "-n", folder.space, "--type", "task.completed")
    assert [event["task"] for event in ends] == [task, other]
    several = said(folder, "-n", folder.space, "--type", "task.*", "--type", "auction.awarded")
    assert {event["data"]["type"] for event in several} == {"task.started", "auction.awarded", "task.completed"}
    assert said(folder, "-n", folder.space, "--after", str(ends[0]["seq"]), "--type", "task.completed") == ends[1:]
    assert said(folder, "--task", task, "--since", "0s") == []
    assert said(folder, "-n", "nobody-is-here") == []


def test_what_is_not_kept_is_said(folder: Folder) -> None:
    """Who asks the journal for beginnings of phases alone, is told that they are heard as they happen."""
    folder.apply()
    task = submitted(folder, "what is it?")
    ran = folder.loomd("events", "--task", task, "--type", "phase.started", "--type", "auction.*")
    assert ran.stderr == "phase.started: told as it happens (-f) and not kept\n"
    assert [line.split()[2] for line in ran.stdout.splitlines()] == ["auction.awarded"]


def test_a_wrong_question_is_refused(folder: Folder) -> None:
    """A type or a time that is none ends with 2 and says what may be meant."""
    ran = folder.loomd("events", "--type", "task.compleeted")
    assert ran.returncode == 2
    assert 'did you mean "task.completed"?' in ran.stderr
    ran = folder.loomd("events", "--since", "10")
    assert ran.returncode == 2
    assert "expected a duration such as 30s" in ran.stderr


def test_secrets_are_hidden(folder: Folder) -> None:
    """What looks like a secret is hidden in both forms."""
    folder.apply()
    task = submitted(folder, f"use {TOKEN} now")
    for form in ("text", "json"):
        text = folder.said("events", "--task", task, "-o", form)
        assert "use *** now" in text
        assert TOKEN not in text


def submit(daemon: Daemon, goal: str) -> str:
    """Hand a task over and return its id."""
    return str(daemon.client.post("namespaces", "default", "tasks", body={"goal": goal})["id"])


def test_following_goes_on_after_a_restart(own: Daemon) -> None:
    """However the daemon ended, the follower has every event once when it is back, and says what it waited for."""
    own.start()
    with subprocess.Popen(
        [sys.executable, "-m", "loomd", "events", "-f", "-o", "json"],
        env=own.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as follower:
        assert follower.stderr is not None
        seen: list[int] = []

        def until(task: str) -> None:
            """Read until a task has ended."""
            for line in follower.stdout or ():
                event = json.loads(line)
                if event["seq"]:
                    seen.append(event["seq"])
                if event["data"]["type"] == "task.completed" and event["task"] == task:
                    return

        until(submit(own, "one"))
        for end in (signal.SIGKILL, signal.SIGTERM):
            own.stop(end)
            assert "waiting for it (Ctrl-C ends this)" in follower.stderr.readline()
            own.start()
            until(submit(own, "another"))
        follower.send_signal(signal.SIGINT)
        assert follower.wait(timeout=20) == 130
    stored = [event["seq"] for event in own.client.events()]
    assert seen == [seq for seq in stored if seq <= seen[-1]]


def test_submit_waits_over_a_restart(own: Daemon) -> None:
    """Whoever waits for an answer gets it, though the daemon was killed while the task ran."""
    own.write(TEAM.replace("DELAY", "5s"))
    own.start()
    with subprocess.Popen(
        [sys.executable, "-m", "loomd", "submit", "something slow", "--wait", "-q"],
        env=own.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as waiting:
        begun = Asked(types=("phase.completed",))
        next(event for event in own.client.events(asked=begun, follow=True) if event["data"]["phase"] == "scale")
        own.stop(signal.SIGKILL)
        own.start()
        out, err = waiting.communicate(timeout=30)
    assert out == "at last\n", err
    assert waiting.returncode == 0


def test_no_daemon_is_said_at_once(own: Daemon) -> None:
    """Following waits for a daemon that was there, not for one that never was."""
    ran = own.loomd("events", "-f")
    assert ran.returncode == 2
    assert "no daemon at" in ran.stderr
