"""Llm: the model that plans also decides whether a task is split, in the one call that brings the plan."""

from typing import ClassVar, Literal

from pydantic import Field

from loomd.amoeba.policies.base import ScalePolicy
from loomd.amoeba.policies.threshold import affordable
from loomd.amoeba.task import Sensed, Task
from loomd.manifest.quantity import Share


class Llm(ScalePolicy):
    """Asks a model whether a task is split: a plan of one part means that it is not."""

    fewest: ClassVar[int] = 1

    type: Literal["llm"] = "llm"
    complexity: Share = 0.2
    """Complexity up to which the model is not asked and the task is done alone."""
    max_depth: int = Field(default=2, ge=0, le=8)
    """Splits of splits: a task at this depth is never split."""
    max_children: int = Field(default=5, ge=2, le=20)
    """Most subtasks of one split."""
    child_tokens: int = Field(default=2_000, ge=1)
    """Fewest tokens that a child must be able to use; a smaller budget is not split."""

    def parts(self, sensed: Sensed, task: Task) -> tuple[int, str]:
        """Return how many children the task may have, and why."""
        if sensed.complexity <= self.complexity:
            return 0, f"complexity {sensed.complexity:.2f} is not above {self.complexity:g}: the model is not asked"
        most, why = affordable(task, self.max_depth, self.max_children, self.child_tokens)
        return most, why or "the model decides"
