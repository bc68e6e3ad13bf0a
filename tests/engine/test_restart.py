"""What a cluster believes is the same before and after a restart, whatever tasks, words and decisions came at once."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from loomd.agents.approval import Decision
from loomd.amoeba.expect import Expect
from loomd.amoeba.feedback import Said
from loomd.cluster.proposals import decide
from loomd.daemon import System
from loomd.engine.intake import new_task
from loomd.errors import Conflict
from tests.engine.test_forging import DESIGN, DESIGNS
from tests.engine.test_learning import BOB, team
from tests.engine.world import World

CLUSTER = """match: {type: auction, noWinner: forge}, planner: script,
  scale: {type: threshold, complexity: 0.5, maxDepth: 1, childTokens: 1},
  forge: {every: 0s, coolDown: 0s, daily: 1000, idleTimeout: 0s},
  evaluate: [{type: rules}, {type: judge, provider: script, every: 2}],
  learning: {mode: MODE, retire: {declared: true, samples: 3, coolDown: 50ms, every: 20ms, maxCoolDown: 100ms},
    evolve: {declared: true, coolDown: 100ms, minTasks: 1, shown: 1, gain: 0, margin: 1, loss: 1,
      probation: {samples: 2}}}"""
PARTS = [{"goal": "part left cook", "needs": []}, {"goal": "part right lease", "needs": [1]}]
REPLIES: list[dict[str, Any]] = [
    {**DESIGNS, "when": "lease", "json": {**DESIGN, "name": "lease", "description": "Knows every lease."}},
    {**DESIGNS, "text": "no"},
    {"system": "You write instructions", "json": {"reason": "it is dull", "instructions": "Say purple."}},
    {"system": "You judge", "json": {"reason": "it is short", "score": 6, "low": 5, "high": 8}},
    {"system": "You split a request", "json": {"parts": PARTS}},
    {"when": "broken", "error": "permanent", "text": "broken"},
    {"system": "purple", "text": "purple done"},
    {"text": "done and done"},
]
GOALS = (
    "cook with cooking",
    "a question of law",
    "check a lease clause",
    "broken cooking",
    "something else",
    "split: compare law, then plan cooking, and also write a report; design it",
)


def believed(system: System) -> dict[str, object]:
    """Return what a cluster believes, but for the words for it: which of two near a limit depends on the way there."""
    cluster = team(system)
    here = [(agent.name, agent.digest) for agent in cluster.agents.values()]
    averages = system.services.averages.of("complexity default/default")
    return {
        "members": here,
        "open": sorted(agent.name for agent in cluster.roster.open),
        "versions": {name: [(v.number, v.how) for v in cluster.blueprints.versions(name)] for name, _ in here},
        "scores": {key: (one.mean, one.count) for key, one in cluster.book.table().items() if key[:2] in here},
        "health": {
            name: (round(vitals.mean, 9), vitals.samples)
            for name, agent in cluster.agents.items()
            for vitals in [cluster.conditions.vitals(agent)]
            if len(cluster.blueprints.versions(name)) < 2  # it always behaved as it does now
        },
        "retired": {name: cluster.conditions.record(agent).times for name, agent in cluster.agents.items()},
        "averages": {name: (one.value, one.count) for name, one in averages.items()},
    }


async def live(system: System, draw: random.Random) -> None:
    """Run tasks of which people speak, and let them decide."""
    ended, deciding = list[str](), asyncio.Lock()

    async def one(number: int) -> None:
        expect = Expect(contains=(draw.choice(["purple", "done", "gold"]),)) if draw.random() < 0.6 else Expect()
        task = new_task(f"{draw.choice(GOALS)} {number}", system.clock, expect=expect, retries=draw.randrange(2))
        ended.append((await system.engine.result(await system.engine.submit(task))).task.id)
        for _ in range(draw.randrange(3)):
            record = await system.engine.get(draw.choice(ended))
            assert record is not None
            await system.feedback.give(record, Said(draw.random(), draw.choice(["ann", "bob"])), "")
        async with deciding:
            for waits in await system.store.learning.proposals(pending=True):
                if draw.random() < 0.2:
                    verdict = Decision(draw.choice(["approved", "denied"]), "ann")
                    try:
                        await decide(system.services, team(system), waits, verdict)
                    except Conflict:
                        continue

    for round_ in range(5):
        await asyncio.gather(*(one(10 * round_ + number) for number in range(10)))
        await system.evolutions.tick()


@pytest.mark.parametrize("mode", ["auto", "propose"])
async def test_a_restart_changes_nothing_of_what_is_believed(tmp_path: Path, mode: str) -> None:
    """Scores, rewards, members, estimates: whatever came in whatever order."""
    world = World(tmp_path)
    replies = [{"times": None, **one} for one in REPLIES]
    world.write(replies, agent="domains: {cooking: 0.8}", cluster=CLUSTER.replace("MODE", mode))
    world.edit("agents: [ada]", "agents: [ada, bob]")
    path = world.folder / "manifests.yaml"
    path.write_text(
        path.read_text() + BOB.replace("provider: fine}", "provider: script, domains: {law: 0.6, cooking: 0.5}}")
    )
    async with world.open() as system:
        await live(system, random.Random(mode))
        await system.store.settled()
        before = believed(system)
        assert before["scores"]
        assert await system.store.learning.blueprints() or mode == "propose"
    async with world.open(apply=False) as system:
        assert believed(system) == before
