"""Fusion of rankings, by table."""

from typing import Any

import numpy as np
import pytest

from loomd.knowledge.base import Retrieval
from loomd.knowledge.hybrid import Ranking, blend, fuse, fused
from loomd.knowledge.question import Parts, Question


def _ranked(*items: int) -> list[tuple[int, float]]:
    return [(item, 9.0 - place) for place, item in enumerate(items)]


@pytest.mark.parametrize(
    ("rankings", "order"),
    [
        ([(_ranked(1, 2), 1.0), (_ranked(1, 3), 1.0)], [1, 2, 3]),
        ([(_ranked(1, 2, 3), 1.0), (_ranked(3), 1.0)], [3, 1, 2]),
        ([(_ranked(1), 1.0), (_ranked(2), 2.0)], [2, 1]),
        ([([], 1.0), (_ranked(2, 1), 1.0)], [2, 1]),
        ([([], 1.0), ([], 1.0)], []),
    ],
    ids=["agreement", "both-beat-one", "weight", "one-is-empty", "nothing"],
)
def test_order(rankings: list[tuple[Ranking, float]], order: list[int]) -> None:
    """What both halves rank high comes first, by ranks and by scores; ties keep the order of the first half."""
    assert [item for item, _ in fuse(rankings, 10)] == order
    assert [item for item, _ in blend(rankings, 1.5, 50)] == order


def test_fused_scores_are_shares_of_the_best_possible() -> None:
    """First in both is 1; first in one of two equal halves is a half."""
    assert dict(fuse([(_ranked(1, 2), 1.0), (_ranked(1), 1.0)], 10))[1] == pytest.approx(1.0)
    assert dict(fuse([(_ranked(1), 1.0), (_ranked(2), 1.0)], 10)) == pytest.approx({1: 0.5, 2: 0.5})


@pytest.mark.parametrize(
    ("rankings", "limit", "expected"),
    [
        ([([(1, 8.0), (2, 4.0)], 1.0), ([(1, 0.5), (2, 0.4)], 1.0)], 5, {1: 1.0, 2: (0.5 + 0.8) / 2}),
        ([([(1, 8.0), (2, 4.0)], 3.0), ([(2, 0.5)], 1.0)], 5, {1: 0.75, 2: (3 * 0.5 + 1) / 4}),
        ([([(1, 8.0), (2, 4.0)], 1.0), ([(3, 0.5), (1, 0.3)], 1.0)], 2, {1: 0.8, 3: (0.5 + 1) / 2, 2: (0.5 + 0.6) / 2}),
        ([([(1, 8.0)], 1.0), ([(2, -0.1), (1, -0.2)], 1.0)], 5, {1: 0.5}),
        ([([(1, 8.0)], 1.0), ([(2, 0.1), (1, -0.2)], 1.0)], 5, {1: 0.5, 2: 0.5}),
    ],
    ids=["shares", "weights", "cut-off", "nothing-is-close", "one-is-far"],
)
def test_blended_scores(rankings: list[tuple[Ranking, float]], limit: int, expected: dict[int, float]) -> None:
    """Each score is a share of the best in its half; what a cut-off half does not hold counts as its last one there."""
    assert dict(blend(rankings, 1, limit)) == pytest.approx(expected)


def test_sharpness() -> None:
    """A power above 1 makes what is behind the best of its half count less."""
    assert dict(blend([([(1, 8.0), (2, 4.0)], 1.0)], 2, 5)) == pytest.approx({1: 1.0, 2: 0.25})


@pytest.mark.parametrize(
    "how", [{}, {"keywordWeight": 0}, {"fusion": "ranks"}, {"keywordWeight": 0, "fusion": "ranks"}]
)
@pytest.mark.parametrize("vector", [None, np.zeros(2, np.float32)], ids=["none", "zeros"])
def test_a_hybrid_search_without_a_vector_goes_by_words(how: dict[str, Any], vector: Any) -> None:
    """Its scores are shares of the best, as with a vector; words count also where they have no weight beside one."""
    asked = Question("purr", vector, Retrieval.model_validate({"minScore": 0.5, **how}), 4)
    found = fused(asked, Parts([(7, 8.0), (3, 2.0)], [], []))
    assert [item for item, _ in found] == [7, 3]
    assert found[0][1] == pytest.approx(1.0)
    assert 0 < found[1][1] < 1
    assert fused(asked, Parts([], [], [])) == []


@pytest.mark.parametrize(("how", "best"), [("keyword", 8.0), ("vector", 0.9)])
def test_the_scores_of_one_half_are_its_own(how: str, best: float) -> None:
    """A search by words alone has BM25, one by meaning alone cosines."""
    asked = Question("purr", np.ones(2, np.float32), Retrieval.model_validate({"mode": how, "keywordWeight": 0}), 4)
    assert fused(asked, Parts([(7, 8.0)], [(7, 0.9)] if how == "vector" else [], [])) == [(7, best)]
