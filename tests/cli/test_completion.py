"""`loomd completion`: scripts that real shells take, and what is offered to them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loomd.cli.main import VERBS, run

SHELLS = ["bash", "zsh", "fish"]


@pytest.mark.parametrize("shell", SHELLS)
def test_script_is_printed(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    """Each script asks loomd itself, and is accepted by its shell where that is installed."""
    assert run(["completion", shell]) == 0
    said = capsys.readouterr()
    assert f"_LOOMD_COMPLETE={shell}_complete" in said.out
    assert said.err == ""
    found = shutil.which(shell)
    if found is not None:
        subprocess.run([found, "-n"], input=said.out, text=True, check=True)  # noqa: S603  # ours


def test_unknown_shell(capsys: pytest.CaptureFixture[str]) -> None:
    """Another shell is refused with those that there are."""
    assert run(["completion", "csh"]) == 2
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err


def test_bash_completes_a_verb(tmp_path: Path) -> None:
    """A real bash with the script loaded completes a verb."""
    (tmp_path / "loomd").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m loomd "$@"\n')
    (tmp_path / "loomd").chmod(0o755)
    script = """
        source <(loomd completion bash)
        COMP_WORDS=(loomd valid) COMP_CWORD=1
        _loomd_completion loomd
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    variables = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["bash", "--norc", "-c", script]
    ran = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)  # noqa: S603  # ours
    assert ran.stdout.split() == ["validate"]


def test_verbs_are_offered_without_importing_them() -> None:
    """All verbs are offered with nothing of theirs loaded: completion must answer while somebody types."""
    probe = (
        "import sys\nfrom loomd.cli.main import loomd\nfrom click import Context\n"
        "print(*(one.value for one in loomd.shell_complete(Context(loomd), '')))\n"
        "print([name for name in sys.modules if name.startswith('loomd.api') or name == 'loomd.cli.validate'])"
    )
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)  # noqa: S603  # ours
    verbs, loaded = ran.stdout.splitlines()
    assert set(verbs.split()) == set(VERBS)
    assert loaded == "[]"


@pytest.mark.parametrize(
    ("words", "values"),
    [
        pytest.param(["loomd", "conv"], {"convert"}, id="verb"),
        pytest.param(["loomd", "validate", "--st"], {"--strict"}, id="option"),
        pytest.param(["loomd", "validate", "-o", ""], {"text", "json", "sarif", "github"}, id="choice"),
        pytest.param(["loomd", "schema", "a"], {"agent"}, id="kind"),
        pytest.param(["loomd", "schema", "d"], {"daemon"}, id="settings"),
        pytest.param(["loomd", "explain", "ag"], {"agent"}, id="path"),
        pytest.param(
            ["loomd", "explain", "agent.spec.limits.t"],
            {f"agent.spec.limits.{x}" for x in ("tokens", "time", "toolCalls", "toolErrors")},
            id="field",
        ),
        pytest.param(["loomd", "explain", "provider.spec.op"], {"provider.spec.openai"}, id="type"),
        pytest.param(["loomd", "explain", "agent.nowhere.x"], set[str](), id="nothing"),
    ],
)
def test_values_are_offered(
    words: list[str], values: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Verbs, options, choices, kinds and paths of fields are offered, as a shell asks for them."""
    monkeypatch.setenv("COMP_WORDS", " ".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    monkeypatch.setenv("_LOOMD_COMPLETE", "bash_complete")
    assert run([]) == 0
    assert {line.partition(",")[2] for line in capsys.readouterr().out.splitlines() if line} == values
