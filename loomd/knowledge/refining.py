"""A search in more than one step: the question expanded, everything searched, the best passages judged once more.

The order: what else is looked for (`retrieval.expand`), a search for each wording, their passages joined by rank where
there are several, and the first of them judged (`retrieval.rerank`). What fails on the way is left out and said to be,
or fails the search, as declared. Called by a knowledge base that has either; one that has none never comes here.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from loomd.errors import Diverged, LoomdError, RecordFailed, Temporary
from loomd.events.event import Fallback
from loomd.knowledge.asking import Asker, AskingSpec, Scores
from loomd.knowledge.base import Retrieval
from loomd.knowledge.expanders.base import Expander, Seen, Wording
from loomd.knowledge.hybrid import fuse
from loomd.knowledge.rerankers.base import Reranker, RerankSpec
from loomd.knowledge.searching import Row, Searching
from loomd.knowledge.survey import embedded_text
from loomd.topology import Parts

T = TypeVar("T")


@dataclass(frozen=True)
class Refined:
    """What came of a search.

    Attributes:
        rows: passages, best first.
        wordings: what was looked for beside the question.
        notes: what was declared and did not come about, and why.
    """

    rows: Sequence[Row]
    wordings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Refining:
    """What a knowledge base declares about expanding and reranking, live.

    Args:
        how: as declared.
        expand: what expands questions, if anything.
        rerank: what judges passages, if anything.
    """

    def __init__(self, how: Retrieval, expand: Expander | None, rerank: Reranker | None) -> None:
        self._how = how
        self._expand = expand
        self._rerank = rerank

    async def search(self, question: str, limit: int, searching: Searching, asker: Asker) -> Refined:
        """Return the best passages for a question.

        Args:
            question: in plain words.
            limit: how many passages at most.
            searching: the knowledge base.
            asker: who pays.

        Raises:
            LoomdError: a step failed that is declared as `onFailure: fail`.
        """
        notes: list[str] = []
        wordings = await self._worded(question, searching, asker, notes)
        spec = self._how.rerank
        wanted = limit if spec is None else max(limit, spec.candidates)
        found = await searching.find(wordings, wanted)
        rows = found[0] if len(found) == 1 else self._joined(found, wordings)[:wanted]
        if spec is not None and len(rows) > 1:
            rows = await self._judged(spec, question, rows, asker, notes)
        return Refined(rows[:limit], tuple(one.text for one in wordings[1:]), tuple(notes))

    async def _worded(self, question: str, searching: Searching, asker: Asker, notes: list[str]) -> Sequence[Wording]:
        """Return what is looked for: the question alone, when it is not to be expanded or that failed."""
        plain, expander = [Wording(question)], self._expand
        if expander is None:
            return plain

        async def look(count: int) -> Seen:
            return await searching.look(question, count)

        async def expand() -> Sequence[Wording]:
            return await expander.expand(question, look, asker)

        said = "the question was searched as it is"
        return await _tried(self._how.expand, expand, asker, notes, ("expand", said)) or plain

    def _joined(self, found: Sequence[Sequence[Row]], wordings: Sequence[Wording]) -> list[Row]:
        """Return what several wordings found, by rank; its places are those for the question itself."""
        known = {row.stored.id: row._replace(keyword=None, vector=None) for rows in found for row in rows}
        known |= {row.stored.id: row for row in found[0]}
        rankings = [
            ([(row.stored.id, row.score) for row in rows], one.weight)
            for rows, one in zip(found, wordings, strict=True)
        ]
        rows, texts = list[Row](), set[str]()
        for ident, score in fuse(rankings, self._how.rrf_k):
            row = known[ident]
            if row.stored.chunk.text not in texts:  # each search leaves out equal texts, but not the same ones
                texts.add(row.stored.chunk.text)
                rows.append(row._replace(score=score))
        return rows

    async def _judged(
        self, spec: RerankSpec, question: str, rows: list[Row], asker: Asker, notes: list[str]
    ) -> list[Row]:
        """Return rows by what a reranker says of the first ones; as they are, when it says nothing that can be used."""
        reranker = self._rerank
        if reranker is None:
            return rows
        first, rest = rows[: spec.candidates], rows[spec.candidates :]

        async def judge() -> Scores:
            return await reranker.judge(question, [embedded_text(row.stored.chunk) for row in first], asker)

        scores = await _tried(spec, judge, asker, notes, ("rerank", "the passages stand in the order of the search"))
        if scores is None:
            return rows
        judged = [row._replace(rerank=score) for row, score in zip(first, scores, strict=True)]
        return [*sorted(judged, key=lambda row: -(row.rerank or 0.0)), *rest]


@asynccontextmanager
async def refined(how: Retrieval, parts: Parts) -> AsyncGenerator[Refining, None]:
    """Open what a manifest declares about expanding and reranking.

    Args:
        how: as declared.
        parts: those of the knowledge base.

    Raises:
        LoomdError: it cannot be opened.
    """
    async with AsyncExitStack() as stack:
        expand = None if how.expand is None else await stack.enter_async_context(how.expand.open(parts))
        rerank = None if how.rerank is None else await stack.enter_async_context(how.rerank.open(parts))
        yield Refining(how, expand, rerank)


async def _tried(
    spec: object, do: Callable[[], Awaitable[T]], asker: Asker, notes: list[str], told: tuple[str, str]
) -> T | None:
    """Return what a step brings; None when it fails and is declared to be left out then, which is noted and told.

    Args:
        spec: as it is declared; what asks nobody does not fail.
        do: the step.
        asker: who is told.
        notes: where it is noted.
        told: what the step is called, and what is done instead.

    Raises:
        LoomdError: it failed, and is declared to fail the search; or it could not be recorded.
    """
    if not isinstance(spec, AskingSpec):
        return await do()
    what, instead = told
    timer = asyncio.timeout(spec.timeout)
    try:
        async with timer:
            return await do()
    except TimeoutError:
        if not timer.expired():
            raise
        error: LoomdError = Temporary(f"no answer within {what}.timeout ({spec.timeout:g} s)")
    except (RecordFailed, Diverged):
        raise
    except LoomdError as failed:
        error = failed
    if spec.on_failure == "fail":
        raise error
    asker.tell(Fallback(what, str(error), instead))
    notes.append(f"{instead}, because {what} failed: {error}")
    return None
