"""Thompson: each agent is drawn from what may be true of it, and the best draw wins; no model is asked.

Thompson sampling with normal beliefs (W. R. Thompson, 1933; Russo et al., A Tutorial on Thompson Sampling, 2018).
"""

from collections.abc import Sequence
from random import Random
from typing import Literal

from loomd.amoeba.crowd import each
from loomd.amoeba.policies.choosing import Choosing, Offers, beliefs, normals, seen
from loomd.amoeba.task import Bid, Sensed
from loomd.amoeba.world import Standing
from loomd.manifest.quantity import Share


class Thompson(Choosing):
    """Chooses by capability alone, as likely as an agent may be the best."""

    type: Literal["thompson"] = "thompson"
    uncertainty: Share = 0.3
    """Standard deviation of what is believed of an agent in a domain in which it did no task yet."""

    def offers(self, sensed: Sensed, agents: Sequence[Standing], draw: Random) -> Offers:
        """Return what each agent is drawn as."""
        known, drawn = beliefs(sensed, agents, self.uncertainty), normals(draw, len(agents))

        def total(mean: float, spread: float, z: float) -> float:
            return mean + spread * z

        totals = each(total, known.means, known.spreads, drawn)

        def bid(at: int, agent: Standing) -> Bid:
            mean, spread, z = float(known.means[at]), float(known.spreads[at]), drawn[at]
            factors = {"capability": mean, "exploration": z * spread}
            scores = {domain: agent.scores[domain].mean for domain in sensed.domains}
            return Bid(agent.agent, float(totals[at]), factors, scores, seen(sensed, agent), z, spread)

        return Offers(totals, bid, {"capability": 1.0, "exploration": 1.0})
