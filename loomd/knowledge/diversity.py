"""Maximal marginal relevance: passages that say something else than those before them. Pure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loomd.knowledge.base import Vectors


def spread(scores: Sequence[float], vectors: "Vectors", diversity: float, count: int) -> list[int]:
    """Return the places of all passages in their new order: `count` chosen one by one, then the rest by score.

    Chosen is each time what has most of this: its share of the best score, times `1 - diversity`, less its largest
    cosine with what was chosen before, times `diversity`. Of equals the first is chosen.

    Args:
        scores: best first.
        vectors: `(passages, dimension)` float32, every row of length 1 or all zeros.
        diversity: from 0, which changes nothing, to 1, which looks at scores only for the first one.
        count: how many are chosen.
    """
    import numpy as np  # noqa: PLC0415  # loaded with the vectors

    best = scores[0] if scores and scores[0] > 0 else 1.0
    worth = (1 - diversity) * np.array(scores, np.float32) / best
    alike = np.full(len(scores), -1.0, np.float32)
    chosen: list[int] = []
    left = np.ones(len(scores), bool)
    for _ in range(min(count, len(scores))):
        marginal = worth - diversity * alike if chosen else np.array(scores, np.float32)
        place = int(np.argmax(np.where(left, marginal, -np.inf)))
        chosen.append(place)
        left[place] = False
        alike = np.maximum(alike, vectors @ vectors[place])
    return chosen + [place for place in range(len(scores)) if left[place]]
