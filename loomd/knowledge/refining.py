"""A search in more than one step: the question expanded, everything searched, the best passages judged once more.

The order: what else is looked for (`retrieval.expand`), a search for each wording, their passages joined by rank where
there are several, and the first of them judged (`retrieval.rerank`). What fails on the way is left out and said to be,
or fails the search, as declared. Called by a knowledge base that has either; one that has none never comes here.

Where passages are judged, what was found is recorded before, and what came of the judgement after it: a task that goes
on after an interruption goes on with those, whatever the documents are by then, and whoever answers in time.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import msgspec

from loomd.errors import BadReply, LoomdError, Temporary
from loomd.events.event import Fallback
from loomd.knowledge.asking import ENDING, Asker, AskingSpec, Scores
from loomd.knowledge.base import Retrieval
from loomd.knowledge.expanders.base import Expander, Seen, Wording
from loomd.knowledge.hybrid import fuse
from loomd.knowledge.question_vectors import by_words
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


class Sought(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was found before anything is judged, as it is recorded; the rest as in `Refined`."""

    rows: tuple[Row, ...]
    wordings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Judgement(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a reranker gave each passage, as it is recorded; None to those of which it said nothing in time."""

    scores: tuple[float | None, ...]
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
        spec, reranker = self._how.rerank, self._rerank
        if spec is None or reranker is None:
            sought = await self._sought(question, limit, searching, asker)
            return Refined(sought.rows[:limit], sought.wordings, sought.notes)
        find = partial(self._sought, question, max(limit, spec.candidates), searching)
        sought = await asker.keep("found", find, Sought)
        rows, notes = list(sought.rows), sought.notes
        if len(rows) > 1:
            judge = partial(_judged, spec, reranker, question, rows[: spec.candidates])
            judgement = await asker.keep("judged", judge, Judgement)
            rows, notes = _ordered(rows, judgement.scores), notes + judgement.notes
        return Refined(rows[:limit], sought.wordings, notes)

    async def _sought(self, question: str, wanted: int, searching: Searching, asker: Asker) -> Sought:
        """Return what is found, at most `wanted` passages."""
        notes: list[str] = []
        wordings = await self._worded(question, searching, asker, notes)
        found = await searching.find(wordings, wanted)
        notes += by_words(searching.failed, asker)
        rows = found[0] if len(found) == 1 else self._joined(found, wordings)[:wanted]
        return Sought(tuple(rows), tuple(one.text for one in wordings[1:]), tuple(notes))

    async def _worded(self, question: str, searching: Searching, asker: Asker, notes: list[str]) -> Sequence[Wording]:
        """Return what is looked for: the question alone, when it is not to be expanded or that failed."""
        plain, expander = [Wording(question)], self._expand
        if expander is None:
            return plain

        async def look(count: int) -> Seen:
            return await searching.look(question, count)

        async def expand() -> Sequence[Wording]:
            return await expander.expand(question, look, asker)

        def instead() -> str:
            return "the question was searched as it is"

        return await _tried(self._how.expand, expand, asker, notes, ("expand", instead)) or plain

    def _joined(self, found: Sequence[Sequence[Row]], wordings: Sequence[Wording]) -> list[Row]:
        """Return what several wordings found, by rank; its places are those for the question itself."""
        known = {row.stored.id: row._replace(keyword=None, vector=None, graph=None) for rows in found for row in rows}
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


async def _judged(spec: RerankSpec, reranker: Reranker, question: str, rows: Sequence[Row], asker: Asker) -> Judgement:
    """Return what a reranker says of passages: what came of it, when not all of it did."""
    scores: list[float | None] = [None] * len(rows)
    texts = [embedded_text(row.stored.chunk) for row in rows]

    def take(first: int, given: Scores) -> None:
        if first < 0 or first + len(given) > len(rows):
            raise BadReply(f"the reranker was asked about {len(rows)} passages, and judged others")
        scores[first : first + len(given)] = given

    async def judge() -> None:
        await reranker.judge(question, texts, asker, take)
        if None in scores:
            raise BadReply(f"the reranker was asked about {len(rows)} passages, and did not judge all of them")

    def instead() -> str:
        left = scores.count(None)
        which = "the passages stand" if left == len(rows) else f"{left} of {len(rows)} passages stand"
        return f"{which} in the order of the search"

    notes: list[str] = []
    await _tried(spec, judge, asker, notes, ("rerank", instead))
    return Judgement(tuple(scores), tuple(notes))


def _ordered(rows: Sequence[Row], scores: Sequence[float | None]) -> list[Row]:
    """Return rows by what the first ones were given; what was given nothing keeps its place."""
    judged = [
        (score, row._replace(rerank=score)) for row, score in zip(rows, scores, strict=False) if score is not None
    ]
    best = iter(sorted(judged, key=lambda pair: -pair[0]))
    first = [row if score is None else next(best)[1] for row, score in zip(rows, scores, strict=False)]
    return [*first, *rows[len(first) :]]


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
    spec: object, do: Callable[[], Awaitable[T]], asker: Asker, notes: list[str], told: tuple[str, Callable[[], str]]
) -> T | None:
    """Return what a step brings; None when it fails and is declared to be left out then, which is noted and told.

    Args:
        spec: as it is declared; what asks nobody does not fail.
        do: the step.
        asker: who is told.
        notes: where it is noted.
        told: what the step is called, and says what is done instead.

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
    except ENDING:
        raise
    except LoomdError as failed:
        error = failed
    if spec.on_failure == "fail":
        raise error
    asker.tell(Fallback(what, str(error), instead()))
    notes.append(f"{instead()}, because {what} failed: {error}")
    return None
