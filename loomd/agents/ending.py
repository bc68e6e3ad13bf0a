"""As what work ends at a limit: whose limit it was, in words, and whether that says something about the agent.

One that somebody lowered while the work went on is the agent's, and says nothing about it.
What is said rests on what is recorded, so that work that is run again says the same. Called by the loop.
"""

from loomd.agents.agent import Agent
from loomd.agents.budget import Budget, Exhausted, Limits
from loomd.agents.work import Ended, StopReason
from loomd.events.bus import Scope
from loomd.events.room import BudgetExceeded
from loomd.messages import Reply

_FOREIGN: frozenset[StopReason] = frozenset(("approval_denied", "approval_expired", "uncertain", "budget_calls"))
"""Ends that are never the agent's: people, an interruption, a number of model calls that only a task has."""
_COMPLETED = Ended("completed")
_ROUNDING = 1e-6
"""By how much a limit may seem lower than it is, once waits were added to it and taken away."""


def at_limit(agent: Agent, scope: Scope, found: Exhausted, *, asked: bool) -> Ended:
    """Tell that a limit has nothing left, and return the end of the work.

    Args:
        agent: who worked.
        scope: the envelope of the event.
        found: the limit.
        asked: whether another agent asked for the work; then only a day's budget is told.
    """
    fact = BudgetExceeded(found.reason, found.limit, found.used, found.budget, found.opens)
    scope.emit(fact, agent.name)
    if found.ended is not None and (found.ended.temporary or not asked):
        return found.ended
    if found.note:
        return Ended(found.reason, found.note, temporary=found.opens > 0)
    if asked:
        return Ended(found.reason)
    whose, own = f"Agent/{agent.name}", not is_foreign(found.reason, found.limit, agent.limits_now())
    if found.reason == "budget_time":
        used = f"{max(0.0, round(found.limit, 3)):.10g} s are over"
    else:
        used = f"{found.used:.10g} of {found.limit:.10g} used, too little for this call"
    said = f"{_named(whose, found.reason, own=own)} is used up ({used}): {_remedy(whose, found.reason, own=own)}"
    return Ended(found.reason, said, foreign=is_foreign(found.reason, found.limit, agent.limits))


def at_end(agent: Agent, reason: StopReason, budget: Budget) -> Ended:
    """Return the end of work that no limit of its account ended.

    What interceptors let not pass before a model was asked says something about the request, not about the agent.

    Args:
        agent: who worked.
        reason: the end.
        budget: the account of the work.
    """
    if reason == "completed":
        return _COMPLETED
    unasked = reason == "refused" and not budget.total.usage.total
    return Ended(reason, foreign=unasked or is_foreign(reason, budget.tool_calls, agent.limits))


def is_foreign(reason: StopReason, limit: float, limits: Limits) -> bool:
    """Return whether an end is not the agent's: it was not its own limit that was reached.

    Args:
        reason: the end.
        limit: the limit that was reached, if one was.
        limits: the agent's own.
    """
    if reason in _FOREIGN:
        return True
    own: dict[StopReason, float] = {
        "budget_tokens": limits.tokens,
        "budget_cost": limits.cost,
        "budget_time": limits.time,
        "max_tool_calls": limits.tool_calls,
    }
    return reason in own and limit < own[reason] - _ROUNDING


def cut_short(agent: Agent, reply: Reply, budget: Budget) -> Ended:
    """Return the end of work whose answer stops at the length that it may have.

    Args:
        agent: who worked.
        reply: the answer.
        budget: the account of the work.
    """
    wrote, whose, short = reply.usage.output, f"Agent/{agent.name}", budget.short
    if short is None:
        said = f"the model's answer was cut after {wrote} tokens, {agent.max_tokens} were the most it may have"
        return Ended("max_tokens", f"{said}: raise spec.maxTokens of {whose}, or what its service allows")
    limit, used = (budget.tokens, budget.usage.total) if short == "budget_tokens" else (budget.cost, budget.spent)
    own = not is_foreign(short, limit, agent.limits_now())
    said = f"the model's answer was cut after {wrote} tokens, because {_named(whose, short, own=own)} left no "
    said += f"room for more ({used:.10g} of {limit:.10g} used): {_remedy(whose, short, own=own)}"
    return Ended(short, said, is_foreign(short, limit, agent.limits))


def _named(agent: str, reason: StopReason, *, own: bool) -> str:
    """Return whose limit it is that ended the work."""
    measure = reason.removeprefix("budget_")
    return f"limits.{measure} of {agent}" if own else f"the task's budget of {measure}"


def _remedy(agent: str, reason: StopReason, *, own: bool) -> str:
    """Return what to do about a limit."""
    measure = reason.removeprefix("budget_")
    if own:
        return f"raise spec.limits.{measure} of {agent}"
    if measure == "calls":
        return "raise spec.limits.calls of its cluster"
    given = f"--max-{measure}, or spec.budget.{measure} of a declared task"
    return f"raise what it was submitted with ({given}), or spec.limits.{measure} of its cluster"
