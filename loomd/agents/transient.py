"""Steps that are done and not recorded: what work that begins anew when it is interrupted has in common.

The base of `engine.loose`, of trials in `evolution` and of `testing`: each adds how it waits and whom it asks.
"""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from loomd.agents.approval import Ask, Decision
from loomd.agents.budget import NOTHING, Spent
from loomd.agents.work import Outcome
from loomd.clock import Clock
from loomd.events.fact import Fact

T = TypeVar("T")
F = TypeVar("F", bound=Fact)


class TransientSteps:
    """The part of `agents.base.Steps` that needs no record."""

    def __init__(self, clock: Clock, seed: str) -> None:
        """Begin.

        Args:
            clock: the time.
            seed: what its draws hang on beside their keys, such as the id of a task.
        """
        self.clock = clock
        self._seed = seed

    async def step(
        self,
        key: str,
        name: str,
        do: Callable[[], Awaitable[T]],
        result: type[T],
        *,
        asked: str = "",
        once: bool = False,
        again: int = 0,
    ) -> T:
        """Do a step."""
        del key, name, result, asked, once, again
        return await do()

    async def skip(self, key: str, name: str, value: T, *, asked: str = "") -> T:
        """Return what stands for a step to which people did not agree."""
        del key, name, asked
        return value

    def now(self, key: str) -> float:
        """Return the wall-clock time."""
        del key
        return self.clock.now()

    def random(self, key: str) -> float:
        """Return a number from 0 to 1."""
        return random.Random(f"{self._seed}/{key}").random()  # noqa: S311  # no secret

    def draw(self, key: str, name: str, take: Callable[[], T], result: type[T]) -> T:
        """Return what is known in this moment."""
        del key, name, result
        return take()

    def told(self, key: str, fact: type[F]) -> F | None:
        """Return nothing: what is not recorded begins anew."""
        del key, fact
        return None

    async def denied(self, key: str, ask: Ask) -> Decision | None:
        """Return that nobody was asked before."""
        del key, ask
        return None

    def recorded(self, prefix: str) -> Spent:
        """Return that nothing was used: what is not recorded begins anew."""
        del prefix
        return NOTHING

    def waited(self, prefix: str = "") -> float:
        """Return that nobody was waited for."""
        del prefix
        return 0.0

    def leave(self, outcome: Outcome) -> None:
        """Forget what there is of cancelled work."""
        del outcome
