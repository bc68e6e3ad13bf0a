"""Conversations from the command line: held, listed, shown, forgotten; and delegated work as it is shown."""

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from loomd.api.server import open_server
from loomd.cli.main import run
from loomd.daemon import Settings, System, open_system

TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec:
  type: scripted
  replies:
    - {system: boss, when: delegate, text: I ask., toolCalls: [{name: ask, arguments: {goal: look}}]}
    - {system: boss, when: delegate, text: All is told.}
    - {system: worker, toolCalls: [{name: look, arguments: {}}]}
    - {system: worker, text: I looked.}
    - {text: First., times: 1}
    - {text: Second., times: null}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: look}
spec: {type: python, file: look.py, function: look, effects: read}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: ask}
spec: {type: agent, agent: worker}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: worker}
spec: {provider: script, prompt: You are the worker., tools: [look]}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: boss}
spec: {provider: script, prompt: You are the boss., tools: [ask]}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: default}
spec: {agents: [boss]}
"""
Out = pytest.CaptureFixture[str]


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a team, which is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "look.py").write_text('def look() -> str:\n    """Look."""\n    return "seen"\n')
    (tmp_path / "team.yaml").write_text(TEAM)
    return tmp_path


@pytest.fixture
async def system(team: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[System, None]:
    """Yield a system that serves the team."""
    monkeypatch.setenv("LOOMD_SOCKET", str(team / "s.sock"))
    settings = Settings(team / "state", team / "models", team / "s.sock")
    async with open_system(settings) as opened, open_server(opened):
        opened.ready = True
        assert await loomd("apply", "-f", "team.yaml") == 0
        yield opened


async def loomd(*arguments: str) -> int:
    """Run a verb beside the daemon."""
    return await asyncio.to_thread(run, arguments)


async def say(capsys: Out, goal: str, *options: str) -> str:
    """Say something and return the answer."""
    capsys.readouterr()
    assert await loomd("submit", "--wait", "-q", *options, goal) == 0
    return capsys.readouterr().out.strip()


@pytest.mark.usefixtures("system")
async def test_a_conversation_is_held_listed_shown_and_forgotten(capsys: Out) -> None:
    """One session after another of two tenants: each has its own turns until it is forgotten."""
    ann, bob = ("--session", "s1", "--tenant", "acme", "--user", "ann"), ("--session", "s1", "--tenant", "globex")
    assert await say(capsys, "one", *ann) == "First."
    assert await say(capsys, "two", *ann) == "Second."
    assert await say(capsys, "one", *bob) == "First."
    assert await loomd("get", "sessions") == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["SESSION", "AGENTS", "TENANT", "USER", "TURNS", "LAST", "AGE"]
    assert [row.split()[:4] for row in rows] == [["s1", "boss", "globex", "1"], ["s1", "boss", "acme", "ann"]]
    assert await loomd("describe", "session/s1") == 1
    assert "2 sessions are called 's1': say whose, by tenant and user" in capsys.readouterr().err
    assert await loomd("describe", "session/s1", "--tenant", "globex") == 0
    assert "globex" in capsys.readouterr().out
    assert await loomd("delete", "session/s1") == 1
    assert await loomd("delete", "session/s1", "--tenant", "globex") == 0
    assert capsys.readouterr().out == "Session/s1 forgotten\n"
    assert await loomd("describe", "session/s1") == 0
    told = capsys.readouterr().out
    assert "two" in told
    assert "Second." in told
    assert await loomd("get", "session/s1", "-o", "json") == 0
    item = json.loads(capsys.readouterr().out)
    assert item["spec"] == {"tenant": "acme", "user": "ann"}
    assert [turn["answer"] for turn in item["status"]["history"]] == ["First.", "Second."]
    assert await loomd("delete", "session/s1") == 0
    assert await loomd("delete", "session/s1") == 2
    assert await loomd("delete", "session/s1", "--ignore-not-found") == 0
    assert await say(capsys, "one", *ann) == "First."


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("delete", "sessions"), "say which: names of sessions"),
        (("get", "sessions", "-l", "a=b"), "only objects have labels"),
        (("get", "sessions", "-w"), "are followed by `loomd events -f`"),
        (("edit", "session/s1"), "expected one object"),
    ],
    ids=["delete", "labels", "watch", "edit"],
)
async def test_what_sessions_are_not(capsys: Out, arguments: tuple[str, ...], said: str) -> None:
    """They are no objects: verbs say so."""
    assert await loomd(*arguments) != 0
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("system")
async def test_a_name_that_is_none_is_refused(capsys: Out) -> None:
    """The message names the field, and what it may be."""
    assert await loomd("submit", "--session", "a b", "hello") == 1
    assert "session: expected up to 200 letters, digits" in capsys.readouterr().err


def test_run_keeps_a_conversation_in_its_state(team: Path, capsys: Out) -> None:
    """Without a daemon, too: one run after another on the same folder."""
    for answer in ("First.", "Second."):
        capsys.readouterr()
        assert run(("run", "team.yaml", "hello", "--session", "s1", "-q", "--state", str(team / "runs"))) == 0
        assert capsys.readouterr().out.strip() == answer


@pytest.mark.usefixtures("system")
async def test_delegated_work_is_told_as_such(capsys: Out) -> None:
    """The tree says who did what; the log names whoever said it; the account has all of it."""
    capsys.readouterr()
    assert await loomd("submit", "--wait", "delegate it") == 0
    shown = capsys.readouterr().out
    assert "All is told." in shown
    assert "I looked." not in shown
    assert await loomd("get", "tasks", "-o", "jsonpath={.items[0].metadata.name}") == 0
    task = capsys.readouterr().out.strip()
    assert await loomd("describe", f"task/{task}") == 0
    told = capsys.readouterr().out
    assert "  worker: model" in told
    assert "  worker: tool    look {}" in told
    assert "4 model calls, 2 tool calls" in told
    assert await loomd("describe", f"task/{task}", "-o", "json") == 0
    steps = json.loads(capsys.readouterr().out)["status"]["course"]["phases"][3]["steps"]
    texts = [(one["agent"], one["text"]) for one in steps if one["kind"] == "model"]
    assert texts == [("boss", "I ask."), ("worker", ""), ("worker", "I looked."), ("boss", "All is told.")]
    assert await loomd("logs", f"task/{task}") == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.endswith(" worker: I looked.") for line in lines)
