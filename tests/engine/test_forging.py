"""Specialists that are made for tasks that nobody takes: how they come to be, live, and go, in a live system."""

import asyncio
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loomd.agents.approval import Decision
from loomd.amoeba.decision import Merge, Retirement, ScoreMove, Shaping
from loomd.amoeba.task import Matched, Result, Task
from loomd.cluster import forge
from loomd.cluster.learn import proposed
from loomd.cluster.likeness import Likeness
from loomd.cluster.proposals import decide
from loomd.daemon import System
from loomd.engine.intake import new_task
from loomd.engine.ledger import Ledger
from loomd.events.bus import Scope
from loomd.events.cluster import BlueprintForged, BlueprintPruned, CapabilityUpdated, TaskQueued
from loomd.events.event import Event, Fallback, ModelCalled
from loomd.events.journal import Journal
from loomd.replay.export import Serving, export
from loomd.replay.player import replay
from tests.clocks import skip
from tests.engine.test_learning import do, team
from tests.engine.world import World, until

GOAL = "go and check the tenancy clause of a lease"
DESIGN: dict[str, Any] = {
    "name": "Lease Lawyer",
    "description": "Knows the tenancy clause of every lease.",
    "prompt": "You know the law. {{ agent }} {% for %}",
    "domains": [{"name": "tenancy law", "score": 0.9}, {"name": "general", "score": 1.0}],
    "tools": ["mark"],
}
DESIGNS = {"system": "You design a specialist"}
RULES = "every: 0s, coolDown: 0s"
STILL = ", learning: {modes: {score: off}}"
"""Nobody comes to be good at what it was not good at."""


def write(world: World, *replies: dict[str, Any], forge: str = RULES, more: str = "", agent: str = "") -> None:
    """Write a cluster whose one agent knows how to cook; other tasks have a specialist made."""
    said = [*replies, {"system": "You know the law", "text": "legal"}, {"text": "done"}]
    cluster = (
        f"match: {{type: auction, noWinner: forge, exploration: 0}}, scale: {{type: never}}, forge: {{{forge}}}{more}"
    )
    agent = f"domains: {{cooking: 0.8}}{agent}"
    world.write([{"times": None, **one} for one in said], agent=agent, cluster=cluster)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world in which a usable design comes."""
    world = World(tmp_path)
    write(world, {**DESIGNS, "json": DESIGN})
    return world


def matched(result: Result) -> Matched:
    """Return what MATCH said."""
    assert result.matched is not None, result
    return result.matched


def specialists(system: System) -> list[str]:
    """Return the names of the cluster's specialists."""
    return [one.name for one in team(system).forge.specialists()]


async def test_a_specialist_is_made_and_takes_such_tasks(world: World) -> None:
    """For the task itself and for those after it; its prompt is no template; it is there after a restart."""
    heard: list[Event] = []
    async with world.open() as system:
        system.bus.subscribe(heard.append, BlueprintForged, ModelCalled, Fallback)
        first = await do(system, GOAL)
        said = matched(first)
        assert (said.winner, said.path) == ("lease-lawyer", "forge")
        assert said.nobody == "nobody is believed to be 0.4 good in general: ada 0.30"
        assert (said.domains, said.calls) == ({"tenancy-law": 1.0}, 1)
        assert first.output == "legal"
        made = team(system).agents["lease-lawyer"]
        assert (list(made.tools), made.instructions) == (["mark"], DESIGN["prompt"])
        assert team(system).forge.state("lease-lawyer") == "probation"
        assert team(system).standing("lease-lawyer", ["tenancy-law"]).scores["tenancy-law"].count == 1
        third = await do(system, GOAL, 2)
        assert (matched(third).winner, matched(third).path) == ("lease-lawyer", None), "it wins the auction"
        assert team(system).forge.state("lease-lawyer") == "active"
        assert [type(event.data) for event in heard].count(BlueprintForged) == 1
        assert not [event for event in heard if isinstance(event.data, Fallback)]
        asked = [event.agent for event in heard if isinstance(event.data, ModelCalled)]
        assert asked == ["ada", *["lease-lawyer"] * 3]
        _, used, _ = system.services.accounts.standing(("default", "ada"))
        assert used["calls"] == 4, "what a specialist uses is its creator's"
        assert ("default", "lease-lawyer") not in system.services.accounts.today()
        assert matched(await do(system, "cook with cooking")).winner == "ada"
        topology = system.reconciler.topology
        cassette = await export(system.store, first.task.id, Serving(topology.snapshot, topology.live))
        assert (await replay(cassette)).whole
    async with world.open(apply=False) as system:
        assert matched(await do(system, GOAL)).winner == "lease-lawyer"
        world.edit("Does things.", "Does some things.")
        await system.reconciler.apply(world.delivery())
        assert specialists(system) == ["lease-lawyer"], "after a reload"


async def test_its_creators_budget_holds_for_it(world: World) -> None:
    """Nothing is left to it when nothing is left to its creator."""
    write(world, {**DESIGNS, "json": DESIGN}, agent=", budgets: {daily: {calls: 2}}")
    async with world.open() as system:
        await do(system, GOAL)
        refused = matched(await do(system, GOAL)).refused
        assert refused == dict.fromkeys(("ada", "lease-lawyer"), "its daily budget is used up")


async def test_who_takes_what_is_left_over_hides_no_gap(world: World) -> None:
    """However well somebody did with tasks that fit nobody, the next one of them fits nobody either."""
    write(world, {**DESIGNS, "text": "no", "when": "garden"}, {**DESIGNS, "json": DESIGN})
    async with world.open() as system:
        for _ in range(3):
            said = matched(await do(system, "water the garden"))
            assert (said.winner, said.path) == ("ada", "best_available")
        assert team(system).standing("ada", ["general"]).scores["general"].mean > 0.8, "in auctions that counts"
        said = matched(await do(system, GOAL))
        assert (said.winner, said.path) == ("lease-lawyer", "forge")
        assert said.nobody == "nobody is believed to be 0.4 good in general: ada 0.30"


async def test_a_person_says_who_serves_what_is_left_over(world: World) -> None:
    """An agent that declares `general` takes what fits nobody else."""
    write(world, {**DESIGNS, "json": DESIGN}, agent="")
    path = world.folder / "manifests.yaml"
    path.write_text(path.read_text().replace("{cooking: 0.8}", "{cooking: 0.8, general: 0.5}"))
    async with world.open() as system:
        assert (matched(await do(system, GOAL)).winner, specialists(system)) == ("ada", [])


@pytest.mark.parametrize("mode", ["off", "observe", "propose"])
async def test_how_far_the_cluster_may_go(world: World, mode: str) -> None:
    """The task takes the other way and says why; what was proposed comes to life when a person agrees."""
    write(world, {**DESIGNS, "json": DESIGN}, more=f", learning: {{modes: {{forge: {mode}, score: off}}}}")
    async with world.open() as system:
        heard: list[Event] = []
        system.bus.subscribe(heard.append, Fallback)
        said = Matched("")
        for _ in range(2):
            said = matched(await do(system, GOAL))
            assert (said.winner, said.path) == ("ada", "best_available")
            assert said.nobody
            assert "no specialist: " in said.why
        assert len(heard) == 2
        assert said.calls == 0, "nothing like it is designed again"
        assert specialists(system) == []
        proposals = [one for one in await system.store.learning.proposals() if one.mechanism == "forge"]
        assert len(proposals) == (1 if mode == "propose" else 0)
    write(world, {**DESIGNS, "json": DESIGN})
    async with world.open() as system:
        said = matched(await do(system, GOAL))
        assert said.winner == "lease-lawyer", "once it may, what waits for people holds nothing back"


PROPOSE = ", learning: {proposals: 1h, modes: {forge: propose, score: off}}"


async def _asked(system: System) -> list[tuple[str, str]]:
    """Return the specialists that people are asked about, with what they say of themselves."""
    records = await system.store.learning.proposals(pending=True)
    wanted = [decision for one in records if isinstance(decision := proposed(one)[2], Shaping)]
    return sorted((one.agent, one.blueprint.description) for one in wanted)


async def test_people_are_asked_about_each_of_two_that_have_one_name(world: World) -> None:
    """The second design does not take the place of the first, and both can join."""
    one = {**DESIGN, "name": "helper"}
    other = {**one, "description": "Repairs watches.", "domains": [{"name": "watches", "score": 1}]}
    replies = [{**DESIGNS, "when": "tenancy", "json": one}, {**DESIGNS, "when": "watches", "json": other}]
    write(world, *replies, more=PROPOSE)
    async with world.open() as system:
        await do(system, GOAL)
        await do(system, "go and repair watches")
        assert await _asked(system) == [("helper", DESIGN["description"]), ("helper-2", "Repairs watches.")]
        for record in await system.store.learning.proposals(pending=True):
            await decide(system.services, team(system), record, Decision("approved", "ann"))
        assert sorted(specialists(system)) == ["helper", "helper-2"]


async def test_a_specialist_whom_a_task_waited_for_is_busy_with_it_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is awaited, so that it does not go meanwhile, as one without work might."""
    write(world, {**DESIGNS, "json": DESIGN}, forge="every: 0s, fallback: queue", more=PROPOSE)
    async with world.open() as system:
        loads: list[int] = []
        put = Ledger.put

        async def noted(ledger: Ledger, task: Task, phase: str, result: bytes = b"") -> None:
            if phase == "Running":
                loads.append(system.services.loads.of("default", "lease-lawyer"))
            await put(ledger, task, phase, result)

        monkeypatch.setattr(Ledger, "put", noted)
        task = await system.engine.submit(new_task(GOAL, system.clock))
        await until(system, lambda event: isinstance(event.data, TaskQueued), task)
        (record,) = await system.store.learning.proposals(pending=True)
        await decide(system.services, team(system), record, Decision("approved", "ann"))
        assert matched(await system.engine.result(task)).winner == "lease-lawyer"
        assert loads == [1]


async def test_people_who_denied_one_are_asked_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once what they said is as old as a proposal gets, and the same is designed for another task."""
    write(world, {**DESIGNS, "json": DESIGN}, more=PROPOSE)
    async with world.open() as system:
        await do(system, GOAL)
        (record,) = await system.store.learning.proposals(pending=True)
        await decide(system.services, team(system), record, Decision("denied", "ann"))
        assert "was denied by ann" in matched(await do(system, GOAL)).why
        skip(3601, monkeypatch)
        assert "people are asked whether it may join" in matched(await do(system, GOAL)).why
        assert [name for name, _ in await _asked(system)] == ["lease-lawyer"]


BAD: dict[str, Any] = {
    "nonsense": {"text": "I would rather not."},
    "empty": {"json": {}},
    "huge": {"json": {**DESIGN, "prompt": "x" * 4001}},
    "talk": {"json": {**DESIGN, "description": "y" * 301}},
    "nameless": {"json": {**DESIGN, "name": "法律"}},
    "long": {"json": {**DESIGN, "name": "n" * 41}},
    "tools": {"json": {**DESIGN, "tools": ["mark", "sudo"]}},
    "domains": {"json": {**DESIGN, "domains": []}},
    "generalist": {"json": {**DESIGN, "domains": [{"name": "General", "score": 1}]}},
    "score": {"json": {**DESIGN, "domains": [{"name": "law", "score": 7}]}},
    "secret": {"json": {**DESIGN, "prompt": "The key is sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789"}},
    "blank": {"json": {**DESIGN, "prompt": "\u0007 \n"}},
    "more": {"json": {**DESIGN, "model": "gpt"}},
    "down": {"error": "permanent", "text": "away"},
}


async def test_a_design_that_cannot_be_used_stops_no_task(world: World) -> None:
    """Whatever a model answers: the best bid takes the task, and that is told."""
    write(
        world,
        *({**DESIGNS, "when": name, **reply} for name, reply in BAD.items()),
        forge=f"{RULES}, daily: 100",
        more=STILL,
    )
    async with world.open() as system:
        for name in BAD:
            heard: list[Event] = []
            unsubscribe = system.bus.subscribe(heard.append, Fallback)
            result = await do(system, name)
            unsubscribe()
            assert (result.phase, matched(result).winner, matched(result).path) == (
                "Succeeded",
                "ada",
                "best_available",
            )
            assert "no usable design came" in matched(result).why, name
            (told,) = [event.data for event in heard if isinstance(event.data, Fallback)]
            assert (told.phase, told.fallback) == ("match", "the best bid takes it")
        assert specialists(system) == []


async def test_a_design_is_mended_and_its_name_is_its_own(world: World) -> None:
    """One that is wrong at first is asked for again; a name that somebody has gets a number."""
    clash = {**DESIGN, "name": "Ádà", "prompt": "Sé útil ✓", "tools": ["mark", "mark"]}
    other = {**DESIGN, "name": "ada", "description": "Repairs watches.", "domains": [{"name": "watches", "score": 1}]}
    write(
        world,
        {**DESIGNS, "when": "check the tenancy", "json": {**DESIGN, "tools": ["sudo"]}, "times": 1},
        {**DESIGNS, "when": "check the tenancy", "json": clash, "times": 1},
        {**DESIGNS, "when": "watches", "json": other},
    )
    async with world.open() as system:
        result = await do(system, GOAL)
        assert (matched(result).winner, matched(result).calls) == ("ada-2", 2)
        made = team(system).agents["ada-2"]
        assert (made.instructions, list(made.tools)) == ("Sé útil ✓", ["mark"])
        assert team(system).agents["ada"].digest != made.digest
        assert matched(await do(system, "go and repair watches")).winner == "ada-3"
        again = matched(await do(system, "go and repair watches"))
        assert (again.winner, again.path) == ("ada-3", None)
        assert specialists(system) == ["ada-2", "ada-3"], "and is not made twice"


@pytest.mark.parametrize(
    ("forge", "why"),
    [
        ("every: 0s, most: 1", "as many as it may"),
        ("every: 1h", "just now"),
        ("every: 0s, daily: 1", "as many as may be"),
        ("every: 0s, creator: eve", "is no member"),
    ],
)
async def test_designs_are_bounded(world: World, forge: str, why: str) -> None:
    """However many tasks nobody takes, also after a restart."""
    write(world, {**DESIGNS, "json": DESIGN}, forge=forge, more=STILL)
    path = world.folder / "manifests.yaml"
    path.write_text(
        f"{path.read_text()}---\napiVersion: loomd.dev/v1\nkind: Agent\nmetadata: {{name: eve}}\n"
        "spec: {provider: script, domains: {cooking: 0.1}}\n"
    )
    async with world.open() as system:
        await do(system, GOAL)
        assert len(specialists(system)) == (0 if "creator" in forge else 1)
        assert why in matched(await do(system, "paint a picture")).why
    async with world.open() as system:
        assert why in matched(await do(system, "paint a picture")).why


async def test_a_forge_that_always_fails_rests(world: World) -> None:
    """Ever longer, and a restart does not end that."""
    write(world, {**DESIGNS, "text": "no"}, forge="every: 0s, coolDown: 1h", more=STILL)
    async with world.open() as system:
        assert matched(await do(system, GOAL)).calls == 2
        assert "the last design failed" in matched(await do(system, GOAL)).why
    async with world.open() as system:
        said = matched(await do(system, GOAL))
        assert (said.calls, "the last design failed" in said.why) == (0, True)
        world.edit("coolDown: 1h", "coolDown: 2h")
        await system.reconciler.apply(world.delivery())
        assert matched(await do(system, GOAL)).calls == 2, "what a person changed is tried at once"


async def test_who_does_badly_goes_and_is_not_made_again(world: World) -> None:
    """After its probation, and only for a while; the name that it had is not used again."""
    bad = {"system": "You know the law", "error": "permanent", "text": "no"}
    write(world, {**DESIGNS, "json": DESIGN}, bad, forge="every: 0s, coolDown: 1h, below: 0.9")
    async with world.open() as system:
        last = await do(system, GOAL)
        for _ in range(2):
            assert specialists(system) == ["lease-lawyer"]
            last = await do(system, GOAL)
        assert matched(last).winner == "lease-lawyer"
        assert last.adapted is not None
        (gone,) = [one for one in last.adapted.decisions if isinstance(one, Shaping)]
        assert (gone.agent, gone.how) == ("lease-lawyer", "pruned")
        assert "below 0.2" in gone.reason
        assert specialists(system) == []
        assert team(system).forge.state("lease-lawyer") == "pruned"
        said = matched(await do(system, GOAL))
        assert (said.winner, "did badly" in said.why) == ("ada", True)
    async with world.open() as system:
        assert "did badly" in matched(await do(system, GOAL)).why
        assert team(system).forge.state("lease-lawyer") == "pruned"
        world.edit("coolDown: 1h", "coolDown: 0s")
        await system.reconciler.apply(world.delivery())
        assert matched(await do(system, GOAL)).winner == "lease-lawyer-2"


async def test_who_is_dying_and_not_bad_enough_to_go_gets_a_successor(world: World) -> None:
    """Not at once: as long as after one that went nothing like it is made; it blocks nobody for good."""
    write(world, {**DESIGNS, "json": DESIGN}, forge="every: 0s, coolDown: 1h, below: 0.9")
    async with world.open() as system:
        await do(system, GOAL)
        made = team(system).agents["lease-lawyer"]
        for at in range(6):
            fact = CapabilityUpdated("lease-lawyer", made.digest, "tenancy-law", 0.5, 0.25, 0.0, at + 2, "bad", 0.25)
            system.bus.emit(fact)
        said = matched(await do(system, GOAL))
        assert (said.winner, "lease-lawyer, which fits, did badly" in said.why) == ("ada", True)
        assert specialists(system) == ["lease-lawyer"]
        world.edit("coolDown: 1h", "coolDown: 0s")
        await system.reconciler.apply(world.delivery())
        for at in range(6):
            fact = CapabilityUpdated("lease-lawyer", made.digest, "tenancy-law", 0.5, 0.25, 0.0, at + 2, "bad", 0.25)
            system.bus.emit(fact)
        last = matched(await do(system, GOAL))
        assert last.winner == "lease-lawyer-2", last.why


async def _rewarded(system: System, name: str, reward: float, count: int = 6) -> None:
    """Let a specialist be rewarded for tasks, as ADAPT does."""
    cluster = team(system)
    for at in range(count):
        move = ScoreMove(name, cluster.agents[name].digest, "tenancy-law", 0.5, reward, 0.0, at + 2, "said", reward)
        await cluster.learn([move], Scope(system.bus, f"{name}-{reward}-{at}"))


SHARED = {**DESIGN, "domains": [{"name": "cooking", "score": 0.1}]}
"""One who may be retired, because somebody else does what it does."""


async def test_who_is_dying_for_an_hour_goes_and_is_not_retired(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it is not bad enough to go at once; what it had learned is merged, and a successor comes at once."""
    write(world, {**DESIGNS, "json": SHARED}, forge="every: 0s, coolDown: 1h")
    async with world.open() as system:
        await do(system, GOAL)
        cluster = team(system)
        await _rewarded(system, "lease-lawyer", 0.25)
        assert cluster.conditions.vitals(cluster.agents["lease-lawyer"]).health == "dying"
        assert cluster.upkeep("ada") == [], "other instructions may still help it"
        skip(3601, monkeypatch)
        assert [type(one) for one in cluster.upkeep("ada")] == [Shaping, Merge, Merge]
        last = await do(system, "cook with cooking")
        assert last.adapted is not None
        (gone,) = [one for one in last.adapted.decisions if isinstance(one, Shaping)]
        assert (gone.agent, gone.how) == ("lease-lawyer", "pruned")
        assert re.fullmatch(r"dying for 36\d\d s: mean reward 0\.25 over the last 5 tasks, below 0\.35", gone.reason)
        assert (specialists(system), cluster.forge.state("lease-lawyer")) == ([], "pruned")
    async with world.open() as system:
        assert team(system).forge.state("lease-lawyer") == "pruned"
        assert matched(await do(system, GOAL)).winner == "lease-lawyer-2"


@pytest.mark.parametrize(
    ("modes", "found"),
    [
        ("", ["pruned"]),
        ("forge: propose", ["proposed"]),
        ("forge: observe", ["observed"]),
        ("retire: propose", ["pruned"]),
        ("retire: off", []),
        ("health: off", []),
    ],
)
async def test_how_far_the_cluster_may_go_with_who_is_dying(world: World, modes: str, found: list[str]) -> None:
    """As with all that the forge does; where people are asked it may be retired, and where nobody is, nobody goes."""
    write(world, {**DESIGNS, "json": SHARED})
    async with world.open() as system:
        await do(system, GOAL)
        world.edit("forge: {", f"learning: {{modes: {{{modes}}}}}, forge: {{")
        await system.reconciler.apply(world.delivery())
        await _rewarded(system, "lease-lawyer", 0.25)
        last = await do(system, "cook with cooking")
        assert last.adapted is not None
        told = [one for one in last.adapted.decisions if isinstance(one, Shaping | Retirement)]
        assert [one.done or "pruned" for one in told] == found
        assert not [one for one in told if isinstance(one, Retirement)]
        assert specialists(system) == ([] if found == ["pruned"] else ["lease-lawyer"])
        asked = found in (["proposed"], ["observed"])
        assert [type(one) for one in team(system).upkeep("ada")] == ([Retirement] if asked else [])


async def test_too_few_tasks_let_nobody_go_who_is_dying(world: World) -> None:
    """As they retire nobody."""
    write(world, {**DESIGNS, "json": SHARED})
    async with world.open() as system:
        await do(system, GOAL)
        cluster = team(system)
        await _rewarded(system, "lease-lawyer", 0.01, 3)  # with its first one a mean of 0.25
        assert cluster.conditions.vitals(cluster.agents["lease-lawyer"]).health == "dying"
        assert cluster.upkeep("ada") == []
        await _rewarded(system, "lease-lawyer", 0.25)
        assert isinstance(cluster.upkeep("ada")[0], Shaping)


async def test_what_one_learned_in_its_probation_is_merged(world: World) -> None:
    """Three tasks count as one of the agent that it was made from."""
    write(world, {**DESIGNS, "json": DESIGN}, forge="every: 0s")
    async with world.open() as system:
        await do(system, GOAL)
        cluster = team(system)
        made = cluster.agents["lease-lawyer"]
        for at in range(5):
            fact = CapabilityUpdated("lease-lawyer", made.digest, "tenancy-law", 0.5, 0.1, 0.0, 3, "bad", 0.0)
            system.bus.emit(fact, Scope(system.bus, f"t{at}"))
        _, merge = cluster.upkeep("lease-lawyer", 0.0)
        assert isinstance(merge, Merge)
        assert merge.count == 1
        assert merge.after < merge.before


async def test_who_is_busy_is_drained_first(world: World) -> None:
    """It gets no new tasks, what it does goes on, and then it goes; so does who has nothing to do."""
    write(world, {**DESIGNS, "json": DESIGN}, forge=f"{RULES}, idleTimeout: 1h")
    async with world.open() as system:
        await do(system, GOAL)
        cluster = team(system)
        made = cluster.agents["lease-lawyer"]
        for at in range(6):
            fact = CapabilityUpdated("lease-lawyer", made.digest, "tenancy-law", 0.5, 0.1, 0.0, at + 2, "bad", 0.0)
            system.bus.emit(fact)
        with cluster.bearing("lease-lawyer"), cluster.bearing("lease-lawyer"):
            assert cluster.upkeep("lease-lawyer") == []
            assert "lease-lawyer" not in [one.agent for one in cluster.standings(["tenancy-law"])]
            with cluster.bearing("lease-lawyer"):
                assert cluster.upkeep("ada") == []
        gone, *merges = cluster.upkeep("ada")
        assert isinstance(gone, Shaping)
        before = cluster.standing("ada", ["tenancy-law"]).scores["tenancy-law"]
        assert [(one.agent, one.domain) for one in merges if isinstance(one, Merge)] == [("ada", "tenancy-law")]
        last = await do(system, "cook with cooking")
        assert last.adapted is not None
        assert [one.how for one in last.adapted.decisions if isinstance(one, Shaping)] == ["pruned"]
        after = cluster.standing("ada", ["tenancy-law"]).scores["tenancy-law"]
        assert after.count == before.count + 2, "seven tasks of another behaviour count as two"
        assert after.mean == pytest.approx(((before.count + 1) * before.mean + 2.1 * 0.1) / (before.count + 3.1))
        stored = [one for one in await system.store.capabilities() if (one.agent, one.domain) == ("ada", "tenancy-law")]
        assert [one.count for one in stored] == [after.count]


async def test_who_did_nothing_goes_and_comes_back(world: World) -> None:
    """With what it had learned, when it is needed again."""
    write(world, {**DESIGNS, "json": DESIGN}, forge=f"{RULES}, idleTimeout: 1h")
    async with world.open() as system:
        await do(system, GOAL)
        learned = team(system).standing("lease-lawyer", ["tenancy-law"]).scores["tenancy-law"]
        world.edit("idleTimeout: 1h", "idleTimeout: 1ms")
        await system.reconciler.apply(world.delivery())
        gone = await do(system, "cook with cooking")
        assert gone.adapted is not None
        assert [one.how for one in gone.adapted.decisions if isinstance(one, Shaping)] == ["pruned"]
        assert team(system).forge.state("lease-lawyer") == "dormant"
    async with world.open() as system:
        world.edit("idleTimeout: 1ms", "idleTimeout: 1h")
        await system.reconciler.apply(world.delivery())
        back = matched(await do(system, GOAL))
        assert (back.winner, back.calls) == ("lease-lawyer", 0)
        assert team(system).standing("lease-lawyer", ["tenancy-law"]).scores["tenancy-law"].count > learned.count
        assert [one.how for one in team(system).blueprints.versions("lease-lawyer")] == ["forged", "pruned", "forged"]


async def test_what_is_designed_twice_is_one(world: World) -> None:
    """A specialist gets a task for which one like it is designed, though what it says of itself does not fit."""
    async with world.open() as system:
        await do(system, GOAL)
        said = matched(await do(system, "something else entirely"))
        assert (said.winner, said.calls, said.why) == (
            "lease-lawyer",
            1,
            "what was designed for this task is like it",
        )
        assert specialists(system) == ["lease-lawyer"]


async def test_tasks_that_come_together_have_one_made(world: World) -> None:
    """The second finds who was made for the first."""
    write(world, {**DESIGNS, "json": DESIGN, "delay": "50ms"})
    async with world.open() as system:
        heard: list[Event] = []
        system.bus.subscribe(heard.append, BlueprintForged)
        tasks = [await system.engine.submit(new_task(GOAL, system.clock)) for _ in range(4)]
        results = await asyncio.gather(*map(system.engine.result, tasks))
        assert {matched(one).winner for one in results} == {"lease-lawyer"}
        assert sum(matched(one).calls for one in results) == 1
        assert len(heard) == 1


@pytest.mark.parametrize(
    "at", ["step.completed forge", "model.called", "step.completed model", "blueprint.forged", "auction.awarded"]
)
async def test_killed_while_it_is_made(world: World, at: str) -> None:
    """One is made, one design is paid for unless its answer was lost, and the task ends with it."""
    world.kill_at(at, GOAL)
    async with world.open(apply=False) as system:
        (task,) = await system.engine.resume()
        result = await system.engine.result(task)
        assert (result.phase, matched(result).winner, result.output) == ("Succeeded", "lease-lawyer", "legal")
        assert specialists(system) == ["lease-lawyer"]
        events = [event async for event in Journal(system.store).replay(task=task)]
        assert len([one for one in events if isinstance(one.data, BlueprintForged)]) == 1
        designs = [one for one in events if isinstance(one.data, ModelCalled) and one.agent == "ada"]
        assert len(designs) <= (2 if at == "model.called" else 1)
        records = await system.store.learning.blueprints()
        assert [(one.name, one.version) for one in records] == [("lease-lawyer", 1)]


async def test_killed_while_it_goes(world: World) -> None:
    """It goes once, and the task that told of it ends."""
    write(world, {**DESIGNS, "json": DESIGN}, {"system": "You know the law", "error": "permanent", "text": "no"})
    async with world.open() as system:
        await do(system, GOAL, 2)
    world.kill_at("blueprint.pruned", GOAL)
    async with world.open(apply=False) as system:
        (task,) = await system.engine.resume()
        assert (await system.engine.result(task)).phase == "Failed"
        assert specialists(system) == []
        records = await system.store.learning.blueprints()
        assert [(one.name, one.version, one.state) for one in records] == [
            ("lease-lawyer", 1, "forged"),
            ("lease-lawyer", 2, "pruned"),
        ]


async def test_killed_while_it_works_it_goes_on_as_it_was(world: World) -> None:
    """Whatever its blueprint says by then, and though it is no member any more."""
    write(
        world,
        {**DESIGNS, "json": DESIGN},
        {"system": "You know the law", "times": 1, "toolCalls": [{"name": "mark"}]},
    )
    world.kill_at("step.completed tool:mark", GOAL)
    async with world.open(apply=False) as system:
        cluster = team(system)
        digest = cluster.agents["lease-lawyer"].digest
        raw = msgspec.Raw((await system.store.learning.blueprints())[0].body)
        system.bus.emit(BlueprintPruned("lease-lawyer", "default", 2, 1, digest, "x", raw))
        assert specialists(system) == []
        (task,) = await system.engine.resume()
        result = await system.engine.result(task)
        assert (result.phase, result.output) == ("Succeeded", "legal")
        assert world.marks == ["x"]


async def test_only_who_may_take_it_gets_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a specialist whom the policy leaves out, and none is designed in its place; they are compared once."""
    compared: list[Any] = []

    def likeness(*given: Any) -> Likeness:
        compared.append(given)
        return Likeness(*given)

    write(world, {**DESIGNS, "json": DESIGN}, forge=f"{RULES}, fallback: fail", agent=", budgets: {daily: {calls: 2}}")
    async with world.open() as system:
        assert matched(await do(system, GOAL)).winner == "lease-lawyer"
        told = matched(await do(system, GOAL))
        assert (told.winner, told.path, told.calls) == ("", "fail", 0)
        assert "lease-lawyer, which fits, may not take it: its daily budget is used up" in told.why
        monkeypatch.setattr(forge, "Likeness", likeness)
        assert matched(await do(system, f"{GOAL} again")).winner == ""
        assert compared == [], "what was computed of the specialists is kept"
        assert specialists(system) == ["lease-lawyer"]


async def test_nothing_of_a_task_is_carried_to_others(world: World) -> None:
    """No design from a tenant's task, and interceptors see what is kept of others."""
    write(
        world,
        {**DESIGNS, "json": {**DESIGN, "prompt": "You know the law of Falcon.", "description": "Falcon leases."}},
        more=STILL,
        agent=", interceptors: [hush]",
    )
    path = world.folder / "manifests.yaml"
    path.write_text(
        f"{path.read_text()}---\napiVersion: loomd.dev/v1\nkind: Interceptor\nmetadata: {{name: hush}}\n"
        "spec: {type: redact, words: [falcon]}\n"
    )
    async with world.open() as system:
        heard: list[Event] = []
        system.bus.subscribe(heard.append, BlueprintForged)
        task = msgspec.structs.replace(new_task(GOAL, system.clock), tenant="acme", user="u1")
        told = matched(await system.engine.result(await system.engine.submit(task)))
        assert (told.winner, told.path, told.calls) == ("ada", "best_available", 0)
        assert "forge.tenants" in told.why
        kept = system.store.learning
        assert (await kept.blueprints(), await kept.lineage(), await kept.proposals()) == ([], [], []), "nothing of it"
        told = matched(await do(system, f"{GOAL} of falcon, key sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789"))
        assert (told.winner, told.path, told.calls) == ("lease-lawyer", "forge", 1), told.why
        made = team(system).agents["lease-lawyer"]
        (event,) = heard
        assert isinstance(event.data, BlueprintForged)
        for text in (made.instructions, made.description, event.data.reason):
            assert "falcon" not in text.lower()
            assert "sk-ant" not in text


async def test_nobody_is_made_where_the_members_are_locked(world: World) -> None:
    """The task takes the way of the fallback, which says why."""
    write(world, {**DESIGNS, "json": DESIGN}, more=", locked: [agents]")
    heard: list[Event] = []
    async with world.open() as system:
        system.bus.subscribe(heard.append, Fallback)
        result = await do(system, GOAL)
        assert (matched(result).winner, specialists(system)) == ("ada", [])
    assert any("`locked` has agents" in event.data.reason for event in heard if isinstance(event.data, Fallback))
