"""What past tasks say of a new one: how many are kept, which ones are alike, and what they say together.

The numbers are part of `kind: Cluster`, as `learning.history`. Pure: nothing here looks at a clock or a store.
"""

from collections.abc import Sequence

import msgspec
from pydantic import Field

from loomd.amoeba.world import Neighbour
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Share


class History(Spec):
    """Which past tasks SENSE hears of."""

    keep: int = Field(default=10_000, ge=0, le=1_000_000)
    """How many tasks are kept to compare later ones with; the oldest of more leave with the next clean-up. With 0 none
    is kept, nor without an embedder."""
    neighbours: int = Field(default=5, ge=1, le=50)
    """How many past tasks SENSE hears of, those most like the new one."""
    min_likeness: Share = 0.6
    """Likeness (cosine of the embedder's vectors) below which a past task plays no part."""


class Known(msgspec.Struct, frozen=True):
    """What past tasks say together.

    Attributes:
        share: how much that counts beside the structure of the text, 0 to 1.
        complexity: what they turned out to be.
        tokens: that they took.
        domains: weights of their domains.
    """

    share: float
    complexity: float
    tokens: float
    domains: dict[str, float]


def known(neighbours: Sequence[Neighbour], most: float, doubt: float) -> Known | None:
    """Return what past tasks say, each by its likeness; None when there are none that are alike.

    One that is quite like the new task counts 1. Together they count as n observations beside those that the structure
    of the text is worth: most x n / (n + doubt).

    Args:
        neighbours: the past tasks.
        most: what endlessly many count.
        doubt: how many observations the structure of the text is worth.
    """
    total = sum(one.weight for one in neighbours)
    if not most or not total:
        return None
    domains: dict[str, float] = {}
    for one in neighbours:
        for name, weight in one.domains.items():
            domains[name] = domains.get(name, 0.0) + one.weight * weight / total
    complexity = sum(one.weight * one.observed for one in neighbours) / total
    tokens = sum(one.weight * one.tokens for one in neighbours) / total
    return Known(most * total / (total + doubt), complexity, tokens, domains)
