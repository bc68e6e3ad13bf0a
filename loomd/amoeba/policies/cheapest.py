"""Cheapest: of those who are believed to be good enough, whoever is expected to cost least; no model is asked."""

from collections.abc import Sequence
from random import Random
from typing import Literal

from pydantic import Field

from loomd.amoeba.crowd import each, names_of, running_of
from loomd.amoeba.policies.choosing import Choosing, Offers, Prices, beliefs, seen, used
from loomd.amoeba.task import Bid, Sensed
from loomd.amoeba.world import Standing
from loomd.manifest.quantity import Share

_LEAST = 1e-9


class Cheapest(Choosing):
    """Chooses who costs least of those who are good enough."""

    type: Literal["cheapest"] = "cheapest"
    capability: Share = 0.5
    """What must at least be believed of an agent in the task's domains; when it is believed of nobody, the cheapest of
    all takes the task, or it fails, as `noWinner` says."""
    prices: Prices = Field(default_factory=Prices)
    """What a task is expected to cost."""

    def passing(self, sensed: Sensed, agents: Sequence[Standing]) -> dict[str, str]:
        """Return which agents take no such task for now, because they are not good enough or of something else."""
        means = beliefs(sensed, agents, 0.0).means
        poor = {
            name: f"it is believed {mean:.2f} good, and {self.capability:g} is the least"
            for name, mean in zip(names_of(agents), means, strict=True)
            if mean < self.capability
        }
        return {**poor, **self.filters.passing(agents)}

    def praise(self, best: Bid, count: int) -> str:
        """Return what the winner is expected to cost."""
        return (
            f"{f'lowest of {count} prices' if count > 1 else 'the only one'}: {best.factors['cost']:.6f} USD expected"
        )

    def offers(self, sensed: Sensed, agents: Sequence[Standing], draw: Random) -> Offers:
        """Return what each agent costs; of equals the less busy one wins, then the better one."""
        del draw
        known = beliefs(sensed, agents, 0.0)
        costs = self.prices.costs(sensed.tokens, agents)

        def total(cost: float, work: float, mean: float) -> float:
            return -cost - _LEAST * work - _LEAST * (1 - mean) / 2

        totals = each(total, costs, running_of(agents), known.means)

        def bid(at: int, agent: Standing) -> Bid:
            scores = {domain: agent.scores[domain].mean for domain in sensed.domains}
            factors = {"cost": float(costs[at]), "capability": float(known.means[at])}
            return Bid(agent.agent, float(totals[at]), factors, scores, seen(sensed, agent), uses=used(agent))

        return Offers(totals, bid, {"cost": -1.0})
