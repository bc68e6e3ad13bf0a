"""Takes what people say of the answers of tasks that have ended, one word after the other. Called by the API.

Each word counts once: its event, the scores that it moves and what it teaches of judges are one transaction, under the
key `TASK#feedback/N`. What was not answered was not taken, and may be said again.
"""

import asyncio
from collections.abc import Callable

import msgspec

from loomd.amoeba.decision import ScoreMove
from loomd.amoeba.feedback import Said
from loomd.amoeba.task import Result
from loomd.cluster.feedback import Correction, Earlier, Given, correct
from loomd.cluster.health import rewarded
from loomd.cluster.learn import decision_of
from loomd.engine.accept import cluster_of
from loomd.errors import Conflict, NotFound
from loomd.events.cluster import FeedbackGiven, ProposalMade
from loomd.events.journal import Journal
from loomd.store.records import TaskRecord
from loomd.topology import Services, Topology

_result = msgspec.json.Decoder(Result).decode


class Feedback:
    """Takes words of people.

    Args:
        services: journal, store and clock.
        topology: returns what serves now.
    """

    def __init__(self, services: Services, topology: Callable[[], Topology]) -> None:
        self._services = services
        self._topology = topology
        self._lock = asyncio.Lock()

    async def give(self, record: TaskRecord, said: Said, note: str) -> Correction:
        """Take a word, and return what came of it once that is on disk.

        Args:
            record: the task.
            said: what is said, and by whom.
            note: why.

        Raises:
            Conflict: the task has not ended, or nothing of it is kept.
        """
        task = record.id
        if not record.result:
            raise Conflict(f"Task/{task} has not ended: there is no answer yet")
        if await self._services.store.get_task(task) is None:
            raise Conflict(
                f"Task/{task}: nothing of it is kept (durability: none), and so is nothing that is said of it"
            )
        result = _result(record.result)
        async with self._lock, self._topology().lease() as topology:
            before, at = await self._before(task)
            earlier = [
                Earlier(Said(one.score, one.by), not one.why, asked)
                for one, asked in before
                if one.after is not None and (one.counts or not one.why)
            ]
            try:
                cluster = cluster_of(topology, result.task)
            except NotFound:
                cluster = None
            given = Given(said, note, len(before) + 1, at)
            return await correct(self._services, cluster, result, given, earlier)

    async def _before(self, task: str) -> tuple[list[tuple[FeedbackGiven, dict[str, tuple[str, str]]]], float]:
        """Return what was said of a task so far, each with what people were asked because of it; see `Earlier`.

        With it comes when the task was rewarded, in wall-clock seconds; 0 for never.
        """
        words, at = list[tuple[FeedbackGiven, dict[str, tuple[str, str]]]](), 0.0
        async for event in Journal(self._services.store).replay(task=task):
            fact = event.data
            if isinstance(fact, FeedbackGiven):
                words.append((fact, {}))
            elif not at and rewarded(event) is not None:
                at = event.ts
            elif isinstance(fact, ProposalMade) and words:
                move = decision_of(fact)
                if isinstance(move, ScoreMove) and not move.seen:
                    words[-1][1][move.domain] = fact.proposal, move.since
        return words, at
