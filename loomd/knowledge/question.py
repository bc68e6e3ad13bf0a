"""A question as an index gets it, and how far what it finds is to be trusted. Data only."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from loomd.knowledge.base import Retrieval
from loomd.knowledge.filter import Where
from loomd.knowledge.graph_spec import GraphSpec

if TYPE_CHECKING:
    from loomd.knowledge.base import Vectors

Ranked = list[tuple[int, float]]
"""Ids with their scores, best first."""


class Question(NamedTuple):
    """What is searched for.

    Attributes:
        text: the question.
        vector: its vector, `(dimension,)`, or None when only words are searched.
        how: mode and weights.
        limit: how many passages to return.
        where: the documents that are looked in.
        graph: how the graph is searched; None when it is not.
        terms: the words that are looked up, each with its weight; None for those of the text.
    """

    text: str
    vector: "Vectors | None"
    how: Retrieval
    limit: int
    where: Where = ()
    graph: GraphSpec | None = None
    terms: Mapping[str, float] | None = None

    @property
    def wanted(self) -> int:
        """Return how many passages each half hands to the fusion."""
        return max(self.how.candidates, 2 * self.limit)


class Parts(NamedTuple):
    """What each part of a search found.

    Attributes:
        words: the ranks by words.
        close: the ranks by vectors.
        graph: the ranks by what the question names.
        certainty: how sure it is that the question names something, from 0 to 1; how much the graph counts.
    """

    words: Ranked
    close: Ranked
    graph: Ranked
    certainty: float = 0.0
