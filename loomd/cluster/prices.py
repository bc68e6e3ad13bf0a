"""What the tokens of the members' models cost, looked up now and then: listed prices may change while a daemon runs."""

from collections.abc import Callable

from loomd.agents.agent import Agent
from loomd.agents.measure import price_of
from loomd.clock import Clock

_PIECE = 1000
"""Tokens of the call by which a price is found."""
_AGE = 60.0
"""Seconds after which a price is looked up again."""


class Prices:
    """The prices of agents' models."""

    def __init__(self, clock: Clock) -> None:
        """Know none."""
        self._clock = clock
        self._known: dict[str, tuple[float, float]] = {}
        self.until = 0.0
        """Until when the prices hold that were told last, on the monotonic clock."""

    def now(self) -> Callable[[Agent], tuple[float, float]]:
        """Return what tells the USD of an input token and of an output token; 0 of a model whose price is not known."""
        if (now := self._clock.monotonic()) >= self.until:
            self._known, self.until = {}, now + _AGE
        return self._of

    def _of(self, agent: Agent) -> tuple[float, float]:
        model = agent.model
        found = self._known.get(model.name)
        if found is None:
            price = price_of(model)
            found = self._known[model.name] = price(_PIECE, 0) / _PIECE, price(0, _PIECE) / _PIECE
        return found
