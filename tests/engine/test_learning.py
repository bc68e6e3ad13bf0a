"""What becomes of what is learned, in a live system: corrections, modes, health, retirement, over restarts."""

from pathlib import Path
from typing import Any

import pytest

from loomd.amoeba.deciding import PolicyFailed
from loomd.amoeba.decision import Calibration, Expense, Retirement, Revival, ScoreMove
from loomd.amoeba.feedback import Said
from loomd.amoeba.task import Result
from loomd.amoeba.world import Score
from loomd.cluster.cluster import Cluster
from loomd.cluster.learn import learn
from loomd.cluster.proposals import renewed
from loomd.daemon import System
from loomd.engine.intake import new_task
from loomd.errors import Conflict
from loomd.events.bus import Scope
from loomd.events.cluster import AgentRetired, CalibrationUpdated, CapabilityUpdated, ChangeObserved
from loomd.events.event import Event, Fallback, ToolStarted
from loomd.manifest.object import Ref
from loomd.messages import Usage
from tests.engine.world import World, until

TEAM = Ref("Cluster", "default", "default")
BOB = """---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: bob}
spec: {provider: fine}
---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: fine}
spec: {type: scripted, replies: [{times: null, text: ok}]}
"""
IT = """apiVersion: loomd.dev/v1
kind: Interceptor
metadata: {name: it}
"""
GOAL = "Compare and analyse this, then report in detail; and also conclude"
"""Looks demanding, and is not."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world whose agent answers at once."""
    return World(tmp_path)


def answer(world: World, cluster: str, replies: list[dict[str, Any]] | None = None) -> None:
    """Write a system whose agent says the same to everything."""
    world.write(replies or [{"times": None, "text": "done"}], cluster=cluster)


async def do(system: System, goal: str = "go", count: int = 1) -> Result:
    """Run tasks one after another; return what became of the last."""
    result: Result | None = None
    for _ in range(count):
        result = await system.engine.result(await system.engine.submit(new_task(goal, system.clock)))
    assert result is not None
    return result


def team(system: System) -> Cluster:
    """Return the live cluster."""
    live = system.reconciler.topology.live[TEAM]
    assert isinstance(live, Cluster)
    return live


async def test_complexity_is_corrected_by_what_tasks_took(world: World) -> None:
    """From the fourth task on, half as wrong after eight, and as much after a restart."""
    answer(world, "scale: {type: never}, learning: {calibrate: {most: 0.5}}")
    async with world.open() as system:
        first = await do(system, GOAL)
        assert first.sensed is not None
        assert first.sensed.correction == 0.0
        third = await do(system, GOAL, 2)
        assert third.sensed is not None
        assert third.sensed.correction == 0.0, "two tasks say too little"
        last = await do(system, GOAL, 6)
        assert last.adapted is not None
        assert last.sensed is not None
        (moved,) = [one for one in last.adapted.decisions if isinstance(one, Calibration)]
        assert last.sensed.correction < -0.1
        assert any("corrected by" in one for one in last.sensed.evidence)
        wrong_first = abs(first.sensed.complexity - moved.observed)
        assert abs(last.sensed.complexity - moved.observed) <= wrong_first / 2, "half as wrong"
        assert moved.count == 9
        known = team(system).correction("general")
    async with world.open() as system:
        assert team(system).correction("general") == known
        again = await do(system, GOAL)
        assert again.sensed is not None
        assert again.sensed.correction == pytest.approx(max(-0.5, known[0]), abs=0.01)


async def test_a_correction_counts_once(world: World) -> None:
    """Killed after it was learned: the same task does not move it again."""
    answer(world, "scale: {type: never}")
    world.kill_at("calibration.updated")
    async with world.open() as system:
        (task,) = await system.engine.resume()
        await system.engine.result(task)
        assert team(system).correction("general")[1] == 1
        (average,) = [one for one in await system.store.averages() if one.subject.startswith("complexity")]
        assert average.count == 1


@pytest.mark.parametrize("name", ["feedback", "forge"])
async def test_a_score_is_recorded_whatever_its_agent_is_called(world: World, name: str) -> None:
    """Killed after it was learned: what ADAPT decided is in the result, also of an agent that is called so."""
    answer(world, "scale: {type: never}")
    world.edit("name: ada", f"name: {name}")
    world.edit("[ada]", f"[{name}]")
    world.kill_at("capability.updated")
    async with world.open() as system:
        (task,) = await system.engine.resume()
        result = await system.engine.result(task)
        assert result.adapted is not None
        assert [one.agent for one in result.adapted.moves] == [name]


@pytest.mark.parametrize("mode", ["off", "observe"])
async def test_what_is_only_observed_changes_nothing(world: World, mode: str) -> None:
    """Scores and corrections stay; with `observe` events and the result say what would have been done."""
    answer(world, f"learning: {{mode: {mode}}}")
    async with world.open() as system:
        heard: list[Event] = []
        system.bus.subscribe(heard.append, ChangeObserved, CapabilityUpdated, CalibrationUpdated)
        result = await do(system, count=4)
        assert await system.store.capabilities() == []
        assert team(system).correction("general") == (0.0, 0)
        assert result.adapted is not None
        kinds = {type(one) for one in result.adapted.decisions}
        assert kinds == ({ScoreMove, Calibration} if mode == "observe" else set())
        assert all(one.done == "observed" for one in result.adapted.decisions)
        assert len(heard) == (8 if mode == "observe" else 0)
        assert all(isinstance(one.data, ChangeObserved) for one in heard)


async def test_an_agent_that_fails_is_degraded_and_retired(world: World) -> None:
    """Its condition says why; it gets no tasks until its time is over, also after a restart, or it is edited."""
    rules = "retire: {declared: true, samples: 3, coolDown: 1h, every: 0s}"
    answer(world, f"learning: {{{rules}}}", [{"times": None, "error": "permanent"}])
    path = world.folder / "manifests.yaml"
    path.write_text(path.read_text().replace("agents: [ada]", "agents: [ada, bob]") + BOB)
    ada = Ref("Agent", "ada", "default")

    async def sick(system: System) -> None:
        await system.engine.result(await system.engine.submit(new_task("go", system.clock, agent="ada")))

    async with world.open() as system:
        for _ in range(3):
            await sick(system)
        conditions = {one.type: one for one in system.reconciler.status(ada).conditions}
        assert (conditions["Degraded"].status, conditions["Degraded"].reason) == ("True", "Dying")
        assert conditions["Ready"].status == "True"
        heard: list[Event] = []
        system.bus.subscribe(heard.append, AgentRetired)
        result = await do(system)
        assert result.adapted is not None
        (retired,) = [one for one in result.adapted.decisions if isinstance(one, Retirement)]
        assert retired.agent == "ada"
        assert "below" in retired.reason
        assert [one.name for one in team(system).roster.open] == ["bob"]
        assert len(heard) == 1
        assert {one.type: one.reason for one in system.reconciler.status(ada).conditions}["Degraded"] == "Retired"
        refused = await system.engine.result(await system.engine.submit(new_task("go", system.clock, agent="ada")))
        assert refused.phase == "Failed"
    async with world.open() as system:
        assert [one.name for one in team(system).roster.open] == ["bob"], "a restart revives nobody"
        until = team(system).conditions.until(team(system).agent("ada"))
        assert until == pytest.approx(retired.until, abs=1)
        (revival,) = team(system).conditions.upkeep(until)
        assert isinstance(revival, Revival)
    path.write_text(path.read_text().replace("Does things., ", "Does things., prompt: Try harder., "))
    async with world.open() as system:
        assert sorted(one.name for one in team(system).roster.open) == ["ada", "bob"], "an edited agent is another one"
        assert team(system).conditions.vitals(team(system).agent("ada")).health == "unknown"
        await do(system)
        assert [one.how for one in await system.store.learning.lineage("default", "ada")][-2:] == [
            "retired from default",
            "revived in default",
        ], "the next task tells of it"


@pytest.mark.parametrize(("places", "learns"), [("input", False), ("context", False), ("output", True)])
async def test_a_request_that_a_guard_refuses_says_nothing_of_the_agent(
    world: World, places: str, *, learns: bool
) -> None:
    """Whoever won it was not asked. An answer that is refused is its own."""
    world.write([{"times": None, "text": "a falcon"}], agent="interceptors: [it]", cluster="scale: {type: never}")
    path = world.folder / "manifests.yaml"
    spec = f"{{type: guard, deny: [falcon], places: [{places}]}}"
    path.write_text(f"{path.read_text()}---\n{IT}spec: {spec}\n")
    async with world.open() as system:
        heard: list[Event] = []
        system.bus.subscribe(heard.append, CapabilityUpdated)
        result = await do(system, "Tell me of the falcon.")
        assert result.executed is not None
        outcome = result.executed.outcome
        assert (result.phase, outcome.stop_reason, outcome.foreign) == ("Failed", "refused", not learns)
        assert bool(heard) is learns


async def test_only_what_serves_ends_a_retirement_by_an_edit(world: World) -> None:
    """A task of an old revision, also one that is opened again, leaves those retired that behave otherwise by now."""
    call = {"system": "One.", "toolCalls": [{"name": "post", "arguments": {}}]}
    world.write([call, {"text": "done", "times": None}], agent="prompt: One.", cluster="scale: {type: never}")
    world.edit("agents: [ada]", "agents: [ada, bob]")
    path = world.folder / "manifests.yaml"
    path.write_text(path.read_text() + BOB)
    async with world.open() as system:
        task = new_task("go on", system.clock, agent="ada")
        await system.engine.submit(task)
        await until(system, lambda event: isinstance(event.data, ToolStarted), task.id)
        world.edit("prompt: One.", "prompt: Two.")
        await system.reconciler.apply(world.delivery())
        cluster = team(system)
        ada = cluster.agents["ada"]
        move = Retirement("ada", ada.digest, system.clock.now() + 86_400, "it does badly")
        await learn(system.services, [move], cluster.teaching("t0"), Scope(system.bus, "", namespace="default"))
        assert cluster.conditions.record(ada).active
    async with world.open() as system:
        await system.engine.resume()
        await system.engine.send(task.id, "post", {"ok": True})
        assert (await system.engine.result(task.id)).phase == "Succeeded"
        cluster = team(system)
        assert cluster.conditions.record(cluster.agents["ada"]).active
        world.edit("prompt: Two.", "prompt: Three.")
        await system.reconciler.apply(world.delivery())
        await do(system)
        (last,) = [one for one in await system.store.learning.lineage() if one.how == "revived in default"]
        assert (last.child, last.parent) == ("ada", ada.digest)


async def test_what_tasks_cost_is_learned_of_each_agent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the third task on bids go by it, also after a restart; without prices nothing is learned of it."""

    def cost(_: object, usage: Usage) -> float:
        return usage.input * 3e-6 + usage.output * 15e-6

    used = {"text": "done", "times": None, "usage": {"input": 3000, "output": 600}}
    answer(world, "scale: {type: never}", [used])
    async with world.open() as system:
        free = await do(system)
        assert free.adapted is not None
        assert not any(isinstance(one, Expense) for one in free.adapted.decisions)
        monkeypatch.setattr(type(team(system).agent("ada").model), "cost", cost, raising=False)
    async with world.open() as system:
        third = await do(system, count=3)
        assert third.matched is not None
        assert third.adapted is not None
        assert third.sensed is not None
        assert third.matched.bids[0].uses == (), "two tasks say too little"
        (moved,) = [one for one in third.adapted.decisions if isinstance(one, Expense)]
        assert moved.count == 3
        assert moved.after == pytest.approx((3000 / third.sensed.tokens, 600 / third.sensed.tokens), rel=0.05)
        fourth = await do(system)
        assert fourth.matched is not None
        assert fourth.matched.bids[0].uses == pytest.approx(moved.after)
        ada = team(system).agent("ada")
        known = team(system).uses("ada", ada.digest)
        assert known.seen == 4
    async with world.open() as system:
        assert team(system).uses("ada", ada.digest) == known


async def test_who_is_dying_bids_again_after_a_while(world: World) -> None:
    """Where it is not retired: for one task each time."""
    answer(world, "learning: {modes: {retire: observe}, retire: {coolDown: 1h}}")
    async with world.open() as system:
        cluster = team(system)
        ada, now = cluster.agents["ada"], system.clock.now()
        for at in range(3):
            system.bus.emit(CapabilityUpdated("ada", ada.digest, "general", 0.5, 0.1, 0.0, at + 1, "bad", 0.0))
        assert cluster.conditions.healths([ada], now + 3000) == ["dying"]
        assert cluster.conditions.healths([ada], now + 3700) == ["warning"]


async def test_scores_that_are_locked_are_those_that_are_declared(world: World) -> None:
    """Whatever was learned before."""
    answer(world, "scale: {type: never}")
    async with world.open() as system:
        await do(system, count=3)
        before = team(system).standing("ada", ["general"])
        assert before.scores["general"].count == 3
        world.edit("metadata: {name: ada}\nspec: {", "metadata: {name: ada}\nspec: {locked: [domains], ")
        await system.reconciler.apply(world.delivery())
        after = team(system).standing("ada", ["general"])
        assert after.fixed
        assert (after.scores["general"].count, after.overall.count) == (0, 0)
        assert after.scores["general"].mean < before.scores["general"].mean


async def test_one_domain_can_be_locked(world: World) -> None:
    """What is believed in it is what is declared, whatever was learned before, feedback included; others learn on."""
    declared = "metadata: {name: ada}\nspec: {domains: {refunds: 0.8, parcels: 0.4}, "
    answer(world, "scale: {type: never}, feedback: {weight: 1}")
    world.edit("metadata: {name: ada}\nspec: {", declared)
    async with world.open() as system:
        first = await do(system, "refunds and parcels", count=2)
        before = team(system).standing("ada", ["refunds", "parcels"])
        assert before.scores["refunds"].count == before.scores["parcels"].count == 2
        world.edit("0.4}, ", "0.4}, locked: [domains.refunds], ")
        await system.reconciler.apply(world.delivery())
        cluster = team(system)
        after = cluster.standing("ada", ["refunds", "parcels"])
        assert after.fixed == {"refunds"}
        assert (after.scores["refunds"].mean, after.scores["refunds"].count) == (0.8, 0)
        assert after.scores["parcels"].mean == pytest.approx(before.scores["parcels"].mean, abs=1e-6)
        assert after.overall.count == 2
        record = await system.engine.get(first.task.id)
        assert record is not None
        correction = await system.feedback.give(record, Said(0.0, "ann"), "")
        assert [one.domain for one in correction.moves] == ["parcels"]
        result = await do(system, "refunds and parcels")
        assert result.adapted is not None
        assert [one.domain for one in result.adapted.moves] == ["parcels"]
        move = ScoreMove("ada", cluster.agents["ada"].digest, "refunds", 0.8, 0.9, 0.0, 3, "good", 1.0)
        with pytest.raises(Conflict, match="`locked` of its manifest"):
            renewed(cluster, move, cluster.teaching("t"))


@pytest.mark.parametrize("path", ["agents", "agents.ada"])
async def test_members_that_a_cluster_locks_stay(world: World, path: str) -> None:
    """However badly one does, it is not retired; where it is named itself it goes on bidding, too."""
    rules = f"learning: {{retire: {{declared: true, samples: 3, every: 0s}}}}, locked: [{path}]"
    answer(world, rules, [{"times": None, "error": "permanent"}])
    path_ = world.folder / "manifests.yaml"
    path_.write_text(path_.read_text().replace("agents: [ada]", "agents: [ada, bob]") + BOB)
    async with world.open() as system:
        for _ in range(3):
            await system.engine.result(await system.engine.submit(new_task("go", system.clock, agent="ada")))
        result = await do(system)
        assert result.adapted is not None
        assert not [one for one in result.adapted.decisions if isinstance(one, Retirement)]
        cluster = team(system)
        assert [one.name for one in cluster.roster.open] == ["ada", "bob"]
        healths = cluster.conditions.healths([cluster.agents["ada"]], system.clock.now())
        assert healths == ["dying" if path == "agents" else "warning"]


async def test_a_policy_that_fails_at_what_waits_costs_no_task(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a package's policy: what it says of the rewards of an open proposal together; no score moves then."""

    def fail(*_: object) -> Score:
        raise PolicyFailed("nothing to be said")

    answer(world, "scale: {type: never}, learning: {mode: propose}")
    async with world.open() as system:
        told: list[object] = []
        system.bus.subscribe(lambda event: told.append(event.data), Fallback)
        await do(system)
        (before,) = [one for one in await system.store.learning.proposals() if one.mechanism == "score"]
        monkeypatch.setattr("loomd.cluster.pending.decided", fail)
        assert (await do(system)).phase == "Succeeded"
        assert before in await system.store.learning.proposals(pending=True)
        assert told == [Fallback("adapt", "nothing to be said", "no score moves")]
