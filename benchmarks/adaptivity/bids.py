"""What an auction takes: the policy alone, among 10, 100 and 1,000 agents, for tasks of three domains.

Three domains are the most that SENSE gives a task, and each agent has its own scores in them. The least time of many.
"""

import random
import time

from benchmarks.adaptivity.players import done
from loomd.amoeba.policies.auction import Auction
from loomd.amoeba.policies.base import MatchPolicy
from loomd.amoeba.policies.cheapest import Cheapest
from loomd.amoeba.policies.thompson import Thompson
from loomd.amoeba.task import Sensed
from loomd.amoeba.world import Score, Standing

SIZES = (10, 100, 1000)
_TASK = Sensed(0.3, {"one": 0.5, "two": 0.3, "three": 0.2}, tools=("search", "files"), tokens=3000)


def standings(count: int) -> list[Standing]:
    """Return agents that differ."""
    draw = random.Random(count)

    def score() -> Score:
        return Score(draw.random(), draw.random() / 10, draw.randrange(30))

    return [
        Standing(
            agent=f"agent-{at}",
            spec=f"spec-{at}",
            scores={domain: score() for domain in _TASK.domains},
            overall=score(),
            running=draw.randrange(3),
            tools=frozenset(draw.sample(["search", "files", "web"], 2)),
            price=(draw.random() / 1e6, draw.random() / 1e5),
        )
        for at in range(count)
    ]


def measure(rounds: int) -> dict[str, float]:
    """Return milliseconds of CPU of one auction by policy and number of agents."""
    found: dict[str, float] = {}
    policies: tuple[MatchPolicy, ...] = (Auction(), Thompson(), Cheapest())
    for policy in policies:
        for size in SIZES:
            agents, least = standings(size), float("inf")
            for number in range(rounds):
                began = time.thread_time()
                done(policy.choose(_TASK, agents, random.Random(number), None))  # type: ignore[arg-type]
                least = min(least, time.thread_time() - began)
            kind = str(getattr(policy, "type", ""))
            found[f"{kind}, {size} agents, cpu ms"] = least * 1e3
    return found
