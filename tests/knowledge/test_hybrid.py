"""Fusion of rankings, by table."""

import pytest

from loomd.knowledge.hybrid import Ranking, blend, fuse


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
