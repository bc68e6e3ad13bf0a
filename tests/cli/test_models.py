import hashlib
import json
from pathlib import Path

import pytest

from loomd.cli.main import run

DATA = b"a small model"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own folder of models, with a registry that knows one small model more."""
    monkeypatch.setenv("LOOMD_MODELS_DIR", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    digest = hashlib.sha256(DATA).hexdigest()
    (tmp_path / "models" / "registry.toml").write_text(
        '[[models]]\nname = "tiny"\nkind = "embedding"\ntitle = "Tiny"\nlicence = "CC0-1.0"\n'
        f'[[models.files]]\nname = "tiny.bin"\nsize = {len(DATA)}\nsha256 = "{digest}"\n'
    )
    (tmp_path / "tiny.bin").write_bytes(DATA)
    return tmp_path


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, bool]:
    """Return which models are here."""
    assert run(["models", "list", "-o", "json"]) == 0
    return {model["name"]: model["here"] for model in json.loads(capsys.readouterr().out)}


def test_pull_verify_and_rm(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model comes, is verified, and goes; each verb says so in one line."""
    assert run(["models", "pull", "tiny", "--from", str(folder / "tiny.bin")]) == 0
    assert capsys.readouterr().out == "tiny: here, CC0-1.0, SHA-256 verified\n"
    assert listed(capsys)["tiny"]
    assert run(["models", "pull", "tiny"]) == 0
    assert capsys.readouterr().out == "tiny: here\n"
    assert run(["models", "verify"]) == 0
    assert "verified" in capsys.readouterr().out
    assert run(["models", "rm", "tiny"]) == 0
    assert "removed" in capsys.readouterr().out
    assert not listed(capsys)["tiny"]


@pytest.mark.usefixtures("folder")
def test_the_table_names_what_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    """Name, kind, size, state and licence of every model, and the one that is built in."""
    assert run(["models", "list"]) == 0
    out = capsys.readouterr().out
    assert "qwen2.5-coder-0.5b  language      491 MB  default  Apache-2.0" in out
    assert "wordllama" in out


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["verify"], "run: loomd models pull --default", id="nothing-here"),
        pytest.param(["pull", "tinny"], 'did you mean "tiny"', id="unknown"),
        pytest.param(["pull", "tiny", "minilm", "--from", "x"], "--from takes the name of one model", id="from-two"),
        pytest.param(["pull", "tiny", "--from", "nowhere"], "nowhere: no such file", id="from-nowhere"),
    ],
)
def test_errors_say_what_to_do(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong use ends with code 2 and the next act."""
    assert run(["models", *arguments]) == 2
    assert words in capsys.readouterr().err
