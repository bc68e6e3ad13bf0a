"""Carries out what ADAPT decided: tells it, and stores it, once per task. Called by `cluster`."""

import asyncio
import hashlib
import logging
import re
from collections.abc import Sequence

import msgspec

from loomd.agents.approval import Decision as Verdict
from loomd.amoeba import blueprint
from loomd.amoeba.decision import (
    Calibration,
    Decision,
    Expense,
    Merge,
    Retirement,
    Revival,
    ScoreMove,
    Shaping,
    Turn,
    decode,
    encode,
    mechanism_of,
    said,
)
from loomd.amoeba.learning import Mode
from loomd.cluster.descent import Happened
from loomd.cluster.health import CORRECTED
from loomd.cluster.retirement import Retired
from loomd.errors import Temporary
from loomd.events.bus import Scope
from loomd.events.cluster import (
    AgentRetired,
    AgentRevived,
    BlueprintForged,
    BlueprintPruned,
    CalibrationUpdated,
    CapabilityMerged,
    CapabilityUpdated,
    ChangeObserved,
    ClusterFact,
    ExpenseUpdated,
    ProposalMade,
    SkillPromoted,
    SkillReverted,
)
from loomd.events.event import AnyFact
from loomd.events.journal import Journal
from loomd.manifest.object import Ref
from loomd.store.base import Store
from loomd.store.records import (
    Average,
    BlueprintRecord,
    Capability,
    Descent,
    Experience,
    Learned,
    Lesson,
    Movement,
    ProposalRecord,
)
from loomd.topology import Services

_log = logging.getLogger("loomd.cluster")
_LATE = re.compile(rf"{CORRECTED}|learned/forge/\+|proposal/")
"""How the keys begin of what was not learned in ADAPT: what people taught after the task, and who was made for it. A
score of an agent that is called `feedback` or `forge` has the key `learned/feedback/DOMAIN`."""
_SHAPED: dict[Turn, type[BlueprintForged | BlueprintPruned | SkillPromoted | SkillReverted]] = {
    "forged": BlueprintForged,
    "pruned": BlueprintPruned,
    "promoted": SkillPromoted,
    "reverted": SkillReverted,
}
_HOW: dict[type, Turn] = {fact: how for how, fact in _SHAPED.items()}
_RETRY = 1.0
"""Seconds until what could not be stored is tried again."""


class Teaching(msgspec.Struct, frozen=True):
    """Whose decisions are carried out, and from which task.

    Attributes:
        cluster: the cluster.
        task: id of the task that taught it.
        now: wall-clock seconds.
        patience: seconds until a proposal expires.
        rewarded: when the task was rewarded first, in wall-clock seconds; 0 for now.
    """

    cluster: Ref
    task: str
    now: float
    patience: float
    rewarded: float = 0.0

    @property
    def subject(self) -> str:
        """Return under which subject the cluster's corrections are kept."""
        return subject_of(self.cluster)


def subject_of(cluster: Ref) -> str:
    """Return under which subject the corrections of a cluster's estimates are kept."""
    return f"complexity {cluster.namespace}/{cluster.name}"


def expenses_of(namespace: str, agent: str) -> str:
    """Return under which subject it is kept what an agent's tasks take."""
    return f"expense {namespace}/{agent}"


def expenses(one: Expense, of: Teaching) -> list[Average]:
    """Return what is kept of what an agent's tasks take: tokens that it reads and writes, as it behaves."""
    subject = expenses_of(of.cluster.namespace, one.agent)
    pairs = zip(("read", "written"), one.after, strict=True)
    return [Average(subject, f"{one.spec}/{name}", value, one.count, of.now) for name, value in pairs]


def change_of(decisions: Sequence[Decision], of: Teaching) -> Learned:
    """Return what is stored of decisions."""
    found = _Change(of)
    for one in decisions:
        if isinstance(one, Shaping) and one.trial is not None:
            found.lineage.append(tried(one.agent, one.spec, one.reason, of))
        if one.done and isinstance(one, ScoreMove):  # a reward is seen, whatever becomes of the score
            found.lessons.append(_lesson(one, of))
        if one.done == "proposed":
            found.proposals.append(proposal_of(one, of))
        elif not one.done:
            found.take(one)
    return Learned(
        scores=found.scores,
        movements=found.movements,
        lessons=list({one.agent: one for one in found.lessons}.values()),
        averages=found.averages,
        blueprints=found.blueprints,
        lineage=found.lineage,
        proposals=found.proposals,
    )


def tried(agent: str, spec: str, reason: str, of: Teaching) -> Descent:
    """Return what is stored of an attempt to give an agent better instructions, whatever came of it."""
    return Descent(of.cluster.namespace, agent, spec, f"{tried_in(of.cluster.name)}{reason}", of.task, of.now)


def tried_in(cluster: str) -> str:
    """Return how the entry of an attempt in an agent's lineage begins."""
    return f"tried in {cluster}: "


def fact_of(decision: Decision, of: Teaching) -> ClusterFact:
    """Return what is told of a decision."""
    if not decision.done:
        return _told(decision, of)
    cluster, written = of.cluster.name, msgspec.Raw(encode(decision))
    if decision.done == "observed":
        return ChangeObserved(mechanism_of(decision), cluster, decision.reason, written)
    made = proposal_of(decision, of)
    return ProposalMade(made.id, made.mechanism, cluster, decision.reason, made.expires, written)


def _told(decision: Decision, of: Teaching) -> ClusterFact:
    """Return what is told of a decision that is carried out."""
    cluster = of.cluster.name
    match decision:
        case ScoreMove() as d:
            moved = (d.before, d.after, d.variance, d.count)
            return CapabilityUpdated(d.agent, d.spec, d.domain, *moved, d.reason, d.reward)
        case Merge() as d:
            moved = (d.before, d.after, d.variance, d.count)
            return CapabilityMerged(d.agent, d.spec, d.origin, d.domain, *moved, d.reason)
        case Calibration() as d:
            seen = (d.predicted, d.observed)
            return CalibrationUpdated(cluster, d.domain, d.before, d.after, d.count, *seen, d.reason)
        case Expense() as d:
            return ExpenseUpdated(d.agent, d.spec, d.before, d.after, d.count, d.reason)
        case Retirement() as d:
            return AgentRetired(d.agent, d.spec, cluster, d.until, d.reason)
        case Revival() as d:
            return AgentRevived(d.agent, d.spec, cluster, d.reason)
        case Shaping() as d:
            raw = msgspec.Raw(blueprint.encode(d.blueprint))
            return _SHAPED[d.how](d.agent, cluster, d.version, d.parent, d.spec, d.reason, raw)


def decision_of(fact: AnyFact) -> Decision | None:
    """Return what was decided, as it was told; None of any other fact."""
    match fact:
        case ChangeObserved() | ProposalMade():
            return decode(fact.value)
        case CapabilityUpdated() | CapabilityMerged() as f:
            return _move_of(f)
        case CalibrationUpdated() as f:
            return Calibration(f.domain, f.before, f.after, f.count, f.predicted, f.observed, f.reason)
        case ExpenseUpdated() as f:
            return Expense(f.owner, f.spec, f.before, f.after, f.count, f.reason)
        case AgentRetired() as f:
            return Retirement(f.owner, f.spec, f.until, f.reason)
        case AgentRevived() as f:
            return Revival(f.owner, f.spec, f.reason)
        case BlueprintForged() | BlueprintPruned() | SkillPromoted() | SkillReverted() as f:
            shape, how = blueprint.decode(f.blueprint), _HOW[type(f)]
            return Shaping(f.owner, how, shape, f.reason, f.version, f.parent, f.spec)
        case _:
            return None


def _move_of(f: CapabilityUpdated | CapabilityMerged) -> ScoreMove | Merge:
    moved = (f.before, f.after, f.variance, f.count)
    if isinstance(f, CapabilityMerged):
        return Merge(f.owner, f.spec, f.origin, f.domain, *moved, f.reason)
    return ScoreMove(f.owner, f.spec, f.domain, *moved, f.reason, f.reward)


def proposal_of(decision: Decision, of: Teaching) -> ProposalRecord:
    """Return a decision as a proposal.

    There is one for all that tasks teach of one score, or one estimate, until somebody decides; of anything else there
    is one for each task that leads to it.
    """
    first = getattr(decision, "since", "") or of.task
    match decision:
        case ScoreMove() as d:
            about = f"{first}\0{d.agent}\0{d.domain}"
        case Merge() as d:
            about = f"{of.task}\0{d.agent}\0{d.domain}\0{d.origin}"
        case Calibration() as d:
            about = f"{first}\0{d.domain}"
        case Expense() as d:
            about = f"{first}\0{d.agent}"
        case Retirement() | Revival() as d:
            about = f"{type(d).__name__}\0{d.agent}\0{d.spec}\0{of.task}"
        case Shaping() as d:
            about = f"{d.how}\0{d.agent}\0{d.spec}\0{d.parent}\0{of.task}"
            if d.how == "promoted":  # each attempt is one of its own
                about += f"\0{d.blueprint.instructions}"
    mechanism = mechanism_of(decision)
    name = hashlib.sha256(f"{of.cluster}\0{mechanism}\0{about}".encode()).hexdigest()[:10]
    body = msgspec.json.encode({"task": of.task, "what": said(decision), "decision": msgspec.Raw(encode(decision))})
    space, expires = of.cluster.namespace, of.now + of.patience
    return ProposalRecord(f"p-{name}", space, of.cluster.name, mechanism, body, of.now, expires)


async def learned(store: Store, task: str) -> tuple[Decision, ...] | None:
    """Return what was learned of a task, as it is recorded, or None when nothing was."""
    if not await store.learned_from(task):
        return None
    known = await Journal(store).checkpoints(task)
    facts = [event.data for key, event in known.items() if not _LATE.match(key)]
    return tuple(one for one in map(decision_of, facts) if one is not None)


def tell(services: Services, decisions: Sequence[Decision], of: Teaching, scope: Scope, lead: str = "learned") -> None:
    """Tell everybody what is decided; whoever keeps it in memory takes it over by that."""
    for one in decisions:
        scope.emit(fact_of(one, of), getattr(one, "agent", ""), key=f"{lead}/{_key(one)}")
        if isinstance(one, Calibration) and not one.done:
            services.averages.take(Average(of.subject, one.domain, one.after, one.count, of.now))
        elif isinstance(one, Expense) and not one.done:
            for average in expenses(one, of):
                services.averages.take(average)


async def learn(
    services: Services,
    decisions: Sequence[Decision],
    of: Teaching,
    scope: Scope,
    key: str = "",
    averages: Sequence[Average] = (),
    kept: Experience | None = None,
) -> None:
    """Take decisions over, tell everybody, and store them, once per task.

    They are taken over before they are stored, so that tasks that end at the same time build on each other. What is
    told is on disk when the scores are. Nothing is awaited before all is told and handed to the store, so that what
    comes later is stored later. As long as nothing can be stored this waits: others build on it already.

    Args:
        services: what the daemon lends.
        decisions: what ADAPT decided.
        of: whose decisions they are.
        scope: the envelope of the task's events.
        key: under what they are stored once, when that is not the task itself: `TASK#feedback/1`.
        averages: moving averages that are stored in the same transaction.
        kept: the task as it is kept to compare later ones with, in the same transaction.
    """
    tell(services, decisions, of, scope, f"learned/{key.partition('#')[2]}" if key else "learned")
    change = change_of(decisions, of)
    moved = [msgspec.structs.replace(one, task=key) for one in change.movements] if key else change.movements
    change = msgspec.structs.replace(
        change,
        movements=moved,
        averages=[*change.averages, *averages],
        experience=() if kept is None else (kept,),
    )
    try:
        stored = await services.store.learn(key or of.task, change)
    except Temporary as error:
        await stored_later(services.store, error)
    else:
        if not stored:  # what is live differs from what is on disk: two have the same key
            _log.error("%s: what was just told is not stored: %s is stored already", of.cluster, key or of.task)


async def stored_later(store: Store, error: Temporary) -> None:
    """Wait until what is handed to the store can be stored, where it stays in its place."""
    wait: float | None = error.retry_after or _RETRY
    while wait is not None:
        await asyncio.sleep(wait)
        try:
            await store.settled()
        except Temporary as again:
            wait = again.retry_after or _RETRY
        else:
            wait = None


class _Change(msgspec.Struct):
    """What is stored of decisions, as it comes together."""

    of: Teaching
    scores: list[Capability] = []
    movements: list[Movement] = []
    lessons: list[Lesson] = []
    averages: list[Average] = []
    blueprints: list[BlueprintRecord] = []
    lineage: list[Descent] = []
    proposals: list[ProposalRecord] = []

    def take(self, decision: Decision) -> None:
        """Add what a decision that is carried out changes."""
        of = self.of
        match decision:
            case ScoreMove() as d:
                self.scores.append(Capability(d.agent, d.spec, d.domain, d.after, d.variance, d.count, of.now))
                self.movements.append(_movement(d, of, d.reward))
                self.lessons.append(_lesson(d, of))
            case Merge() as d:
                self.scores.append(Capability(d.agent, d.spec, d.domain, d.after, d.variance, d.count, of.now))
                self.movements.append(_movement(d, of, d.after))
            case Calibration() as d:
                self.averages.append(Average(of.subject, d.domain, d.after, d.count, of.now))
            case Expense() as d:
                self.averages += expenses(d, of)
            case Retirement() | Revival() as d:
                descent = Retired(of.cluster.name).descent(d, of.cluster.namespace, of.task, of.now)
                self.lineage.append(descent)
            case Shaping() as d:
                space, body = of.cluster.namespace, blueprint.encode(d.blueprint)
                self.blueprints.append(BlueprintRecord(space, d.agent, d.version, body, d.parent, of.now, d.how))
                how = Happened(d.how, of.cluster.name, d.version, d.reason).written()
                self.lineage.append(Descent(space, d.agent, d.blueprint.creator, how, of.task, of.now))


def _lesson(d: ScoreMove, of: Teaching) -> Lesson:
    return Lesson(of.cluster.namespace, d.agent, d.spec, of.task, d.reward, of.rewarded or of.now)


def _movement(d: ScoreMove | Merge, of: Teaching, reward: float) -> Movement:
    return Movement(
        agent=d.agent,
        spec=d.spec,
        domain=d.domain,
        before=d.before,
        after=d.after,
        variance=d.variance,
        count=d.count,
        reward=reward,
        task=of.task,
        at=of.now,
    )


def _key(decision: Decision) -> str:
    """Return what tells a decision apart among those of one task."""
    match decision:
        case ScoreMove() as d:
            return f"{d.agent}/{d.domain}"
        case Merge() as d:
            return f"+merged/{d.agent}/{d.domain}/{d.origin}"
        case Calibration() as d:
            return f"+complexity/{d.domain}"
        case Expense() as d:
            return f"+expense/{d.agent}"
        case Retirement() as d:
            return f"+retired/{d.agent}"
        case Revival() as d:
            return f"+revived/{d.agent}"
        case Shaping() as d:
            return f"+{d.how}/{d.agent}/{d.version}"


class _Body(msgspec.Struct, frozen=True):
    """A proposal as it is stored: which task led to it, what it would do in a few words, and the decision."""

    task: str
    what: str
    decision: msgspec.Raw


def verdict_of(record: ProposalRecord) -> Verdict | None:
    """Return what was decided about a proposal, or None when nothing was."""
    return msgspec.json.decode(record.decision, type=Verdict) if record.decision else None


def holds_back(record: ProposalRecord, mode: Mode) -> bool:
    """Return whether a proposal keeps a cluster from deciding the same again.

    What somebody denied does until it would have expired. What nobody decided does as long as people are to decide, and
    what was approved is done.
    """
    verdict = verdict_of(record)
    return mode == "propose" if verdict is None else verdict.verdict == "denied"


def proposed(record: ProposalRecord) -> tuple[str, str, Decision]:
    """Return which task led to a proposal, what it would do in a few words, and the decision."""
    body = msgspec.json.decode(record.body, type=_Body)
    return body.task, body.what, decode(body.decision)
