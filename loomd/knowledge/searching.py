"""One question to an index, in as many wordings as it takes. Called by a knowledge base and by `refining`."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from loomd.knowledge.base import Retrieval
from loomd.knowledge.expanders.base import Seen, Wording
from loomd.knowledge.filter import Where
from loomd.knowledge.formats.base import cite
from loomd.knowledge.graph_spec import GraphSpec
from loomd.knowledge.index import Index
from loomd.knowledge.question import Question
from loomd.knowledge.question_vectors import QuestionVectors
from loomd.knowledge.standing import Extent, Hit, Origin, Place
from loomd.knowledge.store import Stored
from loomd.messages import Passage

if TYPE_CHECKING:
    from loomd.knowledge.base import Vectors


class Row(NamedTuple):
    """A passage that was found: its score, its places in the parts of the search, and what a reranker gave it."""

    stored: Stored
    score: float
    keyword: Place | None = None
    vector: Place | None = None
    graph: Place | None = None
    rerank: float | None = None


def passage_of(knowledge: str, number: int, row: Stored, score: float) -> Passage:
    """Return a stored passage under a number, as it is offered and cited."""
    source = cite(row.path, row.unit, row.chunk.first, row.chunk.last)
    return Passage(number, row.chunk.text, source, row.chunk.title, knowledge, score)


class Searching:
    """Searches an index as a manifest says.

    Args:
        index: what is searched.
        how: as declared.
        where: the documents that are looked in.
        graph: how the graph is searched; None when it is not.
        vectors: makes a vector of each text.
        run: runs a blocking call in a thread of the index.

    Attributes:
        failed: why words alone were looked for although vectors are declared; empty as long as they were not.
        notes: why nothing was found, where the filter asks for what no document has.
    """

    def __init__(
        self,
        index: Index,
        how: Retrieval,
        where: Where,
        graph: GraphSpec | None,
        vectors: QuestionVectors,
        run: Callable[..., Awaitable[Any]],
    ) -> None:
        self._index = index
        self._how = how
        self._where = where
        self._graph = graph
        self._vectors = vectors
        self.failed = ""
        self.notes: tuple[str, ...] = ()
        self._run = run

    async def find(self, wordings: Sequence[Wording], limit: int) -> list[list[Row]]:
        """Return what each wording finds, best first, at most `limit` passages each."""
        texts = [one.text for one in wordings if one.vector is None]
        made = iter(await self._embed(texts))
        rows: list[list[Row]] = []
        for one in wordings:
            vector = next(made) if one.vector is None else None if self._how.mode == "keyword" else one.vector
            asked = Question(one.text, vector, self._how, limit, self._where, self._graph, one.terms)
            found = await self._run(self._index.explain, asked)
            if self._where and not found:
                self.notes = await self._run(self._index.unmet, self._where)
            rows.append([Row(stored, score, *places) for stored, score, places in found])
        return rows

    async def hits(self, knowledge: str, rows: Sequence[Row]) -> tuple[Hit, ...]:
        """Return what was found in a knowledge base, numbered from 1, with what is known of its documents."""
        origins: dict[int, Origin] = await self._run(self._index.origins, [row.stored.id for row in rows])
        return tuple(
            Hit(
                passage_of(knowledge, number, row.stored, row.score),
                Extent(row.stored.unit, row.stored.chunk.first, row.stored.chunk.last),
                row.keyword,
                row.vector,
                row.graph,
                row.rerank,
                origins.get(row.stored.id),
            )
            for number, row in enumerate(rows, 1)
        )

    async def look(self, question: str, count: int) -> Seen:
        """Return what is in the best passages for a question, at most so many."""
        (vector,) = await self._embed([question])
        asked = Question(question, vector, self._how, count, self._where, self._graph)
        seen: Seen = await self._run(self._index.seen, asked)
        return seen

    async def _embed(self, texts: Sequence[str]) -> "Sequence[Vectors | None]":
        vectors, failed = await self._vectors.declared(texts, self._how)
        self.failed = failed or self.failed
        return vectors
