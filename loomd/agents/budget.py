"""What one piece of work may use, and how much of it is left. Checked before each call, never after the fact."""

from dataclasses import dataclass, field

from pydantic import Field

from loomd.agents.work import StopReason
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Duration, Tokens, Usd
from loomd.messages import Reply, Usage


class Limits(Spec):
    """What one task of an agent may use."""

    steps: int = Field(default=8, ge=1, le=1000)
    """Model calls, the last of which is the wrap-up without tools."""
    tokens: Tokens = 64_000
    """Input and output tokens of all model calls together."""
    cost: Usd = 1.0
    """US dollars of all model calls together."""
    time: Duration = 300.0
    """Wall-clock time."""
    repeats: int = Field(default=3, ge=1)
    """How often the same tool may be called with the same arguments before the work is wrapped up."""

    def lowest(self, other: "Limits") -> "Limits":
        """Return the lower one of each limit."""
        if self == other:
            return self
        fields = type(self).model_fields
        return self.model_copy(update={name: min(getattr(self, name), getattr(other, name)) for name in fields})


class SkillBudget(Spec):
    """How much of the prompt an agent's skills may take up, estimated as a quarter of the characters."""

    catalogue: int = Field(default=2000, ge=0)
    """Tokens for the list of skills that the model may take up; those of the lowest priority are left out of it."""
    instructions: int = Field(default=8000, ge=0)
    """Tokens for the instructions of skills whose triggers fit; those of the lowest priority that find no room are
    listed instead."""


class Exhausted(Exception):  # control flow inside an agent's run, never seen outside
    """A limit was reached; what there is so far is the answer."""

    def __init__(self, reason: StopReason, limit: float, used: float) -> None:
        super().__init__(reason)
        self.reason: StopReason = reason
        self.limit = limit
        self.used = used


@dataclass
class Budget:
    """The running account of one piece of work.

    Attributes:
        tokens: most tokens, agent's limit and task's budget combined; the loop sets it before each call.
        cost: most USD, set likewise.
        usage: tokens used so far.
        spent: USD spent so far.
    """

    tokens: int = 0
    cost: float = 0.0
    usage: Usage = field(default_factory=Usage)
    spent: float = 0.0

    def check(self) -> None:
        """Raise when there is nothing left for another call.

        Raises:
            Exhausted: with the stop reason and both values.
        """
        if self.usage.total >= self.tokens:
            raise Exhausted("budget_tokens", max(0, self.tokens), self.usage.total)
        if self.spent > self.cost:
            raise Exhausted("budget_cost", max(0.0, self.cost), self.spent)

    def room(self, wanted: int) -> int:
        """Return how many output tokens a call may still produce, at least 1."""
        return max(1, min(wanted, self.tokens - self.usage.total))

    def settle(self, reply: Reply) -> None:
        """Book what a call used."""
        self.usage += reply.usage
        self.spent += reply.cost
