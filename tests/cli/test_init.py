"""`loomd init`: a folder that works, with the line that editors look for, and never over what is there."""

import json
from pathlib import Path

import pytest

from loomd.cli.main import run
from loomd.manifest.document import read_documents
from loomd.manifest.load import load
from loomd.manifest.schema import combined_schema
from loomd.manifest.source import read_folder

MODELINE = "# yaml-language-server: $schema=.loomd/manifest.schema.json"


def test_the_folder_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is created loads without a warning, and the next commands are told."""
    folder = tmp_path / "new" / "library"
    assert run(["init", str(folder)]) == 0
    assert f"  loomd run {folder} " in capsys.readouterr().out
    assert run(["validate", "--strict", str(folder)]) == 0
    assert {ref.kind for ref in load(read_folder(folder)).objects} >= {"Agent", "Provider", "KnowledgeBase", "Embedder"}


def test_every_document_names_the_schema(tmp_path: Path) -> None:
    """The line stands in each document, for an editor looks for it in each; the schema is the one of this version."""
    assert run(["init", str(tmp_path)]) == 0
    for path in tmp_path.glob("*.yaml"):
        text = path.read_text("utf-8")
        documents = read_documents(path.read_bytes(), path.name)[0]
        assert text.count(MODELINE) == len(documents)
        assert all(MODELINE in part for part in text.split("\n---\n"))
    assert json.loads((tmp_path / ".loomd" / "manifest.schema.json").read_text("utf-8")) == combined_schema()


def test_the_schema_is_no_manifest(tmp_path: Path) -> None:
    """What reads the folder passes the schema by: it lies in a hidden folder and is JSON."""
    assert run(["init", str(tmp_path)]) == 0
    assert {file.path for file in read_folder(tmp_path)} == {"agent.yaml", "knowledge.yaml", "provider.yaml"}


@pytest.mark.parametrize("taken", ["agent.yaml", ".loomd/manifest.schema.json"])
def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str], taken: str) -> None:
    """A file that is there is named, stays as it is, and nothing else is created."""
    (tmp_path / taken).parent.mkdir(exist_ok=True)
    (tmp_path / taken).write_text("mine")
    assert run(["init", str(tmp_path)]) == 1
    assert f"{tmp_path / taken} exists already: choose an empty folder" in capsys.readouterr().err
    assert (tmp_path / taken).read_text() == "mine"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [Path(taken).name]
