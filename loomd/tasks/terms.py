"""What a run of a declared task may use. Schedules say it alike."""

from pydantic import Field

from loomd.amoeba.task import Budget
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Duration, TokenBudget, Usd


class TaskBudget(Spec):
    """What one run and everything that it is split into may use; 0 is none at all, unset the cluster's own limit."""

    tokens: TokenBudget | None = Field(default=None, examples=[50_000])
    """Input and output tokens of all model calls."""
    cost: Usd | None = Field(default=None, examples=[0.5])
    """US dollars of all model calls."""
    time: Duration | None = Field(default=None, examples=["10m"])
    """Wall-clock time from the moment the run starts."""

    @property
    def limits(self) -> Budget:
        """Return the budget of a task."""
        return Budget(self.tokens, self.cost, self.time)
