"""How a cluster takes what people say of an answer: the reward, the scores and what is known of its judges move, once.

What is told and what is stored are in one transaction, under a key of their own for each word of a person. Called by
the engine.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loomd.amoeba.adapt import within
from loomd.amoeba.decision import ScoreMove
from loomd.amoeba.feedback import Said, corrected, corrections
from loomd.amoeba.policies.base import AdaptPolicy
from loomd.amoeba.policies.judge import Judge
from loomd.amoeba.task import Evaluated, Executed, Opinion, Result, Sensed
from loomd.amoeba.world import Score, Standing
from loomd.cluster.cluster import Cluster
from loomd.cluster.learn import Teaching, learn
from loomd.errors import NotFound
from loomd.events.bus import Scope
from loomd.events.cluster import FeedbackGiven
from loomd.manifest.object import Ref
from loomd.store.records import Average
from loomd.topology import Services


@dataclass(frozen=True)
class Given:
    """A word of a person: how good an answer is, who says it, why, and the how-many-th word on the task it is."""

    said: Said
    note: str
    number: int


@dataclass(frozen=True)
class Correction:
    """What came of it: the reward before and after, the scores that moved, and why none did."""

    before: float | None = None
    after: float | None = None
    moves: Sequence[ScoreMove] = ()
    why: str = ""


async def correct(
    services: Services, cluster: Cluster | None, result: Result, given: Given, earlier: Sequence[Said]
) -> Correction:
    """Take a word over and return what came of it, once both are on disk.

    Args:
        services: what the daemon lends.
        cluster: the task's cluster; None when it does not serve.
        result: what became of the task.
        given: the word.
        earlier: the words before it that were taken over.
    """
    task = result.task
    scope = Scope(services.bus, task.id, task.parent, task.namespace, task.revision)
    ready = await _ready(services, cluster, result)
    if isinstance(ready, str):
        evaluated, moves, averages, why = result.evaluated, [], [], ready
        before = after = None if evaluated is None else evaluated.reward
    else:  # nothing is awaited from here on until all is handed over
        weight, words = ready.cluster.feedback, [*earlier, given.said]
        rewards = (corrected(ready.evaluated, earlier, weight), corrected(ready.evaluated, words, weight))
        wanted = corrections(ready.adapt, ready.sensed, ready.executed, rewards, ready.standing())
        moves = _moves(within(ready.cluster.learning, wanted))
        averages = [] if _repeats(words) else _averages(ready.cluster, ready.evaluated.opinions, given.said.score)
        before, after = (one.reward for one in rewards)
        why = "" if weight else "the cluster gives feedback the weight 0"
    fact = FeedbackGiven(given.said.score, given.said.by, given.note, before, after, why)
    scope.emit(fact, key=f"feedback/{given.number}")
    if isinstance(ready, str):
        of = Teaching(Ref("Cluster", task.cluster, task.namespace), task.id, services.clock.now(), 0.0)
    else:
        of = ready.cluster.teaching(task.id)
    await learn(services, moves, of, scope, key=f"{task.id}#feedback/{given.number}", averages=averages)
    return Correction(before, after, moves, why)


@dataclass(frozen=True)
class _Ready:
    """All that a correction needs.

    `past` is what is believed of an agent that behaves otherwise now, or None where the cluster knows.
    """

    cluster: Cluster
    adapt: AdaptPolicy
    sensed: Sensed
    executed: Executed
    evaluated: Evaluated
    learned: Sequence[ScoreMove]
    past: dict[str, Score] | None

    def standing(self) -> Standing:
        """Return what is believed now of whoever did the task, as it behaved then."""
        first = self.learned[0]
        if self.past is None:
            return self.cluster.standing(first.agent, list(self.sensed.domains))
        scores = {domain: self.past.get(domain, Score(0.0)) for domain in self.sensed.domains}
        agent = self.cluster.agents.get(first.agent)
        fixed = frozenset[str]() if agent is None else frozenset(filter(agent.keeps, scores))
        return Standing(first.agent, first.spec, scores, Score(0.0), 0, frozenset(), fixed=fixed)


async def _ready(services: Services, cluster: Cluster | None, result: Result) -> _Ready | str:
    """Return what a correction needs, or why there can be none."""
    sensed, executed, evaluated, adapted = result.sensed, result.executed, result.evaluated, result.adapted
    if sensed is None or executed is None or evaluated is None or adapted is None:
        return "the task ended before it was evaluated"
    moves = [one for one in _moves(adapted.decisions) if not one.done]
    if not moves:
        return "nothing was learned from the task"
    if cluster is None:
        return "its cluster does not serve"
    agent = cluster.agents.get(moves[0].agent)
    if agent is not None and all(agent.keeps(one.domain) for one in moves):
        return f"`locked` of the manifest of Agent/{agent.name} says that its scores stay"
    past: dict[str, Score] | None = None
    if not _behaves(cluster, moves[0]):
        found = await services.store.capabilities()
        mine = [one for one in found if (one.agent, one.spec) == (moves[0].agent, moves[0].spec)]
        past = {one.domain: Score(one.score, one.variance, one.count) for one in mine}
    return _Ready(cluster, cluster.adapt, sensed, executed, evaluated, moves, past)


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
