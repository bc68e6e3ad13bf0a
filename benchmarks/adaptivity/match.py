"""What MATCH takes among 10, 100 and 1,000 agents: all of it, in live clusters, from what is known to what is kept.

That is who may bid, what is believed of each now, the work in hand, bids, draws, the winner, the bids that are kept,
and the events. Before each the score of the last winner has moved, as after a task, and 50 tasks are under way. Tasks
are of up to three domains, the most that SENSE gives them, and of other ones than the task before.

`equipped` agents each have a tool that the task needs, a budget of the day, and a model with a price of which it is
known how much they write. `later` is after a second and more without tasks, when time may have taken something of every
score. `score` is what a cluster does with a score that moves. The least of many rounds.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.adaptivity.players import done
from loomd.amoeba.asking import Asking
from loomd.amoeba.match import Burden, match
from loomd.amoeba.policies.auction import Auction
from loomd.amoeba.policies.base import MatchPolicy
from loomd.amoeba.policies.cheapest import Cheapest
from loomd.amoeba.policies.thompson import Thompson
from loomd.amoeba.task import Matched, Sensed
from loomd.cluster.cluster import Cluster
from loomd.cluster.learn import expenses_of
from loomd.daemon import Settings, System, open_system
from loomd.engine.intake import new_task
from loomd.events.bus import Scope
from loomd.events.cluster import CapabilityUpdated
from loomd.manifest.delivery import Delivery
from loomd.manifest.object import Ref
from loomd.manifest.source import SourceFile
from loomd.store.records import Average

SIZES = (10, 100, 1000)
UNDER_WAY = 50
SECONDS = 1.3
"""Longer than what was worked out of a score is kept, with the default half-life."""
SHARED = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: [{text: "It is sunny.", times: null}]}
---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: remote}
spec: {type: openai, model: m, baseUrl: "http://127.0.0.1:9/v1", pricing: {input: 2.0, output: 10.0}}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: weather}
spec: {type: python, file: weather.py, function: weather}
"""
AGENT = """
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: NAME-NUMBER}
spec: {description: Knows subject NUMBER., domains: {subject-NUMBER: 0.6, weather: 0.5}, MORE}
"""
CLUSTER = """
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: NAME-SIZE}
spec: {agents: [MEMBERS]}
"""
KINDS = {
    "plain": "provider: script",
    "equipped": "provider: remote, tools: [weather], budgets: {daily: {tokens: 100000000}}",
}
TOOL = 'def weather(city: str) -> str:\n    """Return the weather in a city."""\n    return city\n'
TASKS = (
    {"weather": 0.5, "subject-3": 0.3, "subject-7": 0.2},
    {"weather": 0.6, "subject-5": 0.4},
    {"weather": 0.4, "subject-1": 0.4, "subject-8": 0.2},
)


class Run:
    """The record of a task of which nothing is kept."""

    resumed = False
    account = None

    def __init__(self, scope: Scope) -> None:
        self.scope = scope


class Bench:
    """A cluster in which tasks come one after another."""

    def __init__(self, system: System, name: str) -> None:
        cluster = system.reconciler.topology.live[Ref("Cluster", name, "default")]
        assert isinstance(cluster, Cluster)
        self._cluster = cluster
        self._system = system
        self._scope = Scope(system.bus, "", kept=False)
        self._draw = random.Random(name)
        self._tools = ("weather",) if name.startswith("equipped") else ()
        self._held: list[Burden] = []
        self._number = 0
        for agent in cluster.agents:
            for _ in range(4):
                self.learn(agent)

    def learn(self, agent: str) -> float:
        """Let the score of an agent move, and what its tasks take; return the seconds of CPU of the former."""
        cluster, draw = self._cluster, self._draw
        spec, score = cluster.agents[agent].digest, cluster.standing(agent, ["weather"]).scores["weather"]
        reward, count = 0.6 + 0.4 * draw.random(), score.count + 1
        after = score.mean + max(0.15, 1 / (count + 1)) * (reward - score.mean)
        moved = CapabilityUpdated(agent, spec, "weather", score.mean, after, 0.05, count, "x", reward)
        began = time.thread_time()
        self._scope.emit(moved, agent)
        took = time.thread_time() - began
        for name in ("read", "written") if self._tools else ():
            average = Average(expenses_of("default", agent), f"{spec}/{name}", draw.random(), count, 0.0)
            self._system.services.averages.take(average)
        return took

    def match(self, policy: MatchPolicy) -> tuple[float, float]:
        """Return the seconds of CPU of one MATCH, and of the score that moves after it."""
        self._number += 1
        sensed = Sensed(0.3, TASKS[self._number % len(TASKS)], tools=self._tools, tokens=3000)
        task = msgspec.structs.replace(new_task("What is the weather?", self._system.clock), seed=self._number)
        run = Run(self._scope)
        asking, burden = Asking("match", task, self._cluster, run), Burden(self._cluster)  # type: ignore[arg-type]
        began = time.thread_time()
        matched: Matched = done(match(task, sensed, self._cluster, policy, run, asking, burden))  # type: ignore[arg-type]
        took = time.thread_time() - began
        if not matched.winner or matched.bidders + matched.refusals < len(self._cluster.agents):
            raise RuntimeError(f"not everybody was heard: {matched.why}")
        self._held.append(burden)
        if len(self._held) > UNDER_WAY:
            self._held.pop(0).__exit__()
        return took, self.learn(matched.winner)


def manifests() -> list[str]:
    """Return all manifests, a hundred agents to a file."""
    found = [SHARED]
    for kind, more in KINDS.items():
        agents = [
            AGENT.replace("NAME", kind).replace("NUMBER", str(at)).replace("MORE", more) for at in range(SIZES[-1])
        ]
        found += ["".join(agents[at : at + 100]) for at in range(0, len(agents), 100)]
        for size in SIZES:
            members = ", ".join(f"{kind}-{at}" for at in range(size))
            found.append(CLUSTER.replace("NAME", kind).replace("SIZE", str(size)).replace("MEMBERS", members))
    return found


def least(bench: Bench, policy: MatchPolicy, rounds: int) -> tuple[float, float]:
    """Return the least seconds of CPU of a MATCH, and of a score that moves."""
    times: Sequence[tuple[float, float]] = [bench.match(policy) for _ in range(rounds)]
    return min(one for one, _ in times), min(other for _, other in times)


async def measured(rounds: int) -> dict[str, float]:
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "weather.py").write_text(TOOL, "utf-8")
        files = [SourceFile(folder, f"{at}.yaml", text.encode()) for at, text in enumerate(manifests())]
        async with open_system(Settings(folder / "state", folder / "models", folder / "socket")) as system:
            await system.reconciler.apply(Delivery("bench", tuple(files)))
            for size in SIZES:
                took, moved = least(Bench(system, f"plain-{size}"), Auction(), rounds)
                equipped, _ = least(Bench(system, f"equipped-{size}"), Auction(), rounds)
                found[f"match, {size} agents, cpu ms"] = took * 1e3
                found[f"score, {size} agents, cpu us"] = moved * 1e6
                found[f"match, {size} agents, equipped, cpu ms"] = equipped * 1e3
            most = SIZES[-1]
            bench = Bench(system, f"plain-{most}")
            for policy in (Thompson(), Cheapest()):
                found[f"match, {most} agents, {policy.type}, cpu ms"] = least(bench, policy, rounds)[0] * 1e3
            late: list[float] = []
            for _ in range(max(3, rounds // 20)):
                await asyncio.sleep(SECONDS)
                late.append(bench.match(Auction())[0])
            found[f"match, {most} agents, later, cpu ms"] = min(late) * 1e3
    return found


def measure(rounds: int) -> dict[str, float]:
    """Return the figures."""
    return asyncio.run(measured(rounds))
