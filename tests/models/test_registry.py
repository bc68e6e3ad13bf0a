from pathlib import Path

import pytest

from loomd.errors import NotFound, Permanent
from loomd.models.place import models_dir
from loomd.models.registry import REGISTRY, Wheels, find, locate, models
from tests.models.conftest import registry_text


def test_the_built_in_models_are_complete(tmp_path: Path) -> None:
    """Every model has a licence, its files a hash and at least one source of wheels with all parts in order."""
    known = models(tmp_path)
    assert [name for name, model in known.items() if model.default] == ["qwen2.5-coder-0.5b"]
    for model in known.values():
        assert model.licence == "Apache-2.0"
        for file in model.files:
            assert isinstance(file.sources[0], Wheels)
            parts = file.sources[0].parts
            assert len({part.package for part in parts}) == len(parts)


def test_a_wrong_name_is_met_with_the_closest(tmp_path: Path) -> None:
    """The error proposes a name."""
    with pytest.raises(NotFound, match=r'did you mean "qwen2.5-coder-0.5b"'):
        find("qwen2.5-code-0.5b", tmp_path)
    with pytest.raises(NotFound, match="known: qwen"):
        find("zzz", tmp_path)


def test_what_is_not_here_says_the_command(tmp_path: Path) -> None:
    """Opening a model that was not fetched names the command that fetches it."""
    with pytest.raises(NotFound, match="run: loomd models pull minilm"):
        locate("minilm", tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("[[models", "registry.toml", id="syntax"),
        pytest.param(registry_text(sha256="short"), "regex", id="hash"),
        pytest.param(registry_text().replace("name", "nane", 1), "nane", id="unknown-field"),
        pytest.param(registry_text().replace('"tiny"', '"../x"', 1), "regex", id="path-as-name"),
        pytest.param(registry_text().replace('"tiny"', '"minilm"', 1), "is built in", id="redefined"),
    ],
)
def test_a_registry_of_ones_own_is_checked(tmp_path: Path, text: str, words: str) -> None:
    """The error names the file and what is wrong."""
    (tmp_path / REGISTRY).write_text(text)
    with pytest.raises(Permanent, match=words):
        models(tmp_path)


def test_the_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable wins over the user's data directory."""
    monkeypatch.setenv("LOOMD_MODELS_DIR", str(tmp_path))
    assert models_dir() == tmp_path
    monkeypatch.delenv("LOOMD_MODELS_DIR")
    assert models_dir().name == "models"
