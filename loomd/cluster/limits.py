"""What one task of a cluster may use, together with everything that it is split into."""

import math

from pydantic import Field

from loomd.agents.work import UNCUT, Cut
from loomd.amoeba.task import Budget, Grant
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Duration, TokenBudget, Usd


class TreeLimits(Spec):
    """Limits of a task and all its descendants, unless the task sets its own; 0 is none at all."""

    tokens: TokenBudget = 256_000
    """Input and output tokens of all model calls, planning included."""
    cost: Usd = 5.0
    """US dollars of all model calls and tool calls."""
    calls: int = Field(default=500, ge=0)
    """Model calls, planning included."""
    tool_calls: int = Field(default=1000, ge=0)
    """Tool calls; when they are used up the work is wrapped up without tools."""
    time: Duration = 1800.0
    """Wall-clock time from the moment the task is accepted; it goes on while a daemon is down."""

    def fill(self, budget: Budget) -> Budget:
        """Return a task's budget with these limits where it names none; none is ever unlimited."""
        return Budget(
            self.tokens if budget.tokens is None else budget.tokens,
            self.cost if budget.cost is None else budget.cost,
            self.time if budget.seconds is None else budget.seconds,
            self.calls if budget.calls is None else budget.calls,
            self.tool_calls if budget.tool_calls is None else budget.tool_calls,
        )

    def granted(self, budget: Budget) -> Grant:
        """Return these limits where a task names none."""
        return Grant(
            self.tokens if budget.tokens is None else None,
            self.cost if budget.cost is None else None,
            self.time if budget.seconds is None else None,
            calls=self.calls if budget.calls is None else None,
            tool_calls=self.tool_calls if budget.tool_calls is None else None,
        )

    def lowered(self, grant: Grant) -> Cut:
        """Return by how much these are lower than what a task was granted; its time is one for the whole tree."""
        if (
            (grant.tokens or 0) <= self.tokens
            and (grant.cost or 0.0) <= self.cost
            and (grant.seconds or 0.0) <= self.time
            and (grant.calls or 0) <= self.calls
            and (grant.tool_calls or 0) <= self.tool_calls
        ):
            return UNCUT
        return Cut(
            0 if grant.tokens is None else math.ceil(max(0, grant.tokens - self.tokens) * grant.share),
            0.0 if grant.cost is None else max(0.0, grant.cost - self.cost) * grant.share,
            0.0 if grant.seconds is None else max(0.0, grant.seconds - self.time),
            0 if grant.calls is None else math.ceil(max(0, grant.calls - self.calls) * grant.share),
            0 if grant.tool_calls is None else math.ceil(max(0, grant.tool_calls - self.tool_calls) * grant.share),
        )
