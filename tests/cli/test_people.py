"""What people decide, send and think: the verbs for it, on a real daemon in this process."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from loomd.api.server import open_server
from loomd.cli.main import run
from loomd.daemon import Settings, System, open_system
from loomd.events.bus import Scope
from loomd.events.event import ModelRetried
from tests.api.talk import keep_tasks

TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec:
  type: scripted
  replies:
    - {when: pay, toolCalls: [{name: pay, arguments: {amount: 5}}]}
    - {when: build, toolCalls: [{name: build}]}
    - {when: slow, text: late, delay: 60s, times: null}
    - {when: away, error: temporary, text: it is away, times: null}
    - {text: done, times: null}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: pay}
spec: {type: python, file: pay.py, function: pay, approval: {required: always}}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: build}
spec: {type: signal, signal: build}
---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: spare}
spec: {type: scripted, replies: [{text: here, times: null}]}
---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: either}
spec: {type: fallback, providers: [script, spare]}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: either, tools: [pay, build], description: answers everything}
"""
PAY = '''
def pay(amount: int) -> str:
    """Pay an amount."""
    with open("paid", "a") as file:
        file.write(str(amount))
    return "paid"
'''
Out = pytest.CaptureFixture[str]


@pytest.fixture
async def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[System, None]:
    """Yield a system that serves its API; the current folder is its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pay.py").write_text(PAY)
    (tmp_path / "team.yaml").write_text(TEAM)
    monkeypatch.setenv("LOOMD_SOCKET", str(tmp_path / "s.sock"))
    settings = Settings(tmp_path / "state", tmp_path / "models", tmp_path / "s.sock")
    async with open_system(settings) as opened, open_server(opened):
        opened.ready = True
        assert await loomd("apply", "-f", "team.yaml") == 0
        yield opened


async def loomd(*arguments: str) -> int:
    """Run a verb beside the daemon."""
    return await asyncio.to_thread(run, arguments)


async def submitted(capsys: Out, goal: str, *options: str) -> str:
    """Submit a task and return its id."""
    capsys.readouterr()
    assert await loomd("submit", *options, goal) == 0
    return capsys.readouterr().out.strip()


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize(
    ("verb", "paid", "stop"), [("approve", "5", "completed"), ("deny", "", "approval_denied")], ids=["approve", "deny"]
)
async def test_a_question_is_seen_and_answered(verb: str, paid: str, stop: str, tmp_path: Path, capsys: Out) -> None:
    """The task waits, the table says for what, an answer lets it go on; the same again is taken, another refused."""
    task = await submitted(capsys, "pay")
    assert await loomd("wait", f"task/{task}", "--for", "phase=WaitingApproval", "--timeout", "10s") == 0
    capsys.readouterr()
    assert await loomd("get", "approvals") == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["APPROVAL", "PHASE", "TOOL", "ARGUMENTS"]
    name = row.split()[0]
    assert row.split()[1:3] == ["Pending", "pay"]
    assert '{"amount": 5}' in row
    assert await loomd(verb, name, "--reason", "as I say") == 0
    assert f"Task/{task}" in capsys.readouterr().out
    assert await loomd("wait", f"task/{task}", "--for", "phase=Succeeded", "--timeout", "10s") == 0
    assert await loomd(verb, name) == 0
    capsys.readouterr()
    assert await loomd("deny" if verb == "approve" else "approve", name) == 1
    assert "is decided already" in capsys.readouterr().err
    assert await loomd("get", f"task/{task}", "-o", "jsonpath={.status.stopReason}") == 0
    assert capsys.readouterr().out.strip() == stop
    assert ((tmp_path / "paid").read_text() if (tmp_path / "paid").exists() else "") == paid
    assert await loomd("describe", f"approval/{name}") == 0
    said = capsys.readouterr().out
    assert "as I say" in said
    assert "amount: 5" in said


@pytest.mark.usefixtures("system")
async def test_a_task_names_its_questions(capsys: Out) -> None:
    """`approve task/T` answers what the task waits for; when it waits for nothing, that is said."""
    task = await submitted(capsys, "pay")
    assert await loomd("wait", f"task/{task}", "--for", "phase=WaitingApproval", "--timeout", "10s") == 0
    assert await loomd("approve", f"task/{task}") == 0
    assert await loomd("wait", f"task/{task}", "--for", "phase=Succeeded", "--timeout", "10s") == 0
    assert await loomd("approve", f"task/{task}") == 2
    assert f"Task/{task} waits for no approval" in capsys.readouterr().err
    assert await loomd("approve", "a-nothing") == 2
    assert "no Approval 'a-nothing'" in capsys.readouterr().err


@pytest.mark.usefixtures("system")
async def test_a_signal_is_sent(capsys: Out) -> None:
    """JSON goes as JSON, anything else as text; a second one and one for nobody are refused."""
    task = await submitted(capsys, "build")
    assert await loomd("signal", task, "build", '{"ok": true}') == 0
    assert await loomd("wait", f"task/{task}", "--for", "phase=Succeeded", "--timeout", "10s") == 0
    assert await loomd("signal", f"task/{task}", "build", "again") == 1
    assert "has ended" in capsys.readouterr().err
    assert await loomd("events", "--task", task, "-o", "json") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (done,) = (event["data"] for event in events if event["data"]["type"] == "tool.call.completed")
    assert done["result"] == '{"ok": true}'


@pytest.mark.usefixtures("system")
async def test_feedback_is_kept(capsys: Out) -> None:
    """What a person thinks is kept with the task; a score outside 0 to 1, or of a running task, is refused."""
    task = await submitted(capsys, "slow")
    assert await loomd("feedback", task, "--score", "1") == 1
    assert "has not ended" in capsys.readouterr().err
    assert await loomd("cancel", task) == 0
    assert await loomd("feedback", task, "--score", "0.25", "--note", "too late") == 0
    assert await loomd("feedback", task, "--score", "2") == 2
    assert await loomd("feedback", task, "--score", "nan") == 2
    assert "expected a number, got 'nan'" in capsys.readouterr().err
    capsys.readouterr()
    assert await loomd("events", "--task", task, "-o", "json") == 0
    facts = [json.loads(line)["data"] for line in capsys.readouterr().out.splitlines()]
    (given,) = (fact for fact in facts if fact["type"] == "feedback.given")
    assert (given["score"], given["note"]) == (0.25, "too late")
    assert given["by"]
    for verb in ("describe", "get"):
        assert await loomd(verb, task) == 0
        assert task in capsys.readouterr().out
    assert await loomd("explain", f"task/{task}") == 0
    assert "the task was cancelled before anything was decided" in " ".join(capsys.readouterr().out.split())
    for verb in ("describe", "logs", "explain"):
        assert await loomd(verb, f"task/{task}") == 0
        shown = capsys.readouterr().out
        assert "0.25" in shown
        assert "too late" in shown


@pytest.mark.usefixtures("system")
async def test_feedback_moves_scores(capsys: Out) -> None:
    """The reward and the score before and after are told, explained, and shown of the agent."""
    task = await submitted(capsys, "anything")
    assert await loomd("wait", f"task/{task}", "--for", "phase=Succeeded", "--timeout", "10s") == 0
    capsys.readouterr()
    assert await loomd("feedback", task, "--score", "0", "--note", "it is wrong") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"task/{task} got 0: its reward goes from \d\.\d+ to 0\.000", first, re.IGNORECASE)
    moved = re.fullmatch(r"ada in general: (\S+) -> (\S+)", second)
    assert moved is not None
    before, after = moved.groups()
    assert float(after) < float(before)
    assert await loomd("explain", f"task/{task}") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "it is wrong. It takes the reward from " in text
    assert f"and moves ada in general from {before} to {after}." in text
    assert await loomd("describe", "agent/ada") == 0
    shown = capsys.readouterr().out
    assert f"{before} -> {after}" in shown
    assert f"Task/{task}" in shown
    assert await loomd("describe", f"task/{task}") == 0
    assert "-> 0.000)" in capsys.readouterr().out


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize(
    ("mode", "told", "explained"),
    [
        ("observe", r"ada in general: \S+ -> \S+ \(observed only\)", "(observed only)."),
        ("propose", r"ada in general: \S+ -> \S+ \(proposed only\)", "(proposed only)."),
        (
            "off",
            "no score moves: the task itself moved none",
            "and moves no score, because the task itself moved none.",
        ),
    ],
)
async def test_feedback_where_scores_do_not_move(
    capsys: Out, tmp_path: Path, mode: str, told: str, explained: str
) -> None:
    """It is said what came of the reward, and that no score moved."""
    desk = tmp_path / "desk.yaml"
    learning = f"{{modes: {{score: {mode}}}}}"
    head = "{apiVersion: loomd.dev/v1, kind: Cluster, metadata: {name: default}"
    desk.write_text(f"{head}, spec: {{agents: [ada], learning: {learning}}}}}")
    assert await loomd("apply", "-f", str(desk)) == 0
    task = await submitted(capsys, "anything")
    assert await loomd("wait", f"task/{task}", "--for", "phase=Succeeded", "--timeout", "10s") == 0
    capsys.readouterr()
    assert await loomd("feedback", task, "--score", "0") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("to 0.000")
    assert re.fullmatch(told, second)
    assert await loomd("explain", f"task/{task}") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "It takes the reward from " in text
    assert explained in text


async def test_feedback_on_what_is_not_kept(system: System, capsys: Out) -> None:
    """Of a task that is not kept nothing is kept, and whoever has an opinion on it is told."""
    task = await submitted(capsys, "anything", "--durability", "none")
    await system.engine.result(task)
    assert await loomd("feedback", task, "--score", "1") == 1
    assert "nothing of it is kept (durability: none)" in capsys.readouterr().err
    async with asyncio.timeout(60):
        assert await loomd("logs", "-f", task) == 0
    assert "nothing of it is kept (durability: none)" in capsys.readouterr().err
    for verb in ("describe", "explain"):
        assert await loomd(verb, f"task/{task}") == 0
        assert "othing of it is kept (durability: none)" in capsys.readouterr().out


@pytest.mark.usefixtures("system")
async def test_a_wish_is_a_task_once(capsys: Out) -> None:
    """Submitted again under its key it is the same task, and a key stands for one wish."""
    task = await submitted(capsys, "anything", "--key", "order 7")
    assert await submitted(capsys, "anything", "--key", "order 7") == task
    both = await asyncio.gather(*(loomd("submit", "another", "--key", "order 8") for _ in range(2)))
    assert both == [0, 0]
    capsys.readouterr()
    assert await loomd("submit", "something else", "--key", "order 7") == 1
    assert "which wants something else" in capsys.readouterr().err
    assert await submitted(capsys, "anything") != task
    assert await loomd("get", "tasks", "-o", "name") == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


async def test_failed_attempts_are_told(system: System, capsys: Out) -> None:
    """Whoever looks at a task sees which model did not answer, why, and who was asked then: another, or the same."""
    task = await submitted(capsys, "away")
    await system.engine.result(task)
    scope = Scope(system.bus, task)
    scope.emit(ModelRetried("script/scripted", "it is busy", 0.5))
    for verb in ("logs", "describe", "explain"):
        assert await loomd(verb, f"task/{task}") == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "script/scripted did not answer, spare/scripted was asked instead" in shown
        assert "script/scripted did not answer and was asked again after 0.5 s" in shown
        assert "it is away" in shown


@pytest.mark.usefixtures("system")
async def test_a_task_is_run_anew(capsys: Out) -> None:
    """One that ended gets a successor; one that runs is left alone; one that was resumed although it runs, too."""
    task = await submitted(capsys, "slow", "--max-tokens", "5000")
    assert await loomd("retry", task) == 1
    assert "cancel it first" in capsys.readouterr().err
    assert await loomd("resume", f"task/{task}") == 1
    assert "does not wait: it runs" in capsys.readouterr().err
    assert await loomd("cancel", task) == 0
    capsys.readouterr()
    assert await loomd("retry", task) == 0
    fresh = capsys.readouterr().out.strip()
    assert fresh != task
    assert await loomd("get", "tasks", fresh, "-o", "json") == 0
    spec = json.loads(capsys.readouterr().out)["spec"]
    assert (spec["goal"], spec["budget"]["tokens"]) == ("slow", 5000)
    assert await loomd("cancel", fresh) == 0


async def test_a_run_without_a_terminal_asks_nobody(system: System, tmp_path: Path, capsys: Out) -> None:
    """`loomd run` outside a terminal denies at once, and says why."""
    del system
    assert await loomd("run", "team.yaml", "pay", "--state", str(tmp_path / "other")) == 0
    said = capsys.readouterr()
    assert "no terminal at which to ask" in said.err
    assert not (tmp_path / "paid").exists()


@pytest.mark.usefixtures("system")
async def test_what_is_kept_can_be_chosen(capsys: Out) -> None:
    """A task of which nothing is kept is in no list; its answer is there."""
    assert await loomd("submit", "--wait", "--durability", "none", "anything") == 0
    assert capsys.readouterr().out == "done\n"
    assert await loomd("get", "tasks", "-o", "name") == 0
    assert capsys.readouterr().out.strip() == ""


async def test_the_newest_tasks_are_shown(system: System, capsys: Out) -> None:
    """A list of tasks has an end, says so, and can be had whole; many may be waited for, also long after their end."""
    await keep_tasks(system, 510)
    capsys.readouterr()
    assert await loomd("get", "tasks", "-o", "name") == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == [f"Task/k{number}" for number in reversed(range(410, 510))]
    assert told.err == "the newest 100 tasks are shown: --limit 0 shows all\n"
    assert await loomd("get", "tasks", "--limit", "0", "-o", "name") == 0
    told = capsys.readouterr()
    assert (len(told.out.splitlines()), told.err) == (510, "")
    assert await loomd("wait", "task/k0", "task/k1", "--for=phase=Cancelled", "--timeout", "10s") == 0
    assert await loomd("wait", "tasks", "--all", "--for=phase=Cancelled", "--timeout", "0s") == 0
