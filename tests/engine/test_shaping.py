"""Agents that a cluster made itself or gave other instructions, in a live system and over restarts."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loomd.agents.approval import Decision as Verdict
from loomd.amoeba.blueprint import Blueprint
from loomd.amoeba.decision import ScoreMove, Shaping
from loomd.amoeba.feedback import Said
from loomd.cluster import learn as learning
from loomd.cluster.cluster import Cluster
from loomd.cluster.descent import happened
from loomd.cluster.learn import learn, proposed
from loomd.cluster.proposals import decide
from loomd.cluster.versions import revert, reverted
from loomd.daemon import System
from loomd.engine.intake import new_task
from loomd.errors import NotFound, Temporary
from loomd.events.bus import Scope
from loomd.events.event import ToolStarted
from loomd.manifest.object import Ref
from loomd.store.finish import finish
from loomd.store.sqlite import SqliteStore
from tests.engine.test_learning import do, team
from tests.engine.world import World, until

LAW = Blueprint("default", "ada", "You know the law.", "Knows the law.", {"law": 0.7})
LEARNED = Blueprint("default", "ada", "Answer in one word.")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world whose agent answers at once."""
    world = World(tmp_path)
    world.write([{"times": None, "text": "done"}], cluster="scale: {type: never}")
    return world


async def shape(system: System, *shapings: Shaping, task: str = "t") -> Cluster:
    """Carry decisions out, as a task's; return the cluster."""
    cluster = team(system)
    scope = Scope(system.bus, "", namespace="default")
    await learn(system.services, shapings, cluster.teaching(task), scope, f"{task}#shape")
    return cluster


def fill(system: System, patch: pytest.MonkeyPatch) -> list[int]:
    """Let the disk be full for three commits; return how often one was tried, and what waited in its place at most."""
    assert isinstance(system.store, SqliteStore)
    writer, tries = system.store._writer, [0, 0]

    def full(commit: Callable[..., None], work: Sequence[Any], values: list[object]) -> None:
        tries[0] += 1
        tries[1] = max(tries[1], sum(part.caller is None and not part.records for part in work))
        if tries[0] < 4:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        commit(work, values)

    patch.setattr(learning, "_RETRY", 0.01)
    patch.setattr("loomd.store.writer._RETRY", 0.01)
    patch.setattr(writer, "_commit", partial(full, writer._commit))
    return tries


async def test_what_is_learned_while_the_disk_is_full_is_stored_once_there_is_space(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It waits in its place, whoever asks how often; nobody says that it is not stored."""
    async with world.open() as system:
        tries = fill(system, monkeypatch)
        caplog.clear()
        await shape(system, Shaping("ada-law", "forged", LAW, "nobody knows the law"))
        assert tries[0] >= 4
        assert tries[1] == 1
        assert len(await system.store.learning.lineage(agent="ada-law")) == 1
        assert "is not stored" not in caplog.text


async def test_what_people_approve_while_the_disk_is_full_is_carried_out_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is live and what is on disk agree, however often they say it."""
    world.edit("scale: {type: never}", "scale: {type: never}, learning: {modes: {score: propose}}")
    async with world.open() as system:
        await do(system)
        (record,) = [one for one in await system.store.learning.proposals() if one.mechanism == "score"]
        _, _, move = proposed(record)
        assert isinstance(move, ScoreMove)
        tries = fill(system, monkeypatch)
        for _ in range(4):
            with suppress(Temporary):
                record = await decide(system.services, team(system), record, Verdict("approved", "ann"))
        assert tries[0] >= 4
        live = team(system).book.known("ada", move.spec)["general"]
        (stored,) = await system.store.capabilities()
    assert (live.mean, live.count) == (move.after, move.count)
    assert (stored.score, stored.count) == (live.mean, live.count)


async def test_a_specialist_is_a_member_and_comes_back(world: World) -> None:
    """With its own prompt and a name of its own, over a restart; what it learned belongs to it."""
    async with world.open() as system:
        cluster = await shape(system, Shaping("ada-law", "forged", LAW, "nobody knows the law"))
        made, ada = cluster.agents["ada-law"], cluster.agents["ada"]
        assert (made.prompt, made.instructions, made.model) == ("", "You know the law.", ada.model)
        assert made.digest != ada.digest
        assert cluster.standing("ada-law", ["law"]).scores["law"].mean == 0.7
        task = new_task("go", system.clock, agent="ada-law")
        result = await system.engine.result(await system.engine.submit(task))
        assert result.phase == "Succeeded"
        assert cluster.standing("ada-law", ["general"]).scores["general"].count == 1
    async with world.open() as system:
        cluster = team(system)
        assert cluster.agents["ada-law"].digest == made.digest
        assert cluster.standing("ada-law", ["general"]).scores["general"].count == 1
        await shape(system, Shaping("ada-law", "pruned", LAW, "it does badly", 2, 1, made.digest), task="u")
        assert "ada-law" not in cluster.agents
    async with world.open() as system:
        assert "ada-law" not in team(system).agents
        assert [one.how for one in await system.store.learning.lineage(agent="ada-law")] == [
            "forged in default, version 1: nobody knows the law",
            "pruned in default, version 2: it does badly",
        ]


async def test_instructions_that_are_taken_back_find_the_old_scores(world: World) -> None:
    """An agent that learned is another one, begins with what it had, counted less; as declared it has its scores."""
    async with world.open() as system:
        await do(system, count=10)
        cluster = team(system)
        declared = cluster.agents["ada"]
        before = cluster.standing("ada", ["general"]).scores["general"]
        await shape(system, Shaping("ada", "promoted", LEARNED, "it does better", spec=declared.digest))
        now = cluster.standing("ada", ["general"]).scores["general"]
        assert cluster.agents["ada"].digest != declared.digest
        assert now.mean == pytest.approx(before.mean)
        assert now.count == 3
        back = Shaping(
            "ada", "reverted", Blueprint("default", "ada"), "it does worse", 2, 0, cluster.agents["ada"].digest
        )
        await shape(system, back, task="u")
        assert cluster.agents["ada"] is declared
        assert cluster.standing("ada", ["general"]).scores["general"].count == before.count
        assert (await do(system)).phase == "Succeeded"


async def test_what_is_taken_over_is_what_was_learned_also_without_a_restart(world: World) -> None:
    """Of how it behaved when it learned it, and not of a way in between that did no task and took it over itself."""
    async with world.open() as system:
        await do(system, count=10)
        cluster = team(system)
        await shape(system, Shaping("ada", "promoted", LEARNED, "so", spec=cluster.agents["ada"].digest))
        other = Blueprint("default", "ada", "Answer in two words.")
        await shape(system, Shaping("ada", "promoted", other, "so", 2, 1, cluster.agents["ada"].digest), task="u")
        live = cluster.standing("ada", ["general"]).scores["general"]
    async with world.open() as system:
        again = team(system).standing("ada", ["general"]).scores["general"]
    assert (live.mean, live.count) == pytest.approx((again.mean, again.count))
    assert live.count == 3


async def test_what_is_said_of_how_it_behaved_before_is_taken_over(world: World) -> None:
    """As long as it learned nothing of its own: at once, as after a restart."""
    async with world.open() as system:
        first = await do(system, count=5)
        cluster = team(system)
        await shape(system, Shaping("ada", "promoted", LEARNED, "so", spec=cluster.agents["ada"].digest))
        before = cluster.standing("ada", ["general"]).scores["general"]
        record = await system.engine.get(first.task.id)
        assert record is not None
        await system.feedback.give(record, Said(0.0, "ann"), "no")
        live = cluster.standing("ada", ["general"]).scores["general"]
    async with world.open() as system:
        again = team(system).standing("ada", ["general"]).scores["general"]
    assert live.mean < before.mean
    assert (live.mean, live.count) == pytest.approx((again.mean, again.count), abs=1e-6)


async def test_who_is_declared_holds_against_a_specialist_of_that_name(world: World) -> None:
    """For its tasks, too: it answers, and learns."""
    async with world.open() as system:
        await shape(system, Shaping("ada-law", "forged", LAW, "nobody knows the law"))
        written = "metadata: {name: ada-law}\nspec: {provider: script, prompt: As a person wrote it.}"
        more = f"---\napiVersion: loomd.dev/v1\nkind: Agent\n{written}\n---\n"
        path = world.folder / "manifests.yaml"
        path.write_text(more + path.read_text().replace("agents: [ada]", "agents: [ada, ada-law]"))
        await system.reconciler.apply(world.delivery())
        agent = team(system).agents["ada-law"]
        assert agent.prompt == "As a person wrote it."
        result = await system.engine.result(await system.engine.submit(new_task("go", system.clock, agent="ada-law")))
        assert result.matched is not None
        assert result.matched.made is None
        assert team(system).standing("ada-law", ["general"]).scores["general"].count == 1
        assert len(await system.store.learning.lessons("default", "ada-law", agent.digest)) == 1


async def test_what_is_outdated_is_not_carried_out(world: World) -> None:
    """A specialist whose name is taken, an agent that changed, a creator that left."""
    async with world.open() as system:
        blueprints = (await shape(system, Shaping("ada-law", "forged", LAW, "x"))).blueprints
        assert "name" in blueprints.outdated(Shaping("ada-law", "forged", LAW, "x"))
        assert "name" in blueprints.outdated(Shaping("ada", "forged", LAW, "x"))
        assert "another one" in blueprints.outdated(Shaping("ada", "promoted", LEARNED, "x", spec="old"))
        gone = Blueprint("default", "eve", "You know the law.")
        assert "no member" in blueprints.outdated(Shaping("eve-law", "forged", gone, "x"))
        assert blueprints.next("ada-law") == 2


async def test_a_task_keeps_the_agent_that_it_was_matched_with(world: World) -> None:
    """What is promoted or taken back meanwhile is for later tasks: each teaches the version that did it."""
    world.write([{"toolCalls": [{"name": "post"}]}, {"text": "done"}], cluster="scale: {type: never}")
    async with world.open() as system:
        cluster, declared = team(system), team(system).agents["ada"]
        first = await _waiting(system)
        await shape(system, Shaping("ada", "promoted", LEARNED, "it does better", spec=declared.digest))
        learned = cluster.agents["ada"]
        second = await _waiting(system)
        await _end(system, first)
        assert await _taught(system, declared.digest) == [first]
        assert cluster.standing("ada", ["general"]).scores["general"].count == 0
        back = reverted(cluster, "ada", 0, "it does worse")
        await shape(system, back, task="u")
        third = await _waiting(system)
    async with world.open() as system:
        assert sorted(await system.engine.resume()) == sorted([second, third])
        assert team(system).agents["ada"].digest == declared.digest
        await _end(system, second)
        assert await _taught(system, learned.digest) == [second]
        scores = [one for one in await system.store.capabilities() if one.spec == learned.digest]
        assert [one.count for one in scores] == [1]
        await _end(system, third)
        assert sorted(await _taught(system, declared.digest)) == sorted([first, third])
        (result,) = [await system.engine.result(second)]
        assert result.matched is not None
        assert result.matched.made == LEARNED


async def test_who_was_pruned_is_made_once_more_for_its_tasks(world: World) -> None:
    """From the blueprint that MATCH recorded, with the scores that it had; whoever is as declared is left alone."""
    async with world.open() as system:
        cluster = await shape(system, Shaping("ada-law", "forged", LAW, "nobody knows the law"))
        law = cluster.agents["ada-law"]
        await shape(system, Shaping("ada-law", "pruned", LAW, "it does badly", 2, 1, law.digest), task="u")
        held = cluster.bound("ada-law", LAW)
        assert (held.agent("ada-law").instructions, held.agent("ada-law").digest) == (LAW.instructions, law.digest)
        assert cluster.bound("ada", None).agent("ada") is cluster.agents["ada"]
        with pytest.raises(NotFound):
            cluster.bound("eve", Blueprint("default", "eve", "x")).agent("eve")


async def test_a_way_back_is_stored_in_each_namespace(world: World) -> None:
    """Where another namespace has a cluster, an agent and a version of the same names."""
    path = world.folder / "manifests.yaml"
    text = path.read_text()
    path.write_text(f"{text}\n---\n{text.replace('metadata: {name: ', 'metadata: {namespace: other, name: ')}")
    spaces = ("default", "other")
    async with world.open() as system:
        for space in spaces:
            cluster = _team(system, space)
            shaping = Shaping("ada", "promoted", LEARNED, "x", spec=cluster.agents["ada"].digest)
            scope = Scope(system.bus, "", namespace=space)
            await learn(system.services, [shaping], cluster.teaching("t"), scope, f"{space}#shape")
            await revert(system.services, cluster, partial(reverted, cluster, "ada", None, "it does worse"))
        states = [(one.namespace, one.version, one.state) for one in await system.store.learning.blueprints()]
        assert states == [
            (space, number, how) for space in spaces for number, how in ((1, "promoted"), (2, "reverted"))
        ]
    async with world.open() as system:
        assert [_team(system, space).agents["ada"].instructions for space in spaces] == ["", ""]


async def test_changes_of_an_agent_at_once_get_numbers_of_their_own(world: World) -> None:
    """Two ways back that begin together are decided one after the other; what is live is what is stored."""
    async with world.open() as system:
        cluster = await shape(system, Shaping("ada", "promoted", LEARNED, "x", spec=team(system).agents["ada"].digest))
        other, digest = msgspec.structs.replace(LEARNED, instructions="Be brief."), cluster.agents["ada"].digest
        await shape(system, Shaping("ada", "promoted", other, "x", 2, 1, digest), task="u")
        ways = [finish(revert(system.services, cluster, partial(reverted, cluster, "ada", to, "x"))) for to in (0, 1)]
        assert [(one.version, one.parent) for one in await asyncio.gather(*ways)] == [(3, 0), (4, 1)]
        assert cluster.agents["ada"].instructions == LEARNED.instructions
    async with world.open() as system:
        assert [one.number for one in team(system).blueprints.versions("ada")] == [1, 2, 3, 4]
        told = [happened(one.how) for one in await system.store.learning.lineage(agent="ada")]
        assert [(one.how, one.version) for one in told if one.how == "reverted"] == [("reverted", 3), ("reverted", 4)]
        assert team(system).agents["ada"].instructions == LEARNED.instructions


def _team(system: System, namespace: str) -> Cluster:
    cluster = system.reconciler.topology.live[Ref("Cluster", "default", namespace)]
    assert isinstance(cluster, Cluster)
    return cluster


async def _waiting(system: System) -> str:
    """Begin a task that waits for a signal; return its id."""
    task = await system.engine.submit(new_task("go", system.clock))
    await until(system, lambda event: isinstance(event.data, ToolStarted), task)
    return task


async def _end(system: System, task: str) -> None:
    await system.engine.send(task, "post", "go on")
    assert (await system.engine.result(task)).phase == "Succeeded"


async def _taught(system: System, digest: str) -> list[str]:
    """Return the tasks of which a reward is kept for an agent as it behaved with a digest."""
    return [one.task for one in await system.store.learning.lessons("default", "ada", digest)]
