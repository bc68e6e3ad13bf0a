"""What an agent's calls are on its accounts: set aside before, booked after, warned of when most is used.

Called around each model call and each tool call that is made; one that is answered from the record is on them already.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Protocol

from loomd.accounts.account import Hold, Spent, Want, spelled
from loomd.agents import budget as budgets
from loomd.agents.agent import Agent
from loomd.agents.base import ChatModel
from loomd.agents.budget import Budget, Exhausted
from loomd.agents.measure import CHARACTERS, Measure, Size, added_to, price_of, sent, subject_of_model
from loomd.agents.work import StopReason
from loomd.errors import ToolFailed
from loomd.events.bus import Scope
from loomd.events.room import BudgetWarning
from loomd.messages import Reply, Request
from loomd.store.records import Charge

_NOTHING: Mapping[str, float] = MappingProxyType({})
"""What is set aside where nothing is limited."""
_REASONS: dict[str, StopReason] = {
    "tokens": "budget_tokens",
    "cost": "budget_cost",
    "calls": "budget_calls",
    "time": "budget_time",
}


def measured(agent: Agent, model: ChatModel, request: Request) -> Size:
    """Return how large a request to a model is, by what was learned of its tokens."""
    measure = Measure(agent.averages.value(subject_of_model(model), "characters", CHARACTERS))
    characters = sent(request) + added_to(model, request)
    return Size(characters, measure.tokens(characters, len(request.turns)))


async def reserve(agent: Agent, model: ChatModel, request: Request, size: Size, budget: Budget | None) -> Hold:
    """Set aside what a model call may use: first of the task's own limits, then of the day's.

    In this order, so that whoever has both makes its call, and nobody waits for somebody who waits.

    Args:
        agent: who asks.
        model: who is asked.
        request: what is asked.
        size: that of the request.
        budget: the account of the work, when other work may go on beside it; whoever has it releases it.

    Raises:
        Exhausted: the task or a day's budget has nothing left for it.
    """
    if budget is None and not agent.accounts.is_limited(agent.namespace, agent.account):
        return Hold(request.max_tokens, _NOTHING)
    want = Want(size.tokens, request.max_tokens, price_of(model))
    if budget is not None and agent.accounts.limited:
        want = want._replace(output=await budget.reserve(want))
    try:
        return await agent.accounts.reserve(agent.namespace, agent.account, want)
    except Spent as spent:
        raise exhausted(spent) from spent


def exhausted(spent: Spent) -> Exhausted:
    """Return what a day's budget with nothing left means for work under way."""
    return Exhausted(_REASONS[spent.measure], spent.limit, spent.used, str(spent), spent.budget, spent.opens)


class Call(Protocol):
    """A tool call under way: what is set aside for it, its price, and the seconds that other agents worked for it."""

    hold: Hold | None
    away: float

    @property
    def spent(self) -> float:
        """Return the USD that it has cost so far."""
        ...


@contextmanager
def tool_call(agent: Agent, scope: Scope, call: Call) -> Generator[None]:
    """Set aside a tool call, and book it when it has ended; one that was interrupted is not booked.

    Raises:
        ToolFailed: a day's budget has none left; the text is for the model.
    """
    started = agent.clock.monotonic()
    try:
        with agent.accounts.hold_tool(agent.namespace, agent.account) as hold:
            call.hold = hold
            yield
            seconds = max(0.0, agent.clock.monotonic() - started - call.away)
            charge = Charge(agent.namespace, agent.account, cost=call.spent, tool_calls=1, seconds=seconds)
            _book(agent, scope, hold, charge)
    except Spent as spent:
        raise ToolFailed(f"no tool can be called any more: {spent}; answer with what you have") from spent


def widen(agent: Agent, hold: Hold, usd: float) -> None:
    """Set aside what a tool call costs, before it is spent.

    Raises:
        ToolFailed: a day's budget has not so much left; the text is for the model.
    """
    try:
        agent.accounts.widen(agent.namespace, agent.account, hold, usd)
    except Spent as spent:
        raise ToolFailed(f"the call costs {usd:g} USD, and {spent}: go on without it") from spent


def settle(agent: Agent, scope: Scope, hold: Hold, reply: Reply, seconds: float) -> None:
    """Book a model call."""
    usage = reply.usage
    charge = Charge(
        agent.namespace,
        agent.account,
        input=usage.input,
        output=usage.output,
        cached=usage.cached,
        cost=reply.cost,
        calls=1,
        seconds=seconds,
    )
    _book(agent, scope, hold, charge)


def settle_service(agent: Agent, scope: Scope, hold: Hold, cost: float, seconds: float) -> None:
    """Book the call of a service that is neither a model nor a tool."""
    _book(agent, scope, hold, Charge(agent.namespace, agent.account, cost=cost, seconds=seconds))


def book(agent: Agent, scope: Scope, budget: Budget, key: str, spent: budgets.Spent) -> None:
    """Book what was used on the account of a piece of work, and tell once when most of a limit is.

    Args:
        agent: who used it.
        scope: the envelope of the event.
        budget: the account.
        key: that of the work.
        spent: what was used.
    """
    for measure, limit, used in budget.book(spent, agent.limits.warn_at):
        warning = BudgetWarning("run", measure, limit, used)
        scope.emit(warning, agent.name, key=f"warned/{key}/{measure}")


def _book(agent: Agent, scope: Scope, hold: Hold, charge: Charge) -> None:
    for one in agent.accounts.settle(hold, charge):
        scope.emit(BudgetWarning(one.budget, spelled(one.measure), one.limit, one.used), agent.name)
