"""What people say of answers moves scores: once, by as much as the reward was wrong, and over crashes."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
from msgspec.structs import replace

from loomd.agents.approval import Decision
from loomd.amoeba.decision import ScoreMove
from loomd.amoeba.evaluate import combined
from loomd.amoeba.expect import Expect
from loomd.amoeba.feedback import Said, corrected
from loomd.amoeba.policies.rules import RewardWeights, opinion
from loomd.amoeba.task import Evaluated, Opinion, Result
from loomd.cluster import pending
from loomd.cluster.feedback import Correction
from loomd.cluster.learn import proposed
from loomd.cluster.proposals import decide
from loomd.daemon import System
from loomd.engine.accept import cluster_of
from loomd.errors import Conflict
from loomd.events.cluster import CapabilityUpdated, FeedbackGiven
from loomd.events.event import Event
from loomd.events.journal import Journal
from loomd.store.experience import SqliteLearning
from loomd.store.records import Capability, ProposalRecord
from tests import nursery
from tests.clocks import skip
from tests.engine.test_judging import evaluated, ran, verdict
from tests.engine.world import World, task_of

DONE = {"when": "go", "text": "done", "times": None}
_CHILD = "import asyncio, sys; from tests.engine.test_feedback import child; asyncio.run(child(*sys.argv[1:]))"


def written(folder: Path, cluster: str = "merge: model", *replies: dict[str, Any]) -> World:
    """Return a world whose agent answers at once."""
    world = World(folder)
    world.write([*replies, DONE], cluster=cluster)
    return world


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world whose agent answers at once."""
    return written(tmp_path)


async def done(system: System) -> Result:
    """Run a task to its end."""
    return await system.engine.result(await system.engine.submit(task_of(system)))


async def say(system: System, task: str, score: float, by: str = "ann") -> Correction:
    """Say how good an answer is."""
    record = await system.engine.get(task)
    assert record is not None
    return await system.feedback.give(record, Said(score, by), "so it is")


async def score(system: System, domain: str = "general") -> Capability:
    """Return the only score."""
    (found,) = [one for one in await system.store.capabilities() if one.domain == domain]
    return found


async def events(system: System, task: str) -> list[Event]:
    """Return the events of a task."""
    return [event async for event in Journal(system.store).replay(task=task)]


async def test_a_score_goes_where_it_would_be(world: World) -> None:
    """As if the task had been rewarded so at once; the count stays, and the cluster's next auction knows it."""
    async with world.open() as system:
        result = await done(system)
        before = await score(system)
        correction = await say(system, result.task.id, 0.0)
        after = await score(system)
        assert result.adapted is not None
        (learned,) = result.adapted.moves
        assert after.score < learned.after
        assert (after.count, after.variance) == (before.count, before.variance)
        assert correction.before == evaluated(result).reward
        assert correction.after == 0.0
        (move,) = correction.moves
        assert (move.before, move.after) == pytest.approx(
            (before.score, after.score), abs=1e-6
        )  # scores fade with time
        again = await done(system)
        assert again.adapted is not None
        assert again.adapted.moves[0].before == pytest.approx(after.score, abs=1e-6)
        told = [event.data for event in await events(system, result.task.id)]
    (given,) = [fact for fact in told if isinstance(fact, FeedbackGiven)]
    assert (given.score, given.by, given.note, given.after) == (0.0, "ann", "so it is", 0.0)
    assert "feedback took the reward from" in [one.reason for one in told if isinstance(one, CapabilityUpdated)][-1]


@pytest.mark.parametrize("count", [1, 3])
async def test_a_score_is_where_it_would_be(world: World, count: int) -> None:
    """The mean of the first rewards is that of the words, whenever they come: to the digit, as they are certain."""
    async with world.open() as system:
        results = [await done(system) for _ in range(count)]
        words = [at / 10 for at in range(count)]
        corrections = [await say(system, one.task.id, word) for one, word in zip(results, words, strict=True)]
        rewards = [one.after for one in corrections if one.after is not None]
        found = await score(system)
    assert found.score == pytest.approx((0.3 + sum(rewards)) / (count + 1), abs=1e-6)


async def test_the_last_word_of_a_person_counts(world: World) -> None:
    """Said twice it moves nothing further; taken back, the score is where it was; another person counts as much."""
    async with world.open() as system:
        result = await done(system)
        reward = evaluated(result).reward
        first = await say(system, result.task.id, 0.2)
        assert first.after is not None
        moved = await score(system)
        assert (await say(system, result.task.id, 0.2)).moves == []
        assert await score(system) == moved
        second = await say(system, result.task.id, 0.8, by="bob")
        assert second.after == pytest.approx(first.after * 0.5 / 0.2)
        await say(system, result.task.id, 1.0)
        last = await say(system, result.task.id, 1.0, by="bob")
        assert last.after == pytest.approx(reward)
        assert result.adapted is not None
        assert (await score(system)).score == pytest.approx(result.adapted.moves[0].after)


@pytest.mark.parametrize(("weight", "quality"), [(0.25, 0.75), (0.0, 1.0), (1.0, 0.0)])
async def test_the_cluster_says_how_much_people_count(tmp_path: Path, weight: float, quality: float) -> None:
    """Their share of the quality; with 0 their word is kept and moves nothing."""
    world = written(tmp_path, f"feedback: {{weight: {weight}}}")
    async with world.open() as system:
        result = await done(system)
        before = await score(system)
        correction = await say(system, result.task.id, 0.0)
        found = evaluated(result)
        assert correction.after == pytest.approx(found.reward / found.quality * quality)
        assert (await score(system) == before) == (weight == 0.0)
        assert bool(correction.why) == (weight == 0.0)


async def test_an_agent_that_was_edited_learns_as_it_was(world: World) -> None:
    """The score that moves belongs to how it behaved; how it behaves now is not touched."""
    async with world.open() as system:
        first = await done(system)
        old = await score(system)
        world.edit("provider: script,", "provider: script, prompt: Be quick., ")
        await system.reconciler.apply(world.delivery())
        await done(system)
        new = next(one for one in await system.store.capabilities() if one.spec != old.spec)
        correction = await say(system, first.task.id, 0.0)
        found = {one.spec: one for one in await system.store.capabilities()}
    assert [move.spec for move in correction.moves] == [old.spec]
    assert found[old.spec].score < old.score
    assert found[new.spec] == new


async def test_a_word_makes_no_old_score_new(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What time took of how an agent behaved before stays taken, and it goes on from there."""
    async with world.open() as system:
        results = [await done(system) for _ in range(5)]
        before = await score(system)
        skip(28 * 86_400, monkeypatch)  # two half-lives
        world.edit("provider: script,", "provider: script, prompt: Be quick., ")
        await system.reconciler.apply(world.delivery())
        (move,) = (await say(system, results[0].task.id, 0.9)).moves
        after = await score(system)
    left = 0.3 + (before.score - 0.3) / 4
    assert move.before == pytest.approx(left, abs=1e-3)
    assert (move.after, move.count) == (after.score, 1)
    assert after.score == pytest.approx(left, abs=0.1)


async def test_a_word_that_can_move_nothing_is_kept(world: World) -> None:
    """Of a task that was cancelled, and of one whose cluster is gone; why is told."""
    world.write([{"when": "go", "text": "done", "delay": "30s"}, {"when": "come", "text": "done", "times": None}])
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        record = await system.engine.get(task)
        assert record is not None
        with pytest.raises(Conflict, match="has not ended"):
            await system.feedback.give(record, Said(1.0), "")
        await system.engine.cancel(task)
        correction = await say(system, task, 0.5)
    assert (correction.why, correction.after) == ("the task ended before it was evaluated", None)


async def test_a_word_leaves_a_reward_where_it_was_in_time(world: World) -> None:
    """How an agent does goes by its last tasks, not by those of which somebody spoke last; after a restart, too."""
    async with world.open() as system:
        results = [await done(system) for _ in range(7)]
        cluster = cluster_of(system.reconciler.topology, results[0].task)
        for at in (0, 4):  # one that does not count any more, and one that does
            await say(system, results[at].task.id, 0.0)
        await done(system)
        vitals = cluster.conditions.vitals(cluster.agents["ada"])
        assert vitals.samples == 8
        assert vitals.mean == pytest.approx(0.8, abs=0.01)
        lessons = await system.store.learning.lessons("default", "ada", cluster.agents["ada"].digest)
        assert [one.task for one in lessons[::-1]][:7] == [one.task.id for one in results]
    async with world.open() as system:
        cluster = cluster_of(system.reconciler.topology, results[0].task)
        again = cluster.conditions.vitals(cluster.agents["ada"])
    assert (again.samples, again.health) == (8, vitals.health)
    assert again.mean == pytest.approx(vitals.mean)


async def test_what_people_agree_to_is_no_new_reward(tmp_path: Path) -> None:
    """That was noted when the word was said; to agree to what it corrects says nothing of how the agent does now."""
    world = written(tmp_path, JUDGED.replace("MODE", "propose"), verdict(10, times=None))
    async with world.open() as system:
        result = await done(system)
        await decided(system, "approved")
        for _ in range(3):
            await done(system)
        await decided(system, "denied")
        await say(system, result.task.id, 0.0)
        await decided(system, "approved")
        cluster = cluster_of(system.reconciler.topology, result.task)
        lessons = await system.store.learning.lessons("default", "ada", cluster.agents["ada"].digest)
    assert (len(lessons), lessons[-1].task, lessons[-1].reward) == (4, result.task.id, 0.0)


async def test_words_and_tasks_at_the_same_time_all_count(world: World) -> None:
    """Forty words on ten tasks, beside ten more tasks: each counts once."""
    async with world.open() as system:
        results = [await done(system) for _ in range(10)]
        words = [say(system, one.task.id, at / 4, by=f"p{at}") for one in results for at in range(4)]
        await asyncio.gather(*words, *(done(system) for _ in range(10)))
        assert (await score(system)).count == 20
        for one in results:
            given = [event for event in await events(system, one.task.id) if isinstance(event.data, FeedbackGiven)]
            assert [event.key for event in given] == [f"feedback/{at}" for at in range(1, 5)]
        keys = [f"{one.task.id}#feedback/{at}" for one in results for at in range(1, 5)]
        assert all([await system.store.learned_from(key) for key in keys])


async def child(folder: str, task: str, at: str) -> None:
    """Say something of a task, and die as soon as the first event of a type is told, or on disk."""
    when, _, kind = at.partition(" ")
    async with World(Path(folder)).open() as system:

        def hear(event: Event) -> None:
            if event.type == kind and event.task == task:
                if when == "told":
                    os.kill(os.getpid(), signal.SIGKILL)
                asyncio.get_running_loop().create_task(die(event.seq))  # it dies

        async def die(seq: int) -> None:
            await system.store.durable(seq)
            os.kill(os.getpid(), signal.SIGKILL)

        system.bus.subscribe(hear)
        await say(system, task, 0.0)


@pytest.mark.parametrize(
    "at",
    ["told feedback.given", "told capability.updated", "durable feedback.given", "durable capability.updated"],
)
async def test_a_word_is_taken_whole_or_not_at_all(world: World, at: str) -> None:
    """Killed while it is told, or once it is on disk: all of it is there or nothing, and said again it adds nothing."""
    async with world.open() as system:
        result = await done(system)
        before = await score(system)
    command = [sys.executable, "-c", _CHILD, str(world.folder), result.task.id, at]
    ended = await asyncio.to_thread(nursery.run, command)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    async with world.open() as system:
        found = await events(system, result.task.id)
        given = [event for event in found if isinstance(event.data, FeedbackGiven)]
        taken = at.startswith("durable")
        moved = await score(system)
        assert bool(given) == taken
        assert (moved != before) == taken
        assert await system.store.learned_from(f"{result.task.id}#feedback/1") == taken
        await say(system, result.task.id, 0.0)
        again = await score(system)
    assert again.score < before.score
    if taken:
        assert again == moved


async def test_it_goes_with_its_task_and_not_before(world: World) -> None:
    """Retention keeps what a word taught as long as the task, however old the word is, and removes it with the task."""
    async with world.open() as system:
        result = await done(system)
        await say(system, result.task.id, 0.0)
        key, later = f"{result.task.id}#feedback/1", system.clock.now() + 1000
        await system.store.sweep(0.0, 100)
        assert await system.store.learned_from(key)
        await system.store.sweep(later, 100)
        assert not await system.store.learned_from(key)
        assert not await system.store.learned_from(result.task.id)
        moved = await score(system)
        assert moved.count == 1


async def test_people_correct_a_judge(tmp_path: Path) -> None:
    """A judge that always says 1 is believed less with each word against it, and what it says is corrected by that."""
    judge = "evaluate: {type: judge, provider: script, every: 1}"
    world = written(tmp_path, judge, verdict(10, times=None))
    async with world.open() as system:
        for _ in range(3):
            result, _ = await ran(system)
            assert evaluated(result).quality == 1.0
            await say(system, result.task.id, 0.2)
        result, _ = await ran(system)
        (opinion,) = evaluated(result).opinions
        known = system.services.averages.get(f"judge/default/default/{opinion.judge}", "bias")
    assert known is not None
    assert known.count == 3
    assert 0.4 < opinion.bias <= 0.8
    assert opinion.bias == pytest.approx(known.value)
    assert opinion.said == 1.0
    assert opinion.quality == pytest.approx(1 - opinion.bias)
    async with world.open() as system:
        assert system.services.averages.get(f"judge/default/default/{opinion.judge}", "bias") == known


JUDGED = "evaluate: {type: judge, provider: script, every: 1}, learning: {mode: MODE, modes: {score: MODE}}"


async def open_proposal(system: System) -> ScoreMove:
    """Return the only score that waits for people."""
    records = [one for one in await system.store.learning.proposals(pending=True) if one.mechanism == "score"]
    (record,) = records
    _, _, move = proposed(record)
    assert isinstance(move, ScoreMove)
    return move


async def decided(system: System, verdict: Literal["approved", "denied"]) -> None:
    """Decide about the only score that waits for people."""
    (record,) = [one for one in await system.store.learning.proposals(pending=True) if one.mechanism == "score"]
    cluster = cluster_of(system.reconciler.topology, replace(task_of(system), cluster=record.cluster))
    await decide(system.services, cluster, record, Decision(verdict, "ann"))


async def test_a_word_changes_what_waits_for_people(tmp_path: Path) -> None:
    """What is proposed follows from the rewards as people see them, and health does."""
    world = written(tmp_path, JUDGED.replace("MODE", "propose"), verdict(10, times=None))
    async with world.open() as system:
        results = [await done(system) for _ in range(3)]
        kept = await open_proposal(system)
        second = results[1].task.id
        correction = await say(system, second, 0.0)
        (move,) = correction.moves
        waits = await open_proposal(system)
        assert correction.after == 0.0
        assert (move.done, move.after) == ("proposed", waits.after)
        assert [one.value for one in waits.seen] == [kept.seen[0].value, 0.0, kept.seen[2].value]
        assert waits.after < kept.after
        assert not await system.store.capabilities()
        cluster = cluster_of(system.reconciler.topology, results[1].task)
        vitals = cluster.conditions.vitals(cluster.agents[move.agent])
        assert vitals.mean == pytest.approx(2 * evaluated(results[0]).reward / 3, abs=1e-3)
        await say(system, second, 1.0)
        assert (await open_proposal(system)).after == pytest.approx(kept.after)
    async with world.open() as system:
        assert (await open_proposal(system)).after == pytest.approx(kept.after)


async def test_a_word_after_people_agreed_proposes_the_difference(tmp_path: Path) -> None:
    """What they agreed to stands until they agree to what the word makes of it; what they denied moves nothing."""
    world = written(tmp_path, JUDGED.replace("MODE", "propose"), verdict(10, times=None))
    async with world.open() as system:
        first = await done(system)
        await say(system, first.task.id, 0.5)
        await decided(system, "approved")
        agreed = await score(system)
        (move,) = (await say(system, first.task.id, 0.0)).moves
        assert move.done == "proposed"
        assert await score(system) == agreed
        await decided(system, "approved")
        lower = await score(system)
        assert lower.score < agreed.score
        (back,) = (await say(system, first.task.id, 0.5)).moves
        await decided(system, "approved")
        assert back.done == "proposed"
        assert (await score(system)).score == pytest.approx(agreed.score, abs=1e-6)
        second = await done(system)
        await decided(system, "denied")
        for _ in range(2):
            correction = await say(system, second.task.id, 0.0)
            assert correction.moves == []
            assert re.fullmatch(r"proposal/\S+ was denied", correction.why)
            assert correction.after == 0.0


async def test_a_word_goes_by_what_people_agreed_to(tmp_path: Path) -> None:
    """What they denied of a word before it never moved the score, and what waits of it is asked once, as it is now."""
    world = written(tmp_path, JUDGED.replace("MODE", "propose"), verdict(10, times=None))
    async with world.open() as system:
        result = await done(system)
        await decided(system, "approved")
        agreed = await score(system)
        await say(system, result.task.id, 0.0)
        await decided(system, "denied")
        (move,) = (await say(system, result.task.id, 0.5)).moves
        assert move.after < agreed.score
        assert (await say(system, result.task.id, 0.2)).moves[0].after < move.after
        waits = await open_proposal(system)  # one, though two words wait
        await decided(system, "approved")
        assert (await score(system)).score == pytest.approx(waits.after, abs=1e-6)
    async with world.open() as system:
        (back,) = (await say(system, result.task.id, 1.0)).moves
        assert back.after == pytest.approx(agreed.score, abs=1e-6)


async def test_a_word_on_what_is_remembered_no_more_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proposal rests on the latest tasks alone; a word on one before them moves nothing, and tells it."""
    monkeypatch.setattr(pending, "_MOST", 2)
    world = written(tmp_path, JUDGED.replace("MODE", "propose"), verdict(10, times=None))
    async with world.open() as system:
        results = [await done(system) for _ in range(3)]
        kept = await open_proposal(system)
        correction = await say(system, results[0].task.id, 0.0)
        assert (correction.after, correction.moves) == (0.0, [])
        assert re.fullmatch(r"proposal/\S+ rests on later tasks alone by now", correction.why)
        assert await open_proposal(system) == kept


async def test_a_word_is_taken_though_its_agent_goes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a specialist may while it is looked up what people decided."""
    world = written(tmp_path, JUDGED.replace("MODE", "propose"), verdict(10, times=None))
    async with world.open() as system:
        result = await done(system)
        cluster, asked = cluster_of(system.reconciler.topology, result.task), SqliteLearning.proposal

        async def goes(store: SqliteLearning, name: str) -> ProposalRecord | None:
            if "ada" in cluster.agents:
                cluster.roster.remove("ada")
            return await asked(store, name)

        monkeypatch.setattr(SqliteLearning, "proposal", goes)
        assert (await say(system, result.task.id, 0.0)).after == 0.0


async def test_a_word_opens_nothing_again_that_has_expired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody decided in time, which counts as denied; that somebody says something of the task is no decision."""
    world = written(tmp_path, JUDGED.replace("MODE", "propose"), verdict(10, times=None))
    async with world.open() as system:
        result = await done(system)
        waiting = await system.store.learning.proposals(pending=True)
        (proposal,) = [one for one in waiting if one.mechanism == "score"]
        skip(proposal.expires - system.clock.now(), monkeypatch)
        correction = await say(system, result.task.id, 0.0)
        assert (correction.after, correction.moves) == (0.0, [])
        assert correction.why == f"proposal/{proposal.id} has expired: nobody decided in time"
        assert (await say(system, result.task.id, 0.5, by="bob")).before == 0.0
        assert await system.store.learning.proposal(proposal.id) == proposal


@pytest.mark.parametrize("mode", ["observe", "propose", "off"])
async def test_a_judge_learns_from_a_word_where_no_score_moves(tmp_path: Path, mode: str) -> None:
    """How far scores may move is another matter than how good the answer was."""
    world = written(tmp_path, JUDGED.replace("MODE", mode), verdict(10, times=None))
    async with world.open() as system:
        result = await done(system)
        first, again = await say(system, result.task.id, 0.0), await say(system, result.task.id, 0.5, by="bob")
        (opinion,) = evaluated(result).opinions
        known = system.services.averages.get(f"judge/default/default/{opinion.judge}", "bias")
        assert not await system.store.capabilities()
    assert (first.before, first.after) == (evaluated(result).reward, 0.0)
    assert again.before == 0.0
    assert again.after == pytest.approx(evaluated(result).reward / 4)
    assert known is not None
    assert known.count == 2


async def test_a_word_on_what_parts_did_is_to_be_said_of_them(tmp_path: Path) -> None:
    """Of an answer that was put together from parts the reward moves, and it is told whose score would move."""
    scale = "scale: {type: threshold, complexity: 0.01, maxDepth: 1, childTokens: 1}"
    plan = {"json": {"parts": [{"goal": "go left", "needs": []}, {"goal": "go right", "needs": []}]}, "times": None}
    big = {**DONE, "usage": {"input": 900, "output": 900}}
    world = World(tmp_path)
    world.write([big, plan], cluster=f"merge: join, planner: script, {scale}")
    async with world.open() as system:
        task = replace(task_of(system), goal="split it: first the left and then the right one, and one more")
        result = await system.engine.result(await system.engine.submit(task))
        correction = await say(system, task.id, 0.0)
    assert result.executed is not None
    assert result.executed.own < 0.1
    assert (correction.after, correction.moves) == (0.0, [])
    assert correction.why == f"its parts did the work: say it of them, such as task/{task.id}.1"


async def test_why_locked_scores_stay_is_told(tmp_path: Path) -> None:
    """What a person locked stays, and the reward is what people say."""
    world = World(tmp_path)
    world.write([DONE], agent="locked: [scores]")
    async with world.open() as system:
        result = await done(system)
        correction = await say(system, result.task.id, 0.0)
    assert (correction.after, correction.moves) == (0.0, [])
    assert correction.why == "`locked` of the manifest of Agent/ada says that its scores stay"


async def test_expectations_of_a_task_are_the_rules_word_on_a_judge(tmp_path: Path) -> None:
    """Where a task says what it expects, a judge that praises what does not meet it is corrected without people."""
    judge = "evaluate: {type: judge, provider: script, every: 1}"
    async with written(tmp_path, judge, verdict(10, times=None)).open() as system:
        results = [(await ran(system, expect=Expect(contains=("purple",))))[0] for _ in range(6)]
    assert evaluated(results[-1]).quality < 0.5


def test_rewards_of_evaluators_with_different_weights() -> None:
    """Where evaluators weigh quality differently, what people say counts by the mean of that."""
    rules = Opinion(
        "rules", 0.32, 0.4, 0.5, 0.75, (), {"quality": 0.5, "efficiency": 0.3, "reliability": 0.2}, weight=0.5
    )
    judge = Opinion(
        "judge", 0.4, 0.4, 0.5, 0.75, (), {"quality": 1.0, "efficiency": 0.0, "reliability": 0.0}, weight=0.5
    )
    before = Evaluated(0.36, 0.4, 0.5, 0.75, uncertainty=0.2, opinions=(rules, judge))
    after = corrected(before, [Said(1.0, "ann"), Said(0.6, "ann")], 0.5)
    assert after.quality == pytest.approx(0.5)
    assert after.reward == pytest.approx(0.5 * (0.8 + 1.0) / 2)
    assert after.uncertainty == pytest.approx(0.1)


def test_an_evaluator_that_names_no_shares_is_corrected_by_the_whole_difference() -> None:
    """Its reward is no sum of parts: with the word of people it moves as far as the quality, alone or among others."""
    mine = Opinion("mine", 0.7, 0.8, 1.0, 1.0)
    alone = combined([mine], [1.0])
    assert corrected(alone, [Said(1.0)], 1.0).reward == pytest.approx(0.9)
    assert corrected(alone, [Said(0.0)], 1.0).reward == 0.0
    rules = opinion("rules", 0.4, 0.5, 1.0, [], RewardWeights())
    both = combined([mine, rules], [1.0, 3.0])
    assert corrected(both, [Said(0.0)], 1e-9).reward == pytest.approx(both.reward)
    assert corrected(both, [Said(1.0)], 1.0).reward == pytest.approx(0.25 * 0.9 + 0.75 * (0.5 + 0.15 + 0.2))
