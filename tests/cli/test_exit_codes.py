"""Exit codes, verb by verb, of real processes at a real daemon; how long the quick ones take, and what they load."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.terminal import BOB, Folder
from tests.daemon.process import PATIENCE

BUDGET = 0.6
"""Seconds in which a verb that looks must answer."""
SLOW = "something slow"


@pytest.fixture
def team(folder: Folder) -> Folder:
    """Return the folder, applied, beside one whose object is stalled, one that is broken, and a kept plan."""
    folder.apply()
    for name, text in (
        ("changed.yaml", (folder.path / "team.yaml").read_text().replace("everything", "all")),
        ("stalled.yaml", BOB.replace("provider: script", "provider: nothing").replace("SPACE", folder.space)),
        ("broken.yaml", "kind: ["),
    ):
        (folder.path.parent / name).write_text(text)
    folder.loomd("plan", "-f", "manifests", "-o", "it.plan")
    folder.loomd("apply", "-f", "stalled.yaml")
    return folder


HERE = ["-n", "SPACE"]
CODES = [
    # what was asked for was done
    pytest.param(["--help"], 0, id="help"),
    pytest.param(["version"], 0, id="version"),
    pytest.param(["get", "agents", *HERE], 0, id="get"),
    pytest.param(["describe", "agent/ada", *HERE], 0, id="describe"),
    pytest.param(["apply", "-f", "manifests"], 0, id="apply"),
    pytest.param(["rollout", "history"], 0, id="rollout-history"),
    pytest.param(["validate", "manifests"], 0, id="validate"),
    # plan and diff: no changes, changes, an error
    pytest.param(["plan", "-f", "manifests"], 0, id="plan-no-changes"),
    pytest.param(["plan", "-f", "changed.yaml", "--force"], 1, id="plan-changes"),
    pytest.param(["plan", "-f", "broken.yaml"], 2, id="plan-invalid"),
    pytest.param(["plan", "-f", "changed.yaml"], 2, id="plan-refused"),
    pytest.param(["plan", "-f", "nowhere"], 2, id="plan-no-file"),
    pytest.param(["plan"], 2, id="plan-usage"),
    pytest.param(["diff", "-f", "manifests"], 0, id="diff-no-changes"),
    pytest.param(["diff", "-f", "changed.yaml", "--force"], 1, id="diff-changes"),
    pytest.param(["diff", "-f", "broken.yaml"], 2, id="diff-invalid"),
    pytest.param(["diff", "-f", "changed.yaml"], 2, id="diff-refused"),
    # wait: met, time-out, a terminal failure, an error
    pytest.param(["wait", "agent/ada", *HERE], 0, id="wait-met"),
    pytest.param(["wait", "agent/ada", "--for=delete", "--timeout=100ms", *HERE], 1, id="wait-late"),
    pytest.param(["wait", "agent/bob", *HERE], 4, id="wait-stalled"),
    pytest.param(["wait", "agent/eve", *HERE], 2, id="wait-not-there"),
    pytest.param(["wait", "agent/ada", "--for=x", *HERE], 2, id="wait-usage"),
    # with --wait, the same
    pytest.param(["apply", "-f", "manifests", "--wait"], 0, id="apply-wait"),
    pytest.param(["apply", "-f", "stalled.yaml", "--wait"], 4, id="apply-wait-stalled"),
    pytest.param(["rollout", "status"], 4, id="rollout-stalled"),
    # refused
    pytest.param(["apply", "-f", "broken.yaml"], 1, id="apply-invalid"),
    pytest.param(["apply", "-f", "changed.yaml"], 1, id="apply-conflict"),
    pytest.param(["apply", "it.plan"], 1, id="apply-stale"),
    pytest.param(["delete", "provider/script", *HERE], 1, id="delete-referenced"),
    pytest.param(["validate", "broken.yaml"], 1, id="validate-invalid"),
    # usage, what is not there, input and output
    pytest.param(["apply"], 2, id="apply-usage"),
    pytest.param(["aply"], 2, id="no-verb"),
    pytest.param(["rollout", "stats"], 2, id="no-sub-verb"),
    pytest.param(["get", "gadgets"], 2, id="no-kind"),
    pytest.param(["get", "agent", "eve", *HERE], 2, id="no-object"),
    pytest.param(["delete", "agent", "eve", *HERE], 2, id="delete-not-there"),
    pytest.param(["delete", "agent", "eve", "--ignore-not-found", *HERE], 0, id="delete-ignored"),
    pytest.param(["cancel", "t1", *HERE], 2, id="cancel-no-task"),
    pytest.param(["rollout", "undo", "--to", "9999"], 2, id="no-revision"),
    pytest.param(["reconcile", "nowhere"], 2, id="no-source"),
]


@pytest.mark.parametrize(("arguments", "code"), CODES)
def test_a_verb_ends_with_its_code(arguments: list[str], code: int, team: Folder) -> None:
    """Scripts may rely on it: 0 done, 1 refused or different, 2 not asked rightly or not there, 4 never to come."""
    ran = team.process(*[one.replace("SPACE", team.space) for one in arguments])
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["get", "agents"],
        ["describe", "agent/ada"],
        ["plan", "-f", "manifests"],
        ["diff", "-f", "manifests"],
        ["apply", "-f", "manifests"],
        ["delete", "agent/ada"],
        ["edit", "agent/ada"],
        ["wait", "agent/ada"],
        ["rollout", "status"],
        ["rollout", "undo"],
        ["reconcile", "x"],
        ["suspend", "x"],
        ["resume", "x"],
        ["cancel", "x"],
        ["submit", "x"],
        ["events"],
    ],
    ids=lambda arguments: arguments[0] if arguments[0] != "rollout" else "-".join(arguments),
)
def test_without_a_daemon_it_is_said_what_to_do(arguments: list[str], folder: Folder) -> None:
    """Every verb that talks to a daemon ends with 2 and names the socket and the verb that starts one."""
    ran = folder.loomd(*arguments, LOOMD_SOCKET=str(folder.path / "no.sock"))
    assert ran.returncode == 2
    assert ran.stderr == f"error: no daemon at {folder.path / 'no.sock'}: start one with `loomd serve`\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["get", "agents", "-w"],
        ["wait", "agent/ada", "--for=delete", "--timeout=1h"],
        ["submit", "--wait", SLOW],
        ["events", "-f"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_an_interrupt_ends_with_130(arguments: list[str], folder: Folder) -> None:
    """Ctrl-C ends whatever waits at once, with 130 and without a traceback."""
    folder.apply()
    with start(folder, *arguments, *([] if arguments[0] == "events" else ["-n", folder.space])) as process:
        until(lambda: has_connected(process))
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert said.strip().endswith("interrupted")
    assert "Traceback" not in said
    for task in folder.said("get", "tasks", "-n", folder.space, "-o", "jsonpath={.items[*].metadata.name}").split():
        folder.said("cancel", "-n", folder.space, task)


def test_a_reader_that_leaves_is_no_error(folder: Folder) -> None:
    """`loomd get ... | head -1` ends with 0."""
    folder.apply()
    with start(folder, "get", "all", "-n", folder.space, "-o", "json", "-w") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        folder.change("everything", "all")
        folder.apply()
        assert process.wait(timeout=PATIENCE) == 0


@pytest.mark.parametrize("arguments", [["events", "-f"], ["get", "agents", "-w"]], ids=lambda arguments: arguments[0])
def test_it_ends_with_its_reader_also_when_nothing_happens(arguments: list[str], folder: Folder) -> None:
    """`loomd events -f | sleep 1` ends with the sleep, not at the next event."""
    folder.apply()
    with start(folder, *arguments) as process:
        until(lambda: has_connected(process))
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(timeout=PATIENCE) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "-f", "changed.yaml", "--force"],
        ["diff", "-f", "changed.yaml", "--force"],
        ["validate", "broken.yaml"],
        ["apply", "-f", "manifests", "--wait"],
        ["rollout", "status"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_nobody_reads_is_not_said_to_be_well(arguments: list[str], team: Folder) -> None:
    """`loomd diff ... | true` ends as other programs do whose reader leaves, not with the code of "no changes"."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "loomd", *arguments]
    ran = subprocess.run(  # noqa: S603  # our own command
        command,
        env=team.daemon.environment,
        cwd=team.path.parent,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert ran.returncode == 128 + signal.SIGPIPE
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["get", "--help"],
        ["submit", "--help"],
        ["run", "--help"],
        ["serve", "--help"],
        ["apply", "--help"],
        ["get", "agents"],
    ],
    ids=" ".join,
)
def test_looking_is_quick(arguments: list[str], folder: Folder) -> None:
    """One of a few runs takes less processor time than people notice."""
    folder.apply()
    taken: list[float] = []
    while not taken or min(taken) >= BUDGET:
        assert len(taken) < 5, taken
        taken.append(cpu(folder, *arguments))


def test_nothing_heavy_is_loaded_to_ask() -> None:
    """A verb loads neither the types of manifests nor the server, until it needs them."""
    verbs = ["get", "describe", "wait", "plan", "apply", "delete", "edit", "rollout", "submit", "run", "serve"]
    heavy = {"pydantic", "aiohttp", "msgspec", "asyncio", "numpy", "jinja2", "jsonpath"}
    each = "".join(f"\nimport loomd.cli.{verb}; print({verb!r}, *({heavy!r} & sys.modules.keys()))" for verb in verbs)
    script = f"import sys, loomd.cli.main{each}"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603  # our own command
    assert found.stdout.splitlines() == verbs


def start(folder: Folder, *arguments: str) -> "subprocess.Popen[str]":
    """Start a verb as a process."""
    command = [sys.executable, "-m", "loomd", *arguments]
    return subprocess.Popen(  # noqa: S603  # our own command
        command,
        env=folder.daemon.environment,
        cwd=folder.path.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def has_connected(process: "subprocess.Popen[str]") -> bool:
    """Return whether a process has a socket open and nothing to do: it waits for the daemon."""
    here = Path(f"/proc/{process.pid}")
    try:
        links = [str(path.readlink()) for path in (here / "fd").iterdir()]
        state = (here / "stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state == "S" and any(link.startswith("socket:") for link in links)


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def cpu(folder: Folder, *arguments: str) -> float:
    """Return the seconds of processor time that a verb takes."""
    before = os.times()
    with start(folder, *arguments) as process:
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system
