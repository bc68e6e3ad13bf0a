"""Threshold: a task is split when it is complex enough, not too deep, and the budget can pay for children."""

from typing import Literal

from pydantic import Field

from loomd.amoeba.policies.base import ScalePolicy
from loomd.amoeba.task import Sensed, Task
from loomd.manifest.quantity import Share


class Threshold(ScalePolicy):
    """Splits complex tasks."""

    type: Literal["threshold"] = "threshold"
    complexity: Share = 0.6
    """Complexity above which a task is split."""
    max_depth: int = Field(default=2, ge=0, le=8)
    """Splits of splits: a task at this depth is never split."""
    max_children: int = Field(default=5, ge=2, le=20)
    """Most subtasks of one split."""
    child_tokens: int = Field(default=2_000, ge=1)
    """Fewest tokens that a child must be able to use; a smaller budget is not split."""

    def parts(self, sensed: Sensed, task: Task) -> tuple[int, str]:
        """Return how many children the task may have, and why."""
        if sensed.complexity <= self.complexity:
            return 0, f"complexity {sensed.complexity:.2f} is not above {self.complexity:g}"
        most, why = affordable(task, self.max_depth, self.max_children, self.child_tokens)
        return most, why or f"complexity {sensed.complexity:.2f} is above {self.complexity:g}"


def affordable(task: Task, depth: int, children: int, tokens: int) -> tuple[int, str]:
    """Return how many children a task may have by its depth and its budget, and why there are none if so.

    Args:
        task: the task.
        depth: at which a task is not split.
        children: most of one split.
        tokens: fewest that a child must be able to use.
    """
    if task.depth >= depth:
        return 0, f"depth {task.depth} has reached the limit {depth}"
    most = children
    if task.budget.tokens is not None:
        most = min(most, task.budget.tokens // tokens - 1)  # one share is for putting them together
    if most < 2:
        return 0, f"{task.budget.tokens} tokens cannot pay two children of {tokens} and their merge"
    if task.budget.calls is not None:
        most = min(most, task.budget.calls - 2)  # one is for the plan, one for putting them together
    if most < 2:
        return 0, f"{task.budget.calls} model calls cannot pay a plan, two children and their merge"
    return most, ""
