"""How remembered items are put in order: what words and likeness rank high, weighed by importance and age. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """An item that may fit a question.

    Attributes:
        text: what it says.
        importance: from 0 to 1.
        told: when it was told last, in wall-clock seconds.
        fresh: whether age takes nothing off: it belongs to the conversation under way.
    """

    text: str
    importance: float
    told: float
    fresh: bool = False


@dataclass(frozen=True)
class Weights:
    """How much each thing counts; see `RecallSpec` for the meaning of each."""

    rrf_k: int
    keyword: float
    vector: float
    importance: float
    age: float
    half_life: float


def fuse(rankings: Sequence[tuple[Sequence[int], float]], k: int) -> dict[int, float]:
    """Return the reciprocal rank fusion of rankings, whose weights may not all be 0: 1 for what is first everywhere."""
    scores: dict[int, float] = {}
    best = sum(weight / (k + 1) for _, weight in rankings)
    for ranking, weight in rankings:
        for rank, row in enumerate(ranking, 1):
            scores[row] = scores.get(row, 0.0) + weight / (k + rank)
    return {row: score / best for row, score in scores.items()}


def order(fused: Mapping[int, float], items: Mapping[int, Candidate], weights: Weights, now: float) -> list[int]:
    """Return items, best first: by their fused ranks, less what little importance and old age take off.

    Importance takes off at most its weight, for 0; age at most its own, half of that after one half-life.
    """

    def score(row: int) -> float:
        item = items[row]
        aged = 0.0 if item.fresh else 1.0 - 0.5 ** (max(0.0, now - item.told) / weights.half_life)
        return fused[row] * (1.0 - weights.importance * (1.0 - item.importance)) * (1.0 - weights.age * aged)

    return sorted(fused, key=lambda row: (-score(row), row))
