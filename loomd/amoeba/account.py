"""The account of a task: what it may use, below what the task may that it is a part of. Called by SCALE and EXECUTE."""

import math
import sys
from functools import partial

from loomd.agents import budget
from loomd.amoeba.task import Budget, Result, Task
from loomd.amoeba.world import World


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


def settle(account: budget.Budget, result: Result) -> None:
    """Let the account of a part that has ended say what the part has used; no more than that is known of it."""
    if result.executed is not None:
        used = result.executed.outcome
        account.close(budget.Spent(used.usage, used.cost, len(used.tools), used.steps))
