"""The index of a knowledge base: store, words and vectors stay equal, whatever fails between them."""

import itertools
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loomd.errors import Temporary
from loomd.knowledge.arriving import encode
from loomd.knowledge.base import Chunking, IndexSpec, Retrieval
from loomd.knowledge.chunk import Chunk
from loomd.knowledge.filter import where_of
from loomd.knowledge.index import Index
from loomd.knowledge.question import Question
from loomd.knowledge.store import Added
from loomd.knowledge.survey import Pending, Recipe
from loomd.knowledge.words import WordIndex
from loomd.vectors.faiss_index import Mark
from loomd.vectors.index import VectorIndex

RECIPE = Recipe([], Chunking(), "made", 4)
HOW = IndexSpec()
WORDS = Retrieval(mode="keyword")


def document(name: str, *texts: str) -> Pending:
    """Return a document of some passages."""
    return Pending(name, str(texts), [(f"{name} {text}".encode(), Chunk("Title", text, 1, 1)) for text in texts])


def put(index: Index, *documents: Pending, save: bool = True) -> None:
    """Write documents down, and let them be found."""
    keys = [key for one in documents for key, _ in one.chunks]
    index.write(documents, dict.fromkeys(keys, encode(np.eye(1, 4, dtype=np.float32))[0]), HOW)
    if save:
        index.save(HOW)


def found(index: Index, text: str) -> list[str]:
    """Return the documents in which words are found."""
    return [row.path for row, _ in index.search([Question(text, None, WORDS, 5)])[0]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a knowledge base."""
    made = tmp_path / "knowledgebase" / "default" / "kb"
    made.mkdir(parents=True)
    return made


@pytest.fixture
def index(folder: Path) -> Iterator[Index]:
    """Yield an open index with one document."""
    made = Index(folder, RECIPE, HOW)
    put(made, document("a", "zebra"))
    yield made
    made.close()


def test_words_that_could_not_be_written_are_made_up_for(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a commit that failed, nothing of it is missing once one goes well."""
    commit = WordIndex.commit

    def full(words: WordIndex, mark: Mark) -> None:
        del words, mark
        raise ValueError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(WordIndex, "commit", full)
        with pytest.raises(Temporary, match="cannot be written: disk full"):
            put(index, document("b", "giraffe"))
    assert WordIndex.commit is commit
    put(index, document("c", "walrus"))
    assert [found(index, word) for word in ("zebra", "giraffe", "walrus")] == [["a"], ["b"], ["c"]]


def full_after(count: int) -> Callable[[WordIndex, Iterable[Added]], None]:
    """Return what adds so many passages to an index of words before there is no room left."""
    add = WordIndex.add

    def some(words: WordIndex, chunks: Iterable[Added]) -> None:
        add(words, itertools.islice(chunks, count))
        raise ValueError("disk full")

    return some


def test_an_index_of_words_that_was_filled_half_way_is_filled(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """What there was is found meanwhile, and all of it is made anew once there is room, without another change."""
    put(index, document("b", "giraffe"))
    with monkeypatch.context() as patch:
        patch.setattr(WordIndex, "add", full_after(1))
        for _ in range(2):
            with pytest.raises(Temporary, match="cannot be written: disk full"):
                index.rebuild(HOW)
        with pytest.raises(Temporary, match="cannot be written: disk full"):
            index.save(HOW)
        assert [found(index, word) for word in ("zebra", "giraffe")] == [["a"], ["b"]]
    filled, clear = list[WordIndex](), WordIndex.clear

    def cleared(words: WordIndex) -> None:
        filled.append(words)
        clear(words)

    monkeypatch.setattr(WordIndex, "clear", cleared)
    index.save(HOW)
    assert len(filled) == 1
    put(index, document("c", "walrus"))
    assert [found(index, word) for word in ("zebra", "giraffe", "walrus")] == [["a"], ["b"], ["c"]]


def test_an_index_of_words_that_cannot_be_filled_is_no_open_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that there is no room, and opens once there is, with all that the store has."""
    index = Index(folder, RECIPE, HOW)
    put(index, document("a", "zebra"), document("b", "giraffe"))
    index.close()
    shutil.rmtree(folder / f"{RECIPE.name}.words")
    with monkeypatch.context() as patch:
        patch.setattr(WordIndex, "add", full_after(1))
        with pytest.raises(Temporary, match="cannot be written: disk full"):
            Index(folder, RECIPE, HOW)
    index = Index(folder, RECIPE, HOW)
    assert [found(index, word) for word in ("zebra", "giraffe")] == [["a"], ["b"]]
    index.close()


def test_indexes_that_know_more_than_the_store_are_made_anew(folder: Path) -> None:
    """After a power cut the store may lack its last transactions, and the ids of their passages come again."""
    index = Index(folder, RECIPE, HOW)
    put(index, document("a", "zebra"))
    files = [folder / f"{RECIPE.name}.db{end}" for end in ("", "-wal")]
    for file in files:
        shutil.copy(file, file.with_name(f"{file.name}.kept"))
    put(index, document("b", "giraffe"), document("c", "walrus"))
    index.close()
    for file in files:
        file.unlink(missing_ok=True)
        shutil.move(file.with_name(f"{file.name}.kept"), file)
    index = Index(folder, RECIPE, HOW)
    put(index, document("d", "mongoose"))
    assert [found(index, word) for word in ("zebra", "giraffe", "walrus", "mongoose")] == [["a"], [], [], ["d"]]
    index.close()


def test_what_replaces_a_passage_is_found_with_its_batch(index: Index) -> None:
    """While many documents are read again, those that were are found by their words, and not after all of them."""
    put(index, document("a", "zebra again"), save=False)
    assert found(index, "zebra") == ["a"]


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_a_narrow_search_finds_all_that_is_there(folder: Path, kind: str) -> None:
    """Of the documents that are wanted the best are found, however far they are from the question."""
    rng = np.random.default_rng(3)
    centres = rng.standard_normal((40, 16))
    vectors = centres[rng.integers(40, size=4000)] + 0.25 * rng.standard_normal((4000, 16))
    stored = encode((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32))
    documents: list[Pending] = []
    known: dict[bytes, bytes] = {}
    for number in range(400):
        keys = [f"{number} {at}".encode() for at in range(10)]
        known |= dict(zip(keys, stored[10 * number : 10 * number + 10], strict=True))
        chunks = [(key, Chunk("t", f"text {key.decode()}", at, at)) for at, key in enumerate(keys, 1)]
        documents.append(Pending(f"{number}.md", str(number), chunks))
    index = Index(folder, Recipe([], Chunking(), "made", 16), how := IndexSpec.model_validate({"type": kind}))
    index.write(documents, known, how)
    index.save(how)
    retrieval = Retrieval(mode="vector", min_score=-1)
    for number in rng.integers(400, size=20):
        where = where_of({"path": [f"{number}.md"]}, None)
        asked = np.frombuffer(stored[int(rng.integers(4000))], "<f2").astype(np.float32)
        (hits,) = index.search([Question("x", asked, retrieval, 4, where)])
        assert [row.path for row, _ in hits] == [f"{number}.md"] * 4
    index.close()


@pytest.mark.parametrize("where", [None, {"path": ["1*"]}])
def test_side_by_side_finds_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch, where: dict[str, list[str]] | None
) -> None:
    """Words that are looked up beside vectors, in a thread of their own, are ranked with them as they are without."""
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((60, 16)).astype(np.float32)
    stored = encode(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    texts = [" ".join(rng.choice(["zebra", "giraffe", "walrus", "otter"], 3)) + f" {at}" for at in range(60)]
    documents = [Pending(f"{at}", text, [(text.encode(), Chunk("t", text, 1, 1))]) for at, text in enumerate(texts)]
    index = Index(folder, Recipe([], Chunking(), "made", 16), HOW)
    index.write(documents, {text.encode(): blob for text, blob in zip(texts, stored, strict=True)}, HOW)
    index.save(HOW)
    asked = [
        Question(word, np.frombuffer(stored[at], "<f2").astype(np.float32), Retrieval(), 5, where_of(where))
        for at, word in enumerate(("zebra", "giraffe otter", "nothing"))
    ]
    threads = set[str]()
    search = WordIndex.search

    def noted(words: WordIndex, *arguments: Any) -> list[tuple[int, float]]:
        threads.add(threading.current_thread().name.rpartition("_")[0])
        return search(words, *arguments)

    monkeypatch.setattr(WordIndex, "search", noted)
    found = [(index.search(asked), [index.explain(one) for one in asked])]
    assert threads == {threading.current_thread().name.rpartition("_")[0]}
    threads.clear()
    monkeypatch.setattr("loomd.knowledge.index._SIDE_BY_SIDE", 0)
    found.append((index.search(asked), [index.explain(one) for one in asked]))
    assert threads == {"knowledge-words"}
    assert found[0] == found[1]
    assert all(rows for rows in found[0][0])
    index.close()


@pytest.mark.parametrize("failing", ["words", "vectors"])
@pytest.mark.parametrize("side_by_side", [0, 20_000])
def test_what_fails_on_either_side_is_raised(
    index: Index, monkeypatch: pytest.MonkeyPatch, failing: str, side_by_side: int
) -> None:
    """Also of the half that is looked up in another thread; the next search finds again."""

    def broken(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr("loomd.knowledge.index._SIDE_BY_SIDE", side_by_side)
    asked = Question("zebra", np.eye(1, 4, dtype=np.float32)[0], Retrieval(), 5)
    with monkeypatch.context() as patch:
        patch.setattr(*((WordIndex, "search", broken) if failing == "words" else (VectorIndex, "search", broken)))
        with pytest.raises(sqlite3.OperationalError, match="disk I/O error"):
            index.search([asked])
        with pytest.raises(sqlite3.OperationalError, match="disk I/O error"):
            index.explain(asked)
    assert [row.path for row, _ in index.search([asked])[0]] == ["a"]
