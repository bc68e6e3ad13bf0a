"""What a policy of each phase is: a spec with one pure method; no clock, no randomness but the draw.

What may ask a model does so through `Asking`, which records the answer, bills the task and tells of a fallback.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, ClassVar, Self

import msgspec
from pydantic import Field

from loomd.amoeba.decision import ScoreMove, Seen
from loomd.amoeba.expect import Met
from loomd.amoeba.forging import NoWinner
from loomd.amoeba.leaning import Leaning
from loomd.amoeba.task import Evaluated, Executed, Matched, Opinion, Sensed, Task
from loomd.amoeba.world import Score, Signals, Standing
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Tokens

if TYPE_CHECKING:
    from loomd.amoeba.asking import Asking


class SensePolicy(Spec):
    """Says what kind of task this is."""

    @abstractmethod
    async def sense(self, signals: Signals, asking: "Asking") -> Sensed:
        """Return complexity, domains and needs, with the evidence for them."""

    def placed(self, likeness: Mapping[str, float]) -> dict[str, float]:
        """Return the domains that a task fits by likeness alone, with weights that sum to 1; none when it fits none.

        A task that fitted no domain, and waits, is looked at so when another revision serves.
        """
        del likeness
        return {}


class MatchPolicy(Spec):
    """Says who does it."""

    @abstractmethod
    async def choose(self, sensed: Sensed, agents: Sequence[Standing], draw: Random, asking: "Asking") -> Matched:
        """Return the winner with all bids; an empty winner means that nobody may do it."""

    @property
    def otherwise(self) -> NoWinner:
        """Return what becomes of a task that nobody takes."""
        return "fail"

    def refused(self, sensed: Sensed, agents: Sequence[Standing]) -> Mapping[str, str]:
        """Return which agents may not do such a task, or not now, and why."""
        del sensed, agents
        return {}

    @property
    def bare(self) -> "MatchPolicy":
        """Return the policy without a model: it tells whether anybody takes a task, before a model is asked who."""
        return self

    def settling(self) -> Self:
        """Return the policy as it is when the best bid takes a task that nobody takes."""
        return self


class ScalePolicy(Spec):
    """Says whether one agent does it alone."""

    fewest: ClassVar[int] = 2
    """Fewest parts of a plan; with 1 the model that plans may say that the task is not to be split."""

    plan_tokens: Tokens = 600
    """Longest plan that a model may write, in tokens."""
    plan_attempts: int = Field(default=2, ge=1, le=5)
    """How often a model is asked for a plan before the task is done alone."""
    max_descendants: int = Field(default=50, ge=0, le=1000)
    """Most parts of a whole tree of tasks, parts of parts included. What is left after a split is shared evenly between
    its parts; a plan with more parts than are left is cut: the last of its parts become one."""
    retries: int = Field(default=1, ge=0, le=5)
    """How often a part that failed is given to another agent, on the same account. What a person denied, what may have
    had an effect, and what ended at a limit is not tried again."""

    @abstractmethod
    def parts(self, sensed: Sensed, task: Task) -> tuple[int, str]:
        """Return how many subtasks there may be at most, below 2 for none at all, and why."""


class Case(msgspec.Struct, frozen=True):
    """What is judged.

    Attributes:
        task: the task.
        executed: what came of it.
        met: what was expected of the answer, each with whether it is met.
        leaning: by how much judges err.
    """

    task: Task
    executed: Executed
    met: Sequence[Met]
    leaning: Leaning


class EvaluatePolicy(Spec):
    """Says how good it was."""

    weight: float = Field(default=1.0, gt=0)
    """Share in the evaluation where several evaluators are listed: each counts by its weight among those that had
    something to say."""

    @property
    def name(self) -> str:
        """Return what tells it from other evaluators in the record of a task; empty when it records nothing."""
        return ""

    @abstractmethod
    async def evaluate(self, case: Case, asking: "Asking") -> Opinion:
        """Return reward, quality, efficiency and reliability with the evidence."""


class AdaptPolicy(Spec):
    """Says what is to be learned."""

    @abstractmethod
    def decide(self, sensed: Sensed, executed: Executed, evaluated: Evaluated, winner: Standing) -> Sequence[ScoreMove]:
        """Return the changes of the winner's scores; what its children did, they have learned from themselves."""

    @abstractmethod
    def moved(self, score: Score, seen: Seen) -> Score:
        """Return what is believed after one more reward, given what is believed before it."""
