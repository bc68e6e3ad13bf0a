"""wait, cancel and delete at a real daemon."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loomd.api.client import Client, Json
from tests.cli.terminal import BOB, Folder
from tests.daemon.process import Daemon

LATER = 0.3
"""Seconds after which something happens that is waited for."""


@pytest.fixture
def team(folder: Folder) -> Folder:
    """Return the folder, applied."""
    folder.apply()
    return folder


@pytest.mark.parametrize(
    ("goal", "code"),
    [
        pytest.param("condition=Ready", 0, id="ready"),
        pytest.param("condition=ready=true", 1, id="case-of-a-condition"),
        pytest.param("condition=Ready=True", 0, id="ready-true"),
        pytest.param("condition=Stalled=False", 0, id="false"),
        pytest.param("condition=Ready=False", 1, id="never-false"),
        pytest.param("condition=Nothing", 1, id="unknown-condition"),
        pytest.param("create", 0, id="create"),
        pytest.param("delete", 1, id="delete"),
        pytest.param("jsonpath={.spec.description}=answers everything", 0, id="value"),
        pytest.param("jsonpath={.metadata.uid}", 0, id="any-value"),
        pytest.param("jsonpath={.spec.description}=x", 1, id="other-value"),
        pytest.param("nonsense", 2, id="nonsense"),
        pytest.param("phase=Serving", 2, id="unknown-phase"),
        pytest.param("jsonpath={.x", 2, id="bad-jsonpath"),
    ],
)
@pytest.mark.parametrize("patient", [False, True], ids=["once", "a-while"])
def test_goals_and_their_exit_codes(goal: str, code: int, patient: bool, team: Folder) -> None:
    """What is so ends with 0, what does not come with 1 and a reason, what nobody understands with 2."""
    timeout = (
        ("300ms" if code == 1 else "30s") if patient else "0"
    )  # what is so is told at once, however long that takes
    ran = team.loomd("wait", "agent/ada", "-n", team.space, "--for", goal, "--timeout", timeout)
    assert ran.returncode == code
    assert (ran.stdout != "") == (code == 0)
    assert ("timed out waiting for" in ran.stderr) == (code == 1)


@pytest.mark.parametrize(("goal", "code"), [("condition=Ready", 0), ("jsonpath={.spec.description}=x", 1)])
def test_who_is_told_nothing_in_time_looks_once(
    goal: str, code: int, team: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that is busy for as long as somebody waits is no reason to call late what is so, or not to say why."""

    def watch(*_: object, **__: object) -> Iterator[Json]:
        raise TimeoutError

    monkeypatch.setattr(Client, "watch", watch)
    ran = team.loomd("wait", "agent/ada", "-n", team.space, "--for", goal, "--timeout", "30s")
    assert ran.returncode == code
    assert "nothing is known of it" not in ran.stderr


def test_it_returns_as_soon_as_it_is_so(team: Folder) -> None:
    """What happens while it waits is told by the daemon, not looked for again and again."""
    team.write("bob.yaml", BOB)
    act = threading.Timer(LATER, lambda: team.daemon.loomd("apply", "-f", str(team.path)))
    started = time.monotonic()
    act.start()
    assert team.said("wait", "agent/bob", "-n", team.space, "--for", "create") == f"Agent/{team.space}/bob created\n"
    act.join()
    act = threading.Timer(LATER, lambda: team.daemon.loomd("delete", "agent", "bob", "-n", team.space))
    act.start()
    assert team.said("wait", "agent/bob", "-n", team.space, "--for", "delete") == f"Agent/{team.space}/bob deleted\n"
    act.join()
    assert time.monotonic() - started < 60


def test_what_is_gone_will_not_be_ready(team: Folder) -> None:
    """An object that is deleted while somebody waits for its condition ends the wait with 4."""
    team.write("bob.yaml", BOB)
    team.apply()
    act = threading.Timer(LATER, lambda: team.daemon.loomd("delete", "agent", "bob", "-n", team.space))
    act.start()
    ran = team.loomd("wait", "agent/bob", "-n", team.space, "--for", "condition=Ready=False")
    act.join()
    assert ran.returncode == 4
    assert "it is not there any more" in ran.stderr


def test_what_is_stalled_will_not_be_ready(team: Folder) -> None:
    """An object whose references lead nowhere is a terminal failure."""
    team.write("bob.yaml", BOB.replace("provider: script", "provider: nothing"))
    team.apply()
    ran = team.loomd("wait", "agents", "--all", "-n", team.space)
    assert ran.returncode == 4
    assert "/bob will not come to condition=Ready: it is stalled: RefsUnresolved" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        pytest.param(["agents"], 2, "say which: names of agents, -l SELECTOR, or --all", id="which"),
        pytest.param(["agents", "-l", "team=x"], 2, "no agents with team=x", id="none"),
        pytest.param(["agents", "-l", "team=docs"], 0, "/ada condition met", id="label"),
        pytest.param(["agents", "--all"], 0, "/ada condition met", id="all"),
        pytest.param(["agent/ada", "provider/script"], 0, "/script condition met", id="kinds"),
        pytest.param(["agent", "adda"], 2, 'did you mean "ada"?', id="name"),
        pytest.param(["all", "--all"], 2, "expected one kind", id="every-kind"),
        pytest.param(["source", "manifests"], 0, "condition met", id="source"),
        pytest.param(["agent/ada", "--timeout", "soon"], 2, "expected a duration such as 30s", id="timeout"),
    ],
)
def test_what_is_waited_for(arguments: list[str], code: int, says: str, team: Folder) -> None:
    """Names, labels or all of a kind; a name that is wrong is said at once."""
    ran = team.loomd("wait", *arguments, "-n", team.space)
    assert ran.returncode == code
    assert says in ran.stdout + ran.stderr


def test_tasks_are_waited_for_and_cancelled(team: Folder) -> None:
    """Succeeded is 0, not yet is 1, and what ended otherwise is 4; a cancelled task is left alone."""
    space = ["-n", team.space]
    quick = team.said("submit", "what is it?", *space).strip()
    slow = team.said("submit", "something slow", *space).strip()
    assert team.said("wait", f"task/{quick}", *space) == f"Task/{team.space}/{quick} condition met\n"
    assert team.loomd("wait", "task", quick, slow, *space, "--timeout", "100ms").returncode == 1
    assert (
        team.said("wait", "task", slow, *space, "--for", "phase=running") == f"Task/{team.space}/{slow} condition met\n"
    )
    assert team.said("cancel", slow, quick, *space) == (
        f"Task/{team.space}/{slow} cancelled\nTask/{team.space}/{quick} has ended already: Succeeded\n"
    )
    ended = team.loomd("wait", "task", slow, *space)
    assert ended.returncode == 4
    assert "it is Cancelled" in ended.stderr
    assert team.loomd("wait", "task", slow, *space, "--for", "phase=Cancelled").returncode == 0
    assert team.loomd("wait", "task", slow, *space, "--for", "jsonpath={.status.phase}=Failed").returncode == 4
    unknown = team.loomd("cancel", f"task/{quick[:-1]}x", f"task/{slow}", *space)
    assert unknown.returncode == 2
    assert f'did you mean "{quick}"?' in unknown.stderr


def test_what_others_refer_to_is_not_deleted(team: Folder) -> None:
    """Every referrer is named with its place; nothing is deleted, also not what could be."""
    team.write("bob.yaml", BOB)
    team.apply()
    ran = team.loomd("delete", "provider/script", "agent/bob", "-n", team.space)
    assert ran.returncode == 1
    assert f"Provider/{team.space}/script cannot be deleted, Agent/{team.space}/ada refers to it" in ran.stderr
    assert "team.yaml:19:13: error[still-referenced]" in ran.stderr
    assert team.said("get", "agents", "-n", team.space, "-o", "jsonpath={.items[*].metadata.name}") == "ada bob\n"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        pytest.param(["agent", "bob"], 0, "/bob deleted\n", id="name"),
        pytest.param(["agent/bob", "--wait"], 0, "/bob deleted\n", id="wait"),
        pytest.param(["agents", "-l", "!team"], 0, "/bob deleted\n", id="label"),
        pytest.param(["-f", "manifests/bob.yaml"], 0, "/bob deleted\n", id="file"),
        pytest.param(["agent", "bob", "-o", "name"], 0, "/bob\n", id="form"),
        pytest.param(["agent", "bob", "--dry-run"], 0, "/bob deleted (server dry run)\n", id="server"),
        pytest.param(["agent", "bob", "--dry-run=client"], 0, "/bob deleted (client dry run)\n", id="client"),
        pytest.param(["agents", "--all"], 1, "cannot be deleted", id="all"),
        pytest.param(["agent", "bbo"], 2, 'did you mean "bob"?', id="typo"),
        pytest.param(["agent", "bbo", "bob", "--ignore-not-found"], 0, "/bob deleted\n", id="ignore"),
        pytest.param(["agent", "bbo", "--ignore-not-found"], 0, "", id="ignore-all"),
        pytest.param(["task", "t1"], 2, "loomd cancel NAME", id="task"),
        pytest.param(["source", "x"], 2, "loomd suspend SOURCE", id="source"),
        pytest.param(["agents"], 2, "say which", id="which"),
        pytest.param([], 2, "expected names of objects, or manifests with -f", id="nothing"),
        pytest.param(["agent", "bob", "-f", "x"], 2, "expected names of objects, or manifests with -f", id="both"),
        pytest.param(["-f", "manifests/broken.yaml"], 1, "nobody can tell what it is about", id="nameless"),
    ],
)
def test_what_is_deleted(arguments: list[str], code: int, says: str, team: Folder) -> None:
    """By name, label or file; what is not there is said, or passed over when asked."""
    team.write("bob.yaml", BOB)
    team.apply()
    team.write("broken.yaml", "kind: Agent\n")
    ran = team.loomd("delete", *arguments, "-n", team.space)
    assert ran.returncode == code, ran.stderr
    assert says in ran.stdout + ran.stderr
    gone = (code == 0 and "dry run" not in ran.stdout and arguments[1] != "bbo") or "bob" in arguments[2:]
    assert ("bob" in team.said("get", "agents", "-n", team.space, "-o", "name")) != gone


def test_a_daemon_that_stops_is_no_time_out(tmp_path: Path) -> None:
    """Whoever waits or looks while the daemon stops is told so, with 2: it did not come to it, and nobody knows why."""
    home = tmp_path / "daemon"
    home.mkdir()
    daemon = Daemon(home)
    daemon.start("--config", daemon.configure(watch=[]))
    team = Folder(daemon, tmp_path, "stops")
    team.apply()
    acts = [
        ["wait", "agent/ada", "-n", "stops", "--for", "delete"],
        ["get", "agents", "-n", "stops", "-w"],
    ]
    ended: list[int] = []

    def run(act: list[str]) -> None:
        ended.append(daemon.loomd(*act).returncode)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    team.daemon.until(lambda: len(sockets(daemon)) >= len(acts) + 1)
    assert daemon.stop() == 0
    for thread in threads:
        thread.join()
    assert ended == [2, 2]


def sockets(daemon: Daemon) -> list[str]:
    """Return the connections that a daemon holds, and what it listens on."""
    return [line for line in Path("/proc/net/unix").read_text().splitlines() if line.endswith(str(daemon.socket))]
