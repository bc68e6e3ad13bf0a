"""By how much a judge errs, learned from what people and rules say of the same answers, and taken off what it says.

Two moving averages: of the error itself, and of the square of what is left of it. Reading and moving them are recorded
steps, so that a task that runs again, and one that is replayed, sees and teaches the same once. Called by EVALUATE.
"""

import math
from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec

T = TypeVar("T")


class Bias(msgspec.Struct, frozen=True):
    """What is known of a judge's errors: their mean (-1 to 1), the mean square of the rest, and how many were seen."""

    mean: float = 0.0
    square: float = 0.0
    count: int = 0

    @property
    def spread(self) -> float:
        """Return how far it is off after its bias is taken away: a standard deviation."""
        return math.sqrt(self.square)

    def moved(self, error: float, pace: float) -> "Bias":
        """Return what is known after one more error: the first ones count evenly, later ones by the pace."""
        rest, pace = error - self.mean, max(pace, 1 / (self.count + 2))
        return Bias(self.mean + pace * rest, (1 - pace) * (self.square + pace * rest * rest), self.count + 1)


class Biases(Protocol):
    """Where biases are kept; each judge has a name of its own."""

    def bias(self, judge: str) -> Bias:
        """Return what is known of a judge."""
        ...

    def lean(self, judge: str, error: float, pace: float) -> Bias:
        """Take an error over; nothing may be awaited between this and the note of the step that it is a part of."""
        ...


class Draws(Protocol):
    """The record of a task, which keeps what was known in a moment; `Steps` fits."""

    def draw(self, key: str, name: str, take: Callable[[], T], result: type[T]) -> T:
        """Return the recorded value under a key, or what `take` returns, recorded with what comes after it."""
        ...


class Leaning:
    """The biases of judges, as one task sees and moves them."""

    def __init__(self, biases: Biases, steps: Draws) -> None:
        self._biases = biases
        self._steps = steps

    def known(self, judge: str) -> Bias:
        """Return what is known of a judge when the task asks it first."""
        return self._steps.draw(f"evaluate/{judge}/bias", "bias", lambda: self._biases.bias(judge), Bias)

    def move(self, judge: str, error: float, pace: float) -> Bias:
        """Take an error over, once for the task, and return what is known then."""
        return self._steps.draw(f"evaluate/{judge}/leant", "leant", lambda: self._biases.lean(judge, error, pace), Bias)
