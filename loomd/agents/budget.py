"""What one piece of work may use, and how much of it is left. Checked before each call, never after the fact."""

import sys
from dataclasses import dataclass, field

import msgspec
from pydantic import Field

from loomd.accounts.account import Want, answer_room
from loomd.agents.work import StopReason
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Duration, Share, Tokens, Usd
from loomd.messages import Usage


class Limits(Spec):
    """What one task of an agent may use."""

    steps: int = Field(default=8, ge=1, le=1000)
    """Model calls, the last of which is the wrap-up without tools."""
    tokens: Tokens = 64_000
    """Input and output tokens of all model calls together."""
    cost: Usd = 1.0
    """US dollars of all model calls and tool calls together."""
    time: Duration = 300.0
    """Wall-clock time."""
    repeats: int = Field(default=3, ge=1)
    """How often the same tool may be called with the same arguments before the work is wrapped up."""
    tool_calls: int = Field(default=100, ge=1)
    """Tool calls of the whole task, those of agents that it delegates to included; a call beyond them is not made, and
    the work is wrapped up."""
    calls_per_turn: int = Field(default=32, ge=1)
    """Tool calls that are made of those that a model wants in one turn; it is told that the others were not made."""
    tool_errors: int = Field(default=5, ge=1)
    """Tool calls in a row that may fail, bad arguments included, before the work is wrapped up; the model is told of
    each."""
    repairs: int = Field(default=2, ge=0, le=20)
    """How often in a row an answer that cannot be used goes back to the model with what is wrong with it: one that
    breaks the schema of `output`, or the form that `strategy` wants."""
    warn_at: Share = 0.8
    """Share of the tokens or of the money from which on a `budget.warning` is told."""

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
    """A limit was reached; what there is so far is the answer.

    Attributes:
        reason: why the work ends.
        limit: most of what is counted.
        used: how much of it is used.
        note: what people are to know of it.
        budget: whose limit it is: `run`, or the owner of a day's budget.
        opens: when that opens again, wall-clock seconds, or 0.
    """

    def __init__(
        self, reason: StopReason, limit: float, used: float, note: str = "", budget: str = "run", opens: float = 0.0
    ) -> None:
        super().__init__(note or reason)
        self.reason: StopReason = reason
        self.limit = limit
        self.used = used
        self.note = note
        self.budget = budget
        self.opens = opens


class Spent(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens and USD of model calls, and the numbers of tool calls and of model calls."""

    usage: Usage = Usage()
    cost: float = 0.0
    calls: int = 0
    steps: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        """Return the sum, field by field."""
        usage, cost = self.usage + other.usage, self.cost + other.cost
        return Spent(usage, cost, self.calls + other.calls, self.steps + other.steps)


@dataclass(slots=True)
class Budget:
    """The running account of one piece of work.

    Attributes:
        tokens: most tokens, agent's limit and task's budget combined; the loop sets it before each call.
        cost: most USD, set likewise.
        usage: tokens used so far.
        spent: USD spent so far.
        calls: tool calls made so far.
        tool_calls: most tool calls, set likewise.
        steps: model calls begun so far.
        steps_most: most model calls of the task's budget, set likewise.
        making: tool calls that are being made.
        above: the account of whoever delegated the work; what is used here must be left there, too.
        below: the accounts of work that is delegated right now.
        held: USD of tool calls that are being made, by the keys of their steps.
    """

    tokens: int = 0
    cost: float = 0.0
    usage: Usage = field(default_factory=Usage)
    spent: float = 0.0
    calls: int = 0
    tool_calls: int = 0
    steps: int = 0
    steps_most: int = sys.maxsize
    making: int = 0
    above: "Budget | None" = None
    below: list["Budget"] = field(default_factory=list["Budget"])
    held: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        """Make the account known to the one above it."""
        if self.above is not None:
            self.above.below.append(self)

    @property
    def total(self) -> "Spent":
        """Return what is used so far, delegated work that goes on included."""
        total = Spent(self.usage, self.spent, self.calls, self.steps)
        for budget in self.below:
            total += budget.total
        return total

    @property
    def pending(self) -> int:
        """Return how many tool calls are being made, here and in delegated work."""
        return self.making + sum(budget.pending for budget in self.below)

    @property
    def calls_left(self) -> int:
        """Return how many tool calls may still be made."""
        left = self.tool_calls - self.total.calls - self.pending
        return max(0, left if self.above is None else min(left, self.above.calls_left))

    @property
    def steps_left(self) -> int:
        """Return how many model calls the task's budget still has."""
        if self.above is None and self.steps_most == sys.maxsize:
            return sys.maxsize
        left = self.steps_most - self.total.steps
        return max(0, left if self.above is None else min(left, self.above.steps_left))

    @property
    def left(self) -> float:
        """Return the USD that may still be spent."""
        left = self.cost - self.total.cost - sum(self.held.values())
        return left if self.above is None else min(left, self.above.left)

    def room(self, want: Want) -> int:
        """Return how many tokens the answer of a call may have, so that the call fits into what is left.

        Raises:
            Exhausted: it does not fit; with the stop reason and both values.
        """
        used = self.total
        tokens = answer_room("tokens", self.tokens - used.usage.total, want)
        if tokens < 1:
            raise Exhausted("budget_tokens", max(0, self.tokens), used.usage.total)
        paid = answer_room("cost", self.cost - used.cost - sum(self.held.values()), want)
        if paid < 1:
            raise Exhausted("budget_cost", max(0.0, self.cost), used.cost)
        if used.steps >= self.steps_most:
            raise Exhausted("budget_calls", max(0, self.steps_most), used.steps)
        room = min(want.output, tokens, paid)
        return room if self.above is None else min(room, self.above.room(want))

    def book(self, spent: "Spent", warn_at: float) -> list[tuple[str, float, float]]:
        """Book what was used; return measure, limit and what is used where most of a limit is from now on."""
        before = self.total
        tokens, cost = float(before.usage.total), before.cost
        self.usage += spent.usage
        self.spent += spent.cost
        self.calls += spent.calls
        self.steps += spent.steps
        limits = (
            ("tokens", float(self.tokens), tokens, tokens + spent.usage.total),
            ("cost", self.cost, cost, cost + spent.cost),
        )
        return [(name, limit, used) for name, limit, was, used in limits if was < warn_at * limit <= used]
