"""How `loomd` ends: the exit code and the one message for whatever a verb raises, and for Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from loomd.cli import main
from loomd.cli.main import run
from loomd.errors import Conflict, Unreachable
from tests.daemon.process import PATIENCE

SLEEPY = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec:
  type: scripted
  replies:
    - toolCalls: [{name: nap}]
      times: null
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: nap}
spec: {type: python, file: nap.py, function: nap, timeout: 1h}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: script, tools: [nap], description: naps}
"""
FAR = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: [{text: café 房}]}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: script, description: answers}
"""
NAP = '''
import pathlib, time

def nap() -> str:
    """Sleep."""
    pathlib.Path(__file__).with_name("sleeping").touch()
    time.sleep(600)
    return "awake"
'''


def serve_with(command: click.Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every verb be this command."""

    def find(*_: object) -> click.Command:
        return command

    monkeypatch.setattr(main.loomd, "get_command", find)


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        pytest.param(Conflict("taken"), 1, "error: taken", id="permanent"),
        pytest.param(Unreachable("nobody there"), 2, "error: nobody there", id="temporary"),
        pytest.param(
            BaseExceptionGroup("g", [ValueError("v"), ExceptionGroup("h", [KeyError("k"), Conflict("taken")])]),
            1,
            "error: taken",
            id="group",
        ),
        pytest.param(
            PermissionError(13, "Permission denied", "/x/state"), 2, "error: /x/state: Permission denied", id="os"
        ),
        pytest.param(
            ValueError("odd"), 70, "internal error: ValueError: odd (LOOMD_DEBUG=1 shows where)", id="unexpected"
        ),
        pytest.param(KeyboardInterrupt(), 130, "interrupted", id="interrupted"),
        pytest.param(ExceptionGroup("g", [KeyError("k")]), 70, "internal error: KeyError", id="group-of-others"),
    ],
)
def test_every_error_has_a_message_and_a_code(
    error: BaseException, code: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever a verb raises ends with one line on standard error and no traceback."""

    @click.command()
    def command() -> None:
        raise error

    serve_with(command, monkeypatch)
    monkeypatch.delenv("LOOMD_DEBUG", raising=False)
    assert run(["verb"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.strip().startswith(says)
    assert said.err.strip().count("\n") == 0


def test_the_traceback_is_shown_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """LOOMD_DEBUG adds where an unexpected error came from."""

    @click.command()
    def command() -> None:
        raise ValueError("odd")

    serve_with(command, monkeypatch)
    monkeypatch.setenv("LOOMD_DEBUG", "1")
    assert run(["verb"]) == 70
    assert "Traceback" in capsys.readouterr().err


def loomd(*arguments: str | bytes, home: Path, **variables: str) -> "subprocess.Popen[str]":
    """Start a verb as a process."""
    environment = os.environ | {"LOOMD_STATE": str(home / "state"), "PYTHONUTF8": "1"} | variables
    command = [sys.executable, "-m", "loomd", *arguments]
    code = variables.get("PYTHONIOENCODING", "utf-8")
    return subprocess.Popen(  # noqa: S603  # our own command
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding=code
    )


def test_an_argument_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """Bytes that are no text are named with their place, without a traceback."""
    with loomd("run", str(tmp_path), b"caf\xe9", home=tmp_path) as process:
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "argument 3 is not UTF-8: caf\\udce9" in said
    assert "Traceback" not in said


def test_what_a_terminal_has_no_character_for_is_spelled_out(tmp_path: Path) -> None:
    """An answer that Latin-1 cannot hold is shown as far as it can, and the verb ends as it would elsewhere."""
    (tmp_path / "m.yaml").write_text(FAR)
    arguments = ("run", str(tmp_path), "x", "--quiet", "--state", str(tmp_path / "state"))
    with loomd(*arguments, home=tmp_path, PYTHONIOENCODING="latin-1") as process:
        shown, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (0, "")
    assert shown == "café \\u623f\n"


def test_a_state_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """A file in the place of the state directory ends with code 2 or 1 and one line, and no traceback."""
    (tmp_path / "m.yaml").write_text(SLEEPY)
    (tmp_path / "nap.py").write_text(NAP)
    (tmp_path / "state").write_text("a file")
    with loomd("run", str(tmp_path), "x", "--state", str(tmp_path / "state" / "below"), home=tmp_path) as process:
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode in {1, 2}
    assert said.startswith("error: ")
    assert str(tmp_path / "state") in said


def test_ctrl_c_does_not_wait_for_a_tool_in_a_thread(tmp_path: Path) -> None:
    """SIGINT ends `loomd run` at once with code 130, whatever a tool is doing for ten minutes; the store is whole."""
    folder = tmp_path / "agents"
    folder.mkdir()
    (folder / "m.yaml").write_text(SLEEPY)
    (folder / "nap.py").write_text(NAP)
    with loomd("run", str(folder), "take a nap", "--state", str(tmp_path / "state"), home=tmp_path) as process:
        deadline = time.monotonic() + PATIENCE
        while not (folder / "sleeping").exists() and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert out == ""
    assert said.endswith("interrupted\n")
    assert "Traceback" not in said
