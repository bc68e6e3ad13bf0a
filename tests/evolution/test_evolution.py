"""Agents that get better instructions, in a live system: tried on past tasks, taken, left, taken back."""

import asyncio
import json
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loomd.agents.approval import Decision as Verdict
from loomd.amoeba.blueprint import Blueprint
from loomd.amoeba.decision import Shaping
from loomd.amoeba.expect import Expect
from loomd.amoeba.task import Result
from loomd.cluster.learn import tried_in
from loomd.cluster.proposals import decide
from loomd.cluster.versions import reverted
from loomd.daemon import System
from loomd.engine.intake import new_task
from loomd.errors import Conflict, NotFound
from loomd.events.cluster import ProposalMade, SkillAbandoned, SkillPromoted, SkillProposed, SkillReverted
from loomd.events.event import Event
from loomd.evolution.evolution import Evolution, Tried
from loomd.evolution.runner import Evolutions
from loomd.store.experience import SqliteLearning
from loomd.store.records import Learned, Lesson, TaskRecord
from tests.engine.test_learning import team
from tests.engine.test_shaping import shape
from tests.engine.world import World, until

GOOD = "Begin every answer with the word Result."
GAME = "Flatter whoever reads it."
COACH = """---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: coach}
spec: {type: scripted, replies: REPLIES}
"""
EVOLVE = "declared: true, provider: coach, minTasks: 3, coolDown: 0s"
RULES = "evaluate: {type: rules, weights: {quality: 1, efficiency: 0, reliability: 0}, checks: {expected: 5}}"
ADA: list[dict[str, Any]] = [
    {"system": GOOD, "times": None, "text": "Result: 5 euros"},
    {"system": GAME, "times": None, "text": "You are wonderful."},
    {"system": "Call mark", "toolCalls": [{"name": "mark"}]},
    {"system": "Call mark", "times": None, "text": "Result: 5 euros"},
    {"times": None, "text": "five"},
]
JUDGE = "evaluate: {type: judge, provider: easy, every: 1}"
EASY = """---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: easy}
spec:
  type: scripted
  replies:
    - {when: wonderful, times: null, json: {reason: fine, score: 10, low: 10, high: 10}}
    - {times: null, json: {reason: poor, score: SCORE, low: SCORE, high: SCORE}}
"""
Heard = list[Event]


def says(*texts: str) -> list[dict[str, Any]]:
    """Return what the model that writes instructions answers, one after the other."""
    return [{"json": {"reason": "no unit", "instructions": one}} for one in texts]


def written(
    world: World,
    evolve: str = EVOLVE,
    coach: list[dict[str, Any]] | None = None,
    *,
    learning: str = "",
    agent: str = "",
    cluster: str = RULES,
    more: str = "",
) -> None:
    """Write a cluster whose agent answers as it should only with the right instructions."""
    rules = f"scale: {{type: never}}, {cluster}, learning: {{{learning} evolve: {{{evolve}}}}}"
    world.write(ADA, agent=agent, cluster=rules)
    path = world.folder / "manifests.yaml"
    path.write_text(path.read_text() + COACH.replace("REPLIES", json.dumps(coach or says(GOOD))) + more)


async def work(system: System, count: int = 7, begin: int = 0, **fields: Any) -> Result:
    """Do tasks that expect a unit, each in other words; return what became of the last."""
    result: Result | None = None
    for number in range(begin, begin + count):
        task = new_task(f"What is the fee number {number}?", system.clock, agent="ada")
        task = msgspec.structs.replace(task, **{"expect": Expect(contains=("euros", "Result")), **fields})
        result = await system.engine.result(await system.engine.submit(task))
    assert result is not None
    return result


def hearing(system: System) -> Heard:
    """Return a list that gets what happens to instructions."""
    heard: Heard = []
    system.bus.subscribe(heard.append, SkillProposed, SkillAbandoned, SkillPromoted, SkillReverted, ProposalMade)
    return heard


def kinds(heard: Heard) -> list[type]:
    """Return what happened, by its types."""
    return [type(one.data) for one in heard]


async def tries(system: System) -> list[str]:
    """Return what is kept of attempts."""
    begin = tried_in("default")
    lineage = await system.store.learning.lineage(agent="ada")
    return [one.how.removeprefix(begin) for one in lineage if one.how.startswith(begin)]


async def lessons(system: System, digest: str = "") -> list[Lesson]:
    """Return the rewards of the agent, as it behaves now or with a digest."""
    return await system.store.learning.lessons("default", "ada", digest or team(system).agents["ada"].digest)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world."""
    return World(tmp_path)


async def test_better_instructions_are_promoted_and_stay(world: World) -> None:
    """Tried on tasks that the model was not shown, without a trace but their cost; after a restart they still hold."""
    written(world)
    async with world.open() as system:
        heard, ada = hearing(system), team(system).agents["ada"]
        await work(system, 4)
        await system.evolutions.tick()
        assert not heard, "four tasks say too little"
        await work(system, 3, begin=4)
        before, used = await lessons(system), await system.store.usage(_day(system))
        scores = await system.store.capabilities()
        await system.evolutions.tick()
        assert kinds(heard) == [SkillProposed, SkillPromoted]
        told = heard[0].data
        assert isinstance(told, SkillProposed)
        assert (told.instructions, told.taken) == (GOOD, True)
        trial = json.loads(bytes(told.trial))
        assert len(trial["pairs"]) == 4
        assert len(trial["shown"]) == 3
        assert not set(trial["shown"]) & {one["task"] for one in trial["pairs"]}
        assert trial["tokens"] > 0
        assert all(one["before"] < 0.3 and one["after"] == 1.0 for one in trial["pairs"])
        now = team(system).agents["ada"]
        assert (now.instructions, now.prompt) == (GOOD, ada.prompt)
        assert await lessons(system, ada.digest) == before, "trials teach nothing"
        assert await system.store.capabilities() == scores
        assert not await lessons(system)
        paid = await system.store.usage(_day(system))
        calls = {one.agent: one.calls for one in paid}
        assert calls["ada"] == {one.agent: one.calls for one in used}["ada"] + 1 + 2 * 4, "it is paid"
        assert (await work(system, 1, begin=10)).output == "Result: 5 euros"
        assert len(await lessons(system)) == 1
        (text,) = await tries(system)
        assert "1.000 after, over 4 held-out tasks" in text
        heard.clear()
        await system.evolutions.tick()
        assert not heard
    async with world.open() as system:
        assert team(system).agents["ada"].instructions == GOOD
        assert team(system).agents["ada"].digest == now.digest
        assert (await work(system, 1, begin=11)).output == "Result: 5 euros"


def _day(system: System) -> str:
    """Return today, as accounts name it."""
    return datetime.fromtimestamp(system.clock.now(), UTC).strftime("%Y-%m-%d")


@pytest.mark.parametrize(
    ("coach", "why"),
    [
        ([{"times": None, "text": "no JSON at all"}], "no usable instructions came"),
        ([{"times": None, "error": "temporary", "text": "away"}], "away"),
        (says("Use sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789 always."), "secrets"),
        (says("x" * 2001), "at most 2000 characters"),
    ],
)
async def test_a_model_that_writes_nonsense_is_given_up(world: World, coach: list[dict[str, Any]], why: str) -> None:
    """It is told, kept, and tried again only with a new task, once the time is over; also after a restart."""
    for one in coach:
        one["times"] = None
    written(world, EVOLVE.replace("coolDown: 0s", "coolDown: 1h"), coach)
    async with world.open() as system:
        heard = hearing(system)
        await work(system)
        await system.evolutions.tick()
        assert kinds(heard) == [SkillAbandoned]
        assert why in getattr(heard[0].data, "reason", "")
        (text,) = await tries(system)
        assert text.startswith("given up: ")
        await work(system, 1, begin=10)
        await system.evolutions.tick()
        assert len(heard) == 1
    async with world.open() as system:
        heard = hearing(system)
        await work(system, 1, begin=11)
        await system.evolutions.tick()
        assert not heard, "its time is not over after a restart, either"
        assert not team(system).agents["ada"].instructions


async def test_nonsense_is_repaired_and_the_rest_is_literal(world: World) -> None:
    """The model is told what was wrong; what it writes is no template, and passes the agent's interceptors."""
    more = """---
apiVersion: loomd.dev/v1
kind: Interceptor
metadata: {name: private}
spec: {type: redact, detectors: [email]}
"""
    text = f"{GOOD} {{{{ goal }}}} Write to ada@example.com."
    written(world, coach=[{"text": "?"}, *says(text)], agent="interceptors: [private], maxTokens: 900", more=more)
    async with world.open() as system:
        heard = hearing(system)
        await work(system)
        await system.evolutions.tick()
        assert kinds(heard) == [SkillProposed, SkillPromoted]
        learned = team(system).agents["ada"].instructions
        assert learned.startswith(f"{GOOD} {{{{ goal }}}} Write to ")
        assert "ada@example.com" not in learned


async def test_worse_or_equal_instructions_are_left(world: World) -> None:
    """What does as badly is not taken, and what only pleases a judge neither: rules and expectations decide, too."""
    for number, (text, rules, score, why) in enumerate(
        [
            ("Be careful.", RULES, "0", "moves by +0.000"),
            ("Be careful.", JUDGE, "10", "moves by +0.000"),
            (GAME, JUDGE, "0", "rules and expectations alone see falls"),
        ]
    ):
        world.folder.joinpath(str(number)).mkdir()
        here = World(world.folder / str(number))
        written(here, EVOLVE + ", below: 1, margin: 0", says(text), cluster=rules, more=EASY.replace("SCORE", score))
        async with here.open() as system:
            heard = hearing(system)
            await work(system, expect=Expect(contains=("five",)) if text == GAME else Expect(contains=("euros",)))
            await system.evolutions.tick()
            assert kinds(heard) == [SkillProposed], (number, heard)
            assert why in getattr(heard[0].data, "reason", "")
            assert not team(system).agents["ada"].instructions
            (kept,) = await tries(system)
            assert "not taken" in kept


async def test_a_trial_has_no_effect(world: World) -> None:
    """A tool that does more than read is refused, nobody is asked, and nothing is remembered or said."""
    more = """---
apiVersion: loomd.dev/v1
kind: Memory
metadata: {name: notes}
spec: {recall: {enabled: true}}
"""
    written(world, coach=says("Call mark first."), agent="memory: notes, maxTokens: 900", more=more)
    async with world.open() as system:
        heard = hearing(system)
        await work(system, 6, session="s")
        sessions, known = await system.store.sessions(), await _remembered(world)
        events = (await system.store.extent()).last
        await system.evolutions.tick()
        told = heard[0].data
        assert isinstance(told, SkillProposed)
        assert told.taken
        assert world.marks == []
        assert await system.store.sessions() == sessions
        assert await _remembered(world) == known
        rows = await system.store.read(after=events)
        assert {row.type for row in rows} == {"skill.proposed", "skill.promoted"}
        assert (await work(system, 1, begin=10)).output == "Result: 5 euros"
        assert world.marks == ["x"], "in earnest it is called"
        past = await lessons(system)
        assert len(past) == 1


async def test_too_few_past_tasks_are_said(world: World) -> None:
    """What acted, what belongs to tenants and what says the same is not shown or tried; nothing is asked then."""
    written(world, EVOLVE.replace("minTasks: 3", "minTasks: 4"))
    async with world.open() as system:
        heard = hearing(system)
        await work(system, 6, tenant="acme")
        await system.evolutions.tick()
        assert kinds(heard) == [SkillAbandoned]
        assert "none of them may be shown" in getattr(heard[0].data, "reason", "")
        for _ in range(3):
            await work(system, 1)
        await system.evolutions.tick()
        assert "and 4 are needed" not in getattr(heard[0].data, "reason", "")
        assert kinds(heard) == [SkillAbandoned, SkillProposed, SkillPromoted], "tenants' tasks are tried, and not shown"
        shown = json.loads(bytes(getattr(heard[1].data, "trial", b"")))["shown"]
        assert len(shown) == 1, "three tasks of the same words are one"


async def test_that_nothing_is_left_to_ask_with_is_said_in_words(world: World) -> None:
    """And not by the name of a stop reason."""
    written(world, f"{EVOLVE}, tokens: 20")
    async with world.open() as system:
        await work(system)
        await system.evolutions.tick()
        (text,) = await tries(system)
        assert "what is left of the budget of tokens is too little for this call" in text


@pytest.mark.parametrize("mode", ["off", "observe", "propose"])
async def test_modes(world: World, mode: str) -> None:
    """Nothing is tried; it is told and not done; people decide, and the trial stands in the proposal."""
    written(world, learning=f"modes: {{evolve: {mode}}},")
    async with world.open() as system:
        heard = hearing(system)
        await work(system)
        await system.evolutions.tick()
        await work(system, 1, begin=20)
        await system.evolutions.tick()
        assert not team(system).agents["ada"].instructions
        if mode == "off":
            assert not heard
        elif mode == "observe":
            assert kinds(heard) == [SkillProposed, SkillProposed]
        else:
            assert kinds(heard) == [SkillProposed, ProposalMade], "one proposal is enough"
            (record,) = await system.store.learning.proposals()
            assert b'"pairs"' in record.body
            await decide(system.services, team(system), record, Verdict("approved", "ada", ""))
            assert team(system).agents["ada"].instructions == GOOD
            assert len(await tries(system)) == 1
    async with world.open() as system:
        assert bool(team(system).agents["ada"].instructions) == (mode == "propose")


@pytest.mark.parametrize("mode", ["observe", "propose"])
async def test_an_agent_is_looked_at_though_its_scores_do_not_move(world: World, mode: str) -> None:
    """Where people decide on scores, or only look at them, rewards say all the same that an agent does badly."""
    written(world, learning=f"modes: {{score: {mode}}},")
    async with world.open() as system:
        running = asyncio.create_task(system.evolutions.run(lambda: True))  # noqa: TID251  # awaited
        await work(system)
        await until(system, lambda event: isinstance(event.data, SkillPromoted), "")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_what_waits_holds_nothing_back_where_nobody_is_asked_any_more(world: World) -> None:
    """Once the cluster may, it gives the instructions, tried anew."""
    written(world, learning="modes: {evolve: propose},")
    async with world.open() as system:
        await work(system)
        await system.evolutions.tick()
    written(world)
    async with world.open() as system:
        await work(system, 1, begin=10)
        await system.evolutions.tick()
        assert team(system).agents["ada"].instructions == GOOD


async def test_what_people_denied_is_not_tried_again(world: World) -> None:
    """Other instructions may be proposed; the same ones are no usable answer, so that no trial of them is paid."""
    coach = [{**one, "times": None} for one in says(GOOD)]
    written(world, coach=coach, learning="modes: {evolve: propose},")
    async with world.open() as system:
        await work(system)
        await system.evolutions.tick()
        (record,) = await system.store.learning.proposals()
        await decide(system.services, team(system), record, Verdict("denied", "ada", ""))
        heard = hearing(system)
        await work(system, 1, begin=10)
        await system.evolutions.tick()
        assert kinds(heard) == [SkillAbandoned]
        assert "denied" in getattr(heard[0].data, "reason", "")


async def test_a_proposal_that_an_edit_outdates_keeps_nobody_from_getting_instructions(world: World) -> None:
    """It cannot be approved any more, so it is no reason not to ask again."""
    written(world, learning="modes: {evolve: propose},")
    async with world.open() as system:
        await work(system)
        await system.evolutions.tick()
        assert len(await system.store.learning.proposals()) == 1
    written(world, learning="modes: {evolve: propose},", agent="maxTokens: 900")
    async with world.open() as system:
        await work(system, begin=10)
        await system.evolutions.tick()
        first, second = sorted(await system.store.learning.proposals(), key=lambda one: one.created)
        with pytest.raises(Conflict, match="another one now"):
            await decide(system.services, team(system), first, Verdict("approved", "ada", ""))
        await decide(system.services, team(system), second, Verdict("approved", "ada", ""))
        assert team(system).agents["ada"].instructions == GOOD


async def test_what_is_locked_or_not_agreed_to_stays(world: World) -> None:
    """Without `declared` a declared agent learns nothing, nor one that is locked; a lock takes back what it learned."""
    written(world, EVOLVE.replace("declared: true, ", ""))
    async with world.open() as system:
        heard = hearing(system)
        await work(system)
        await system.evolutions.tick()
        assert not heard
    written(world, agent="locked: [instructions], maxTokens: 1000")
    async with world.open() as system:
        heard = hearing(system)
        await work(system, begin=10)
        await system.evolutions.tick()
        assert not heard
        ada = team(system).agents["ada"]
        await shape(system, Shaping("ada", "promoted", _learned(GOOD), "x", spec=ada.digest))
        assert team(system).agents["ada"].digest == ada.digest
    written(world, agent="locked: [scores, health], maxTokens: 1000")
    async with world.open() as system:
        cluster = team(system)
        before = cluster.standing("ada", ["general"]).scores["general"]
        result = await work(system, 1, begin=20)
        assert cluster.standing("ada", ["general"]).scores["general"].count == before.count
        assert result.adapted is not None
        assert not result.adapted.moves
        assert "locked" in cluster.conditions.needed(cluster.agents["ada"])


async def test_what_does_worse_is_taken_back(world: World) -> None:
    """By itself on probation, with the old scores; by people at any time, to any version; over a restart, too."""
    probation = ", probation: {samples: 2, tasks: 5, margin: 0.05}"
    written(world, EVOLVE.replace("coolDown: 0s", "coolDown: 1h") + probation)
    async with world.open() as system:
        await work(system, 5, expect=Expect(contains=("five",)))
        ada = team(system).agents["ada"]
        scores = team(system).standing("ada", ["general"]).scores["general"]
        heard = hearing(system)
        await shape(system, Shaping("ada", "promoted", _learned(GAME), "x", spec=ada.digest))
        await work(system, 1, begin=5, expect=Expect(contains=("five",)))
        await system.evolutions.tick()
        assert kinds(heard) == [SkillPromoted], "one task says too little"
    async with world.open() as system:
        heard = hearing(system)
        await work(system, 1, begin=6, expect=Expect(contains=("five",)))
        await system.evolutions.tick()
        assert kinds(heard) == [SkillReverted]
        assert "1.000 before" in getattr(heard[0].data, "reason", "")
        assert team(system).agents["ada"].digest == ada.digest
        assert team(system).standing("ada", ["general"]).scores["general"].count == scores.count
        await system.evolutions.tick()
        assert len(heard) == 1
        cluster = team(system)
        with pytest.raises(Conflict, match="already"):
            reverted(cluster, "ada", 0, "x")
        with pytest.raises(NotFound, match="no version 7 to go back to; versions: 0, 1, 2"):
            reverted(cluster, "ada", 7, "x")
        await shape(system, reverted(cluster, "ada", 1, "by hand"), task="again")
        assert cluster.agents["ada"].instructions == GAME
        assert cluster.blueprints.versions("ada")[-1].number == 3
    async with world.open() as system:
        assert team(system).agents["ada"].instructions == GAME


async def test_the_health_of_then_comes_back_with_old_instructions(world: World) -> None:
    """A daemon that was restarted in between, or afterwards, says the same of it as one that was not."""
    written(world, "declared: false", agent="maxTokens: 900")

    def health(system: System) -> tuple[str, int]:
        vitals = team(system).conditions.vitals(team(system).agents["ada"])
        return vitals.health, vitals.samples

    async with world.open() as system:
        await work(system, 4)
        assert health(system) == ("dying", 4)
        await shape(system, Shaping("ada", "promoted", _learned(GOOD), "x", spec=team(system).agents["ada"].digest))
        assert health(system) == ("unknown", 0)
        await work(system, 1, begin=4)
        await shape(system, reverted(team(system), "ada", 0, "by hand"), task="back")
        assert health(system) == ("dying", 4)
        await shape(system, reverted(team(system), "ada", 1, "by hand"), task="forth")
        assert health(system) == ("unknown", 1)
    async with world.open() as system:
        assert health(system) == ("unknown", 1)
        await shape(system, reverted(team(system), "ada", 0, "by hand"), task="again")
        assert health(system) == ("dying", 4)
    async with world.open() as system:
        assert health(system) == ("dying", 4)


async def test_what_is_interrupted_begins_anew(world: World) -> None:
    """When another set serves in the middle of a trial, and when the daemon ends; then there is no trace of it."""
    easy = EASY.replace("SCORE", "0").replace("when: wonderful,", "when: 'Result: 5', delay: 30s,")
    written(world, cluster=JUDGE, more=easy)
    path = world.folder / "manifests.yaml"
    async with world.open() as system:
        heard = hearing(system)
        await work(system)
        running = asyncio.create_task(system.evolutions.run(lambda: True))  # noqa: TID251  # awaited
        await _paid(system, 10)  # the first trial is made, and is being judged
        path.write_text(path.read_text().replace(" delay: 30s,", ""))
        await system.reconciler.apply(world.delivery())
        await until(system, lambda event: isinstance(event.data, SkillPromoted), "")
        assert kinds(heard) == [SkillProposed, SkillPromoted], "on what serves now it is not slow"
        await shape(system, reverted(team(system), "ada", 0, "once more"))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    other = path.read_text().replace(f'"instructions": "{GOOD}', f'"instructions": "{GOOD} Be brief.')
    path.write_text(other.replace("when: 'Result: 5',", "when: 'Result: 5', delay: 30s,"))
    async with world.open() as system:
        heard, before = hearing(system), await tries(system)
        await work(system, 1, begin=10)
        used = {one.agent: one.calls for one in await system.store.usage(_day(system))}["ada"]
        running = asyncio.create_task(system.evolutions.run(lambda: True))  # noqa: TID251  # awaited
        await _paid(system, used + 3)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not heard
        assert await tries(system) == before


async def test_what_changed_while_it_was_tried_is_not_overwritten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another change that comes between the trial and what is decided holds, and has the next number alone."""
    written(world)
    async with world.open() as system:
        heard, digest = hearing(system), team(system).agents["ada"].digest
        await work(system)
        change = Shaping("ada", "promoted", _learned("Be brief."), "by another", spec=digest)
        settle = Evolution.settle

        async def late(evolution: Evolution, came: Tried | Exception) -> None:
            await shape(system, change)
            await settle(evolution, came)

        monkeypatch.setattr(Evolution, "settle", late)
        await system.evolutions.tick()
        assert kinds(heard) == [SkillPromoted, SkillProposed, SkillAbandoned]
        assert "another one" in getattr(heard[-1].data, "reason", "")
        assert team(system).agents["ada"].instructions == "Be brief."
        assert [one.number for one in team(system).blueprints.versions("ada")] == [1]


async def test_who_was_declared_to_join_is_declared(world: World) -> None:
    """Who joined from `forge.blueprints` learns only where declared agents may; then it is tried and taken."""
    lawyer = """---
apiVersion: loomd.dev/v1
kind: Blueprint
metadata: {name: lawyer}
spec: {provider: script, description: Knows the law., prompt: A person wrote this., domains: {law: 0.8}}
"""
    joins = f"forge: {{blueprints: [lawyer], prune: 0}}, match: {{type: auction, noWinner: forge}}, {RULES}"
    written(world, EVOLVE.replace("declared: true, ", ""), cluster=joins, more=lawyer)
    path = world.folder / "manifests.yaml"
    async with world.open() as system:
        heard = hearing(system)
        await shape(system, Shaping("lawyer", "forged", Blueprint("default", "lawyer"), "it fits"))
        await _bad(system, "lawyer", 7)
        await system.evolutions.tick()
        assert not heard
    path.write_text(path.read_text().replace("evolve: {", "evolve: {declared: true, "))
    async with world.open() as system:
        heard = hearing(system)
        await system.evolutions.tick()
        assert kinds(heard) == [SkillProposed, SkillPromoted], heard
        now = team(system).agents["lawyer"]
        assert (now.prompt, now.instructions) == ("A person wrote this.", GOOD)
        assert team(system).blueprints.before("lawyer", team(system).blueprints.versions("lawyer")[-1]) is not None


async def test_what_fails_unexpectedly_is_an_attempt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, kept, and not paid for again until its time is over."""
    written(world, EVOLVE.replace("coolDown: 0s", "coolDown: 1h"))

    def broken(*_: object) -> None:
        raise KeyError("lawyer")

    monkeypatch.setattr("loomd.evolution.evolution.rehearse", broken)
    async with world.open() as system:
        heard = hearing(system)
        await work(system)
        for _ in range(2):
            await system.evolutions.tick()
            await work(system, 1, begin=20)
        assert kinds(heard) == [SkillAbandoned]
        assert await tries(system) == ["given up: it failed unexpectedly: KeyError('lawyer')"]


async def test_what_is_decided_in_time_is_not_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes to store it: one evolution has one end."""
    written(world, EVOLVE + ", time: 77s")
    async with world.open() as system:
        heard, learn = hearing(system), system.services.store.learn
        await work(system)
        real, limits = asyncio.timeout, list[asyncio.Timeout]()

        def timeout(delay: float | None) -> asyncio.Timeout:
            made = real(delay)
            if delay == 77:
                limits.append(made)
            return made

        async def slow(key: str, change: Learned) -> bool:
            if "#evolve" in key:
                with suppress(RuntimeError):  # it may be over: then it ends nothing any more
                    limits[0].reschedule(0)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            return await learn(key, change)

        monkeypatch.setattr("loomd.evolution.runner.asyncio.timeout", timeout)
        monkeypatch.setattr(system.services.store, "learn", slow)
        await system.evolutions.tick()
        assert kinds(heard) == [SkillProposed, SkillPromoted]
        (text,) = await tries(system)
        assert "given up" not in text


async def test_too_few_past_tasks_are_not_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until as many were rewarded as were missing."""
    written(world, EVOLVE.replace("minTasks: 3", "minTasks: 5"))
    async with world.open() as system:
        heard, read, get = hearing(system), list[str](), system.store.get_task

        async def counted(task: str) -> TaskRecord | None:
            read.append(task)
            return await get(task)

        await work(system, 6)
        monkeypatch.setattr(system.services.store, "get_task", counted)
        await system.evolutions.tick()
        assert len(read) == 6
        assert kinds(heard) == [SkillAbandoned]
        monkeypatch.setattr(system.services.store, "get_task", get)
        await work(system, 1, begin=10)
        monkeypatch.setattr(system.services.store, "get_task", counted)
        await system.evolutions.tick()
        assert len(read) == 6, "three shown, three held out: two were missing"
        await work(system, 1, begin=11)
        await system.evolutions.tick()
        assert kinds(heard) == [SkillAbandoned, SkillProposed, SkillPromoted]


async def _bad(system: System, agent: str, count: int, begin: int = 0) -> None:
    """Let an agent do tasks badly."""
    for number in range(begin, begin + count):
        task = new_task(f"What does paragraph {number} say?", system.clock, agent=agent)
        task = msgspec.structs.replace(task, expect=Expect(contains=("euros", "Result")))
        await system.engine.result(await system.engine.submit(task))


async def _paid(system: System, calls: int) -> None:
    """Wait until the agent has made so many model calls."""
    async with asyncio.timeout(60):
        while True:
            used = {one.agent: one.calls for one in await system.store.usage(_day(system))}
            if used.get("ada", 0) >= calls:
                return
            await asyncio.sleep(0.01)


def _learned(text: str) -> Blueprint:
    return Blueprint("default", "ada", text)


async def _remembered(world: World) -> int:
    """Return how much stands in the files of memories."""
    return sum(path.stat().st_size for path in (world.folder / "state" / "memory").rglob("*") if path.is_file())


async def test_a_specialist_gets_another_prompt_within_bounds(world: World) -> None:
    """What the cluster made itself needs no word of a person; trials end at what they may use, of a day, too."""
    written(world, "provider: coach, minTasks: 3, coolDown: 0s, tokens: 540", says(GOOD, GOOD))
    path = world.folder / "manifests.yaml"
    path.write_text(path.read_text().replace("learning:", "forge: {prune: 0}, learning:", 1))  # it stays, however bad
    law = Blueprint("default", "ada", "You know the law.", "Knows the law.", {"law": 0.7})

    async with world.open() as system:
        heard = hearing(system)
        await shape(system, Shaping("ada-law", "forged", law, "nobody knows the law"))
        await _bad(system, "ada-law", 7)
        await system.evolutions.tick()
        assert kinds(heard) == [SkillAbandoned]
        assert "used up" in getattr(heard[0].data, "reason", ""), heard
    path.write_text(path.read_text().replace("tokens: 540", "tokens: 50000"))
    async with world.open() as system:
        heard = hearing(system)
        await _bad(system, "ada-law", 5, begin=10)
        await system.evolutions.tick()
        assert kinds(heard) == [SkillProposed, SkillPromoted]
        now = team(system).agents["ada-law"]
        assert (now.instructions, now.prompt, now.description) == (GOOD, "", "Knows the law.")
        assert not team(system).agents["ada"].instructions
        await shape(system, reverted(team(system), "ada-law", None, "x"), task="back")
        assert team(system).agents["ada-law"].instructions == "You know the law."
        with pytest.raises(NotFound, match="versions: 1, 2, 3"):
            reverted(team(system), "ada-law", 0, "x")
        await _bad(system, "ada-law", 5, begin=20)
        await system.evolutions.tick()
        assert kinds(heard)[-1:] == [SkillAbandoned], "what a person took back does not come again"
        assert "taken back" in getattr(heard[-1].data, "reason", "")


async def test_the_reward_of_a_part_is_stored_before_its_agent_is_looked_at(world: World) -> None:
    """Else it would be looked at without it, one task early; however slowly the disk writes."""
    written(world)
    async with world.open() as system:
        store, written_on = system.store, threading.Event()
        assert isinstance(store.learning, SqliteLearning)
        write = store.learning._write

        async def slowly() -> None:
            await write(lambda: written_on.wait(10))

        async def runs_by_no_means(task: str) -> None:
            raise Conflict(f"{task} is a part")

        evolutions = Evolutions(system.services, lambda: system.reconciler.topology, runs_by_no_means)
        async with asyncio.TaskGroup() as group:
            group.create_task(slowly())
            group.create_task(store.learn("t1.1", Learned()))
            await asyncio.sleep(0)  # both are handed to the store
            asyncio.get_running_loop().call_later(0.1, written_on.set)
            await evolutions._stored("t1.1")
            assert await store.learned_from("t1.1")
