"""An embedder whose vectors are safe to store and compare. Called by a knowledge base."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from loomd.errors import BadReply
from loomd.knowledge.base import Embedder

if TYPE_CHECKING:
    from loomd.knowledge.base import Vectors


class Checked:
    """An embedder of one knowledge base.

    Args:
        name: of the knowledge base.
        embedder: makes the vectors.

    Attributes:
        faults: what was raised of passages, so that it is known whose fault an error is.
    """

    def __init__(self, name: str, embedder: Embedder) -> None:
        self.faults: list[Exception] = []
        self._name = name
        self._embedder = embedder

    async def passages(self, texts: Sequence[str]) -> "Vectors":
        """Return vectors of passages, as `embed`, and remember what it raises."""
        try:
            return await self.embed(texts)
        except Exception as error:
            self.faults.append(error)
            raise

    async def embed(self, texts: Sequence[str]) -> "Vectors":
        """Return a vector of each text.

        Raises:
            BadReply: the embedder made another number or size of vectors, or NaN.
            LoomdError: as the embedder.
        """
        vectors = await self._embedder.embed(texts)
        expected = (len(texts), self._embedder.dimension)
        if vectors.shape != expected:
            raise BadReply(
                f"KnowledgeBase/{self._name}: the embedder made {vectors.shape} numbers, expected {expected}"
            )
        if not abs(float(vectors.sum())) < float("inf"):  # NaN and infinity survive a sum
            raise BadReply(f"KnowledgeBase/{self._name}: the embedder made NaN or infinity")
        return vectors
