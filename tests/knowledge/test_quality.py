"""Retrieval over real text nobody here wrote: the Python language reference and loomd's documentation."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.knowledge.conftest import Lab

PROJECT = Path(__file__).parents[2]
EXAMPLE = PROJECT / "examples" / "01-quickstart"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the example's documents, written anew."""
    spec = importlib.util.spec_from_file_location("quickstart_build", EXAMPLE / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("quickstart")
    assert module.build(folder / "documents") > 80
    assert module.build(folder / "documents") == 0
    return folder


@pytest.fixture
def example(root: Path, tmp_path: Path) -> Lab:
    """Return a lab over the example's documents."""
    return Lab(tmp_path, root)


def _questions(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


SOURCES = [{"path": "documents", "exclude": ["README.md"]}]


async def test_the_examples_questions_find_their_file(example: Lab) -> None:
    """For every question of the quickstart, the right file is among the four passages that the agent gets."""
    missed: list[str] = []
    async with example.open({"type": "wordllama"}, sources=SOURCES) as base:
        for item in _questions(EXAMPLE / "questions.jsonl"):
            found = await base.search(item["question"])
            assert len(found) == 4
            if not any(p.source.startswith(f"documents/{item['source']}:") for p in found):
                missed.append(item["question"])
    assert missed == []


async def test_paraphrases_find_the_passage(example: Lab) -> None:
    """Of 60 questions in other words than the text's, most find the very passage that holds the answer."""
    passage: dict[str, list[int]] = {}
    questions = _questions(Path(__file__).with_name("questions.jsonl"))
    for mode in ("keyword", "vector", "hybrid"):
        async with example.open({"type": "wordllama"}, sources=SOURCES, retrieval={"mode": mode}) as base:
            passage[mode] = [
                _rank(item, [(p.source, p.title + p.text) for p in await base.search(item["question"], 10)])
                for item in questions
            ]
    recall = {mode: sum(0 < rank <= 4 for rank in ranks) / len(ranks) for mode, ranks in passage.items()}
    assert recall["hybrid"] >= 0.7
    assert recall["hybrid"] >= max(recall["keyword"], recall["vector"]) - 0.05


def _rank(item: dict[str, Any], found: list[tuple[str, str]]) -> int:
    """Return the rank of the first passage of a right file that holds the answer, or 0."""
    for rank, (source, text) in enumerate(found, 1):
        if any(source.startswith(f"documents/{file}:") for file in item["files"]) and _plain(item["answer"]) in _plain(
            text
        ):
            return rank
    return 0


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).lower().translate({0x2018: "'", 0x2019: "'"})
