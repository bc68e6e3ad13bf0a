"""Checks of answers run in a sandbox, and what an answer can cause is told from what it cannot."""

import shutil
from pathlib import Path

import pytest

from loomd.tools.check import Check, Checked
from loomd.tools.python_check import Checker

GIVEN = {"answer": "The fee is 2.40 euros.", "goal": "What is the fee?"}


@pytest.fixture
def checker(tmp_path: Path) -> Checker:
    """Return what runs checks."""
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed: apt install bubblewrap")
    return Checker(tmp_path)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param("def check(answer): assert '2.40' in answer", Checked(True), id="assert-holds"),
        pytest.param("def check(answer): assert '9' in answer, 'no 9'", Checked(text="no 9"), id="assert-fails"),
        pytest.param("def check(answer):\n    assert False", Checked(text="an assertion failed"), id="assert-silent"),
        pytest.param("def check(answer, goal): return 'fee' in goal", Checked(True), id="true"),
        pytest.param("def check(answer): return False", Checked(text="it returned False"), id="false"),
        pytest.param("def check(answer): return 'too long'", Checked(text="too long"), id="text"),
        pytest.param("def check(answer): return ''", Checked(True), id="empty-text"),
        pytest.param("def check(*, answer): return None", Checked(True), id="keyword-only"),
    ],
)
async def test_what_a_check_says(checker: Checker, source: str, said: Checked) -> None:
    """Nothing, True or an empty text agree; False, a text and an assertion do not."""
    assert await checker.check(Check(source), GIVEN) == said


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param("def check(answer): int(answer)", "it raised ValueError: invalid literal", id="raises"),
        pytest.param("def check(answer):\n    while True: pass", "it took longer than 2 s", id="hangs"),
        pytest.param("def check(answer): bytearray(1 << 40)", "it raised MemoryError", id="memory"),
        pytest.param("import os\ndef check(answer): os._exit(3)", "its process ended without a result", id="exits"),
        pytest.param("def check(answer): print('x' * 10**7)", "it wrote more than 65536 bytes", id="writes"),
        pytest.param("def check(answer): raise SystemExit('no')", "it raised SystemExit: no", id="system-exit"),
    ],
)
async def test_what_an_answer_can_cause_counts_against_it(checker: Checker, source: str, said: str) -> None:
    """An answer that lets its check fail, hang or burst is not good."""
    found = await checker.check(Check(source, timeout=2.0 if "while" in source else 60.0), GIVEN)
    assert (found.good, found.broken) == (False, False)
    assert found.text.startswith(said)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param("def check(answer): nope()", "NameError: name 'nope' is not defined", id="name"),
        pytest.param("def check(answer):\n    import nope", "ModuleNotFoundError: No module", id="import"),
        pytest.param("import nope\ndef check(answer): pass", '"check.py" cannot be loaded: ModuleNotFound', id="load"),
        pytest.param("def check(answer): return 3", "expected it to return True, False, nothing", id="returns-number"),
        pytest.param("def other(answer): pass", '"check.py" has no function "check"', id="no-function"),
        pytest.param("def check(answer:", "'(' was never closed", id="syntax"),
    ],
)
async def test_what_an_answer_cannot_cause_says_nothing_of_it(checker: Checker, source: str, said: str) -> None:
    """A check that is at fault is told as such."""
    found = await checker.check(Check(source), GIVEN)
    assert (found.good, found.broken) == (False, True)
    assert found.text.startswith(said)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("def check(answer): open({path!r}).read()", id="state"),
        pytest.param("def check(answer): open({path!r}, 'w').write('x')", id="write"),
        pytest.param("import socket\ndef check(answer): socket.create_connection(('127.0.0.1', 22), 1)", id="network"),
        pytest.param("import os\ndef check(answer): os.environ['LOOMD_SECRET']", id="environment"),
    ],
)
async def test_a_check_sees_nothing(
    checker: Checker, tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither files of this machine, nor the daemon's state and environment, nor the network."""
    monkeypatch.setenv("LOOMD_SECRET", "x")
    secret = tmp_path / "secret"
    secret.write_text("secret")
    found = await checker.check(Check(source.replace("{path!r}", repr(str(secret)))), GIVEN)
    assert not found.good
    assert "Error" in found.text
    assert secret.read_text() == "secret"


def no_program(name: str, path: str | None = None) -> None:
    """Find no program."""
    del name, path


async def test_without_a_sandbox_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without bubblewrap runs no check, and says what to do."""
    monkeypatch.setattr(shutil, "which", no_program)
    found = await Checker(tmp_path).check(Check("def check(answer): pass"), GIVEN)
    assert found.broken
    assert "bubblewrap is not installed" in found.text
