"""EMA: the winner's score in each domain of the task moves toward the reward.

The exponential moving average and its moving variance follow West, "Updating mean and variance estimates" (CACM 1979),
in their exponentially weighted form.
"""

from typing import Literal

from pydantic import Field

from loomd.amoeba.policies.base import AdaptPolicy
from loomd.amoeba.task import Decision, Evaluated, Executed, ScoreMove, Sensed
from loomd.amoeba.world import Standing
from loomd.manifest.quantity import Share


class Ema(AdaptPolicy):
    """Moves scores toward rewards."""

    type: Literal["ema"] = "ema"
    alpha: float = Field(default=0.3, gt=0, le=1)
    """How far one reward moves a score: new = old + alpha x weight of the domain x own share x (reward - old)."""
    min_weight: Share = 0.1
    """Weight of a domain in the task below which nothing is learned about it."""

    def decide(self, sensed: Sensed, executed: Executed, evaluated: Evaluated, winner: Standing) -> list[Decision]:
        """Return the new score of the winner in each domain that the task weighs enough.

        The weight of a domain counts in proportion to what the winner did itself, so that the lead of a split is not
        credited with the work of others.
        """
        decisions: list[Decision] = []
        if executed.outcome.temporary:  # a service that was away says nothing about the agent
            return decisions
        for domain, whole in sensed.domains.items():
            weight = whole * executed.own
            if weight < self.min_weight:
                continue
            score = winner.scores[domain]
            step = self.alpha * weight
            error = evaluated.reward - score.mean
            decisions.append(
                ScoreMove(
                    agent=winner.agent,
                    spec=winner.spec,
                    domain=domain,
                    before=score.mean,
                    after=score.mean + step * error,
                    variance=(1 - step) * (score.variance + step * error * error),
                    count=score.count + 1,
                    reason=f"reward {evaluated.reward:.3f} in {domain} (weight {weight:.2f})",
                )
            )
        return decisions
