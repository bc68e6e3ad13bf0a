"""MATCH: who does it? The policy hears every agent's standing; the draw is seeded by the task."""

from random import Random

import msgspec

from loomd.amoeba.account import billed
from loomd.amoeba.asking import Asking
from loomd.amoeba.policies.base import MatchPolicy
from loomd.amoeba.task import Matched, Sensed, Task
from loomd.amoeba.world import World
from loomd.events.bus import Scope
from loomd.events.cluster import AuctionAwarded, AuctionBid


async def match(task: Task, sensed: Sensed, world: World, policy: MatchPolicy, scope: Scope, asking: Asking) -> Matched:
    """Return the winner with all bids, and make the bids known; a task that names its agent hears no bids."""
    if task.agent:
        named = any(standing.agent == task.agent for standing in world.standings(list(sensed.domains)))
        why = "named by the task" if named else f'agent "{task.agent}" is no member of the cluster any more'
        matched = Matched(task.agent if named else "", why=why)
    else:
        draw = Random(f"{task.seed}/match")  # noqa: S311  # a repeatable draw, not a secret
        agents = world.standings(list(sensed.domains))
        others = [agent for agent in agents if agent.agent not in task.avoid]
        matched = billed(await policy.choose(sensed, others or agents, draw, asking), asking.spent)
        if task.avoid and others:
            matched = msgspec.structs.replace(
                matched, why=f"{matched.why}; without {', '.join(task.avoid)}, who failed"
            )
    for bid in matched.bids:
        scope.emit(AuctionBid(bid.agent, bid.total, bid.factors), bid.agent)
    if matched.winner:
        scope.emit(AuctionAwarded(matched.winner, matched.bids[0].total if matched.bids else 1.0), matched.winner)
    return matched


def explain(matched: Matched) -> str:
    """Return the phase's output in one line."""
    others = ", ".join(f"{bid.agent} {bid.total:.3f}" for bid in matched.bids if bid.agent != matched.winner)
    return f"{matched.winner or 'nobody'}: {matched.why}" + (f" (others: {others})" if others else "")
