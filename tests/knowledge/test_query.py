"""What people ask never breaks the keyword search."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from loomd.knowledge.chunk import Chunk
from loomd.knowledge.query import MAX_TERMS, match_expression
from loomd.knowledge.store import ChunkStore, Embedded, FileUpdate


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChunkStore]:
    """Return a store with two passages."""
    path: Path = tmp_path_factory.mktemp("words")
    opened = ChunkStore(path / "a.db")
    chunks = [Chunk("Dunder methods", "call __enter__ or running near NOT", 1, 1), Chunk("Other", "plain text", 2, 2)]
    opened.write([FileUpdate("a.md", "1", [Embedded(chunk, b"d", b"v") for chunk in chunks])])
    yield opened
    opened.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
@example('"')
@example('a" OR "b')
@example("NEAR(a b, 3) AND NOT title:x* ^y {a b}: -c + d")
@example("'; DROP TABLE chunk; --")
@example("\x00nul\x00")
@example("___ __ _")
@example("² ½ ⅷ 你好 \u0301 \ud800")
@example("( ) [ ] * ? \\ / %")
def test_no_question_is_a_syntax_error(store: ChunkStore, question: str) -> None:
    """Operators, quotes and odd characters have no meaning; the search runs."""
    expression = match_expression(question.encode("utf-8", "replace").decode())
    if expression:
        store.find_words(expression, 10, 2.0)


@pytest.mark.parametrize(
    ("question", "expression"),
    [
        ("How does the Scheduler work?", '"scheduler" OR "work"'),
        ("What is it about?", '"what" OR "is" OR "it" OR "about"'),
        ("dog DOG dogs", '"dog" OR "dogs"'),
        ("__enter__", '"__enter__"'),
        ("?!", ""),
    ],
)
def test_questions_become_words(question: str, expression: str) -> None:
    """Common words are left out unless there are no others; each word is asked for once."""
    assert match_expression(question) == expression


def test_a_pasted_page_is_bounded() -> None:
    """Only the first words of a very long question count."""
    assert match_expression(" ".join(f"w{n}" for n in range(5000))).count(" OR ") == MAX_TERMS - 1


@pytest.mark.parametrize("question", ["__enter__", "runs", "dunder"])
def test_identifiers_stems_and_titles_are_found(store: ChunkStore, question: str) -> None:
    """An identifier, another form of a word, and a word of the heading lead to the passage."""
    ((ident, score),) = store.find_words(match_expression(question), 10, 2.0)
    assert (ident, score > 0) == (1, True)


def test_a_raw_question_would_be_an_error(store: ChunkStore) -> None:
    """The reason for quoting: FTS5 refuses what people type."""
    with pytest.raises(sqlite3.OperationalError):
        store.find_words("what's NEAR(", 10, 2.0)
