"""Rank fusion, by table."""

import pytest

from loomd.knowledge.hybrid import fuse


@pytest.mark.parametrize(
    ("rankings", "order"),
    [
        ([([1, 2], 1.0), ([1, 3], 1.0)], [1, 2, 3]),
        ([([1, 2, 3], 1.0), ([3], 1.0)], [3, 1, 2]),
        ([([1], 1.0), ([2], 2.0)], [2, 1]),
        ([([], 1.0), ([2, 1], 1.0)], [2, 1]),
        ([([], 1.0), ([], 1.0)], []),
    ],
    ids=["agreement", "both-beat-one", "weight", "one-is-empty", "nothing"],
)
def test_order(rankings: list[tuple[list[int], float]], order: list[int]) -> None:
    """What both halves rank high comes first; ties keep the order of the first half."""
    assert [item for item, _ in fuse(rankings, 10)] == order


def test_scores_are_shares_of_the_best_possible() -> None:
    """First in both is 1; first in one of two equal halves is a half."""
    assert dict(fuse([([1, 2], 1.0), ([1], 1.0)], 10))[1] == pytest.approx(1.0)
    assert dict(fuse([([1], 1.0), ([2], 1.0)], 10)) == pytest.approx({1: 0.5, 2: 0.5})
