"""Carries out what ADAPT decided: tells it, and stores it, once per task. Called by `cluster`."""

import asyncio
from collections.abc import Sequence

from loomd.amoeba.task import Decision, ScoreMove
from loomd.errors import Temporary
from loomd.events.bus import Scope
from loomd.events.cluster import CapabilityUpdated
from loomd.events.journal import Journal
from loomd.store.base import Store
from loomd.store.records import Average, Capability, Learned, Movement
from loomd.topology import Services

_LATE = "learned/feedback/"
"""How the keys begin of what people taught after the task."""
_RETRY = 1.0
"""Seconds until what could not be stored is tried again."""


async def learned(store: Store, task: str) -> tuple[Decision, ...] | None:
    """Return what was learned of a task, as it is recorded, or None when nothing was."""
    if not await store.learned_from(task):
        return None
    known = await Journal(store).checkpoints(task)
    facts = [event.data for key, event in known.items() if not key.startswith(_LATE)]
    return tuple(
        ScoreMove(f.owner, f.spec, f.domain, f.before, f.after, f.variance, f.count, f.reason)
        for f in facts
        if isinstance(f, CapabilityUpdated)
    )


async def learn(
    services: Services, decisions: Sequence[Decision], scope: Scope, key: str = "", averages: Sequence[Average] = ()
) -> None:
    """Take new scores over, tell everybody, and store them, once per task.

    They are taken over before they are stored, so that tasks that end at the same time build on each other. What is
    told is on disk when the scores are. As long as nothing can be stored this waits: others build on them already.

    Args:
        services: what the daemon lends.
        decisions: how scores move.
        scope: the envelope of the task's events.
        key: under what it is stored once, when that is not the task itself: `TASK#feedback/1`.
        averages: moving averages that are stored in the same transaction.
    """
    lead = f"learned/{key.partition('#')[2]}" if key else "learned"
    for d in decisions:
        fact = CapabilityUpdated(d.agent, d.spec, d.domain, d.before, d.after, d.variance, d.count, d.reason)
        scope.emit(fact, d.agent, key=f"{lead}/{d.agent}/{d.domain}")
    now = services.clock.now()
    scores = [Capability(d.agent, d.spec, d.domain, d.after, d.variance, d.count, now) for d in decisions]
    moved = [_movement(one, key, now) for one in decisions] if key else []
    while True:
        try:
            await services.store.learn(key or scope.task, Learned(scores=scores, movements=moved, averages=averages))
        except Temporary as error:
            await asyncio.sleep(error.retry_after or _RETRY)
        else:
            return


def _movement(d: ScoreMove, task: str, now: float) -> Movement:
    """Return how people moved a score."""
    return Movement(
        agent=d.agent,
        spec=d.spec,
        domain=d.domain,
        before=d.before,
        after=d.after,
        variance=d.variance,
        count=d.count,
        reward=0.0,
        task=task,
        at=now,
    )
