"""What waits for people of what tasks teach: one proposal for each score and each estimate, with all that was seen.

A person decides once, on the sum of what came. The rule of the cluster is applied to what was seen, on what is believed
then; a difference that was worked out earlier counts for nothing. Called by `cluster` and `proposals`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from loomd.agents.agent import Agent
from loomd.amoeba.decision import Calibration, Decision, Expense, ScoreMove, Seen
from loomd.amoeba.learning import Learning
from loomd.amoeba.policies.base import AdaptPolicy
from loomd.amoeba.world import Uses
from loomd.cluster.capability import Book
from loomd.cluster.learn import decision_of, proposed
from loomd.events.cluster import ProposalDecided, ProposalMade
from loomd.events.event import Event
from loomd.manifest.object import Ref
from loomd.store.records import ProposalRecord

Move = ScoreMove | Calibration | Expense
"""What follows from what tasks showed."""

_MOST = 50
"""What a proposal remembers of tasks; what came before says next to nothing any more."""


class Believing(Protocol):
    """A cluster, as far as what it believes goes."""

    book: Book

    @property
    def agents(self) -> Mapping[str, Agent]:
        """Return the members by name."""
        ...

    @property
    def adapt(self) -> AdaptPolicy:
        """Return how scores move."""
        ...

    @property
    def learning(self) -> Learning:
        """Return what becomes of what it learns."""
        ...

    def correction(self, domain: str) -> tuple[float, int]:
        """Return by how much complexity is estimated too low in a domain, and how many tasks say so."""
        ...

    def uses(self, agent: str, spec: str) -> Uses:
        """Return what an agent needs for each token that SENSE expects."""
        ...


def anew(cluster: Believing, move: Move) -> Move:
    """Return a move as it follows from what is believed now: the rule is applied to all that was seen, in turn.

    What has nothing that was seen, which is what people corrected, moves by the difference that it was proposed with.
    """
    match move:
        case ScoreMove() as d:
            score = cluster.book.score(d.agent, d.spec, d.domain, d.before)
            before = score.mean
            for one in d.seen:
                score = cluster.adapt.moved(score, one)
            if d.seen:
                numbers = (score.mean, score.variance, score.count)
            else:
                numbers = (min(1.0, max(0.0, before + d.after - d.before)), d.variance, max(score.count, d.count))
            after, variance, count = numbers
            return msgspec.structs.replace(d, before=before, after=after, variance=variance, count=count)
        case Calibration() as d:
            before, count = cluster.correction(d.domain)
            after = before
            for one in d.seen:
                after = cluster.learning.calibrate.moved(after, one)
            return msgspec.structs.replace(d, before=before, after=after, count=count + len(d.seen))
        case Expense() as d:
            known = now = cluster.uses(d.agent, d.spec)
            for pair in d.seen:
                now = cluster.learning.price.moved(now, pair)
            was, is_ = (known.read, known.written), (now.read, now.written)
            return msgspec.structs.replace(d, before=was, after=is_, count=now.seen)


class Pending:
    """The moves that wait for people, of one cluster."""

    def __init__(self, ref: Ref, records: Sequence[ProposalRecord] = ()) -> None:
        """Take over what is stored."""
        self._ref = ref
        self._open: dict[tuple[str, ...], tuple[str, float, Move, str]] = {}
        """By what it is about: id of the proposal, when it expires, the move, and the task that led to it last."""
        for one in sorted(records, key=lambda one: one.created):
            if one.cluster == ref.name and not one.decision:
                task, _, decision = proposed(one)
                self._take(one.id, one.expires, decision, task)

    def hear(self, event: Event) -> None:
        """Take over that something was proposed or decided."""
        fact = event.data
        if event.namespace != self._ref.namespace or getattr(fact, "cluster", "") != self._ref.name:
            return
        if isinstance(fact, ProposalMade) and (decision := decision_of(fact)) is not None:
            self._take(fact.proposal, fact.expires, decision, event.task)
        elif isinstance(fact, ProposalDecided):
            self._open = {about: one for about, one in self._open.items() if one[0] != fact.proposal}

    def _take(self, proposal: str, expires: float, decision: Decision, task: str) -> None:
        if isinstance(decision, Move) and decision.seen:
            self._open[_about(decision)] = (proposal, expires, decision, task)

    def latest(self, proposal: str) -> Move | None:
        """Return a move that waits, with all that was seen until now; None when it is not here."""
        return next((move for name, _, move, _ in self._open.values() if name == proposal), None)

    def joined(self, cluster: Believing, decision: Decision, now: float) -> Decision:
        """Return what is proposed together with what of the same waits for people already."""
        if not isinstance(decision, Move) or decision.done != "proposed" or not decision.seen:
            return decision
        _, expires, known, task = self._open.get(_about(decision), ("", 0.0, None, ""))
        if known is None or expires <= now:
            return decision
        seen = (*known.seen, *decision.seen)[-_MOST:]
        reason = f"{decision.reason}; with {len(seen) - 1} before that nobody decided about"
        joined = msgspec.structs.replace(decision, seen=seen, since=known.since or task, reason=reason)
        return anew(cluster, joined)

    def corrected(self, cluster: Believing, move: ScoreMove, wrong: Seen, right: Seen, now: float) -> ScoreMove | None:
        """Return what waits of a score with another reward in the place of one that it follows from.

        Returns:
            The move as it is to be proposed now; None when none waits that follows from `wrong`, or it has expired.
        """
        _, expires, known, task = self._open.get(_about(move), ("", 0.0, None, ""))
        if not isinstance(known, ScoreMove) or wrong not in known.seen or expires <= now:
            return None
        place = len(known.seen) - 1 - known.seen[::-1].index(wrong)  # equal rewards differ in nothing but their place
        seen = (*known.seen[:place], right, *known.seen[place + 1 :])
        reason = f"feedback took a reward from {wrong.value:.3f} to {right.value:.3f}"
        if len(seen) > 1:
            reason = f"{reason}; with {len(seen) - 1} more that nobody decided about"
        changed = msgspec.structs.replace(
            known, seen=seen, since=known.since or task, reward=right.value, reason=reason
        )
        found = anew(cluster, changed)
        return found if isinstance(found, ScoreMove) else None


def _about(move: Move) -> tuple[str, ...]:
    match move:
        case ScoreMove() as d:
            return ("score", d.agent, d.spec, d.domain)
        case Calibration() as d:
            return ("calibration", d.domain)
        case Expense() as d:
            return ("expense", d.agent, d.spec)
