"""Vectors of questions, each made once as long as it is among the latest: agents ask the same again and again.

Belongs to one knowledge base, whose embedder never changes. Called by it.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loomd.knowledge.base import Vectors

ROOM = 4 << 20
"""Bytes of vectors that are kept."""


class QuestionVectors:
    """The vectors of the latest questions.

    Args:
        embed: returns `(texts, dimension)` vectors.
        room: bytes of vectors that are kept.
    """

    def __init__(self, embed: "Callable[[Sequence[str]], Awaitable[Vectors]]", room: int = ROOM) -> None:
        self._embed = embed
        self._room = room
        self._kept: OrderedDict[str, Vectors] = OrderedDict()
        self._size = 0

    async def of(self, texts: Sequence[str]) -> "list[Vectors]":
        """Return the vector of each text, `(dimension,)`; those that are not known are made in one call.

        Raises:
            Exception: what the embedder raised; nothing is kept of that.
        """
        found = {text: self._kept[text] for text in texts if text in self._kept}
        if missing := [text for text in dict.fromkeys(texts) if text not in found]:
            made = await self._embed(missing)
            found |= {text: row.copy() for text, row in zip(missing, made, strict=True)}
        for text, vector in found.items():
            self._keep(text, vector)
        return [found[text] for text in texts]

    def _keep(self, text: str, vector: "Vectors") -> None:
        """Keep a vector as the latest, and let go of the oldest when there are too many."""
        if text not in self._kept:
            self._size += vector.nbytes
        self._kept[text] = vector
        self._kept.move_to_end(text)
        while self._size > self._room:
            self._size -= self._kept.popitem(last=False)[1].nbytes
