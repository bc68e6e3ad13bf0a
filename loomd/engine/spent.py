"""What a task had used when it was interrupted, as its record says it. Called by the record and by the engine.

Only what is recorded counts: a call that was under way is made again, and set aside for again.
"""

from collections.abc import Mapping

import msgspec

from loomd.agents.asking import MODEL_STEP, SERVICE_STEP
from loomd.agents.budget import NOTHING, Spent
from loomd.cassette import MODEL
from loomd.events.event import Event, StepCompleted
from loomd.events.journal import Journal
from loomd.messages import Usage
from loomd.store.base import Store


class _Cost(msgspec.Struct, frozen=True):
    """What a recorded step has in common with others: its tokens and USD."""

    usage: Usage = Usage()
    cost: float = 0.0


_cost = msgspec.json.Decoder(_Cost).decode


def spent_in(recorded: Mapping[str, Event], prefix: str = "") -> Spent:
    """Return what was used in the recorded steps below a key; all by default.

    What delegated work used is in steps of its own, below those of the calls that asked for it.
    """
    spent = NOTHING
    for key, event in recorded.items():
        fact = event.data
        if not isinstance(fact, StepCompleted) or (prefix and not key.startswith(f"step/{prefix}/")):
            continue
        if fact.name in MODEL or fact.name == MODEL_STEP:
            one = _cost(fact.value)
            spent += Spent(one.usage, one.cost, 0, 1)
        elif fact.name == SERVICE_STEP:
            spent += Spent(cost=_cost(fact.value).cost)
        elif fact.name.startswith("tool:"):
            spent += Spent(cost=_cost(fact.value).cost, calls=1)
    return spent


async def spent_by_parts(store: Store, journal: Journal, task: str) -> Spent:
    """Return what was used in the recorded steps of a task's parts.

    Raises:
        RecordFailed: what they recorded cannot be read now.
    """
    spent = NOTHING
    for record in await store.list_tasks(tree=task):
        spent += spent_in(await journal.checkpoints(record.id))
    return spent
