"""Specialists that people declared: they join a cluster when a task needs them, and cost nothing until then."""

from pathlib import Path

import pytest

from tests.engine.test_forging import DESIGN, DESIGNS, GOAL, RULES, matched, specialists, write
from tests.engine.test_learning import do, team
from tests.engine.world import World

DECLARED = """---
apiVersion: loomd.dev/v1
kind: Blueprint
metadata: {name: notary}
spec: {provider: script, description: Certifies the tenancy clause of a lease., prompt: You certify., tools: [nap]}
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world with a blueprint, in which a usable design would come, too."""
    world = World(tmp_path)
    write(world, {**DESIGNS, "json": DESIGN}, forge=f"{RULES}, blueprints: [notary]")
    path = world.folder / "manifests.yaml"
    path.write_text(path.read_text() + DECLARED)
    return world


async def test_a_declared_blueprint_joins(world: World) -> None:
    """Before anything is designed; it costs nothing until then, and is there after a restart."""
    path = world.folder / "manifests.yaml"
    async with world.open() as system:
        assert (specialists(system), team(system).forge.state("notary")) == ([], "dormant")
        said = matched(await do(system, GOAL))
        assert (said.winner, said.calls, said.path) == ("notary", 0, "forge")
        assert list(team(system).agents["notary"].tools) == ["nap"]
        assert matched(await do(system, GOAL)).winner == "notary"
    async with world.open() as system:
        assert specialists(system) == ["notary"]
        path.write_text(path.read_text().replace(DECLARED, "").replace(", blueprints: [notary]", ""))
        await system.reconciler.apply(world.delivery())
        assert specialists(system) == [], "its manifest is gone"
        assert matched(await do(system, GOAL)).winner == "lease-lawyer"
