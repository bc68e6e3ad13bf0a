"""Auction: every agent bids, the highest bid above the reserve wins; no model is asked."""

import math
from collections.abc import Sequence
from random import Random
from typing import Literal, Self

from pydantic import Field, model_validator

from loomd.amoeba.asking import Asking
from loomd.amoeba.policies.base import MatchPolicy
from loomd.amoeba.task import Bid, Matched, Sensed
from loomd.amoeba.world import Standing
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Share


class BidWeights(Spec):
    """Share of each factor in a bid; they must sum to 1."""

    capability: Share = 0.40
    """What is believed of the agent in the task's domains."""
    availability: Share = 0.25
    """How idle the agent is: 1 / (1 + work in hand)."""
    history: Share = 0.20
    """What is believed of the agent over all domains."""
    tools: Share = 0.15
    """Share of the tools that the task seems to need and the agent has."""

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        total = self.capability + self.availability + self.history + self.tools
        if not math.isclose(total, 1.0, abs_tol=1e-6):
            raise ValueError(f"expected weights that sum to 1, got weights that sum to {total:g}")
        return self


class Auction(MatchPolicy):
    """Chooses the agent with the highest weighted bid."""

    type: Literal["auction"] = "auction"
    weights: BidWeights = Field(default_factory=BidWeights)
    """Share of each factor in a bid."""
    exploration: Share = 0.10
    """Largest bonus for an agent that nothing is known of; it shrinks as 1 / sqrt(1 + tasks seen) and is scaled by the
    task's seeded draw, so that newcomers get a chance and a run can be repeated."""
    reserve: Share = 0.2
    """Lowest bid that may win."""
    no_winner: Literal["best_available", "fail"] = "best_available"
    """What happens when nobody bids above the reserve: the best losing bid takes it, or the task fails."""

    async def choose(self, sensed: Sensed, agents: Sequence[Standing], draw: Random, asking: Asking) -> Matched:
        """Return the winner with all bids, highest first."""
        del asking
        bids = sorted((self._bid(sensed, agent, draw.random()) for agent in agents), key=lambda b: (-b.total, b.agent))
        if not bids:
            return Matched("", (), "the cluster has no agents")
        best = bids[0]
        winner, why = best.agent, f"highest of {len(bids)} bids: {best.total:.3f}"
        if best.total < self.reserve:
            why = f"best bid {best.total:.3f} is below the reserve {self.reserve:g}"
            if self.no_winner == "fail":
                winner = ""
            else:
                why += "; taken as best available"
        return Matched(winner, tuple(bids), why, self._shares(), self.reserve)

    def _shares(self) -> dict[str, float]:
        """Return by what each factor is multiplied."""
        return {**self.weights.model_dump(), "exploration": self.exploration}

    def _bid(self, sensed: Sensed, agent: Standing, drawn: float) -> Bid:
        count = sum(agent.scores[d].count * w for d, w in sensed.domains.items())
        factors = {
            "capability": sum(agent.scores[d].mean * w for d, w in sensed.domains.items()),
            "availability": 1 / (1 + agent.running),
            "history": agent.overall.mean,
            "tools": len(agent.tools.intersection(sensed.tools)) / len(sensed.tools) if sensed.tools else 1.0,
            "exploration": drawn / math.sqrt(1 + count),
        }
        total = sum(share * factors[name] for name, share in self._shares().items())
        scores = {domain: agent.scores[domain].mean for domain in sensed.domains}
        return Bid(agent.agent, total, factors, scores, count, drawn)
