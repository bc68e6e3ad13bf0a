"""How a cluster takes what people say of an answer: the reward, the scores and what is known of its judges move, once.

What is told and what is stored are in one transaction, under a key of their own for each word of a person. Called by
the engine.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from loomd.amoeba.adapt import within
from loomd.amoeba.decision import ScoreMove, Seen
from loomd.amoeba.feedback import Said, corrected, corrections
from loomd.amoeba.policies.base import AdaptPolicy
from loomd.amoeba.policies.judge import Judge
from loomd.amoeba.task import Evaluated, Executed, Opinion, Result, Sensed
from loomd.amoeba.world import Score, Standing
from loomd.cluster.cluster import Cluster
from loomd.cluster.learn import Teaching, learn, proposal_of, verdict_of
from loomd.errors import NotFound
from loomd.events.bus import Scope
from loomd.events.cluster import FeedbackGiven
from loomd.manifest.object import Ref
from loomd.store.records import Average, ProposalRecord
from loomd.topology import Services


@dataclass(frozen=True)
class Given:
    """A word of a person.

    Attributes:
        said: how good an answer is, and who says it.
        note: why.
        number: the how-many-th word on the task it is.
        rewarded: when the task was rewarded, in wall-clock seconds; 0 when it was not.
    """

    said: Said
    note: str
    number: int
    rewarded: float = 0.0


@dataclass(frozen=True)
class Earlier:
    """A word before it that counts for the reward.

    Attributes:
        said: how good the answer is, and who says it.
        moved: whether scores moved with it, or would when people agree.
        asked: what people were asked because of it, by domain: the id of the proposal, and what that is named after.
    """

    said: Said
    moved: bool
    asked: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])


@dataclass(frozen=True)
class Correction:
    """What came of it: the reward before and after, the scores that moved, and why none did."""

    before: float | None = None
    after: float | None = None
    moves: Sequence[ScoreMove] = ()
    why: str = ""


async def correct(
    services: Services, cluster: Cluster | None, result: Result, given: Given, earlier: Sequence[Earlier]
) -> Correction:
    """Take a word over and return what came of it, once both are on disk.

    It counts for the reward and for what is known of judges also where no score moves.

    Args:
        services: what the daemon lends.
        cluster: the task's cluster; None when it does not serve.
        result: what became of the task.
        given: the word.
        earlier: the words before it that count, the oldest first.
    """
    task = result.task
    scope = Scope(services.bus, task.id, task.parent, task.namespace, task.revision)
    word = f"{task.id}#feedback/{given.number}"
    ready = await _ready(services, cluster, result, earlier)
    moves: list[ScoreMove] = []
    averages: list[Average] = []
    lost = ""
    if isinstance(ready, str):
        evaluated, why = result.evaluated, ready
        before = after = None if evaluated is None else evaluated.reward
    else:  # nothing is awaited from here on until all is handed over
        weight, known = ready.cluster.feedback, [one.said for one in earlier]
        words = [*known, given.said]
        now = corrected(ready.evaluated, words, weight)
        before, after = corrected(ready.evaluated, known, weight).reward, now.reward
        averages = [] if _repeats(words) else _averages(ready.cluster, ready.evaluated.opinions, given.said.score)
        why = ready.stays or ("" if weight else "the cluster gives feedback the weight 0")
        if not ready.stays:
            moves, lost = ready.moves(now, word, services.clock.now())
            lost = "" if moves or why else lost
            why = why or lost
    counts = not isinstance(ready, str) and bool(ready.stays or lost)
    fact = FeedbackGiven(given.said.score, given.said.by, given.note, before, after, why, counts)
    scope.emit(fact, key=f"feedback/{given.number}")
    if isinstance(ready, str):
        of = Teaching(Ref("Cluster", task.cluster, task.namespace), task.id, services.clock.now(), 0.0)
    else:
        of = msgspec.structs.replace(ready.cluster.teaching(task.id), rewarded=given.rewarded)
    await learn(services, moves, of, scope, key=word, averages=averages)
    return Correction(before, after, moves, why)


@dataclass(frozen=True)
class _Ready:
    """All that a correction needs.

    Attributes:
        cluster: the task's cluster.
        task: id of the task.
        adapt: how its scores move.
        sensed: what kind of task it was.
        executed: what came of it.
        evaluated: how good it was by its evaluators.
        learned: the scores that it moved, or would have moved.
        earlier: the words before, the oldest first.
        proposals: what the task proposed of scores, or what it joined, and what words before proposed, by id.
        past: what is believed of an agent that behaves otherwise now, or None where the cluster knows.
        stays: why no score moves, or empty.
    """

    cluster: Cluster
    task: str
    adapt: AdaptPolicy
    sensed: Sensed
    executed: Executed
    evaluated: Evaluated
    learned: Sequence[ScoreMove]
    earlier: Sequence[Earlier]
    proposals: Mapping[str, ProposalRecord]
    past: dict[str, Score] | None
    stays: str

    def moves(self, now: Evaluated, word: str, at: float) -> tuple[list[ScoreMove], str]:
        """Return how scores move: at once those that the task moved, and what waits or was observed as that goes on.

        A difference that is proposed is a proposal of its own, named after the word, or after the first one that waits.
        With it comes why one does not move that the task proposed, or nothing.
        """
        found, lost = list[ScoreMove](), ""
        for learned in self.learned:
            before, since = self._stands(learned.domain, at)
            pair = corrections(self.adapt, self.sensed, self.executed, (before, now), self.standing())
            if (one := next((one for one in pair if one.domain == learned.domain), None)) is None:
                continue
            if learned.done == "observed":
                found.append(msgspec.structs.replace(one, done="observed"))
            elif not learned.done or self._verdict(self._id(learned)) == "approved":
                found += _moves(within(self.cluster.learning, [msgspec.structs.replace(one, since=since or word)]))
            elif (waiting := self._waiting(learned, before, now, at)) is not None:
                found.append(waiting)
            else:
                lost = lost or self._lost(learned, at)
        return found, lost

    def _stands(self, domain: str, at: float) -> tuple[Evaluated, str]:
        """Return the reward by the words that took a score where it stands, and the first word that waits, if one does.

        What people denied of a word, or did not decide in time, moved nothing.
        """
        words, waits = list[Said](), ""
        for one in self.earlier:
            if not one.moved:
                continue
            proposal, since = one.asked.get(domain, ("", ""))
            record = self.proposals.get(proposal)
            if not proposal or self._verdict(proposal) == "approved":
                words.append(one.said)
            elif record is not None and not record.decision and record.expires > at:
                waits = waits or since
        return corrected(self.evaluated, words, self.cluster.feedback), waits

    def _waiting(self, learned: ScoreMove, before: Evaluated, now: Evaluated, at: float) -> ScoreMove | None:
        """Return what waits of a score, with the reward after the word; None when nothing does that follows from it."""
        weight = learned.seen[-1].weight if learned.seen else 0.0
        wrong, right = (Seen(it.reward, weight, it.uncertainty) for it in (before, now))
        return self.cluster.pending.corrected(self.cluster, learned, wrong, right, at)

    def _id(self, learned: ScoreMove) -> str:
        """Return the id of what the task proposed of a score."""
        return proposal_of(learned, self.cluster.teaching(self.task)).id

    def _verdict(self, proposal: str) -> str:
        """Return what people decided about a proposal; empty when they did not."""
        record = self.proposals.get(proposal)
        verdict = None if record is None else verdict_of(record)
        return "" if verdict is None else verdict.verdict

    def _lost(self, learned: ScoreMove, at: float) -> str:
        """Return why what the task proposed of a score comes to nothing."""
        record = self.proposals.get(self._id(learned))
        if record is None:
            return "what it proposed of scores is not kept any more"
        if self._verdict(record.id) == "denied":
            return f"proposal/{record.id} was denied"
        if record.expires <= at:
            return f"proposal/{record.id} has expired: nobody decided in time"
        return f"proposal/{record.id} rests on later tasks alone by now"

    def standing(self) -> Standing:
        """Return what is believed now of whoever did the task, as it behaved then."""
        first = self.learned[0]
        if self.past is None:
            return self.cluster.standing(first.agent, list(self.sensed.domains))
        scores = {domain: self.past.get(domain, Score(0.0)) for domain in self.sensed.domains}
        agent = self.cluster.agents.get(first.agent)
        fixed = frozenset[str]() if agent is None else frozenset(filter(agent.keeps, scores))
        return Standing(first.agent, first.spec, scores, Score(0.0), 0, frozenset(), fixed=fixed)


async def _ready(
    services: Services, cluster: Cluster | None, result: Result, earlier: Sequence[Earlier]
) -> _Ready | str:
    """Return what a correction needs, or why there can be none."""
    sensed, executed, evaluated, adapted = result.sensed, result.executed, result.evaluated, result.adapted
    if sensed is None or executed is None or evaluated is None or adapted is None:
        return "the task ended before it was evaluated"
    if cluster is None:
        return "its cluster does not serve"
    learned = _moves(adapted.decisions)
    stays = _stays(cluster, sensed, executed, learned)
    teaching = cluster.teaching(result.task.id)
    wanted = {proposal_of(one, teaching).id for one in learned if one.done == "proposed"}
    wanted |= {proposal for one in earlier for proposal, _ in one.asked.values()}
    proposals = await _proposals(services, wanted)
    past: dict[str, Score] | None = None
    if not stays and not _behaves(cluster, learned[0]):
        past = await _past(services, cluster, learned[0])
    return _Ready(
        cluster, result.task.id, cluster.adapt, sensed, executed, evaluated, learned, earlier, proposals, past, stays
    )


async def _past(services: Services, cluster: Cluster, move: ScoreMove) -> dict[str, Score]:
    """Return what is believed now of an agent as it behaved when it was scored, by domain."""
    agent, unknown, found = cluster.agents.get(move.agent), cluster.priors.unknown, dict[str, Score]()
    for one in await services.store.capabilities():
        if (one.agent, one.spec) == (move.agent, move.spec):
            prior = unknown if agent is None else agent.domains.get(one.domain, unknown)
            score = Score(one.score, one.variance, one.count, one.updated)
            found[one.domain] = cluster.book.ageing.aged(score, prior)
    return found


async def _proposals(services: Services, wanted: Collection[str]) -> dict[str, ProposalRecord]:
    """Return those of some proposals that are kept, by id."""
    found: dict[str, ProposalRecord] = {}
    if wanted:
        await services.store.settled()  # what is decided just now counts
    for one in wanted:
        if (record := await services.store.learning.proposal(one)) is not None:
            found[one] = record
    return found


def _stays(cluster: Cluster, sensed: Sensed, executed: Executed, learned: Sequence[ScoreMove]) -> str:
    """Return why the scores stay that a task might have moved, or nothing when they move."""
    if executed.outcome.mute:
        return "not the agent ended the task"
    agent = cluster.agents.get(learned[0].agent if learned else executed.agent)
    if agent is not None and all(map(agent.keeps, (one.domain for one in learned) if learned else sensed.domains)):
        return f"`locked` of the manifest of Agent/{agent.name} says that its scores stay"
    if not learned and executed.children:
        return f"its parts did the work: say it of them, such as task/{executed.children[0]}"
    if not learned:
        return "the task itself moved none"
    return ""


def _moves(decisions: Iterable[object]) -> list[ScoreMove]:
    """Return the scores that decisions move."""
    return [one for one in decisions if isinstance(one, ScoreMove)]


def _repeats(words: Sequence[Said]) -> bool:
    """Return whether the last word is what the same person said before, as when an answer was lost on its way."""
    *earlier, last = words
    return next((one.score for one in reversed(earlier) if one.by == last.by), None) == last.score


def _behaves(cluster: Cluster, move: ScoreMove) -> bool:
    """Return whether an agent is a member that behaves as when it was scored."""
    try:
        return cluster.agent(move.agent).digest == move.spec
    except NotFound:
        return False


def _averages(cluster: Cluster, opinions: Sequence[Opinion], score: float) -> list[Average]:
    """Return what is known of judges, after a person has said how good the answer is that they judged."""
    paces = {one.name: one.bias.feedback_pace for one in cluster.evaluators if isinstance(one, Judge)}
    found: list[Average] = []
    for one in opinions:
        if one.judge in paces:
            found += cluster.judges.learn(one.judge, one.said - score, paces[one.judge])
    return found
