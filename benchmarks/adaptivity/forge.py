"""How soon a cluster has a specialist for a domain that nobody serves, and how soon it is rid of bad ones.

    python -m benchmarks.adaptivity.forge [--seeds 8] [--json FILE] [--svg FILE]

Whole tasks of a real cluster with its journal; only the model and EVALUATE are stand-ins. Four generalists serve three
domains. From the 20th task on every other task is in a domain that none of them serves, in which their skill is 0.25.
Skills are hidden; a reward is the skill of whoever did it plus normal noise of 0.1, cut to 0..1. A task begins every
ten minutes, and all settings are the defaults but `match.noWinner: forge`. What designs a specialist is scripted:

- `good`: every design makes a specialist of skill 0.85.
- `bad`: every design makes one of skill 0.05.
- `bad, then good`: the first design is bad, those after it are good.
- `no forge`: the best bid takes what nobody takes (`match.noWinner: best_available`).

The goals: with good designs a specialist wins its auctions within 10 tasks of the domain; a bad one is gone within 20.
"""

import argparse
import asyncio
import json
import logging
import random
import statistics
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loomd.agents.agent import Agent
from loomd.amoeba.asking import Asking
from loomd.amoeba.policies.base import Case
from loomd.amoeba.policies.rules import Rules
from loomd.amoeba.task import Opinion
from loomd.cluster.cluster import Cluster
from loomd.daemon import Settings, System, open_system
from loomd.engine.intake import new_task
from loomd.events.cluster import BlueprintForged, BlueprintPruned
from loomd.events.event import Event
from loomd.manifest.delivery import Delivery
from loomd.manifest.object import Ref
from loomd.manifest.source import read_path
from loomd.messages import Chunk, Request
from loomd.providers.scripted import ScriptedModel, ScriptedReply

SOON, GONE = 10, 20
TASKS, ALONE, EVERY, NOISE = 100, 20, 600.0, 0.1
GOOD, BAD, NOVICE = 0.85, 0.05, 0.25
GOALS = {"cooking": "cooking of a stew", "gardening": "gardening with roses", "sailing": "sailing of a boat"}
NEW = "check the tenancy clause of a lease"
DESIGNERS: dict[str, Sequence[float] | None] = {
    "good": (GOOD,),
    "bad": (BAD,),
    "bad, then good": (BAD, GOOD),
    "no forge": None,
}
"""The skills of what is designed, one after another; the last one again and again."""
COLOURS = {"good": "#cf222e", "bad, then good": "#8250df", "bad": "#d29922", "no forge": "#8c959f"}
TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: [{times: null, text: done}]}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: team}
spec:
  agents: [agent-0, agent-1, agent-2, agent-3]
  match: {type: auction, noWinner: WAY}
  scale: {type: never}
"""
AGENT = """---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: agent-NUMBER}
spec: {provider: script, domains: {cooking: 0.6, gardening: 0.6, sailing: 0.6}}
"""


class Clock:
    """A clock that is moved by hand between tasks."""

    def __init__(self) -> None:
        self.at = 1_700_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class Designer:
    """A model that answers everything, and designs specialists of given skills."""

    def __init__(self, skills: Sequence[float]) -> None:
        self.name = "designer"
        self._skills = skills
        self.designs = 0
        self._done = ScriptedModel("done", [ScriptedReply(times=None, text="done")])

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        model = self._done
        if request.output_schema is not None:
            skill = self._skills[min(self.designs, len(self._skills) - 1)]
            self.designs += 1
            design = {
                "name": "lease-lawyer",
                "description": "Checks the tenancy clause of a lease.",
                "prompt": f"skill {skill}",
                "domains": [{"name": "tenancy-law", "score": 0.7}],
                "tools": [],
            }
            model = ScriptedModel("design", [ScriptedReply.model_validate({"times": None, "json": design})])
        async for chunk in model.stream(request):
            yield chunk


@dataclass
class Course:
    """What came of a run: of each task in the new domain the skill of who did it, and when things happened."""

    skills: list[float] = field(default_factory=list)
    won: int = 0
    """Tasks of the domain until a specialist won an auction for one; 0 for never."""
    ages: list[int] = field(default_factory=list)
    """For how many tasks of the domain each specialist was there that went."""
    rewards: list[float] = field(default_factory=list)
    """Rewards of what was learned before it went."""
    designs: int = 0


@dataclass
class Truth:
    """What nobody in the cluster knows: how good each agent is."""

    seed: int
    cluster: Cluster

    def skill(self, agent: str, goal: str) -> float:
        made = self.cluster.made(agent) or next(
            (one.blueprint for one in self.cluster.blueprints.versions(agent)), None
        )
        if made is not None:
            return float(made.instructions.split()[1])
        return NOVICE if goal == NEW else random.Random(f"{self.seed}/{agent}/{goal}").uniform(0.3, 0.9)

    async def evaluate(self, case: Case, asking: Asking) -> Opinion:
        del asking
        noise = random.Random(f"{self.seed}/{case.task.seed}").gauss(0.0, NOISE)
        reward = min(1.0, max(0.0, self.skill(case.executed.agent, case.task.goal) + noise))
        return Opinion("rules", reward, reward, reward, reward)


async def run(folder: Path, seed: int, skills: Sequence[float] | None) -> Course:
    """Let a cluster do all tasks of a world."""
    text = TEAM.replace("WAY", "forge" if skills else "best_available")
    (folder / "team.yaml").write_text(text + "".join(AGENT.replace("NUMBER", str(at)) for at in range(4)), "utf-8")
    clock, course = Clock(), Course()
    async with open_system(Settings(folder / "state", folder / "models", folder / "s"), clock) as system:
        await system.reconciler.apply(Delivery("world", tuple(read_path(folder / "team.yaml"))))
        live = system.reconciler.topology.live
        cluster = live[Ref("Cluster", "team", "default")]
        assert isinstance(cluster, Cluster)
        designer = Designer(skills or (NOVICE,))
        for one in live.values():
            if isinstance(one, Agent):
                one.model = designer
        truth = Truth(seed, cluster)
        before, Rules.evaluate = Rules.evaluate, lambda self, case, asking: truth.evaluate(case, asking)  # type: ignore[assignment,method-assign]
        try:
            await _play(system, clock, truth, course)
        finally:
            Rules.evaluate = before  # type: ignore[method-assign]
    course.designs = designer.designs if skills else 0
    return course


async def _play(system: System, clock: Clock, truth: Truth, course: Course) -> None:
    born: dict[str, int] = {}

    def hear(event: Event) -> None:
        if isinstance(event.data, BlueprintForged):
            born[event.data.owner] = len(course.skills)
        elif isinstance(event.data, BlueprintPruned):
            course.ages.append(len(course.skills) + 1 - born[event.data.owner])

    system.bus.subscribe(hear, BlueprintForged, BlueprintPruned)
    draw = random.Random(f"tasks {truth.seed}")
    for number in range(TASKS):
        goal = NEW if number >= ALONE and number % 2 else draw.choice(list(GOALS.values()))
        task = new_task(goal, clock, seed=truth.seed * 1_000_000 + number)
        result = await system.engine.result(await system.engine.submit(task))
        assert result.matched is not None
        if goal == NEW:
            course.skills.append(truth.skill(result.matched.winner, goal))
            if not course.won and truth.cluster.made(result.matched.winner) and result.matched.path is None:
                course.won = len(course.skills)
        clock.at += EVERY


def courses(seeds: int) -> dict[str, list[Course]]:
    """Return what came of each world, by who designs."""
    logging.disable(logging.WARNING)
    found: dict[str, list[Course]] = {}
    for name, skills in DESIGNERS.items():
        for seed in range(seeds):
            with tempfile.TemporaryDirectory(prefix="loomd-forge-") as folder:
                found.setdefault(name, []).append(asyncio.run(run(Path(folder), seed, skills)))
    logging.disable(logging.NOTSET)
    return found


def figures(played: dict[str, list[Course]]) -> dict[str, float]:
    """Return what the goals are about, the worst of all worlds, and what is won by it."""
    never = TASKS
    bad = [*played["bad"], *played["bad, then good"]]
    found = {
        "forge, tasks until a specialist wins": float(max(one.won or never for one in played["good"])),
        "forge, tasks until a bad one is gone": float(max(max(one.ages, default=never) for one in bad)),
        "forge, tasks until a good one wins after a bad one": float(
            max((one.won and _good(one)) or never for one in played["bad, then good"])
        ),
        "forge, bad ones that went": float(sum(len(one.ages) for one in played["bad"])),
        "forge, bad ones that went within five tasks": float(
            sum(age <= 5 for one in played["bad"] for age in one.ages)
        ),
        "forge, good ones that went": float(sum(len(one.ages) for one in played["good"])),
        "forge, designs asked for with bad ones": statistics.mean(one.designs for one in played["bad"]),
    }
    for name, runs in played.items():
        found[f"forge, mean skill, {name}"] = statistics.mean(skill for one in runs for skill in one.skills)
    return found


def _good(course: Course) -> int:
    """Return at which task of the domain a good specialist did one first; 0 for never."""
    return next((at for at, skill in enumerate(course.skills, start=1) if skill == GOOD), 0)


def measure(seeds: int) -> dict[str, float]:
    """Return the figures over some worlds."""
    return figures(courses(seeds))


def plot(played: dict[str, list[Course]]) -> str:
    """Return a picture of the skill of who does a task of the new domain, mean over worlds, as SVG."""
    width, height, left, right, top, bottom = 640, 360, 60, 150, 30, 50
    most = min(len(one.skills) for runs in played.values() for one in runs)

    def x(task: float) -> float:
        return left + task / most * (width - left - right)

    def y(skill: float) -> float:
        return height - bottom - skill * (height - top - bottom)

    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-size="12">',
        "<style>text { font-family: sans-serif }</style>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for tenth in range(0, 11, 2):
        drawn.append(f'<path d="M{left} {y(tenth / 10):.1f}H{width - right}" stroke="#d0d7de"/>')
        drawn.append(f'<text x="{left - 8}" y="{y(tenth / 10) + 4:.1f}" text-anchor="end">{tenth / 10:g}</text>')
    drawn += [
        f'<text x="{x(task):.1f}" y="{height - bottom + 18}" text-anchor="middle">{task}</text>'
        for task in range(0, most + 1, 10)
    ]
    ends: list[tuple[float, str]] = []
    for name, runs in played.items():
        curve = [statistics.mean(one.skills[at] for one in runs) for at in range(most)]
        points = " ".join(f"{x(at + 1):.1f},{y(skill):.1f}" for at, skill in enumerate(curve))
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
        ends.append((y(curve[-1]), name))
    placed = 0.0
    for at, name in sorted(ends):
        placed = max(at, placed + 15)
        drawn.append(f'<text x="{width - right + 8}" y="{placed + 4:.1f}" fill="{COLOURS[name]}">{name}</text>')
    middle = (left + width - right) / 2
    drawn.append(
        f'<text x="{middle:.1f}" y="{height - 10}" text-anchor="middle">tasks of a domain that nobody served</text>'
    )
    drawn.append(f'<text x="{left}" y="{top - 12}">skill of who does it, by what is designed</text>')
    return "\n".join([*drawn, "</svg>"]) + "\n"


def main() -> int:
    """Measure, print, write; end with 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path)
    args = parser.parse_args()
    played = courses(args.seeds)
    found: dict[str, Any] = figures(played)
    for key, value in found.items():
        print(f"{key:55}{value:8.2f}")
    if args.json:
        args.json.write_text(json.dumps({"seeds": args.seeds, "figures": found}, indent=2) + "\n", "utf-8")
    if args.svg:
        args.svg.write_text(plot(played), "utf-8")
    met = found["forge, tasks until a specialist wins"] <= SOON
    return 0 if met and found["forge, tasks until a bad one is gone"] <= GONE else 1


if __name__ == "__main__":
    sys.exit(main())
