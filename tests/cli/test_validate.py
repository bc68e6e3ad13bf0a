"""The verbs `validate`, `schema` and `explain`."""

import io
import json
from pathlib import Path

import pytest

from loomd.cli.main import run

GOOD = "apiVersion: loomd.dev/v1\nkind: Provider\nmetadata: {name: p}\nspec: {type: openai, model: m}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_valid_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A valid folder is counted, with its revision."""
    (folder / "p.yaml").write_text(GOOD)
    assert run(["validate"]) == 0
    assert capsys.readouterr().out.startswith("1 object in 1 file is valid (revision ")


def test_problem_is_shown_in_its_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A problem comes with position, line, caret and hint."""
    (folder / "p.yaml").write_text(GOOD.replace("openai", "opnai"))
    assert run(["validate", "p.yaml"]) == 1
    assert capsys.readouterr().out == (
        'p.yaml:4:14: error[unknown-type]: Provider/p spec.type: no such type: text "opnai"\n'
        "  |\n4 | spec: {type: opnai, model: m}\n  |              ^\n"
        '  hint: did you mean "openai"?\n'
    )


def test_machine_formats(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON and GitHub annotations say the same as the text."""
    (folder / "p.yaml").write_text(GOOD.replace("openai", "opnai"))
    assert run(["validate", "-o", "json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["valid"], report["files"]) == (False, 1)
    assert report["problems"][0]["code"] == "unknown-type"
    assert report["problems"][0]["pointer"] == "/spec/type"
    assert run(["validate", "-o", "github"]) == 1
    assert capsys.readouterr().out.startswith("::error file=p.yaml,line=4,col=14,title=unknown-type::Provider/p")


@pytest.mark.parametrize(
    "spec",
    [
        "spec: {type: openai, model: m, apiKey: sk-canary}",
        "spec:\n  type: openai\n  model: m\n  apiKey: sk-canary",
        "spec:\n  type: openai\n  model: m\n  apiKey: |\n    sk-canary",
        "spec:\n  type: openai\n  model: m\n  headers:\n    Authorization: [sk-canary]",
        "spec:\n  type: openai\n  model: m\n  headers:\n    X-Api-Key: {a: sk-canary}",
        "spec:\n  type: openai\n  model: m\n  apiKey: 'sk-canary\n  password: \"a: sk-canary",
        "spec:\n  type: openai\n  model: m\n  apiKey:\n    value: sk-canary",
        "spec:\n  type: openai\n  model: m\n  apiKey: {value: sk-canary}",
    ],
)
def test_secrets_are_not_shown(folder: Path, capsys: pytest.CaptureFixture[str], spec: str) -> None:
    """A key that was written into a manifest appears neither in a message nor in the line that is shown."""
    (folder / "p.yaml").write_text(f"apiVersion: loomd.dev/v1\nkind: Provider\nmetadata: {{name: p}}\n{spec}\n")
    for output in ("text", "json", "github"):
        assert run(["validate", "-o", output]) == 1
        said = capsys.readouterr()
        assert "canary" not in said.out + said.err


def test_standard_input(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads standard input."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a: [")))
    assert run(["validate", "-"]) == 1
    assert capsys.readouterr().out.startswith("<stdin>:2:1: error[yaml-syntax]")
    del folder


def test_nothing_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An absent path, an empty folder and an unreadable file are errors of input and output."""
    assert run(["validate", "absent"]) == 2
    assert run(["validate"]) == 2
    (folder / "gone.yaml").symlink_to("nowhere.yaml")
    assert run(["validate"]) == 2
    assert "no such file" in capsys.readouterr().err.lower()


def test_schema_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A kind is found by name or plural; without one, all kinds are covered."""
    assert run(["schema", "agents"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Agent"
    assert run(["schema"]) == 0
    assert "Agent" in json.loads(capsys.readouterr().out)["properties"]["kind"]["enum"]
    assert run(["schema", "agnet"]) == 2
    assert 'did you mean "Agent"' in capsys.readouterr().err


def test_explain_walks_fields_and_types(capsys: pytest.CaptureFixture[str]) -> None:
    """A path leads through fields and types; a wrong step names the closest."""
    assert run(["explain", "agent.spec.provider"]) == 0
    assert "name of a Provider" in capsys.readouterr().out
    assert run(["explain", "provider.spec.openai.model"]) == 0
    assert "(required)" in capsys.readouterr().out
    assert run(["explain"]) == 0
    assert "Agent" in capsys.readouterr().out
    assert run(["explain", "agent.spec.limit"]) == 2
    assert 'did you mean "limits"' in capsys.readouterr().err
