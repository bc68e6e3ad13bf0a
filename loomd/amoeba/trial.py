"""What came of trying new instructions of an agent on past tasks, beside the old ones: values, kept with the change."""

from collections.abc import Iterable

import msgspec


class Pair(msgspec.Struct, frozen=True):
    """One past task, done anew with the old instructions and with the new ones, under the same conditions.

    Attributes:
        task: its id.
        before: the reward with the old instructions, 0 to 1, by the cluster's evaluators.
        after: the reward with the new ones.
        checked_before: the quality with the old ones that rules and the task's own expectations alone see, 0 to 1.
        checked_after: that with the new ones.
    """

    task: str
    before: float
    after: float
    checked_before: float
    checked_after: float


class Trial(msgspec.Struct, frozen=True, omit_defaults=True):
    """A trial of new instructions.

    Attributes:
        pairs: the past tasks on which they were tried.
        shown: ids of the past tasks that the model was shown that wrote them; none of them is among the pairs.
        tokens: tokens that writing and trying took.
        cost: USD that it cost.
    """

    pairs: tuple[Pair, ...] = ()
    shown: tuple[str, ...] = ()
    tokens: int = 0
    cost: float = 0.0

    @property
    def before(self) -> float:
        """Return the mean reward with the old instructions."""
        return _mean(one.before for one in self.pairs)

    @property
    def after(self) -> float:
        """Return the mean reward with the new ones."""
        return _mean(one.after for one in self.pairs)

    @property
    def checked(self) -> float:
        """Return by how much the mean quality rises that rules and expectations alone see."""
        return _mean(one.checked_after - one.checked_before for one in self.pairs)

    @property
    def worst(self) -> float:
        """Return the largest loss of reward on a single task; 0 when none lost."""
        return max((one.before - one.after for one in self.pairs), default=0.0)

    def said(self) -> str:
        """Return the means in a few words."""
        tasks = f"{len(self.pairs)} held-out task{'s' if len(self.pairs) != 1 else ''}"
        return f"mean reward {self.before:.3f} before, {self.after:.3f} after, over {tasks}"


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0
