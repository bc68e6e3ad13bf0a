"""The account of a task: what it may use, below what the task may that it is a part of. Called by the phases."""

import math
import sys
from functools import partial
from typing import TypeVar

import msgspec

from loomd.agents import budget
from loomd.agents.budget import NOTHING, Spent
from loomd.amoeba.task import Asked, Budget, Evaluated, Executed, Result, Task
from loomd.amoeba.world import World

A = TypeVar("A", bound=Asked)


def account_of(limits: Budget, task: Task, world: World, above: budget.Budget | None) -> budget.Budget:
    """Return an account with the limits of a task, or with some of them.

    Args:
        limits: most that may be used.
        task: whose they are; they are lowered with those of its cluster.
        world: the cluster.
        above: the account of the task that it is a part of.
    """
    return budget.Budget(
        tokens=sys.maxsize if limits.tokens is None else limits.tokens,
        cost=math.inf if limits.cost is None else limits.cost,
        steps_most=sys.maxsize if limits.calls is None else limits.calls,
        above=above,
        split=True,
        cut=partial(world.cut, task.grant),
    )


def used(result: Result) -> Spent:
    """Return what a task that has ended used, its parts included, as far as it is known.

    An outcome has the tokens and the cost of all phases, and the number of the calls of EXECUTE alone.
    """
    asked = asked_by(result.sensed, result.matched, result.scaled, result.evaluated)
    return asked if result.executed is None else used_by(result.executed, asked)


def used_by(executed: Executed, asked: Spent) -> Spent:
    """Return what EXECUTE used, whose outcome has the tokens of all phases, and the calls of those that asked."""
    outcome = executed.outcome
    return Spent(outcome.usage, outcome.cost, len(outcome.tools), outcome.steps + asked.steps)


def asked_by(*phases: Asked | None) -> Spent:
    """Return what the model calls of phases themselves used."""
    total = NOTHING
    for phase in phases:
        if phase is not None and phase.calls:
            total += Spent(phase.usage, phase.cost, 0, phase.calls)
    return total


def billed(phase: A, spent: Spent) -> A:
    """Return the output of a phase with what its model calls used."""
    if not spent.steps:
        return phase
    return msgspec.structs.replace(phase, usage=spent.usage, cost=spent.cost, calls=spent.steps)


def whole(executed: Executed, evaluated: Evaluated | None) -> Executed:
    """Return what a task took, EVALUATE included; it was judged by what it took before that."""
    spent = asked_by(evaluated)
    if not spent.steps:
        return executed
    outcome = executed.outcome
    more = msgspec.structs.replace(outcome, usage=outcome.usage + spent.usage, cost=outcome.cost + spent.cost)
    return msgspec.structs.replace(executed, outcome=more)


def less(limits: Budget, spent: Spent) -> Budget:
    """Return a budget after something was used of it."""
    return Budget(
        None if limits.tokens is None else max(0, limits.tokens - spent.usage.total),
        None if limits.cost is None else max(0.0, limits.cost - spent.cost),
        limits.seconds,
        None if limits.calls is None else max(0, limits.calls - spent.steps),
        None if limits.tool_calls is None else max(0, limits.tool_calls - spent.calls),
    )


def left(task: Task, spent: Spent) -> Task:
    """Return a task with what is left of its budget."""
    return task if spent is NOTHING else msgspec.structs.replace(task, budget=less(task.budget, spent))
