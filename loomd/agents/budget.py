"""What one piece of work may use, and how much of it is left. Checked before each call, never after the fact."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
from pydantic import Field

from loomd.accounts.account import Want, answer_room
from loomd.agents.work import UNCUT, Cut, Ended, StopReason, Work
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Duration, Share, TokenBudget, Usd
from loomd.messages import Usage


class Limits(Spec):
    """What one task of an agent may use; 0 is none at all."""

    steps: int = Field(default=8, ge=0, le=1000)
    """Model calls, the last of which is the wrap-up without tools."""
    tokens: TokenBudget = 64_000
    """Input and output tokens of all model calls together."""
    cost: Usd = 1.0
    """US dollars of all model calls and tool calls together."""
    time: Duration = 300.0
    """Wall-clock time."""
    repeats: int = Field(default=3, ge=1)
    """How often the same tool may be called with the same arguments before the work is wrapped up."""
    tool_calls: int = Field(default=100, ge=0)
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
        if self is other or self == other:
            return self
        fields = type(self).model_fields
        return self.model_copy(update={name: min(getattr(self, name), getattr(other, name)) for name in fields})


def _nothing(sent: int, made: int) -> float:
    """Return what tokens cost where money is no matter."""
    del sent, made
    return 0.0


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
        ended: the end that was recorded, when the work is played again.
    """

    def __init__(
        self,
        reason: StopReason,
        limit: float,
        used: float,
        note: str = "",
        budget: str = "run",
        opens: float = 0.0,
        ended: Ended | None = None,
    ) -> None:
        super().__init__(note or reason)
        self.reason: StopReason = reason
        self.limit = limit
        self.used = used
        self.note = note
        self.budget = budget
        self.opens = opens
        self.ended = ended


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


NOTHING = Spent()


class Use(NamedTuple):
    """What is gone of an account, and what is set aside of it for model calls under way.

    Attributes:
        tokens: tokens that are used.
        cost: USD that are used.
        steps: model calls that have ended.
        held: USD of tool calls that are being made.
        aside: tokens, USD and number of model calls under way.
    """

    tokens: int
    cost: float
    steps: int
    held: float = 0.0
    aside: tuple[int, float, int] = (0, 0.0, 0)


@dataclass(slots=True)
class Budget:
    """The running account of one piece of work, in the tree of those of a task.

    Work that goes on side by side, delegated work and parts of a split, has an account of its own below that of the
    whole; a model call sets aside what it may use on its own account, and so on all above it.

    Attributes:
        tokens: most tokens, agent's limit and task's budget combined; the loop sets it before each call.
        cost: most USD, set likewise.
        usage: tokens used so far.
        spent: USD spent so far.
        calls: tool calls made so far.
        tool_calls: most tool calls, set likewise.
        steps: model calls made so far.
        steps_most: most model calls of the task's budget, set likewise.
        making: tool calls that are being made.
        above: the account of whoever delegated the work, or of the task that is split.
        below: the accounts of work that goes on below it.
        held: USD of tool calls that are being made, by the keys of their steps.
        aside: tokens, USD and number of the model call under way.
        known: what is recorded of it from before an interruption; it counts before it is booked again.
        short: which limit made the last answer shorter than the agent's own length, if one did.
        split: whether it is that of a task that is split: its parts have shares of their own, by which they plan.
        cut: returns by how much less may be used since.
        moved: set when a model call has ended somewhere in the tree; None as long as it is no tree.
    """

    tokens: int = 0
    cost: float = 0.0
    usage: Usage = NOTHING.usage
    spent: float = 0.0
    calls: int = 0
    tool_calls: int = 0
    steps: int = 0
    steps_most: int = sys.maxsize
    making: int = 0
    above: "Budget | None" = None
    below: list["Budget"] = field(default_factory=list["Budget"])
    held: dict[str, float] = field(default_factory=dict[str, float])
    aside: tuple[int, float, int] = (0, 0.0, 0)
    known: Spent = NOTHING
    short: StopReason | None = None
    split: bool = False
    cut: Callable[[], Cut] | None = None
    moved: asyncio.Event | None = None

    def __post_init__(self) -> None:
        """Make the account known to the one above it."""
        if self.above is not None:
            self.above.below.append(self)
            self.moved = self.above.moved = self.above.moved or asyncio.Event()

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
        return self.making + sum([budget.pending for budget in self.below]) if self.below else self.making

    @property
    def calls_left(self) -> int:
        """Return how many tool calls may still be made."""
        made = self.total.calls if self.below else self.calls
        left = self.tool_calls - made - self.pending
        return max(0, left if self.above is None or self.above.split else min(left, self.above.calls_left))

    @property
    def steps_left(self) -> int:
        """Return how many model calls the task's budget still has."""
        if self.above is None and self.steps_most == sys.maxsize:
            return sys.maxsize
        use = self.use()
        left = self.steps_most - use.steps - use.aside[2]
        return max(0, left if self.above is None or self.above.split else min(left, self.above.steps_left))

    @property
    def left(self) -> float:
        """Return the USD that may still be spent, in this moment."""
        use, cut = self.use(), self._cut()
        left = self.cost - cut.cost - use.cost - use.held - use.aside[1]
        return left if self.above is None else min(left, self.above.left)

    def bound(self, limits: Limits, work: Work, cut: Cut) -> None:
        """Take over what may be used: the agent's limits, and what the task's budget leaves of them."""
        self.tokens = limits.tokens if work.tokens is None else min(limits.tokens, work.tokens - cut.tokens)
        self.cost = limits.cost if work.cost is None else min(limits.cost, work.cost - cut.cost)
        granted = limits.tool_calls if work.tool_calls is None else work.tool_calls - cut.tool_calls
        self.tool_calls = min(limits.tool_calls, granted)
        self.steps_most = sys.maxsize if work.calls is None else work.calls - cut.calls

    def allow(self, want: Want) -> int:
        """Return how many tokens the answer of a call may have, and note which limit makes it shorter; see `room`."""
        room = self.room(want)
        self.short = None
        if room < want.output:
            fits = self.room(want._replace(price=_nothing)) == want.output
            self.short = "budget_cost" if fits else "budget_tokens"
        return room

    def room(self, want: Want, tokens: int = 0, cost: float = 0.0, steps: int = 0) -> int:
        """Return how many tokens the answer of a call may have by what this work itself has used, and those above it.

        What goes on side by side with it does not count, so that this is the same whenever the work is run again.

        Args:
            want: what the call may use at most.
            tokens: tokens that were used below.
            cost: USD that were used below.
            steps: model calls that were made below.

        Raises:
            Exhausted: it does not fit; with the stop reason and both values.
        """
        tokens, cost, steps = tokens + self.usage.total, cost + self.spent, steps + self.steps
        held = sum(self.held.values()) if self.held else 0.0
        room = self.answer(want, Use(tokens, cost, steps, held))
        return room if self.above is None else min(room, self.above.room(want, tokens, cost, steps))

    async def reserve(self, want: Want) -> int:
        """Set aside what a model call may use, here and above, until it is released; return its longest answer.

        A call for which others that are under way hold too much waits until they have settled.

        Raises:
            Exhausted: it would not fit if nothing were set aside for others.
        """
        moved = self.moved = self.moved or asyncio.Event()
        while True:
            moved.clear()
            free = rest = want.output
            one: Budget | None = self
            while one is not None:
                use = one.use()
                rest = min(rest, one.answer(want, use))
                free = min(free, one.answer(want, use, aside=True))
                one = one.above
            if free >= rest:
                self.aside = (want.input + rest, want.price(want.input, rest), 1)
                return rest
            await moved.wait()

    def release(self) -> None:
        """Give back what is set aside for the model call that has ended; what it used is booked by then."""
        if self.aside[2]:
            self.aside = (0, 0.0, 0)
            if self.moved is not None:
                self.moved.set()

    def close(self, spent: "Spent") -> None:
        """Let an account end with what was used on it and below it."""
        self.below.clear()
        self.known = NOTHING
        self.usage, self.spent, self.calls, self.steps = spent.usage, spent.cost, spent.calls, spent.steps

    def use(self) -> Use:
        """Return what is gone and set aside, here and below."""
        tokens, cost, steps, (used, usd, calls) = self.usage.total, self.spent, self.steps, self.aside
        held = sum(self.held.values()) if self.held else 0.0
        for budget in self.below:
            one = budget.use()
            tokens, cost, steps, held = tokens + one.tokens, cost + one.cost, steps + one.steps, held + one.held
            used, usd, calls = used + one.aside[0], usd + one.aside[1], calls + one.aside[2]
        if (known := self.known) is not NOTHING:
            tokens, cost, steps = max(tokens, known.usage.total), max(cost, known.cost), max(steps, known.steps)
        return Use(tokens, cost, steps, held, (used, usd, calls))

    def answer(self, want: Want, use: Use, *, aside: bool = False) -> int:
        """Return how many tokens the answer of a call may have; with `aside` less what others hold, and maybe none.

        Raises:
            Exhausted: none, without what others hold.
        """
        cut = self._cut()
        tokens, cost, steps = self.tokens - cut.tokens, self.cost - cut.cost, self.steps_most - cut.calls
        held = use.aside if aside else (0, 0.0, 0)
        by_tokens = answer_room("tokens", tokens - use.tokens - held[0], want)
        by_cost = answer_room("cost", cost - use.cost - use.held - held[1], want)
        by_calls = steps - use.steps - held[2]
        if not aside:
            if by_tokens < 1:
                raise Exhausted("budget_tokens", max(0, tokens), use.tokens)
            if by_cost < 1:
                raise Exhausted("budget_cost", max(0.0, cost), use.cost)
            if by_calls < 1:
                raise Exhausted("budget_calls", max(0, steps), use.steps)
        return min(want.output, by_tokens, by_cost, want.output if by_calls > 0 else 0)

    def _cut(self) -> Cut:
        return UNCUT if self.cut is None else self.cut()

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
