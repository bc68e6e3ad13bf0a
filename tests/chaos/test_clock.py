"""A machine whose clock is set while its daemon is down: waits, questions and deadlines go by the wall clock then."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.daemon.process import Daemon
from tests.schedules.test_daemon import LIBRARIES, clocked

HOUR = 3600.0
SYSTEM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec:
  type: scripted
  replies:
    - {when: nap, toolCalls: [{name: nap, arguments: {seconds: 3600}}]}
    - {when: guard, toolCalls: [{name: guard, arguments: {}}]}
    - {when: slow, text: late, delay: 10h}
    - {text: done, times: null}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: nap}
spec: {type: wait}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: guard}
spec: {type: python, file: tool.py, function: guard, effects: write, approval: {required: always, ttl: 1h}}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {description: Does things., provider: script, tools: [nap, guard], limits: {time: 12h}}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: team}
spec: {agents: [ada], limits: {time: 12h}}
"""
TOOL = '''
def guard() -> str:
    """Nobody ever agrees to this."""
    raise AssertionError
'''


@pytest.fixture
def daemon(tmp_path: Path) -> Generator[Daemon, None, None]:
    """Yield a daemon that is not started yet; it is killed at the end."""
    made = Daemon(tmp_path)
    made.write(SYSTEM)
    (made.folder / "tool.py").write_text(TOOL)
    yield made
    made.kill()


def phases(daemon: Daemon) -> dict[str, tuple[str, str]]:
    """Return phase and stop reason of each task, by its goal."""
    found: dict[str, tuple[str, str]] = {}
    for one in daemon.client.get("tasks")["items"]:
        shown = daemon.client.get("namespaces", "default", "tasks", one["metadata"]["name"])
        found[shown["spec"]["goal"]] = (shown["status"]["phase"], shown["status"].get("stopReason", ""))
    return found


def restart(daemon: Daemon, seconds: float) -> None:
    """Kill the daemon, and start it on a machine whose clock is ahead by so much."""
    daemon.kill()
    clocked(daemon, seconds)
    daemon.start()


@pytest.mark.skipif(not LIBRARIES, reason="needs libfaketime: on Debian, apt install faketime")
def test_a_clock_that_is_set_while_the_daemon_is_down(daemon: Daemon) -> None:
    """Back: nothing ends early or fails. Two hours ahead: the wait is over, nobody agreed, the time is used up."""
    clocked(daemon, 2 * HOUR)
    daemon.start()
    tasks = ("namespaces", "default", "tasks")
    for goal, budget in (("nap", {}), ("guard", {}), ("slow", {"seconds": HOUR})):
        daemon.client.post(*tasks, body={"goal": goal, "budget": budget})
    daemon.until(lambda: phases(daemon)["guard"][0] == "WaitingApproval")
    daemon.until(lambda: bool(daemon.client.get("approvals", pending="1")["items"]))
    restart(daemon, HOUR)
    daemon.until(lambda: phases(daemon)["guard"][0] == "WaitingApproval")
    assert {phase for phase, _ in phases(daemon).values()} == {"Running", "WaitingApproval"}
    restart(daemon, 4 * HOUR)
    daemon.until(lambda: {phase for phase, _ in phases(daemon).values()} <= {"Succeeded", "Failed"})
    assert phases(daemon) == {
        "nap": ("Succeeded", "completed"),
        "guard": ("Succeeded", "approval_expired"),
        "slow": ("Failed", "budget_time"),
    }
    assert daemon.stop() == 0
