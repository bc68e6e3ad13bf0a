"""What the tasks of an agent really take beside what SENSE expects of them, learned from the tasks that it did alone.

The numbers are part of `kind: Cluster`, as `learning.price`. Pure: nothing here looks at a clock or a store.
"""

from collections.abc import Iterable

from pydantic import Field

from loomd.amoeba.decision import Expense
from loomd.amoeba.task import Executed, Sensed
from loomd.amoeba.world import Standing, Uses, World
from loomd.manifest.kind import Spec


class Price(Spec):
    """How it is learned what an agent's tasks really cost."""

    pace: float = Field(default=0.3, gt=0, le=1)
    """How far one task moves what an agent is taken to need, at least; the first ones move it as a mean does."""
    first: int = Field(default=3, ge=1)
    """Tasks of an agent that must have been seen before bids go by it."""

    def moved(self, known: Uses, seen: tuple[float, float]) -> Uses:
        """Return what an agent is taken to need after a task that read and wrote so much for each token expected."""
        step = max(self.pace, 1 / (known.seen + 1))
        read, written = seen
        return Uses(
            known.read + step * (read - known.read), known.written + step * (written - known.written), known.seen + 1
        )


def spend(sensed: Sensed, executed: Executed, winner: Standing, world: World, spec: Price) -> Iterable[Expense]:
    """Yield how it moves what an agent needs for each token that SENSE expects.

    Nothing comes of a model without a price, of a task that failed, and of one that was split: others did most of it.
    """
    outcome = executed.outcome
    if winner.price == (0.0, 0.0) or executed.error or outcome.mute or executed.children or not sensed.tokens:
        return
    usage, expected, known = outcome.usage, sensed.tokens, world.uses(winner.agent, winner.spec)
    seen = (usage.input / expected, usage.output / expected)
    now = spec.moved(known, seen)
    reason = f"it took {usage.input}+{usage.output} tokens, {expected} were expected"
    before, after = (known.read, known.written), (now.read, now.written)
    yield Expense(winner.agent, winner.spec, before, after, now.seen, reason, seen=(seen,))
