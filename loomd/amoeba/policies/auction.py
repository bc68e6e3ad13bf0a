"""Auction: every agent bids, the highest bid above the reserve wins; no model is asked."""

import math
from collections.abc import Sequence
from random import Random
from typing import Literal, Self

from pydantic import Field, model_validator

from loomd.amoeba.crowd import Crowd, Numbers, alike, each, overall_of, running_of
from loomd.amoeba.policies.choosing import Choosing, Offers, Prices, beliefs, normals, seen, used
from loomd.amoeba.task import Bid, Sensed
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
    """Share of the tools that the task seems to need and the agent has and may call."""

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        total = self.capability + self.availability + self.history + self.tools
        if not math.isclose(total, 1.0, abs_tol=1e-6):
            raise ValueError(f"expected weights that sum to 1, got weights that sum to {total:g}")
        return self


class Auction(Choosing):
    """Chooses the agent with the highest weighted bid."""

    type: Literal["auction"] = "auction"
    weights: BidWeights = Field(default_factory=BidWeights)
    """Share of each factor in a bid."""
    exploration: Share = 0.40
    """Weight of a normal draw, seeded by the task, times how uncertain what is believed of the agent is: newcomers and
    unsteady agents get a chance, the less the more is known. As large as that of capability it is Thompson sampling; 0
    always takes who is believed to be best."""
    uncertainty: Share = 0.15
    """Standard deviation of what is believed of an agent in a domain in which it did no task yet."""
    price: Share = 0.10
    """Weight of what the task is expected to cost with the agent's model, which lowers its bid."""
    prices: Prices = Field(default_factory=Prices)
    """What a task is expected to cost."""
    reserve: Share = 0.2
    """Lowest bid that may win."""

    def offers(self, sensed: Sensed, agents: Sequence[Standing], draw: Random) -> Offers:
        """Return what each agent bids."""
        weights, known = self.weights, beliefs(sensed, agents, self.uncertainty)
        explores, is_priced = self.exploration > 0, _priced(self.price, agents)
        drawn = normals(draw, len(agents)) if explores else alike(agents, 0.0)
        costs = self.prices.factors(sensed.tokens, agents) if is_priced else alike(agents, 0.0)
        tools = _having(frozenset(sensed.tools), agents)
        able, idle, past, fit = weights.capability, weights.availability, weights.history, weights.tools
        share, price = self.exploration, self.price

        def total(mean: float, work: float, overall: float, has: float, spread: float, z: float, cost: float) -> float:
            return able * mean + idle / (1 + work) + past * overall + fit * has + share * spread * z - price * cost

        means, spreads = known.means, known.spreads
        totals = each(total, means, running_of(agents), overall_of(agents), tools, spreads, drawn, costs)
        shares = {**vars(weights), **({"exploration": self.exploration} if explores else {})}
        shares |= {"price": -self.price} if is_priced else {}

        def bid(at: int, agent: Standing) -> Bid:
            spread, z = float(spreads[at]), float(drawn[at])
            factors = {
                "capability": float(means[at]),
                "availability": 1 / (1 + agent.running),
                "history": agent.overall.mean,
                "tools": float(tools[at]),
            }
            if explores:
                factors["exploration"] = z * spread
            if is_priced:
                factors["price"] = float(costs[at])
            scores = {domain: agent.scores[domain].mean for domain in sensed.domains}
            uses = used(agent) if is_priced else ()
            return Bid(agent.agent, float(totals[at]), factors, scores, seen(sensed, agent), z, spread, uses)

        return Offers(totals, bid, shares, self.reserve)


def _having(needed: frozenset[str], agents: Sequence[Standing]) -> Numbers:
    """Return the share of some tools that each agent has and may call; 1 where none is needed."""
    if not needed:
        return alike(agents, 1.0)
    return agents.having(needed) if type(agents) is Crowd else [_has(needed, agent) for agent in agents]


def _has(needed: frozenset[str], agent: Standing) -> float:
    """Return the share of some tools that an agent has and may call."""
    has = needed & agent.tools if agent.permits is None else needed & agent.tools & agent.permits
    return len(has) / len(needed)


def _priced(share: float, agents: Sequence[Standing]) -> bool:
    """Return whether prices play a part: some model costs something."""
    if share <= 0:
        return False
    if type(agents) is Crowd:
        return agents.is_priced
    return any(agent.price != (0.0, 0.0) for agent in agents)
