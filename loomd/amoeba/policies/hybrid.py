"""Hybrid: the heuristic, and a model only when the heuristic is unsure."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from loomd.amoeba.policies.base import SensePolicy
from loomd.amoeba.policies.llm_sense import LlmSense
from loomd.amoeba.task import Sensed
from loomd.amoeba.world import Signals
from loomd.manifest.quantity import Share

if TYPE_CHECKING:
    from loomd.amoeba.asking import Asking


class Hybrid(SensePolicy):
    """Reads the structure of the text, and asks a model about what that leaves open."""

    type: Literal["hybrid"] = "hybrid"
    low: Share = 0.4
    """Complexity from which on the heuristic is unsure."""
    high: Share = 0.8
    """Complexity up to which the heuristic is unsure; between both a model is asked."""
    unplaced: bool = True
    """Whether a model is asked about a task that fits none of the cluster's domains, when there are several."""
    sure: Share = 0.4
    """Share of past tasks in the heuristic's guess from which on it is sure, whatever it says."""
    model: LlmSense = Field(default_factory=LlmSense)
    """How the model is asked; its heuristic is the one that is asked first."""

    def check(self, root: Path) -> Iterator[tuple[str, str, str]]:
        """Yield bounds that are the wrong way round."""
        del root
        if self.low > self.high:
            yield "/low", f"expected low up to high, got low {self.low:g} above high {self.high:g}", "invalid-value"

    def placed(self, likeness: Mapping[str, float]) -> dict[str, float]:
        """Return the domains that a task fits by likeness alone, as the heuristic says."""
        return self.model.heuristic.placed(likeness)

    async def sense(self, signals: Signals, asking: "Asking") -> Sensed:
        """Return what the heuristic says, or the model when that is unsure."""
        guess = await self.model.heuristic.sense(signals, asking)
        if not self._unsure(signals, guess):
            return guess
        return await self.model.judged(signals, guess, asking)

    def _unsure(self, signals: Signals, guess: Sensed) -> bool:
        if guess.past >= self.sure > 0:
            return False
        if self.low <= guess.complexity <= self.high:
            return True
        return self.unplaced and len(signals.likeness) > 1 and not guess.domains.keys() & signals.likeness.keys()
