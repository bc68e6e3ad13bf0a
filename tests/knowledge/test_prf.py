"""Pseudo relevance feedback: which words are added, how they weigh, and where the vector goes."""

import numpy as np
import pytest

from loomd.knowledge.expanders.base import Seen
from loomd.knowledge.expanders.prf import rm3, rocchio

NONE = np.zeros((0, 2), np.float32)


def seen(*words: dict[str, int], asked: tuple[str, ...] = ("cat",), scores: tuple[float, ...] = ()) -> Seen:
    """Return what a first search found; every word is rare."""
    shares = {word: 0.01 for one in words for word in one}
    return Seen(asked, None, scores or (1.0,) * len(words), words, NONE, shares | {"the": 0.9})


def test_weights_are_those_of_the_relevance_model() -> None:
    """P(word) is the mean of its share in each passage, by their scores; all weights sum up to 1."""
    found = seen({"cat": 2, "mouse": 2}, {"mouse": 1, "owl": 3}, scores=(3.0, 1.0))
    terms = rm3(found, 10, 0.5, 0.1)
    likely = {"cat": 0.75 * 0.5, "mouse": 0.75 * 0.5 + 0.25 * 0.25, "owl": 0.25 * 0.75}
    assert terms == pytest.approx({word: 0.5 * weight + 0.5 * (word == "cat") for word, weight in likely.items()})
    assert sum(terms.values()) == pytest.approx(1)


def test_the_likeliest_words_are_taken() -> None:
    """As many as are wanted; equal ones by the alphabet, so that the same question is always expanded alike."""
    assert set(rm3(seen({"owl": 1, "mouse": 2, "fox": 1}), 2, 0.5, 0.1)) == {"cat", "mouse", "fox"}


def test_words_that_tell_nothing_are_not_added() -> None:
    """Those in many passages, short ones, and numbers."""
    assert rm3(seen({"the": 9, "at": 3, "1960": 2}), 10, 0.5, 0.1) == {"cat": 1.0}


def test_words_of_the_question_share_its_weight() -> None:
    """One that stands there twice counts twice."""
    assert rm3(seen({"owl": 1}, asked=("cat", "cat", "dog")), 0, 0.8, 0.1) == pytest.approx(
        {"cat": 2 / 3, "dog": 1 / 3}
    )
    assert rm3(seen({"owl": 1}, asked=("cat", "dog")), 1, 1.0, 0.1) == {"cat": 0.5, "dog": 0.5}


def test_the_vector_goes_toward_the_passages() -> None:
    """By the share that is theirs, and stays of length 1."""
    asked, passages = np.array([1.0, 0.0], np.float32), np.array([[0.0, 1.0], [0.0, 1.0]], np.float32)
    assert rocchio(asked, passages, 0.5) == pytest.approx([0.5**0.5, 0.5**0.5])
    assert rocchio(asked, passages, 1.0) == pytest.approx([1, 0])
    assert rocchio(np.zeros(2, np.float32), passages, 0.5) == pytest.approx([0, 1])
    assert rocchio(np.zeros(2, np.float32), np.zeros((1, 2), np.float32), 0.5) == pytest.approx([0, 0])
