"""EMA: the winner's score in each domain of the task moves toward the reward, far at first and less with each task.

The step is the gain of a Kalman filter (Kalman, 1960) for a skill that is believed to be normal, with a prior as
uncertain as one reward: 1 / (n + 2) after n tasks. A skill that may drift is a random walk, of which the gain does not
fall below a constant, where the filter is the exponential moving average (Muth, "Optimal properties of exponentially
weighted forecasts", JASA 1960); that constant is `alpha`. The moving variance follows West, "Updating mean and variance
estimates" (CACM 1979), in its exponentially weighted form.
"""

from typing import Literal

from pydantic import Field

from loomd.amoeba.decision import ScoreMove, Seen
from loomd.amoeba.policies.base import AdaptPolicy
from loomd.amoeba.task import Evaluated, Executed, Sensed
from loomd.amoeba.world import Score, Standing
from loomd.manifest.quantity import Share


class Ema(AdaptPolicy):
    """Moves scores toward rewards."""

    type: Literal["ema"] = "ema"
    alpha: float = Field(default=0.15, gt=0, le=1)
    """How far one reward moves a score at least: new = old + step x weight of the domain x own share x (reward - old),
    where the step after n tasks is 1 / (n + 2), and never below this. A larger one follows agents that change sooner; a
    smaller one tells agents apart that differ little."""
    noise: float = Field(default=0.1, ge=0.001, le=1)
    """Standard deviation of a reward whose uncertainty is not known. A reward that is less certain, such as that of a
    judge who errs, moves a score less: the step is divided by 1 + (1 - step) x (uncertainty / noise) squared."""
    min_weight: Share = 0.1
    """Weight of a domain in the task below which nothing is learned about it."""

    def decide(self, sensed: Sensed, executed: Executed, evaluated: Evaluated, winner: Standing) -> list[ScoreMove]:
        """Return the new score of the winner in each domain that the task weighs enough.

        The weight of a domain counts in proportion to what the winner did itself, so that the lead of a split is not
        credited with the work of others.
        """
        decisions: list[ScoreMove] = []
        if executed.outcome.mute:  # what others caused says nothing about the agent
            return decisions
        for domain, whole in sensed.domains.items():
            weight = whole * executed.own
            if weight < self.min_weight:
                continue
            score, seen = winner.scores[domain], Seen(evaluated.reward, weight, evaluated.uncertainty)
            now, step = self.moved(score, seen), self.step(score.count, seen.uncertainty)
            decisions.append(
                ScoreMove(
                    agent=winner.agent,
                    spec=winner.spec,
                    domain=domain,
                    before=score.mean,
                    after=now.mean,
                    variance=now.variance,
                    count=now.count,
                    reason=f"reward {evaluated.reward:.3f} in {domain} (weight {weight:.2f}, step {step:.2f})",
                    reward=evaluated.reward,
                    seen=(seen,),
                )
            )
        return decisions

    def moved(self, score: Score, seen: Seen) -> Score:
        """Return what is believed after one more reward, given what is believed before it."""
        step, error = self.step(score.count, seen.uncertainty) * seen.weight, seen.value - score.mean
        variance = (1 - step) * (score.variance + step * error * error)
        return Score(score.mean + step * error, variance, score.count + 1)

    def step(self, count: int, uncertainty: float = 0.0) -> float:
        """Return how far the reward of a whole task moves a score that so many tasks have moved.

        The gain of the filter is P / (P + R) with the variance P of the belief and R of a reward; an uncertain one adds
        its own variance to R.
        """
        gain = max(self.alpha, 1 / (count + 2))
        return gain / (1 + (1 - gain) * (uncertainty / self.noise) ** 2)
