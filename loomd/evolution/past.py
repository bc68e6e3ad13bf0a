"""The past tasks of an agent on which instructions can be tried: which are shown, and which are held out."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from loomd.agents.agent import Agent
from loomd.amoeba.evolving import Evolve
from loomd.amoeba.task import Result, Task
from loomd.cluster.cluster import Cluster
from loomd.store.base import Store

_LOOK = 50
"""Most rewards of an agent as it behaved with one digest that are looked at."""
_BEHAVIOURS = 4
"""Most digests."""
_task = msgspec.json.Decoder(Task).decode
_result = msgspec.json.Decoder(Result).decode


@dataclass(frozen=True)
class Past:
    """A past task: as it was accepted, what became of it, and its reward."""

    task: Task
    result: Result
    reward: float


@dataclass(frozen=True)
class Split:
    """Past tasks: some are shown to the model that writes, others held out; `left` says how many there are."""

    shown: Sequence[Past]
    held: Sequence[Past]
    left: str = ""


async def past_of(store: Store, cluster: Cluster, agent: Agent) -> list[Past]:
    """Return the tasks of an agent that can be done anew without effect, newest first.

    What it did as it behaves now comes before what it did as it behaved earlier.
    """
    learning, namespace = store.learning, agent.namespace
    known = (await learning.behaviours(namespace)).get(agent.name, [])
    found: dict[str, Past] = {}
    for digest in list(dict.fromkeys([agent.digest, *known]))[:_BEHAVIOURS]:
        for lesson in await learning.lessons(namespace, agent.name, digest, _LOOK):
            record = None if lesson.task in found else await store.get_task(lesson.task)
            if record is None or not record.result:
                continue
            one = Past(_task(record.body), _result(record.result), lesson.reward)
            if _can_be_tried(one, cluster.ref.name, agent.name):
                found[lesson.task] = one
    return list(found.values())


def divide(past: Sequence[Past], spec: Evolve) -> Split:
    """Return which tasks are shown and which are held out: no task is both, and neither are two of the same words.

    Shown are those with the lowest rewards of the latest.
    """
    late = [one for one in past if spec.tenants or not (one.task.tenant or one.task.user)]
    late = sorted(late[: max(spec.window, spec.shown)], key=lambda one: (one.reward, one.task.id))
    shown = _distinct(late)[: spec.shown]
    seen = {_words(one) for one in shown}
    held = _distinct([one for one in past if _words(one) not in seen])
    return Split(shown, held[: spec.tasks], f"{len(past)} past tasks can be done anew without effect")


def _can_be_tried(one: Past, cluster: str, agent: str) -> bool:
    """Return whether a task can be done anew by the agent alone without effect, and says something of it."""
    executed, task = one.result.executed, one.task
    if executed is None or task.cluster != cluster or executed.agent != agent or task.images:
        return False
    outcome = executed.outcome
    return not (executed.children or outcome.acted or outcome.mute or one.result.phase == "Cancelled")


def _distinct(tasks: Sequence[Past]) -> list[Past]:
    """Return tasks without those whose words are those of an earlier one."""
    found: dict[str, Past] = {}
    for one in tasks:
        found.setdefault(_words(one), one)
    return list(found.values())


def _words(one: Past) -> str:
    return " ".join(one.task.goal.casefold().split())
