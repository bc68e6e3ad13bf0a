"""Past tasks in a live system: kept once, compared with new ones by owner, forgotten, redacted, bounded."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from loomd.amoeba.task import Durability, Result, Sensed
from loomd.cluster.cluster import Cluster
from loomd.daemon import System
from loomd.engine.intake import new_task
from loomd.errors import Temporary
from loomd.events.bus import Scope
from loomd.events.cluster import HistoryForgotten
from loomd.manifest.object import Ref
from loomd.store.experience import SqliteLearning
from loomd.store.records import Experience
from tests.engine.world import World

TEAM = Ref("Cluster", "default", "default")
MORE = """---
apiVersion: loomd.dev/v1
kind: Embedder
metadata: {name: words}
spec: {type: hash}
---
apiVersion: loomd.dev/v1
kind: Interceptor
metadata: {name: veil}
spec: {type: redact, words: [falcon]}
"""
GOAL = "Compare and analyse this, then report in detail; and also conclude"
"""Looks demanding, and is not."""
ALONE = "embedder: words, scale: {type: never}"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world whose agent answers at once, and whose cluster compares by meaning."""
    return World(tmp_path)


def write(world: World, cluster: str = ALONE, replies: list[dict[str, Any]] | None = None) -> None:
    """Write a system whose agent says the same to everything."""
    world.write(replies or [{"times": None, "text": "done"}], agent="interceptors: [veil]", cluster=cluster)
    path = world.folder / "manifests.yaml"
    path.write_text(path.read_text() + MORE)


async def do(
    system: System, goal: str, tenant: str = "", user: str = "", durability: Durability | None = None
) -> Sensed:
    """Run a task; return what it was taken for."""
    task = msgspec.structs.replace(new_task(goal, system.clock), tenant=tenant, user=user, durability=durability)
    result: Result = await system.engine.result(await system.engine.submit(task))
    assert result.sensed is not None, result
    return result.sensed


async def kept(system: System) -> list[Experience]:
    """Return what is kept, newest first."""
    return await system.store.learning.experience("default", "default")


def team(system: System) -> Cluster:
    """Return the live cluster."""
    live = system.reconciler.topology.live[TEAM]
    assert isinstance(live, Cluster)
    return live


async def test_similar_past_tasks_count(world: World) -> None:
    """The more of them, the nearer the guess is to what they took, also after a restart; each owner has its own."""
    write(world)
    async with world.open() as system:
        first = await do(system, GOAL)
        assert (first.past, first.alone) == (0.0, None)
        second = await do(system, GOAL)
        assert second.past == pytest.approx(0.8 / 3, abs=0.01)
        assert second.alone == first.complexity
        assert second.complexity == pytest.approx(first.complexity * (1 - second.past), abs=0.01)
        assert second.tokens < first.tokens
        (told,) = [one for one in second.evidence if one.startswith("past tasks count 27%")]
        (one, _) = reversed(await kept(system))
        assert f"task/{one.task} (1.00 alike)" in told
        assert (one.domains, one.complexity, one.children) == (first.domains, first.complexity, 0)
        third = await do(system, f"{GOAL} soon")
        assert second.past < third.past < 0.4, "two that are not quite alike"
        assert (await do(system, "What is a boat?")).past == 0.0
        for tenant, user in (("acme", ""), ("acme", "ann"), ("rival", "ann")):
            assert (await do(system, GOAL, tenant, user)).past == 0.0, "nobody hears of the tasks of others"
        assert (await do(system, GOAL, "acme", "ann")).past > 0
    async with world.open() as system:
        again = await do(system, GOAL)
        assert again.past > second.past
        assert again.alone == first.complexity


async def test_what_is_forgotten_counts_no_more(world: World) -> None:
    """Neither in the store nor in memory, and only whose it was; a bounded number is kept."""
    write(world, f"{ALONE}, learning: {{history: {{keep: 3}}}}")
    async with world.open() as system:
        for tenant, user in (("acme", "ann"), ("acme", "bob"), ("", "")):
            await do(system, GOAL, tenant, user)
        assert await system.store.learning.forget("default", "acme", "ann", "default") == 1
        system.bus.emit(HistoryForgotten("default", 1), Scope(system.bus, "", namespace="default"))
        assert (await do(system, GOAL, "acme", "ann")).past == 0.0
        assert (await do(system, GOAL, "acme", "bob")).past > 0
        assert await system.store.learning.forget("default", "acme") == 3
        assert [one.tenant for one in await kept(system)] == [""]
        for _ in range(4):
            await do(system, GOAL)
        assert len(await kept(system)) == 5
        heard = [one for one in (await do(system, GOAL)).evidence if one.startswith("past")]
        assert heard[0].count("task/") == 3, "memory is bounded at once"
        await team(system).past.tidy()
        assert len(await kept(system)) == 3, "the store by the clean-up"


async def test_a_clean_up_takes_away_what_is_due_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What retention removed is compared no more; what stays is not read again."""
    write(world)
    async with world.open() as system:
        for _ in range(3):
            await do(system, GOAL)
        first = (await kept(system))[-1].task
        reads: list[str] = []
        read = SqliteLearning.experience

        async def counted(store: SqliteLearning, *args: Any) -> list[Experience]:
            reads.append("read")
            return await read(store, *args)

        monkeypatch.setattr(SqliteLearning, "experience", counted)
        assert await system.store.sweep(0.0, 2) == 1
        await team(system).past.tidy()
        (heard,) = [one for one in (await do(system, GOAL)).evidence if one.startswith("past")]
        assert heard.count("task/") == 2
        assert first not in heard
        assert reads == []


async def test_what_is_not_kept(world: World) -> None:
    """A task that failed, one of which nothing is kept, and what is redacted or a secret."""
    token = "ghp_" + "a1B2" * 9
    write(world, replies=[{"when": "*fail*", "error": "permanent", "times": None}, {"text": "done", "times": None}])
    async with world.open() as system:
        await do(system, "fail")
        await do(system, "this is not kept", durability="none")
        await do(system, f"Project Falcon uses {token}")
        (one,) = await kept(system)
        assert one.goal == "Project [redacted] uses ***"
        assert one.embedder
        assert len(one.vector) > 0


async def test_what_is_only_observed_or_off(world: World) -> None:
    """Observed is named and does not count; with `off`, and without an embedder, nothing is kept or named."""
    write(world)
    async with world.open() as system:
        first = await do(system, GOAL)
        world.edit(ALONE, f"{ALONE}, learning: {{modes: {{history: observe}}}}")
        await system.reconciler.apply(world.delivery())
        seen = await do(system, GOAL)
        assert (seen.past, seen.alone) == (0.0, None)
        assert any(one.startswith("past tasks are only observed: task/") for one in seen.evidence)
        assert seen.complexity == first.complexity
        for before, after in (("history: observe", "history: 'off'"), ("embedder: words, ", "")):
            world.edit(before, after)
            world.edit("history: 'off'", "history: auto" if before.startswith("embedder") else "history: 'off'")
            await system.reconciler.apply(world.delivery())
            assert all(not one.startswith("past") for one in (await do(system, GOAL)).evidence)
            assert len(await kept(system)) == 2


async def test_a_killed_task_is_kept_once(world: World) -> None:
    """Killed after ADAPT has told what it learned: it is there once, and resumes with what SENSE said."""
    write(world)
    async with world.open() as system:
        await do(system, "go")
    world.kill_at("calibration.updated")
    async with world.open() as system:
        (task,) = await system.engine.resume()
        result = await system.engine.result(task)
        assert result.sensed is not None
        assert result.sensed.past > 0
        assert [one.task for one in await kept(system)].count(result.task.id) == 1
        assert len(await kept(system)) == 2


async def test_a_model_hears_of_past_tasks_and_is_asked_less(world: World) -> None:
    """`hybrid` asks a model about what it does not know, tells it of past tasks, and knows after some of them."""
    judged = {"system": "You judge", "json": {"complexity": 0.5, "domains": [], "tools": []}, "times": None}
    write(
        world,
        f"{ALONE}, sense: {{type: hybrid, low: 0.0, high: 1.0}}",
        [{"when": "*earlier requests*", **judged}, judged, {"times": None, "text": "done"}],
    )
    async with world.open() as system:
        said = [(await do(system, GOAL)) for _ in range(4)]
        assert [one.method for one in said] == ["llm", "llm", "llm", "heuristic"]
        asked = [one.calls for one in said]
        assert asked == [1, 1, 1, 0]
        assert said[3].past > 0.4


async def test_a_history_that_cannot_be_read_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task goes on without it, and the next one reads it."""
    write(world)
    async with world.open() as system:
        with monkeypatch.context() as patch:

            async def fails(*_: object) -> list[Experience]:
                raise Temporary("the disk is away")

            patch.setattr(SqliteLearning, "experience", fails)
            sensed = await do(system, GOAL)
        assert "past tasks are not looked at: the disk is away" in sensed.evidence
        assert (await do(system, GOAL)).past > 0
