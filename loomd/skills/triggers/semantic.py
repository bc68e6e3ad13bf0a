"""Semantic: the task means what the skill's description says."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Protocol

from pydantic import Field

from loomd.manifest.kind import RefTo
from loomd.manifest.quantity import Share
from loomd.skills.triggers.base import Fit, Judge, Trigger
from loomd.topology import Parts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """Turns texts into unit vectors; the live form of kind Embedder."""

    async def embed(self, texts: Sequence[str]) -> "Vectors":
        """Return `(texts, dimension)` float32, every row of length 1 or all zeros."""
        ...


class SemanticTrigger(Trigger):
    """Takes the skill up for a task that is like its description in meaning."""

    type: Literal["semantic"] = "semantic"
    describes: ClassVar[bool] = True
    embedder: Annotated[str, RefTo("Embedder")] = Field(examples=["words"])
    """Embedder that compares the task with the description."""
    threshold: Share = 0.35
    """Least likeness, the cosine of both, at which the skill is taken up. Embedders differ in what they call alike."""

    def judge(self, parts: Parts) -> Judge:
        """Return what compares meanings."""
        embedder = parts.get("Embedder", self.embedder, Embedder)
        known: dict[tuple[str, ...], Vectors] = {}  # descriptions never change while the skill is open

        async def judge(text: str, descriptions: Sequence[str]) -> Sequence[Fit | None]:
            key = tuple(descriptions)
            if key not in known:
                known[key] = await embedder.embed(descriptions)
            (task,) = await embedder.embed([text])
            return [self._fit(float(score)) for score in known[key] @ task]

        return judge

    def _fit(self, score: float) -> Fit | None:
        if score < self.threshold:
            return None
        why = f"the task is {score:.2f} like its description, {self.threshold:g} is enough"
        return Fit(self.type, why, round(min(1.0, score), 4))
