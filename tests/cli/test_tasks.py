"""The verbs that talk to a daemon, on a real one in this process: apply, submit, and what they share with run."""

import asyncio
import hashlib
import io
import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from loomd.amoeba.expect import Expect
from loomd.amoeba.task import Budget, Task
from loomd.api.server import open_server
from loomd.cli.main import run
from loomd.daemon import Settings, System, open_system

PROVIDER = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec:
  type: scripted
  replies:
    - {when: tool, text: Let me see., toolCalls: [{name: look}]}
    - {text: The answer is 42., times: null}
"""
TOOL = """
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: look}
spec: {type: python, file: look.py, function: look}
"""
AGENT = """
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: script, tools: [look], description: answers everything}
"""


@pytest.fixture
async def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[System, None]:
    """Yield a system that serves its API; the current folder is its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "look.py").write_text('def look() -> str:\n    """Look."""\n    return "seen"\n')
    monkeypatch.setenv("LOOMD_SOCKET", str(tmp_path / "s.sock"))
    settings = Settings(tmp_path / "state", tmp_path / "models", tmp_path / "s.sock")
    async with open_system(settings) as opened, open_server(opened):
        opened.ready = True
        yield opened


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> "Stdin":
    """Return what sets standard input."""
    return Stdin(monkeypatch)


class Stdin:
    """Standard input for verbs in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def say(self, text: str) -> None:
        """Put text there."""
        self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


async def loomd(*arguments: str) -> int:
    """Run a verb beside the daemon."""
    return await asyncio.to_thread(run, arguments)


async def test_apply_adds_and_prune_deletes(system: System, stdin: Stdin, capsys: pytest.CaptureFixture[str]) -> None:
    """From standard input: the second keeps what the first brought, a changed one changes, --prune deletes."""
    stdin.say(PROVIDER + TOOL)
    assert await loomd("apply", "-f", "-") == 0
    stdin.say(AGENT)
    assert await loomd("apply", "-f", "-") == 0
    names = {str(ref) for ref in system.reconciler.topology.live}
    assert {"Provider/script", "Tool/look", "Agent/ada"} <= names
    capsys.readouterr()
    stdin.say(AGENT.replace("everything", "all"))
    assert await loomd("apply", "-f", "-") == 0
    assert "Agent/ada changed: spec.description" in capsys.readouterr().out
    stdin.say(PROVIDER)
    assert await loomd("apply", "--prune", "--dry-run", "-f", "-") == 0
    assert {str(ref) for ref in system.reconciler.topology.live} == names
    stdin.say(PROVIDER)
    assert await loomd("apply", "--prune", "-f", "-") == 0
    assert {str(ref) for ref in system.reconciler.topology.live} == {"Provider/script"}


async def test_a_removed_file_of_a_folder_is_kept_until_pruned(system: System, tmp_path: Path) -> None:
    """A folder is applied like standard input; moving an object to another file is no change."""
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "a.yaml").write_text(PROVIDER)
    (folder / "b.yaml").write_text(PROVIDER.replace("script}", "other}"))
    assert await loomd("apply", "-f", "m") == 0
    (folder / "b.yaml").rename(folder / "c.yaml")
    (folder / "a.yaml").unlink()
    before = system.reconciler.topology
    assert await loomd("apply", "-f", "m") == 0
    assert system.reconciler.topology is before
    assert await loomd("apply", "--prune", "-f", "m") == 0
    assert [ref.name for ref in system.reconciler.topology.live] == ["other"]


GIF = hashlib.sha256(b"R0lGODlh").hexdigest()
ASKED = ["--max-tokens", "5000", "--max-cost", "0.5", "--max-time", "1m30s", "--contains", "42", "--seed", "7"]


async def test_run_and_submit_take_the_same_options(
    system: System, stdin: Stdin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both make the same task of the same words, show the same lines, and print the answer alone."""
    (tmp_path / "m.yaml").write_text(PROVIDER + TOOL + "---" + AGENT)
    assert await loomd("apply", "-f", "m.yaml") == 0
    (tmp_path / "cat.gif").write_bytes(b"GIF89a")
    options = [*ASKED, "--image", str(tmp_path / "cat.gif")]
    tasks: list[Task] = []
    shown: list[list[str]] = []
    for verb in (["submit", "--wait"], ["run", "m.yaml", "--state", str(tmp_path / "other")]):
        capsys.readouterr()
        stdin.say("use a tool\n")
        assert await loomd(*verb, *options, "-") == 0
        said = capsys.readouterr()
        assert said.out == "The answer is 42.\n"
        shown.append([line.split()[0] for line in said.err.splitlines()])
        stdin.say("use a tool\n")
        assert await loomd(*verb, *options, "-o", "json") == 0
        said = capsys.readouterr()
        assert said.err == ""
        found = json.loads(said.out)["task"]
        tasks.append(
            Task("", found["goal"], seed=found["seed"], budget=Budget(**found["budget"]), expect=Expect(("42",)))
        )
        assert found["expect"] == {"contains": ["42"]}
        assert found["images"] == [{"media": "image/gif", "data": f"sha256:{GIF}"}]
    assert shown[0] == shown[1]
    assert shown[0][:2] == ["TASK", "SENSE"]
    budget = Budget(5000, 0.5, 90.0, 500, 1000)
    assert tasks[0] == tasks[1] == Task("", "use a tool", seed=7, budget=budget, expect=Expect(("42",)))
    assert len(await system.store.list_tasks()) == 2


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("--seed", str(2**63), "seed: expected a whole number"), ("--durability", "forever", "--durability")],
)
@pytest.mark.parametrize("verb", [["submit"], ["run", "m.yaml"]], ids=["submit", "run"])
async def test_a_seed_and_a_durability_that_are_none(
    system: System,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    verb: list[str],
    option: str,
    value: str,
    said: str,
) -> None:
    """Neither verb makes a task of them, and the field is named."""
    (tmp_path / "m.yaml").write_text(PROVIDER + TOOL + "---" + AGENT)
    assert await loomd("apply", "-f", "m.yaml") == 0
    assert await loomd(*verb, option, value, "use a tool") != 0
    assert said in capsys.readouterr().err
    assert await system.store.list_tasks() == []


async def test_submit_without_waiting_prints_the_id(
    system: System, stdin: Stdin, capsys: pytest.CaptureFixture[str]
) -> None:
    """The id is printed once the task is on disk; an answer that fails the task ends with 1."""
    stdin.say(PROVIDER + TOOL + "---" + AGENT)
    assert await loomd("apply", "-f", "-") == 0
    capsys.readouterr()
    assert await loomd("submit", "what is it?") == 0
    task = capsys.readouterr().out.strip()
    assert await system.store.get_task(task) is not None
    await system.engine.result(task)


@pytest.mark.parametrize("verb", ["run", "submit"])
def test_a_bad_duration_is_a_usage_error(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A time without a unit is refused before anything is asked of anybody."""
    place = [str(tmp_path)] if verb == "run" else []
    assert run([verb, *place, "x", "--max-time", "30"]) == 2
    assert "expected a duration such as 30s" in capsys.readouterr().err


async def test_expectations_are_read_from_files(
    system: System, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pattern, schema and check go with the task; what is none is refused before anything runs."""
    (tmp_path / "m.yaml").write_text(PROVIDER + TOOL + "---" + AGENT)
    assert await loomd("apply", "-f", "m.yaml") == 0
    (tmp_path / "schema.json").write_text('{"type": "object"}')
    (tmp_path / "check.py").write_text("def check(answer): assert '42' in answer\n")
    capsys.readouterr()
    options = ["--matches", r"\d+", "--schema", "schema.json", "--check", "check.py", "--check", "check.py:check"]
    assert await loomd("submit", "--wait", "-o", "json", *options, "use a tool") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["task"]["expect"]["checks"][0]["file"] == "check.py"
    evidence = found["evaluated"]["evidence"]
    assert r'it fits "\d+": 1.00' in evidence
    assert evidence.count("check.py:check agrees: 1.00") == 2
    assert any(line.startswith("it fits the schema (not JSON") and line.endswith("0.00") for line in evidence)
    for option, value, said in (
        ("--matches", "(", "expect.matches: expected a regular expression"),
        ("--schema", "check.py", "got no JSON"),
        ("--check", "nowhere.py", "cannot be read"),
        ("--check", "check.py:other", 'got "other": it has check'),
    ):
        assert await loomd("submit", option, value, "use a tool") != 0
        assert said in capsys.readouterr().err
    assert len(await system.store.list_tasks()) == 1
