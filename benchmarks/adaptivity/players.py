"""Who plays: textbook baselines, and loomd's own MATCH and ADAPT, imported and not copied.

- `random`, `round-robin`: learn nothing.
- `greedy EMA`: the highest moving average (alpha 0.3) of rewards in the domain, of equal ones any.
- `UCB1`: P. Auer et al., 2002: each agent once per domain, then mean + sqrt(2 ln t / n) with t tasks of the domain.
- `Thompson`: textbook Beta-Bernoulli; a graded reward becomes a coin that falls so (S. Agrawal and N. Goyal, 2012).
- `loomd`: the policies `auction` and `ema` of a cluster as they are by default, on the cluster's book of scores.
"""

import math
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from benchmarks.adaptivity.world import AGENTS, DOMAINS, PRIOR, Player, World
from loomd.agents.work import Outcome
from loomd.amoeba.decision import ScoreMove
from loomd.amoeba.policies.auction import Auction
from loomd.amoeba.policies.base import MatchPolicy
from loomd.amoeba.policies.ema import Ema
from loomd.amoeba.policies.thompson import Thompson
from loomd.amoeba.task import Evaluated, Executed, Sensed
from loomd.amoeba.world import Standing
from loomd.cluster.capability import Book
from loomd.store.records import Capability

T = TypeVar("T")
_ALPHA = 0.3


class Random:
    """Chooses anybody."""

    def __init__(self, seed: int, world: World) -> None:
        del world
        self._draw = random.Random(f"random {seed}")

    def choose(self, number: int, domain: int) -> int:
        return self._draw.randrange(AGENTS)

    def learn(self, number: int, domain: int, agent: int, reward: float) -> None:
        pass


class RoundRobin(Random):
    """Chooses each in turn."""

    def choose(self, number: int, domain: int) -> int:
        return number % AGENTS


class GreedyEma(Random):
    """Chooses who has the highest moving average."""

    def __init__(self, seed: int, world: World) -> None:
        super().__init__(seed, world)
        self._means = [[PRIOR] * DOMAINS for _ in range(AGENTS)]

    def choose(self, number: int, domain: int) -> int:
        return max(range(AGENTS), key=lambda agent: (self._means[agent][domain], self._draw.random()))

    def learn(self, number: int, domain: int, agent: int, reward: float) -> None:
        self._means[agent][domain] += _ALPHA * (reward - self._means[agent][domain])


class Ucb1(Random):
    """Chooses who may be the best."""

    def __init__(self, seed: int, world: World) -> None:
        super().__init__(seed, world)
        self._sums = [[0.0] * DOMAINS for _ in range(AGENTS)]
        self._counts = [[0] * DOMAINS for _ in range(AGENTS)]

    def choose(self, number: int, domain: int) -> int:
        counts = [row[domain] for row in self._counts]
        if 0 in counts:
            return counts.index(0)
        bonus = 2 * math.log(sum(counts))
        return max(range(AGENTS), key=lambda a: self._sums[a][domain] / counts[a] + math.sqrt(bonus / counts[a]))

    def learn(self, number: int, domain: int, agent: int, reward: float) -> None:
        self._sums[agent][domain] += reward
        self._counts[agent][domain] += 1


class BetaThompson(Random):
    """Chooses as likely as each may be the best, of what coins say."""

    def __init__(self, seed: int, world: World) -> None:
        super().__init__(seed, world)
        self._heads = [[1] * DOMAINS for _ in range(AGENTS)]
        self._tails = [[1] * DOMAINS for _ in range(AGENTS)]

    def choose(self, number: int, domain: int) -> int:
        drawn = [self._draw.betavariate(h[domain], t[domain]) for h, t in zip(self._heads, self._tails, strict=True)]
        return drawn.index(max(drawn))

    def learn(self, number: int, domain: int, agent: int, reward: float) -> None:
        side = self._heads if self._draw.random() < reward else self._tails
        side[agent][domain] += 1


class Oracle(Random):
    """Knows every skill, at any time."""

    def __init__(self, seed: int, world: World) -> None:
        super().__init__(seed, world)
        self._skill = world.skill

    def choose(self, number: int, domain: int) -> int:
        return max(range(AGENTS), key=lambda agent: self._skill[agent][domain])


class Loomd:
    """MATCH and ADAPT of a cluster; all agents are idle, have no tools, and declare all domains with 0.5."""

    match: MatchPolicy = Auction()

    def __init__(self, seed: int, world: World) -> None:
        del world
        self._seed, self._adapt = seed, Ema()
        self._names = [f"agent-{at}" for at in range(AGENTS)]
        self._book = Book([(name, name) for name in self._names], ())

    def choose(self, number: int, domain: int) -> int:
        agents = [self._standing(name, domain) for name in self._names]
        draw = random.Random(f"{self._seed * 1_000_000 + number}/match")
        matched = done(self.match.choose(_sensed(domain), agents, draw, None))  # type: ignore[arg-type]
        return self._names.index(matched.winner)

    def learn(self, number: int, domain: int, agent: int, reward: float) -> None:
        name = self._names[agent]
        evaluated = Evaluated(reward, reward, reward, reward)
        executed = Executed(Outcome("done", "completed"), name)
        moves = self._adapt.decide(_sensed(domain), executed, evaluated, self._standing(name, domain))
        scores = [
            Capability(m.agent, m.spec, m.domain, m.after, m.variance, m.count, 0.0)
            for m in moves
            if isinstance(m, ScoreMove)
        ]
        self._book.admit(name, name, scores)

    def _standing(self, name: str, domain: int) -> Standing:
        scores = {f"domain-{domain}": self._book.score(name, name, f"domain-{domain}", PRIOR)}
        return Standing(name, name, scores, self._book.overall(name, name, PRIOR), 0, frozenset())


class Thompsons(Loomd):
    """The same with the policy `thompson`."""

    match = Thompson()


def _sensed(domain: int) -> Sensed:
    return Sensed(0.2, {f"domain-{domain}": 1.0})


def done(work: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that awaits nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # of a coroutine that returns T
    raise RuntimeError("an auction awaited something")


PLAYERS: dict[str, Callable[[int, World], Player]] = {
    "random": Random,
    "round-robin": RoundRobin,
    "greedy EMA": GreedyEma,
    "UCB1": Ucb1,
    "Thompson": BetaThompson,
    "loomd": Loomd,
    "loomd, thompson": Thompsons,
    "oracle": Oracle,
}
"""Players are made with a seed and the world, which only the oracle looks at."""
