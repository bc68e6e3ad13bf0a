"""What of a question is looked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loomd.knowledge.query import MAX_TERMS, telling


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("How does the Scheduler work?", ["scheduler", "work"]),
        ("What is it about?", ["what", "is", "it", "about"]),
        ("dog DOG dogs", ["dog", "dogs"]),
        ("__enter__", ["__enter__"]),
        ("?!", []),
    ],
)
def test_questions_become_words(question: str, words: list[str]) -> None:
    """Common words are left out unless there are no others; each word is asked for once."""
    assert telling(question) == words


@given(st.text())
def test_a_question_never_fails(question: str) -> None:
    """Whatever is asked has at most so many words, none of them empty."""
    words = telling(question)
    assert len(words) <= MAX_TERMS
    assert all(words)


def test_a_pasted_page_is_bounded() -> None:
    """Only the first words of a very long question count."""
    assert len(telling(" ".join(f"w{n}" for n in range(5000)))) == MAX_TERMS
