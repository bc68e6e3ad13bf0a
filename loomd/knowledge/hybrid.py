"""Reciprocal rank fusion: what both halves rank high wins, whatever their scores mean. Pure."""

from collections.abc import Iterable, Sequence

Ranking = Sequence[int]
"""Ids, best first."""


def fuse(rankings: Iterable[tuple[Ranking, float]], k: int) -> list[tuple[int, float]]:
    """Return ids with their fused score, best first.

    An id gets `weight / (k + rank)` from every ranking that holds it, rank counted from 1. The sum is divided by the
    best that is possible, so 1.0 means first everywhere. Equal scores keep the order of the first ranking.

    Args:
        rankings: each with its weight; the weights may not all be 0.
        k: the larger, the less the first ranks stand out.
    """
    scores: dict[int, float] = {}
    best = 0.0
    for ranking, weight in rankings:
        best += weight / (k + 1)
        for rank, item in enumerate(ranking, 1):
            scores[item] = scores.get(item, 0.0) + weight / (k + rank)
    return sorted(((item, score / best) for item, score in scores.items()), key=lambda pair: -pair[1])
