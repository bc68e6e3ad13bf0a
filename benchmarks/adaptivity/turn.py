"""The world of `world.py` with a turn: at task 1,000 the best and the worst agent of each domain change places.

Only the standard library, so that peers can play it in their own environments. A player is *back* in a domain after the
first so many tasks of it since the turn over the last ten of which the mean of skill / best skill is 0.9 or more; one
that never is counts with all tasks of the domain.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.adaptivity.world import AGENTS, DOMAINS, Player, World, play, world_of

CHANGE = 1000
SPAN, NEAR = 10, 0.9


@dataclass
class Course:
    """What came of a run: its regret, and per domain skill / best of each task since the turn."""

    regret: float = 0.0
    since: list[list[float]] = field(default_factory=lambda: [[] for _ in range(DOMAINS)])

    def back(self, domain: int) -> int:
        """Return after how many tasks of a domain its player is back."""
        shares = self.since[domain]
        for end in range(SPAN, len(shares) + 1):
            if statistics.mean(shares[end - SPAN : end]) >= NEAR:
                return end
        return len(shares)


def run(world: World, player: Player, *, turns: bool) -> Course:
    """Let a player do all tasks of a world, which is its own: a turn changes it in place, so that an oracle sees it."""
    course = Course()
    best = _best(world)
    for number, regret in enumerate(play(world, player)):
        course.regret += regret
        if number >= CHANGE:
            domain = world.tasks[number][0]
            course.since[domain].append(1 - regret / best[domain])
        if turns and number == CHANGE - 1:  # what was chosen before is learned by the world before
            _turn(world)
    return course


def _best(world: World) -> list[float]:
    """Return the best skill of each domain, which a turn gives to another agent."""
    return [max(row[domain] for row in world.skill) for domain in range(DOMAINS)]


def _turn(world: World) -> None:
    for domain in range(DOMAINS):
        order = sorted(range(AGENTS), key=lambda agent: world.skill[agent][domain])
        worst, best = world.skill[order[0]], world.skill[order[-1]]
        worst[domain], best[domain] = best[domain], worst[domain]


def measure(seeds: int, players: dict[str, Callable[[int, World], Player]]) -> dict[str, Any]:
    """Return by player: regret without and with the turn, tasks until back, and the curve after the turn."""
    found: dict[str, Any] = {}
    for name, made in players.items():
        runs: dict[bool, list[Course]] = {False: [], True: []}
        for seed in range(seeds):
            for turns, courses in runs.items():
                world = world_of(seed)
                courses.append(run(world, made(seed, world), turns=turns))
        shares = [course.since[domain] for course in runs[True] for domain in range(DOMAINS)]
        length = min(map(len, shares))
        back = [course.back(domain) for course in runs[True] for domain in range(DOMAINS)]
        found[name] = {
            "regret, nothing changes": statistics.mean(course.regret for course in runs[False]),
            "regret with the change": statistics.mean(course.regret for course in runs[True]),
            "tasks until back, mean": statistics.mean(back),
            "tasks until back, standard error": statistics.stdev(back) / len(back) ** 0.5,
            "tasks until back, median": statistics.median(back),
            "share of the best after the change": [
                round(statistics.mean(one[at] for one in shares), 4) for at in range(length)
            ],
        }
    return found
