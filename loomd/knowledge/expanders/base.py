"""What all ways of expanding a question have in common: what they see of a first search, and what they say to look for.

A type is one module here with one `ExpandSpec`. How several wordings are searched and joined is
`loomd.knowledge.refining`'s business.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

import msgspec

from loomd.knowledge.asking import Asker
from loomd.manifest.kind import Spec
from loomd.topology import Parts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

Terms = Mapping[str, float]
"""Words as the index of words knows them, stemmed, each with its weight."""


class Wording(msgspec.Struct, frozen=True):
    """Something to look for.

    Attributes:
        text: a question in plain words.
        weight: what a passage that it finds counts, beside those of other wordings.
        terms: the words that are looked up; None for those of `text`.
        vector: `(dimension,)`, of length 1 or all zeros; None for that of `text`.
    """

    text: str
    weight: float = 1.0
    terms: Terms | None = None
    vector: "Vectors | None" = None


class Seen(msgspec.Struct, frozen=True):
    """What a first search found, the best first.

    Attributes:
        asked: the words of the question, as the index knows them.
        vector: the question's vector, or None when only words are searched.
        scores: of the passages.
        words: those of each passage, as the index knows them, with how often they stand there.
        vectors: `(passages, dimension)`.
        shares: of each word, in what share of all passages it stands.
    """

    asked: Sequence[str]
    vector: "Vectors | None"
    scores: Sequence[float]
    words: Sequence[Mapping[str, int]]
    vectors: "Vectors"
    shares: Mapping[str, float]


class Look(Protocol):
    """Searches for the question as it is."""

    async def __call__(self, count: int) -> Seen:
        """Return what is in the best passages, at most so many."""
        ...


class Expander(Protocol):
    """A live way of expanding questions."""

    async def expand(self, question: str, look: Look, asker: Asker) -> Sequence[Wording]:
        """Return what is looked for, the question itself first.

        Args:
            question: as it was asked.
            look: searches for it as it is.
            asker: who pays.

        Raises:
            LoomdError: no usable answer came.
        """
        ...


class ExpandSpec(Spec):
    """How a question is expanded before it is searched. Each type adds its field `type`."""

    @abstractmethod
    def open(self, parts: Parts) -> AbstractAsyncContextManager[Expander]:
        """Open it for as long as the context lasts; it asks nobody yet.

        Args:
            parts: those of the knowledge base.
        """
