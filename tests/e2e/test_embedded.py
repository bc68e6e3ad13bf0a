"""The whole thing, as a user runs it: the command line, the example's documents, the embedded models."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(900)]


def loomd(*arguments: str, state: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "loomd", "run", *arguments, "--state", str(state), "-o", "json"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=420)  # noqa: S603  # our own words


QUESTIONS = [
    ("What does the lambda expression create?", "creates a function", "python/lambda"),
    ("What is the empty tuple written as?", "written as `()`", "python/typesseq"),
]


def test_quickstart_answers_and_cites(tmp_path: Path) -> None:
    """The embedded model answers from real documents, indexed by the first question, and cites the right ones."""
    for question, word, file in QUESTIONS:
        done = loomd("examples/01-quickstart", question, state=tmp_path)
        assert done.returncode == 0, done.stderr
        outcome = json.loads(done.stdout)["executed"]["outcome"]
        assert word in outcome["output"].lower(), outcome["output"]
        assert any(file in citation["source"] for citation in outcome["citations"]), outcome


def test_a_tool_is_called(tmp_path: Path) -> None:
    """The embedded model calls the right tool with the right arguments and reports its result."""
    done = loomd("examples/02-tools", "How many days are there between 2024-02-01 and 2024-03-01?", state=tmp_path)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)["executed"]["outcome"]
    assert outcome["tools"] == ["days-between"]
    assert "29" in outcome["output"]


def test_a_task_of_several_parts_is_split(tmp_path: Path) -> None:
    """The embedded model plans the split, three agents do the parts, and the answer names all their sources."""
    goal = "When are tomatoes planted out, how long does tomato soup simmer, and what do tomatoes cost at the market?"
    done = loomd("examples/03-team", goal, state=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert len(result["executed"]["children"]) >= 2, result["scaled"]
    sources = {citation["source"].partition(":")[0] for citation in result["executed"]["outcome"]["citations"]}
    assert len(sources) >= 2, sources
