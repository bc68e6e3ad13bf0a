"""What one task of a cluster may use, together with everything that it is split into."""

from pydantic import Field

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
