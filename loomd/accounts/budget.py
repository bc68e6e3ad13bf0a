"""What may be used in a day, as written in a manifest."""

from collections.abc import Mapping
from functools import cached_property

from pydantic import Field

from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Duration, Share, Usd

MEASURES = ("tokens", "cost", "calls", "tool_calls", "time")
"""What is counted; the names are those of the fields of `Budget`."""


class Budget(Spec):
    """What may be used; what is not set is not limited here, and 0 is none at all."""

    tokens: int | None = Field(default=None, ge=0, examples=[500_000])
    """Input and output tokens of all model calls; cached input counts like any other."""
    cost: Usd | None = Field(default=None, examples=[5.0])
    """US dollars of all model calls and tool calls, at the prices that are declared or listed."""
    calls: int | None = Field(default=None, ge=0, examples=[1000])
    """Model calls, planning included."""
    tool_calls: int | None = Field(default=None, ge=0, examples=[500])
    """Tool calls; one beyond it is not made, and the model is told."""
    time: Duration | None = Field(default=None, examples=["2h"])
    """Time that model calls and tool calls take, added up; those under way when it is used up end as they do."""
    warn_at: Share = 0.8
    """Share of a limit from which on a `budget.warning` is told."""

    @cached_property
    def limits(self) -> Mapping[str, float]:
        """Return the limits that are set, by measure."""
        return {name: limit for name in MEASURES if (limit := getattr(self, name)) is not None}


class Budgets(Spec):
    """Budgets by period."""

    daily: Budget = Field(default_factory=Budget)
    """What may be used from midnight to midnight, UTC. The latest value holds at once, a higher one too."""
