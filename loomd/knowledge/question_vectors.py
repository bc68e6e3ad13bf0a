"""Vectors of questions, each made once as long as it is among the latest: agents ask the same again and again.

Belongs to one knowledge base, whose embedder never changes. Called by it. When the embedder fails, questions may go on
without, as declared.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from loomd.errors import LoomdError
from loomd.events.event import Fallback
from loomd.knowledge.asking import Asker
from loomd.knowledge.base import Retrieval

if TYPE_CHECKING:
    from loomd.knowledge.base import Vectors

_INSTEAD = "passages were found by words alone"
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

    async def declared(self, texts: Sequence[str], how: Retrieval) -> "tuple[Sequence[Vectors | None], str]":
        """Return a vector of each text, or None where words alone are to be looked for; and why, if something failed.

        Raises:
            LoomdError: the embedder failed, and there is nothing else to search by, or it is declared to fail then.
        """
        if how.mode == "keyword" or not texts:
            return [None] * len(texts), ""
        try:
            return await self.of(texts), ""
        except LoomdError as error:
            if how.mode == "vector" or how.on_failure == "fail":
                raise
            return [None] * len(texts), str(error)

    def _keep(self, text: str, vector: "Vectors") -> None:
        """Keep a vector as the latest, and let go of the oldest when there are too many."""
        if text not in self._kept:
            self._size += vector.nbytes
        self._kept[text] = vector
        self._kept.move_to_end(text)
        while self._size > self._room:
            self._size -= self._kept.popitem(last=False)[1].nbytes


def by_words(failed: str, asker: Asker) -> tuple[str, ...]:
    """Return what is noted of a search that had to do without vectors, and tell it; nothing when nothing failed.

    Args:
        failed: what the embedder raised, or empty.
        asker: who is told.
    """
    if not failed:
        return ()
    asker.tell(Fallback("embed", failed, _INSTEAD))
    return (f"{_INSTEAD}, because the embedder failed: {failed}",)
