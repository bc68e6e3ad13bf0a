"""Carries out what ADAPT decided: tells it, and stores it, once per task. Called by `cluster`."""

import asyncio
from collections.abc import Sequence

from loomd.amoeba.task import Decision, ScoreMove
from loomd.errors import Temporary
from loomd.events.bus import Scope
from loomd.events.cluster import CapabilityUpdated
from loomd.events.journal import Journal
from loomd.store.base import Store
from loomd.store.records import Capability, Learned
from loomd.topology import Services

_RETRY = 1.0
"""Seconds until what could not be stored is tried again."""


async def learned(store: Store, task: str) -> tuple[Decision, ...] | None:
    """Return what was learned of a task, as it is recorded, or None when nothing was."""
    if not await store.learned_from(task):
        return None
    facts = [event.data for event in (await Journal(store).checkpoints(task)).values()]
    return tuple(
        ScoreMove(f.owner, f.spec, f.domain, f.before, f.after, f.variance, f.count, f.reason)
        for f in facts
        if isinstance(f, CapabilityUpdated)
    )


async def learn(services: Services, decisions: Sequence[Decision], scope: Scope) -> None:
    """Take new scores over, tell everybody, and store them, once per task.

    They are taken over before they are stored, so that tasks that end at the same time build on each other. What is
    told is on disk when the scores are. As long as nothing can be stored this waits: others build on them already.
    """
    for d in decisions:
        fact = CapabilityUpdated(d.agent, d.spec, d.domain, d.before, d.after, d.variance, d.count, d.reason)
        scope.emit(fact, d.agent, key=f"learned/{d.agent}/{d.domain}")
    now = services.clock.now()
    scores = [Capability(d.agent, d.spec, d.domain, d.after, d.variance, d.count, now) for d in decisions]
    while True:
        try:
            await services.store.learn(scope.task, Learned(scores=scores))
        except Temporary as error:
            await asyncio.sleep(error.retry_after or _RETRY)
        else:
            return
