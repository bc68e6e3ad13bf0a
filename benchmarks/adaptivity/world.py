"""A world in which routing can be measured: agents whose skill in each domain is hidden, and tasks that come in turn.

Only the standard library, so that peers can play it in their own environments. What is fixed here, for everybody:

- 10 agents, 5 domains, 2,000 tasks, all drawn from the seed of the world. The domain of a task is drawn evenly and is
  told to the player, because this is about MATCH and ADAPT and not about SENSE.
- The skill of an agent in a domain is drawn evenly from 0.1 to 0.9 and never changes.
- The reward of a task is the skill of whoever did it plus normal noise of standard deviation 0.1, cut to 0..1. Rewards
  are graded, as those of EVALUATE are. The noise of a task is the same for everybody.
  With `coins` a reward is 1 with the skill as its chance, and 0 otherwise: far noisier, and told beside the goals.
- The regret of a task is the best skill in its domain minus the skill of whoever did it: what chance did counts for
  nothing. The oracle has none.
- Every player begins with the belief 0.5 of every agent in every domain, where it has such a belief.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

AGENTS, DOMAINS, TASKS = 10, 5, 2000
LOW, HIGH, NOISE, PRIOR = 0.1, 0.9, 0.1, 0.5


@dataclass(frozen=True)
class World:
    """The skill of each agent in each domain, and of each task the domain, the noise, and a number from 0 to 1."""

    skill: list[list[float]]
    tasks: list[tuple[int, float, float]]


class Player(Protocol):
    """Chooses an agent for each task, and is told the reward."""

    def choose(self, number: int, domain: int) -> int:
        """Return the agent that does a task."""
        ...

    def learn(self, number: int, domain: int, agent: int, reward: float) -> None:
        """Take in the reward of a task."""
        ...


def world_of(seed: int, tasks: int = TASKS) -> World:
    """Return a world."""
    draw = random.Random(f"world {seed}")
    skill = [[draw.uniform(LOW, HIGH) for _ in range(DOMAINS)] for _ in range(AGENTS)]
    return World(skill, [(draw.randrange(DOMAINS), draw.gauss(0.0, NOISE), draw.random()) for _ in range(tasks)])


def play(world: World, player: Player, *, coins: bool = False) -> Iterator[float]:
    """Yield the regret of each task."""
    for number, (domain, noise, coin) in enumerate(world.tasks):
        agent = player.choose(number, domain)
        skill = world.skill[agent][domain]
        yield max(row[domain] for row in world.skill) - skill
        reward = float(coin < skill) if coins else min(1.0, max(0.0, skill + noise))
        player.learn(number, domain, agent, reward)
