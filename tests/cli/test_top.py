"""loomd top: printed once for scripts, drawn anew on a terminal until q is pressed; agents and tasks as they are."""

import json

from loomd.cli.top import lines
from tests.cli.terminal import Folder, Screen

PARTS = """\
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: planner, namespace: SPACE}
spec:
  type: scripted
  replies:
    - {when: "own part:*left", text: L, times: null}
    - {when: "own part:*right", delay: 60s, text: R, times: null}
    - {when: "*", json: {parts: [{goal: look left, needs: []}, {goal: look right, needs: []}]}, times: null}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: cora, namespace: SPACE}
spec: {provider: planner}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: pair, namespace: SPACE}
spec: {agents: [cora], scale: {type: threshold, complexity: 0.01, maxDepth: 1}}
"""


def test_once_it_is_a_table_or_data(folder: Folder) -> None:
    """Without a terminal it is printed once; empty tables say so; JSON has all of it."""
    space = ("-n", folder.space)
    assert "no agents" in folder.said("top", *space)
    folder.apply()
    done = folder.said("submit", *space, "--wait", "--quiet", "anything")
    assert done == "The answer is 42.\n"
    page = folder.said("top", *space, "--once")
    head, _, agents, ada, *_ = page.splitlines()
    assert "agents 1, at work 0; tasks that run 0" in head
    assert agents.split()[:4] == ["AGENT", "CLUSTER", "LOAD", "HEALTH"]
    assert ada.split()[:4] == ["ada", "team", "0", "unknown"]
    data = json.loads(folder.said("top", *space, "-o", "json"))
    (agent,), (task,) = data["agents"], data["tasks"]
    assert (agent["agent"], agent["tasks"], agent["today"]["calls"]) == ("ada", 1, 1)
    assert (task["status"], task["agent"], "reward" in task) == ("Succeeded", "ada", True)
    assert folder.space in folder.said("top", "-A")


TRADES = """\
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: dora, namespace: SPACE}
spec: {provider: script, domains: {soup: 0.5, cake: 0.5}}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: kitchen, namespace: SPACE}
spec: {agents: [dora]}
"""


def test_a_task_of_several_domains_is_one_task(folder: Folder) -> None:
    """However many scores it moved."""
    folder.write("trades.yaml", TRADES)
    folder.apply()
    folder.said("submit", "-n", folder.space, "--cluster", "kitchen", "--wait", "--quiet", "soup and cake")
    (dora,) = [
        one for one in json.loads(folder.said("top", "-n", folder.space, "-o", "json"))["agents"] if one["domains"]
    ]
    assert (set(dora["domains"]), dora["tasks"]) == ({"soup", "cake"}, 1)


def test_on_a_terminal_it_follows(folder: Folder, screen: Screen) -> None:
    """A task appears with its phase and its parts, ends and moves below; a key leaves, and the screen is as before."""
    folder.write("pair.yaml", PARTS)
    folder.apply()
    screen.start(folder, "top", "-n", folder.space, "-d", "0.2")
    screen.until("no tasks")
    task = folder.said("submit", "-n", folder.space, "--cluster", "pair", "look around").splitlines()[0]
    shown = screen.until(".1")
    shown = screen.until("look right")
    while [line.split()[1:3] for line in shown.splitlines() if line.startswith(task)] != [["Running", "execute"]]:
        shown = screen.until("look right")
    screen.until("at work 2")
    folder.said("cancel", "-n", folder.space, f"task/{task}")
    screen.until("Cancelled")
    screen.until("at work 0")
    screen.type("x", "q")  # they come together
    left = screen.until("ended with 0")
    assert "HEALTH" not in left


def test_it_outlives_the_daemon(folder: Folder, screen: Screen) -> None:
    """While there is none, what it said last stands there, and why it is old; then it goes on."""
    folder.apply()
    screen.start(folder, "top", "-n", folder.space, "-d", "0.2")
    screen.until("at work 0")
    folder.daemon.kill()
    shown = screen.until(", and asked again: ")
    assert "no daemon at" in shown or "cannot be asked" in shown
    assert "ada " in shown
    folder.daemon.start("--config", folder.daemon.configure(watch=[]))
    screen.until("at work 0")
    screen.type("q")
    screen.until("ended with 0")


def test_many_agents_leave_room_for_tasks() -> None:
    """Fifty of each on a small screen: who works stands first, and both tables say how much more there is."""
    today = {"tokens": 0, "cost": 0.0}
    agent = {"namespace": "a", "cluster": "c", "health": "good", "score": 0.5, "tasks": 1, "domains": {}}
    agents = [
        {**agent, "agent": f"idle{at}" if at != 40 else "busy", "running": int(at == 40), "load": 0.0, "today": today}
        for at in range(50)
    ]
    task = {"namespace": "a", "status": "Running", "phase": "execute", "agent": "busy", "cost": 0.0, "created": 0.0}
    tasks = [{**task, "task": f"t{at}", "goal": "go"} for at in range(50)]
    now = {"time": 1.0, "agents": agents, "tasks": tasks}
    shown = lines(now, everywhere=False, rows=23)
    assert len(shown) == 23
    assert shown[3].startswith("busy ")
    assert [line for line in shown if line.startswith("...")] == ["... 42 more agents", "... 42 more tasks"]
    few = lines({**now, "tasks": tasks[:2]}, everywhere=False, rows=23)
    assert (len(few), few[-1].split()[0]) == (23, "t1")
    assert len(lines(now, everywhere=False)) == 1 + 51 + 51 + 2
    twice = {**now, "agents": [*agents, *({**one, "cluster": "d"} for one in agents)]}
    assert "agents 50, at work 1;" in lines(twice, everywhere=False)[0], "who is a member twice is one agent"
