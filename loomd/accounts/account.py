"""The accounts of a day: what each agent and each namespace has used, and what is set aside for calls under way.

Before a call its most is set aside, so that calls side by side cannot spend the same rest; after it what it used is
booked instead. What is booked goes to the store in the moment in which the caller notes the call's own record, so that
both are in one transaction: a call that is recorded is counted once, one that is lost and made again is, too. Called by
agents around every model call and tool call; agents and clusters say what the limits are.
"""

import asyncio
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from loomd.accounts.budget import MEASURES, Budget
from loomd.clock import Clock
from loomd.store.base import Store
from loomd.store.records import Charge

_DAY = 86_400.0
"""Seconds of a day, as the wall clock counts them: it knows no leap seconds."""
_GLANCE = 1.0
"""Seconds after which whoever waits for others to settle looks whether the limits have changed."""

Bound = Callable[[], Budget]
"""Returns what may be used, as it is declared now."""
Owner = tuple[str, str]
"""A namespace, and the name of an agent in it, or kind and name of something else that calls models
(`KnowledgeBase/docs`); an empty one stands for the whole namespace."""
Amounts = dict[str, float]
"""How much, by measure."""


class Want(NamedTuple):
    """What a model call may use at most.

    Attributes:
        input: tokens of the request, estimated.
        output: tokens of the longest answer.
        price: returns what input and output tokens cost together, in USD.
    """

    input: int
    output: int
    price: Callable[[int, int], float]


class Warned(NamedTuple):
    """A limit of which most is used: whose it is, what is counted, most of it, and what is used."""

    budget: str
    measure: str
    limit: float
    used: float


class Spent(Exception):  # control flow between an account and whoever calls, never seen outside
    """Nothing is left of a day's budget.

    Attributes:
        budget: whose it is, in words.
        measure: what is counted.
        limit: most of it.
        used: what is used of it.
        opens: wall-clock seconds at which it opens again.
    """

    def __init__(self, budget: str, measure: str, limit: float, used: float, opens: float) -> None:
        when = datetime.fromtimestamp(opens, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        super().__init__(
            f"the day's budget of {budget} is spent ({spelled(measure)}: {used:.10g} of {limit:.10g} used, "
            f"too little for this call); it opens again at {when}"
        )
        self.budget = budget
        self.measure = measure
        self.limit = limit
        self.used = used
        self.opens = opens


@dataclass
class _Account:
    """What one owner has used today, and what is set aside for calls under way."""

    used: Amounts = field(default_factory=lambda: dict.fromkeys(MEASURES, 0.0))
    held: Amounts = field(default_factory=lambda: dict.fromkeys(MEASURES, 0.0))
    looked: dict[str, float] = field(default_factory=dict[str, float])
    """The limits of which it was seen last how much of them is used, by measure."""


@dataclass(slots=True)
class Hold:
    """What is set aside for one call; its `output` may be less than was wanted.

    Its `amounts` may be shared with other calls: they are replaced, never changed.
    """

    output: int
    amounts: Mapping[str, float]
    settled: bool = False


class Accounts:
    """The accounts of all agents and namespaces. All methods belong to one event loop.

    Args:
        limited: whether limits hold; where a recording is played again, they held when it was made.

    Attributes:
        limited: as above.
    """

    def __init__(self, *, limited: bool = True) -> None:
        self.limited = limited
        self._store: Store | None = None
        self._clock: Clock | None = None
        self._loading = asyncio.Lock()
        self._day = ""
        self._began = -_DAY
        self._accounts: dict[Owner, _Account] = {}
        self._bounds: dict[Owner, dict[object, Bound]] = {}
        self._left: dict[str, dict[str, float]] = {}
        """Shares of the day that were worked out, by namespace and agent."""
        self._declared: tuple[object, object] = (None, None)
        self._moved = asyncio.Event()

    async def load(self, store: Store, clock: Clock) -> None:
        """Take over what was used today; a second call does nothing."""
        async with self._loading:
            if self._store is not None:
                return
            self._clock = clock
            self._turn()
            for charge in await store.usage(self._day):
                self._book((charge.namespace, charge.agent), _amounts(charge))
                self._book((charge.namespace, ""), _amounts(charge))
            self._store = store

    @contextmanager
    def bounded(self, namespace: str, agent: str, bound: Bound) -> Generator[None]:
        """Hold an owner to a budget as long as the context lasts; of several the lowest limits hold.

        Args:
            namespace: where.
            agent: whose; empty for the whole namespace.
            bound: returns the budget, asked before each call.
        """
        key, bounds = object(), self._bounds.setdefault((namespace, agent), {})
        bounds[key] = bound
        self._left.pop(namespace, None)
        try:
            yield
        finally:
            del bounds[key]
            self._left.pop(namespace, None)

    @contextmanager
    def hold_tool(self, namespace: str, agent: str) -> Generator[Hold]:
        """Set aside one tool call.

        Raises:
            Spent: none is left.
        """
        limited = self.is_limited(namespace, agent)
        for owner, measure, limit in self._limits(namespace, agent) if limited else ():
            account = self._account(owner)
            if measure == "tool_calls" and account.used[measure] + account.held[measure] >= limit:
                raise self._spent(owner, measure, limit)
        hold = Hold(0, {"tool_calls": 1.0} if limited else {})
        if limited:
            self._set_aside(namespace, agent, hold.amounts, 1)
        try:
            yield hold
        finally:
            self.release(namespace, agent, hold)

    def widen(self, namespace: str, agent: str, hold: Hold, usd: float) -> None:
        """Set aside money beside what is set aside for a call already.

        Raises:
            Spent: so much is not left, or set aside for others.
        """
        for owner, measure, limit in self._limits(namespace, agent):
            account = self._account(owner)
            if measure == "cost" and account.used[measure] + account.held[measure] + usd > limit:
                raise self._spent(owner, measure, limit)
        hold.amounts = {**hold.amounts, "cost": hold.amounts.get("cost", 0.0) + usd}
        self._set_aside(namespace, agent, {"cost": usd}, 1)

    def settle(self, hold: Hold, charge: Charge) -> list[Warned]:
        """Book what a call used, today; return of which limits most is used from now on.

        Nothing may be awaited between this and the note of the call's own record.
        """
        self._turn()
        self.release(charge.namespace, charge.agent, hold)
        charge = msgspec.structs.replace(charge, day=self._day)
        amounts, warned = _amounts(charge), list[Warned]()
        for owner in ((charge.namespace, charge.agent), (charge.namespace, "")):
            if not hold.amounts:
                self._book(owner, amounts)
                continue
            before = dict(self._account(owner).used)
            self._book(owner, amounts)
            warned += self._warnings(owner, before)
        if self._store is not None:
            self._store.charge(charge)
        return warned

    def today(self) -> list[Owner]:
        """Return every owner that has a budget or used something today."""
        self._turn()
        bounded = {owner for owner, bounds in self._bounds.items() if bounds and self.budget(*owner) != Budget()}
        used = {owner for owner, account in self._accounts.items() if any(account.used.values())}
        return sorted(bounded | used)

    def standing(self, owner: Owner) -> tuple[Budget, Mapping[str, float], Mapping[str, float]]:
        """Return what an owner may use today, what it has used, and what is set aside for its calls under way."""
        self._turn()
        account = self._accounts.get(owner, _Account())
        return self.budget(*owner), account.used, account.held

    def budget(self, namespace: str, agent: str) -> Budget:
        """Return what an owner may use in a day, as it is declared now; of several the lowest limits."""
        budgets = [bound() for bound in self._bounds.get((namespace, agent), {}).values()]
        if len(budgets) < 2:
            return budgets[0] if budgets else Budget()
        lowest: dict[str, float] = {}
        for measure, limit in (pair for one in budgets for pair in one.limits.items()):
            lowest[measure] = min(limit, lowest.get(measure, limit))
        return Budget().model_copy(update={**lowest, "warn_at": min(one.warn_at for one in budgets)})

    @property
    def opens(self) -> float:
        """Return the wall-clock seconds of the next midnight, UTC."""
        now = self._now()
        return now - now % _DAY + _DAY

    async def reserve(self, namespace: str, agent: str, want: Want) -> Hold:
        """Set aside what a model call may use, until it is released or settled; nothing where nothing is limited.

        Raises:
            Spent: nothing is left for it.
        """
        if not self.is_limited(namespace, agent):
            return Hold(want.output, {})
        while True:
            self._moved.clear()
            free, rest = self._room(namespace, agent, want)
            if free >= want.output or free >= rest:  # nobody else holds any of it
                return self._taken(namespace, agent, want, min(free, want.output))
            try:
                async with asyncio.timeout(_GLANCE):
                    await self._moved.wait()
            except TimeoutError:
                continue

    def _room(self, namespace: str, agent: str, want: Want) -> tuple[int, int]:
        """Return how many tokens the answer of a call may have: now, and once all calls under way have settled.

        Raises:
            Spent: not even one, when nothing were set aside for others.
        """
        free = rest = want.output
        for owner, measure, limit in self._limits(namespace, agent):
            if measure == "tool_calls":
                continue
            account = self._account(owner)
            left = limit - account.used[measure]
            most = answer_room(measure, left, want)
            if most < 1:
                raise self._spent(owner, measure, limit)
            rest = min(rest, most)
            free = min(free, answer_room(measure, left - account.held[measure], want))
        return free, rest

    def _taken(self, namespace: str, agent: str, want: Want, output: int) -> Hold:
        amounts = {"tokens": want.input + output, "cost": want.price(want.input, output), "calls": 1.0}
        self._set_aside(namespace, agent, amounts, 1)
        return Hold(output, amounts)

    def release(self, namespace: str, agent: str, hold: Hold) -> None:
        """Give back what was set aside, once."""
        if not hold.settled:
            hold.settled = True
            if hold.amounts:
                self._set_aside(namespace, agent, hold.amounts, -1)
                self._moved.set()

    def _set_aside(self, namespace: str, agent: str, amounts: Mapping[str, float], sign: int) -> None:
        for owner in ((namespace, agent), (namespace, "")):
            held = self._account(owner).held
            for measure, amount in amounts.items():
                held[measure] += sign * amount

    def _limits(self, namespace: str, agent: str) -> Iterator[tuple[Owner, str, float]]:
        """Yield who is limited in what an agent does, what is counted, and the limit."""
        self._turn()
        if not self.limited:
            return
        for owner in ((namespace, agent), (namespace, "")):
            for bound in self._bounds.get(owner, {}).values():
                for measure, limit in bound().limits.items():
                    yield owner, measure, limit

    def left(self, namespace: str, agents: Sequence[str], declared: tuple[object, object] | None = None) -> list[float]:
        """Return which share (0 to 1) of its day each agent may still use for work, of the scarcest measure.

        What was worked out last of an agent is kept until it uses something, the day ends, or its limits change.

        Args:
            namespace: where.
            agents: their names.
            declared: the two things from which the limits are read; with another one they may have changed, and without
                them nothing is kept.
        """
        if not self.limited:
            return [1.0] * len(agents)
        self._turn()
        before = self._declared
        if declared is None or declared[0] is not before[0] or declared[1] is not before[1]:
            self._declared = declared or (None, None)
            self._left.clear()
        known = self._left.setdefault(namespace, {})
        try:
            found = list(map(known.__getitem__, agents))
        except KeyError:
            known |= {agent: self._share((namespace, agent)) for agent in agents if agent not in known}
            found = list(map(known.__getitem__, agents))
        shared = self._share((namespace, ""))
        return found if shared >= 1.0 else [min(shared, one) for one in found]

    def _share(self, owner: Owner) -> float:
        """Return which share of its day an owner has left; without tool calls it can work all day."""
        least = 1.0
        for bound in self._bounds.get(owner, _NO_BOUNDS).values():
            for measure, limit in bound().limits.items():
                if measure != "tool_calls":
                    used = self._account(owner).used[measure]
                    least = min(least, max(0.0, 1.0 - used / limit) if limit else 0.0)
        return least

    def is_limited(self, namespace: str, agent: str) -> bool:
        """Return whether there are limits to what an agent uses."""
        if self.limited:
            for owner in ((namespace, agent), (namespace, "")):
                for bound in self._bounds.get(owner, _NO_BOUNDS).values():
                    if bound().limits:
                        return True
        return False

    def _warnings(self, owner: Owner, before: Amounts) -> Iterator[Warned]:
        """Yield the limits of which most is used since what was used before, or since they were changed."""
        limits: dict[str, tuple[float, float]] = {}
        for bound in self._bounds.get(owner, {}).values():
            budget = bound()
            for measure, limit in budget.limits.items():
                limits[measure] = min((limit, budget.warn_at * limit), limits.get(measure, (math.inf, math.inf)))
        account = self._account(owner)
        for measure, (limit, line) in limits.items():
            used = account.used[measure]
            changed = account.looked.get(measure, limit) != limit
            account.looked[measure] = limit
            if used > before[measure] and used >= line and (changed or before[measure] < line):
                yield Warned(named(owner), measure, limit, used)

    def _spent(self, owner: Owner, measure: str, limit: float) -> Spent:
        return Spent(named(owner), measure, limit, self._account(owner).used[measure], self.opens)

    def _book(self, owner: Owner, amounts: Amounts) -> None:
        self._left.get(owner[0], {}).pop(owner[1], None)
        used = self._account(owner).used
        for measure, amount in amounts.items():
            used[measure] += amount

    def _account(self, owner: Owner) -> _Account:
        account = self._accounts.get(owner)
        if account is None:
            account = self._accounts[owner] = _Account()
        return account

    def _turn(self) -> None:
        """Begin a new day when it is one; what is set aside stays so."""
        now = self._now()
        if self._began <= now < self._began + _DAY:
            return
        self._began = now - now % _DAY
        self._day = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
        for account in self._accounts.values():
            account.used = dict.fromkeys(MEASURES, 0.0)
            account.looked.clear()
        self._left.clear()

    def _now(self) -> float:
        return 0.0 if self._clock is None else self._clock.now()


_NO_BOUNDS: Mapping[object, Bound] = {}


def searcher(base: str) -> str:
    """Return under which name is booked what searches of a knowledge base use outside of tasks."""
    return f"Search/{base}"


def named(owner: Owner) -> str:
    """Return an owner for people."""
    namespace, agent = owner
    if "/" in agent:  # something else than an agent, that says its kind
        return agent
    return f"Agent/{agent}" if agent else f"namespace {namespace}"


def spelled(measure: str) -> str:
    """Return a measure as manifests spell it."""
    return "toolCalls" if measure == "tool_calls" else measure


def answer_room(measure: str, left: float, want: Want) -> int:
    """Return how many tokens an answer may have with what is left of a measure; below 1 for no call at all."""
    if left == math.inf:
        return want.output
    if measure == "tokens":
        return math.floor(left) - want.input
    if measure == "cost":
        sent = want.price(want.input, 0)
        over, each = left - sent, want.price(want.input, 1) - sent
        if over < 0 or not each:  # what costs nothing fits into nothing
            return want.output if over >= 0 else 0
        return math.floor(over / each)
    if measure == "calls":
        return want.output if left >= 1 else 0
    return want.output if left > 0 else 0


def _amounts(charge: Charge) -> Amounts:
    """Return how much was used; what is nothing is left out."""
    amounts: Amounts = {"time": charge.seconds}
    if charge.calls:
        amounts["tokens"] = charge.input + charge.output
        amounts["calls"] = charge.calls
    if charge.tool_calls:
        amounts["tool_calls"] = charge.tool_calls
    if charge.cost:
        amounts["cost"] = charge.cost
    return amounts
