"""Schedules in a real daemon: by its command line, killed again and again, with a clock that is set."""

import os
import random
import signal
import time
from collections.abc import Generator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from loomd.clock import SystemClock
from tests.daemon.process import TEAM, Daemon

EVERY_MINUTE = """---
apiVersion: loomd.dev/v1
kind: Schedule
metadata: {name: tick}
spec: {schedule: "* * * * *", goal: hello, missedRunPolicy: POLICY}
"""
NOW = SystemClock().now
ROUNDS = int(os.environ.get("LOOMD_KILLS", "2"))
"""How often the daemon is killed."""
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
"""The library that gives a process another clock."""


@pytest.fixture
def daemon(tmp_path: Path) -> Generator[Daemon, None, None]:
    """Yield a daemon that is not started yet; it is killed at the end."""
    made = Daemon(tmp_path)
    yield made
    made.kill()


def schedule(daemon: Daemon) -> dict[str, Any]:
    """Return the schedule as the API shows it."""
    found: dict[str, Any] = daemon.client.get("namespaces", "default", "schedules", "tick")
    return found


def fired(daemon: Daemon) -> list[dict[str, Any]]:
    """Return what the journal says was started, oldest first."""
    return [event["data"] for event in daemon.client.events() if event["data"]["type"] == "schedule.fired"]


def test_by_the_command_line(daemon: Daemon) -> None:
    """Listed, described, suspended, resumed, run by hand, watched for with `wait`, refused with a hint."""
    daemon.write(TEAM.replace("DELAY", "1s") + EVERY_MINUTE.replace("* * * * *", "0 6 1 1 *").replace("POLICY", "one"))
    daemon.start()
    table = daemon.loomd("get", "schedules").stdout.splitlines()
    assert table[0].split() == ["NAME", "READY", "SCHEDULE", "TIME", "ZONE", "ACTIVE", "NEXT", "RUN", "AGE"]
    assert table[1].startswith("tick  True   0 6 1 1 *  UTC        0       in ")

    done = daemon.loomd("submit", "--from", "schedule/tick", "--wait", "--quiet")
    assert (done.returncode, done.stdout) == (0, "The answer is 42.\n"), done.stderr
    assert daemon.loomd("submit", "--from", "schedule/tick", "another goal").returncode == 2
    assert 'did you mean "tick"?' in daemon.loomd("submit", "--from", "schedule/tack").stderr

    shown = daemon.loomd("suspend", "schedule/tick", "--reason", "holidays")
    assert shown.stdout == "Schedule/tick suspended; loomd resume Schedule/tick starts its runs again\n", shown.stderr
    page = daemon.loomd("describe", "schedule/tick").stdout
    assert "holidays" in page
    assert "Next run:         none" in page
    assert f"Task/{schedule(daemon)['status']['lastTask']}" in page
    assert daemon.loomd("wait", "schedule/tick", "--for=condition=Suspended=True", "--timeout=30s").returncode == 0
    assert daemon.loomd("resume", "Schedule/tick").stdout == "Schedule/tick resumed\n"
    assert not schedule(daemon)["status"]["suspended"]
    kinds = [event["data"]["type"] for event in daemon.client.events() if event["data"]["type"].startswith("sched")]
    assert kinds == ["schedule.fired", "schedule.suspended", "schedule.resumed"]
    assert daemon.stop() == 0


def clocked(daemon: Daemon, seconds: float) -> None:
    """Let the daemon's wall clock, and no other of its clocks, be ahead by some time."""
    fresh = daemon.home / "clock.new"
    fresh.write_text(f"+{seconds:.0f}\n")
    fresh.rename(daemon.home / "clock")
    daemon.environment |= {
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(daemon.home / "clock"),
        "FAKETIME_CACHE_DURATION": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def minutes(since: float, until: float) -> list[float]:
    """Return the full minutes after one time and up to another."""
    return [60.0 * one for one in range(int(since // 60) + 1, int(until // 60) + 1)]


@pytest.mark.skipif(not LIBRARIES, reason="needs libfaketime: on Debian, apt install faketime")
def test_a_clock_that_is_set_while_the_daemon_runs(daemon: Daemon) -> None:
    """Two hours ahead one run is made up and the rest is told to be missed; the way back repeats nothing."""
    daemon.write(TEAM.replace("DELAY", "1s") + EVERY_MINUTE.replace("POLICY", "one"))
    clocked(daemon, 0)
    daemon.start()
    daemon.until(lambda: "nextScheduleTime" in schedule(daemon)["status"])
    clocked(daemon, 7200)
    daemon.until(lambda: last(daemon) > NOW() + 3600)
    missed = [event["data"] for event in daemon.client.events() if event["data"]["type"] == "schedule.missed"]
    assert sum(one["count"] for one in missed) >= 99
    ahead = len(fired(daemon))
    assert ahead <= 3
    clocked(daemon, 0)
    soon = rfc3339(NOW() + 120)
    daemon.until(lambda: schedule(daemon)["status"]["nextScheduleTime"] <= soon)
    daemon.client.post("namespaces", "default", "schedules", "tick", "resume", body={})  # looks at the clock at once
    tasks = daemon.client.get("tasks")["items"]
    assert len(tasks) == len(fired(daemon)) <= ahead + 1


@pytest.mark.skipif(not LIBRARIES, reason="needs libfaketime: on Debian, apt install faketime")
def test_killed_in_the_middle_each_due_time_has_one_task(daemon: Daemon) -> None:
    """The clock is set ahead by many minutes, and the daemon is killed while it makes them up, again and again."""
    draw, ahead = random.Random(os.environ.get("LOOMD_SEED", "1")), 0.0
    daemon.write(TEAM.replace("DELAY", "1s") + EVERY_MINUTE.replace("POLICY", "all"))
    clocked(daemon, ahead)
    daemon.start()
    daemon.until(lambda: "nextScheduleTime" in schedule(daemon)["status"])
    for number in range(ROUNDS):
        daemon.tell(signal.SIGKILL)
        daemon.process.wait()
        ahead += draw.uniform(600, 1400)  # two of them are less than what is made up at most
        clocked(daemon, ahead)
        daemon.start()
        if number % 2 == 0:
            time.sleep(draw.uniform(0, 0.2))  # the moment of the kill is the point
        else:
            caught_up = NOW() + ahead - 60
            daemon.until(lambda: last(daemon) > caught_up)  # noqa: B023  # it is asked at once
    due = [one["due"] for one in fired(daemon)]
    assert due == minutes(due[0] - 1, due[-1])
    assert len(due) >= ahead // 60
    tasks = daemon.client.get("tasks")["items"]
    assert sorted(one["metadata"]["name"] for one in tasks) == sorted(one["task"] for one in fired(daemon))
    assert not [event for event in daemon.client.events() if event["data"]["type"] == "schedule.missed"]
    assert daemon.stop() == 0


def last(daemon: Daemon) -> float:
    """Return when the run was due that was started last, 0 before the first."""
    found = schedule(daemon)["status"].get("lastScheduleTime", "1970-01-01T00:00:00Z")
    return datetime.fromisoformat(found).timestamp()


def rfc3339(seconds: float) -> str:
    """Return wall-clock seconds as the API writes them."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
