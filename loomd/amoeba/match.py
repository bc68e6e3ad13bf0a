"""MATCH: who does it? The policy hears every agent's standing; the draw is seeded by the task."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from random import Random
from typing import Self

import msgspec

from loomd.amoeba import deciding
from loomd.amoeba.account import billed
from loomd.amoeba.asking import Asking
from loomd.amoeba.crowd import beside, names_of, without
from loomd.amoeba.deciding import asked, is_own
from loomd.amoeba.policies.base import MatchPolicy
from loomd.amoeba.task import Matched, Sensed, Task
from loomd.amoeba.unmatched import Auction
from loomd.amoeba.world import Run, Standing, World
from loomd.events.cluster import AuctionAwarded, AuctionBid


class Burden:
    """A task as the work of the agent that does it, from when that is known to the end of the context."""

    def __init__(self, world: World) -> None:
        """Nobody bears it yet."""
        self._world = world
        self._borne: AbstractContextManager[None] | None = None

    def lay_on(self, winner: str) -> None:
        """Count the task as work of the winner, once; an empty name is nobody."""
        if winner and self._borne is None:
            self._borne = self._world.bearing(winner)
            self._borne.__enter__()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._borne is not None:
            self._borne.__exit__(None, None, None)


async def match(
    task: Task,
    sensed: Sensed,
    world: World,
    policy: MatchPolicy,
    run: Run,
    asking: Asking,
    burden: Burden,
) -> Matched:
    """Return the winner with the best bids, and make them known; a task that names its agent hears no bids.

    The winner bears the task at once: between an auction and that nothing is awaited, so that tasks that
    come at the same time see each other.

    Raises:
        PolicyFailed: a policy that a package brings failed; nobody takes the task in its place, because what it keeps
            apart (secrets, customers) is not known here.
    """
    if task.agent:
        named = task.agent in names_of(world.standings(list(sensed.domains)))
        why = (
            "named by the task"
            if named
            else f'agent "{task.agent}" gets no tasks of the cluster now: it is retired, or no member any more'
        )
        matched = Matched(task.agent if named else "", why=why)
    else:
        domains = list(sensed.domains)

        def heard() -> Sequence[Standing]:
            agents = world.standings(domains)
            agents = beside(agents, task.leads) if task.leads else agents  # who leads a part waits for it
            return (without(agents, task.avoid) or agents) if task.avoid else agents

        async def hold(by: MatchPolicy, agents: Sequence[Standing]) -> Matched:
            draw = Random(f"{task.seed}/match")  # noqa: S311  # a repeatable draw, not a secret
            agents = agents if type(agents) is list or is_own(by) else list(agents)
            choose = partial(by.choose, sensed, agents, draw, asking)
            return await asked("match", by, choose, lambda said: deciding.matched(said, set(names_of(agents))), asking)

        matched = await Auction(task, sensed, world, run, asking, heard, hold, burden.lay_on).settle(policy)
        matched = billed(matched, asking.spent)
        if task.avoid and not set(names_of(heard())) <= set(task.avoid):
            matched = msgspec.structs.replace(
                matched, why=f"{matched.why}; without {', '.join(task.avoid)}, who failed"
            )
    if (made := world.made(matched.winner)) is not None:
        matched = msgspec.structs.replace(matched, made=made)
    burden.lay_on(matched.winner)
    for bid in matched.bids:
        run.scope.emit(AuctionBid(bid.agent, bid.total, bid.factors), bid.agent)
    if matched.winner:
        total = next((bid.total for bid in matched.bids if bid.agent == matched.winner), 1.0)
        run.scope.emit(AuctionAwarded(matched.winner, total), matched.winner)
    return matched


def placed(matched: Matched, sensed: Sensed) -> Matched:
    """Return a match of a task whose domains were looked for anew, with these and why."""
    domains = matched.domains or sensed.domains
    why = f"{matched.why}; it fits {', '.join(sensed.domains)}, which it did not before an interruption"
    return msgspec.structs.replace(matched, domains=domains, why=why)


def explain(matched: Matched) -> str:
    """Return the phase's output in one line."""
    others = ", ".join([f"{bid.agent} {bid.total:.3f}" for bid in matched.bids if bid.agent != matched.winner])
    return f"{matched.winner or 'nobody'}: {matched.why}" + (f" (others: {others})" if others else "")
