"""The end of a task, and the next attempt of one that failed and is to be begun anew. Called by the local engine."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import msgspec

from loomd.amoeba.account import less, used
from loomd.amoeba.split import may_begin_anew
from loomd.amoeba.task import Result, Task
from loomd.engine.claims import Claims
from loomd.engine.ending import announce
from loomd.engine.images import filled
from loomd.engine.interruption import recorded
from loomd.engine.ledger import Ledger
from loomd.events.bus import Scope
from loomd.store.finish import finish
from loomd.topology import Services


@dataclass(frozen=True)
class Attempts:
    """Ends tasks, and begins the attempts that follow.

    Attributes:
        services: store and clock.
        ledger: the records of all tasks.
        claims: who is about to start a task.
        put: stores what became of a task.
        begin: starts a task that is on disk.
    """

    services: Services
    ledger: Ledger
    claims: Claims
    put: Callable[[Task, Result], Awaitable[None]]
    begin: Callable[[Task], None]

    async def end(self, task: Task, result: Result, scope: Scope) -> Result:
        """Store what became of a task, and begin its next attempt, if there is one, exactly once.

        The attempt is on disk before the end of the one before it: after a crash in between both are continued, the
        one before ends from its record, and finds that the attempt exists.

        Raises:
            RecordFailed: it could not be stored.
        """
        following: Task | None = None
        if task.retries and not task.parent:
            whole = await filled(self.services.store, task)
            following = next_attempt(whole, result, self.services.clock.now())
        if following is None:
            announce(scope, result)
            await self.put(task, result)
            return result
        with self.claims.claim(following.id) as free:
            made = await finish(recorded(task, partial(self.ledger.create, following)))
            result = msgspec.structs.replace(result, retried=following.id)
            announce(scope, result)
            await self.put(task, result)
            if free and made:
                self.begin(following)
        return result


def next_attempt(task: Task, result: Result, now: float) -> Task | None:
    """Return the task that begins in the place of one that failed; None when there is no further attempt.

    Its id comes from the first attempt and its number, so that a crash begins none twice. It has what is left of the
    budget and of the time, and another agent does it when there is one.

    Args:
        task: the attempt that ended, with the contents of its pictures.
        result: what became of it.
        now: wall-clock seconds.
    """
    if task.parent or task.attempt > task.retries or now >= task.deadline:
        return None
    spent = used(result)
    if not may_begin_anew(result, spent, task.budget) or result.matched is None:
        return None
    attempt = task.attempt + 1
    first = task.id if task.attempt == 1 else task.id.rpartition("-")[0]
    return msgspec.structs.replace(
        task,
        id=f"{first}-{attempt}",
        attempt=attempt,
        avoid=(*task.avoid, result.matched.winner),
        budget=less(task.budget, spent),
        seed=task.seed + 1,
        created=now,
    )
