"""How an agent that does badly gets better instructions: when, how they are tried, and what they cost.

Part of `kind: Cluster`, as `learning.evolve`. Pure: what runs the trials is in `loomd.evolution`.
"""

from typing import Annotated

from pydantic import Field

from loomd.amoeba.trial import Trial
from loomd.manifest.kind import RefTo, Spec
from loomd.manifest.quantity import Duration, Share, Tokens, Usd

_DAY = 86_400.0


class Probation(Spec):
    """What becomes of new instructions that do worse than the old ones did."""

    samples: int = Field(default=5, ge=1, le=100)
    """Tasks that must have been rewarded with them before anything is said."""
    tasks: int = Field(default=20, ge=1, le=100)
    """Tasks for which they are on probation; after that they stay."""
    margin: Share = 0.05
    """By how much the mean of their last `samples` rewards must be below that of the old ones for the old ones to come
    back."""


class Evolve(Spec):
    """When an agent gets better instructions, and how they are tried before they count.

    A model writes them from some of the agent's past tasks. They are tried on others, beside the old ones.
    """

    declared: bool = False
    """Whether agents that a person declared may get further instructions, after the prompt of their manifest, or only
    those that the cluster made itself. What a person wrote stays as it is either way."""
    provider: Annotated[str, RefTo("Provider")] | None = Field(default=None, examples=["careful"])
    """Provider of the model that writes instructions; the cluster's `planner`, or else the agent's own, when unset."""
    below: Share = 0.35
    """Mean reward of the last `window` tasks below which an agent gets new ones."""
    window: int = Field(default=5, ge=1, le=100)
    """How many of its last rewards count, since it was declared, edited or given other instructions."""
    shown: int = Field(default=3, ge=1, le=20)
    """Most past tasks that the model is shown: those with the lowest rewards."""
    tasks: int = Field(default=8, ge=1, le=50)
    """Most further past tasks on which the instructions are tried; none of those that the model was shown, and none
    with the same words."""
    min_tasks: int = Field(default=4, ge=1, le=50)
    """Fewest of them; with fewer nothing is tried."""
    gain: Share = 0.02
    """By how much the mean reward on them must rise."""
    margin: Share = 0.02
    """By how much the mean quality that rules and the tasks' own expectations alone see may fall, whatever a judge
    says."""
    loss: Share = 0.3
    """By how much the reward of a single one of them may fall."""
    max_length: int = Field(default=2_000, ge=100, le=20_000)
    """Most characters of instructions."""
    max_tokens: Tokens = 800
    """Longest answer of the model that writes them, in tokens."""
    attempts: int = Field(default=2, ge=1, le=5)
    """How often the model is asked before it is given up: it is told what was wrong."""
    tenants: bool = False
    """Whether the model may be shown tasks of tenants or users. What it writes from them is read in the tasks of
    others, so by default it is shown only tasks that belong to nobody. Trials are on tasks of anybody: nothing of
    them leaves the trial but rewards."""
    tokens: Tokens = 200_000
    """Most tokens of writing and trying together."""
    cost: Usd = 0.5
    """Most US dollars of that. Budgets of a day hold, too."""
    time: Duration = Field(default=900.0, gt=0)
    """Longest time of that."""
    cool_down: Duration = 3600.0
    """Time until instructions of the same agent are tried again, whatever came of it."""
    backoff: float = Field(default=2.0, ge=1, le=10)
    """By what the time is multiplied each time that the agent is tried again as it behaves."""
    max_cool_down: Duration = 7 * _DAY
    """Longest such time."""
    probation: Probation = Field(default_factory=Probation)
    """What becomes of instructions that do worse than the old ones did."""

    def waits(self, times: int) -> float:
        """Return the seconds to wait after an agent was tried so many times as it behaves."""
        return min(self.max_cool_down, self.cool_down * self.backoff ** min(max(0, times - 1), 64))

    def fault(self, trial: Trial) -> str:
        """Return why instructions are not promoted after a trial, or an empty string."""
        if len(trial.pairs) < self.min_tasks:
            return f"{len(trial.pairs)} held-out tasks say too little, {self.min_tasks} are needed"
        if trial.checked < -self.margin - _ROUNDING:
            return f"what rules and expectations alone see falls by {-trial.checked:.3f}"
        if trial.worst > self.loss + _ROUNDING:
            return f"a task loses {trial.worst:.3f}"
        if (gain := trial.after - trial.before) < self.gain - _ROUNDING:
            return f"the mean moves by {round(gain, 3) + 0.0:+.3f}, and {self.gain:+g} is needed"
        return ""


_ROUNDING = 1e-9
