"""How soon a cluster notices that its agents have changed: at task 1,000 the best of each domain becomes the worst.

    python -m benchmarks.adaptivity.drift [--seeds 20] [--json FILE] [--svg FILE] [--peer PYTHON]

Everything is drawn from the seed of a world. Definitions, equal to those of the regret benchmark:

- 10 agents, 5 domains, 2,000 tasks; the domain of a task is drawn evenly and told to the player.
- The skill of an agent in a domain is drawn evenly from 0.1 to 0.9. At task 1,000 the best and the worst agent of each
  domain change places.
- The reward of a task is the skill of whoever did it plus normal noise of standard deviation 0.1, cut to 0..1.
- The regret of a task is the best skill in its domain, as it is then, minus the skill of whoever did it.
- A player is *back* in a domain after the first so many tasks of it since the change over the last ten of which the
  mean of skill / best skill is 0.9 or more; one that never is counts with all tasks of the domain.
- All begin with the belief 0.5. `loomd` are the policies `auction` and `ema` as a cluster has them by default, on the
  cluster's book of scores, the time standing still; nothing of them is copied.

The goal of the specification: back within 60 tasks per domain, with the same setting that loses at most half of what
greedy EMA loses when nothing changes.
"""

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

AGENTS, DOMAINS, TASKS, CHANGE = 10, 5, 2000, 1000
LOW, HIGH, NOISE, PRIOR = 0.1, 0.9, 0.1, 0.5
SPAN, NEAR = 10, 0.9
GOAL = 60
ALPHA = 0.3
ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 60, 150, 30, 50
COLOURS = {
    "loomd": "#cf222e",
    "greedy EMA": "#d29922",
    "UCB1": "#8250df",
    "Thompson": "#1f6feb",
    "random": "#8c959f",
    "loom-agent 0.6.5": "#2ea043",
}
T = TypeVar("T")


class Player(Protocol):
    """Chooses an agent for each task, and is told the reward."""

    def choose(self, number: int, domain: int) -> int:
        """Return the agent that does a task."""
        ...

    def learn(self, number: int, domain: int, agent: int, reward: float) -> None:
        """Take in the reward of a task."""
        ...


@dataclass
class Course:
    """What came of a run: regret with and without the change, and per domain skill / best of each task since it."""

    regret: float = 0.0
    since: list[list[float]] = field(default_factory=lambda: [[] for _ in range(DOMAINS)])

    def back(self, domain: int) -> int:
        """Return after how many tasks of a domain its player is back."""
        shares = self.since[domain]
        for end in range(SPAN, len(shares) + 1):
            if statistics.mean(shares[end - SPAN : end]) >= NEAR:
                return end
        return len(shares)


def play(seed: int, player: Player, *, drift: bool, skill: list[list[float]]) -> Course:
    """Let a player do all tasks of a world; `skill` is changed in place, so that an oracle sees it."""
    draw = random.Random(f"world {seed}")
    skill[:] = [[draw.uniform(LOW, HIGH) for _ in range(DOMAINS)] for _ in range(AGENTS)]
    tasks = [(draw.randrange(DOMAINS), draw.gauss(0.0, NOISE)) for _ in range(TASKS)]
    course = Course()
    for number, (domain, noise) in enumerate(tasks):
        if drift and number == CHANGE:
            _turn(skill)
        agent = player.choose(number, domain)
        best, own = max(row[domain] for row in skill), skill[agent][domain]
        course.regret += best - own
        if number >= CHANGE:
            course.since[domain].append(own / best)
        player.learn(number, domain, agent, min(1.0, max(0.0, own + noise)))
    return course


def _turn(skill: list[list[float]]) -> None:
    """Let the best and the worst agent of each domain change places."""
    for domain in range(DOMAINS):
        order = sorted(range(AGENTS), key=lambda agent: skill[agent][domain])
        worst, best = order[0], order[-1]
        skill[worst][domain], skill[best][domain] = skill[best][domain], skill[worst][domain]


class Random:
    """Chooses anybody."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(f"player {seed}")

    def choose(self, number: int, domain: int) -> int:
        return self._draw.randrange(AGENTS)

    def learn(self, number: int, domain: int, agent: int, reward: float) -> None:
        pass


class GreedyEma(Random):
    """Chooses who has the highest moving average (alpha 0.3), equal ones at random."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._means = [[PRIOR] * DOMAINS for _ in range(AGENTS)]

    def choose(self, number: int, domain: int) -> int:
        return max(range(AGENTS), key=lambda agent: (self._means[agent][domain], self._draw.random()))

    def learn(self, number: int, domain: int, agent: int, reward: float) -> None:
        self._means[agent][domain] += ALPHA * (reward - self._means[agent][domain])


class Ucb1(Random):
    """P. Auer et al., 2002: each agent once per domain, then mean + sqrt(2 ln t / n) with t tasks of the domain."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
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


class Thompson(Random):
    """Textbook Beta-Bernoulli; a graded reward becomes a coin that falls so (S. Agrawal and N. Goyal, 2012)."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._heads = [[1] * DOMAINS for _ in range(AGENTS)]
        self._tails = [[1] * DOMAINS for _ in range(AGENTS)]

    def choose(self, number: int, domain: int) -> int:
        drawn = [
            self._draw.betavariate(heads[domain], tails[domain])
            for heads, tails in zip(self._heads, self._tails, strict=True)
        ]
        return drawn.index(max(drawn))

    def learn(self, number: int, domain: int, agent: int, reward: float) -> None:
        side = self._heads if self._draw.random() < reward else self._tails
        side[agent][domain] += 1


class Oracle(Random):
    """Knows every skill at any time."""

    def __init__(self, skill: list[list[float]]) -> None:
        self._skill = skill

    def choose(self, number: int, domain: int) -> int:
        return max(range(AGENTS), key=lambda agent: self._skill[agent][domain])


class Loomd:
    """MATCH and ADAPT of a cluster; all agents are idle, have no tools, and declare all domains with 0.5."""

    def __init__(self, seed: int) -> None:
        from loomd.amoeba.policies.auction import Auction
        from loomd.amoeba.policies.ema import Ema
        from loomd.cluster.capability import Book

        self._seed, self._match, self._adapt = seed, Auction(), Ema()
        self._names = [f"agent-{at}" for at in range(AGENTS)]
        self._book = Book([(name, name) for name in self._names], ())

    def choose(self, number: int, domain: int) -> int:
        agents = [self._standing(name, domain) for name in self._names]
        draw = random.Random(f"{self._seed * 1_000_000 + number}/match")
        matched = _done(self._match.choose(self._sensed(domain), agents, draw, None))  # type: ignore[arg-type]
        return self._names.index(matched.winner)

    def learn(self, number: int, domain: int, agent: int, reward: float) -> None:
        from loomd.agents.work import Outcome
        from loomd.amoeba.task import Evaluated, Executed
        from loomd.store.records import Capability

        name = self._names[agent]
        evaluated, executed = Evaluated(reward, reward, reward, reward), Executed(Outcome("done", "completed"), name)
        moves = self._adapt.decide(self._sensed(domain), executed, evaluated, self._standing(name, domain))
        learned = [Capability(m.agent, m.spec, m.domain, m.after, m.variance, m.count, 0.0) for m in moves]
        self._book.admit(name, name, learned)

    def _sensed(self, domain: int) -> Any:
        from loomd.amoeba.task import Sensed

        return Sensed(0.2, {f"domain-{domain}": 1.0})

    def _standing(self, name: str, domain: int) -> Any:
        from loomd.amoeba.world import Standing

        scores = {f"domain-{domain}": self._book.score(name, name, f"domain-{domain}", PRIOR)}
        return Standing(name, name, scores, self._book.overall(name, name, PRIOR), 0, frozenset())


class LoomAgent:
    """loom-agent 0.6.5: its own auction and learning; nodes that are always idle. A reward over 0.5 is a success."""

    def __init__(self, seed: int) -> None:
        from loom.cluster import ClusterManager
        from loom.cluster.reward import RewardBus
        from loom.types import AgentNode, CapabilityProfile

        self._manager, self._bus = ClusterManager(), RewardBus()
        scores = {f"domain-{domain}": PRIOR for domain in range(DOMAINS)}
        for at in range(AGENTS):
            self._manager.add_node(AgentNode(id=str(at), capabilities=CapabilityProfile(scores=dict(scores))))

    def choose(self, number: int, domain: int) -> int:
        from loom.types import TaskAd

        winner = self._manager.select_winner(TaskAd(domain=f"domain-{domain}", description="x"))
        if winner is None:
            raise RuntimeError("nobody won")
        return int(winner.id)

    def learn(self, number: int, domain: int, agent: int, reward: float) -> None:
        from loom.types import TaskAd

        node = self._manager.get_node(str(agent))
        self._bus.evaluate(node, TaskAd(domain=f"domain-{domain}", description="x"), reward > 0.5)


PLAYERS: dict[str, Callable[[int, list[list[float]]], Player]] = {
    "random": lambda seed, skill: Random(seed),
    "greedy EMA": lambda seed, skill: GreedyEma(seed),
    "UCB1": lambda seed, skill: Ucb1(seed),
    "Thompson": lambda seed, skill: Thompson(seed),
    "loomd": lambda seed, skill: Loomd(seed),
    "oracle": lambda seed, skill: Oracle(skill),
}
PEER: dict[str, Callable[[int, list[list[float]]], Player]] = {"loom-agent 0.6.5": lambda seed, skill: LoomAgent(seed)}


def measure(seeds: int, players: dict[str, Callable[[int, list[list[float]]], Player]]) -> dict[str, Any]:
    """Return by player: regret without and with the change, tasks until back, and the curve after the change."""
    found: dict[str, Any] = {}
    for name, made in players.items():
        still, turned = [], []
        for seed in range(seeds):
            for drift, runs in ((False, still), (True, turned)):
                skill: list[list[float]] = []
                runs.append(play(seed, made(seed, skill), drift=drift, skill=skill))
        shares = [course.since[domain] for course in turned for domain in range(DOMAINS)]
        length = min(len(one) for one in shares)
        back = [course.back(domain) for course in turned for domain in range(DOMAINS)]
        found[name] = {
            "regret, nothing changes": statistics.mean(course.regret for course in still),
            "regret with the change": statistics.mean(course.regret for course in turned),
            "tasks until back, mean": statistics.mean(back),
            "tasks until back, median": statistics.median(back),
            "share of the best after the change": [
                round(statistics.mean(one[at] for one in shares), 4) for at in range(length)
            ],
        }
    return found


def plot(found: dict[str, Any]) -> str:
    """Return a picture of the share of the best skill over the tasks of a domain since the change, as SVG."""
    most = 120

    def x(task: float) -> float:
        return LEFT + task / most * (WIDTH - LEFT - RIGHT)

    def y(share: float) -> float:
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="12">',
        "<style>text { font-family: sans-serif }</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for tenth in range(0, 11, 2):
        at = y(tenth / 10)
        drawn.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#d0d7de"/>')
        drawn.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{tenth / 10:g}</text>')
    drawn.append(f'<path d="M{LEFT} {y(NEAR):.1f}H{WIDTH - RIGHT}" stroke="#57606a" stroke-dasharray="4 3"/>')
    drawn += [
        f'<text x="{x(task):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{task}</text>'
        for task in range(0, most + 1, 20)
    ]
    ends: list[tuple[float, str]] = []
    for name, values in found.items():
        if name == "oracle":
            continue
        curve = values["share of the best after the change"][: most + 1]
        smooth = [statistics.mean(curve[max(0, at - SPAN + 1) : at + 1]) for at in range(len(curve))]
        points = " ".join(f"{x(at):.1f},{y(share):.1f}" for at, share in enumerate(smooth))
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
        ends.append((y(smooth[-1]), name))
    placed = -math.inf
    for at, name in sorted(ends):
        placed = max(at, placed + 15)
        drawn.append(f'<text x="{WIDTH - RIGHT + 8}" y="{placed + 4:.1f}" fill="{COLOURS[name]}">{name}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    drawn.append(
        f'<text x="{middle:.1f}" y="{HEIGHT - 10}" text-anchor="middle">tasks of a domain since its best agent became'
        " its worst</text>"
    )
    drawn.append(f'<text x="{LEFT}" y="{TOP - 12}">skill of who is chosen / best skill, mean of ten tasks</text>')
    return "\n".join([*drawn, "</svg>"]) + "\n"


def _done(work: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that awaits nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # of a coroutine that returns T
    raise RuntimeError("an auction awaited something")


def main() -> int:
    """Measure, print, write; end with 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--peer", help="interpreter of an environment with loom-agent")
    parser.add_argument("--as-peer", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.as_peer:
        print(json.dumps(measure(args.seeds, PEER)))
        return 0
    found = measure(args.seeds, PLAYERS)
    if args.peer:
        command = [args.peer, "-m", "benchmarks.adaptivity.drift", "--as-peer", "--seeds", str(args.seeds)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True)
        found |= json.loads(done.stdout)
    print(f"{'':20}{'back, mean':>12}{'median':>8}{'regret':>9}{'unchanged':>11}")
    for name, one in found.items():
        print(
            f"{name:20}{one['tasks until back, mean']:12.1f}{one['tasks until back, median']:8.0f}"
            f"{one['regret with the change']:9.1f}{one['regret, nothing changes']:11.1f}"
        )
    if args.json:
        args.json.write_text(json.dumps({"seeds": args.seeds, "goal": GOAL, "players": found}, indent=1) + "\n")
    if args.svg:
        args.svg.write_text(plot(found))
    own, greedy = found["loomd"], found["greedy EMA"]
    met = own["tasks until back, mean"] <= GOAL
    met &= own["regret, nothing changes"] <= greedy["regret, nothing changes"] / 2
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
