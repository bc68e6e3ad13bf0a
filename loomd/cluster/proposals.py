"""What people decide about changes that a cluster proposes. Called by the API, one decision at a time.

What is approved is worked out anew on what is believed now, and stored in one transaction with the decision, so that
it is carried out once, whatever is killed meanwhile. What is denied stands in the lineage of its agent.
"""

import msgspec

from loomd.agents.agent import Agent
from loomd.agents.approval import Decision as Verdict
from loomd.amoeba.decision import Calibration, Decision, Expense, Merge, Retirement, Revival, ScoreMove, Shaping, said
from loomd.cluster.cluster import Cluster
from loomd.cluster.descent import Happened
from loomd.cluster.learn import Teaching, change_of, proposed, stored_later, tell, verdict_of
from loomd.cluster.pending import anew
from loomd.errors import Conflict, Temporary
from loomd.events.bus import Scope
from loomd.events.cluster import ProposalDecided
from loomd.store.records import Descent, Learned, ProposalRecord
from loomd.topology import Services


async def decide(
    services: Services, cluster: Cluster | None, record: ProposalRecord, verdict: Verdict
) -> ProposalRecord:
    """Keep what a person decided about a proposal, and carry out what was approved; return it as it is kept.

    To say the same again changes nothing. The caller lets nobody else decide meanwhile. As long as nothing can be
    stored this waits: what is approved is live by then.

    Args:
        services: what the daemon lends.
        cluster: the live cluster that wants it; None when it does not serve.
        record: the proposal as it is stored now.
        verdict: what was decided, and by whom.

    Raises:
        Conflict: it was decided before, or has expired, or cannot be carried out any more.
    """
    now = services.clock.now()
    if record.decision:
        kept = verdict_of(record)
        if kept is None or (kept.verdict, kept.by) != (verdict.verdict, verdict.by):
            raise Conflict(f"Proposal/{record.id} is decided already: {kept.said() if kept else 'nothing is known'}")
        return record
    if record.expires <= now:
        raise Conflict(f"Proposal/{record.id} has expired: nobody decided in time")
    task, what, decision = proposed(record)
    verdict = msgspec.structs.replace(verdict, at=now)
    told = await services.store.get_task(task) is not None
    if cluster is not None and (latest := cluster.pending.latest(record.id)) is not None:
        decision, what = latest, said(latest)  # what was seen while that was read counts, too
    scope = Scope(services.bus, task if told else "", namespace=record.namespace)
    change = None
    if verdict.verdict == "approved":
        if cluster is None:
            raise Conflict(f"Proposal/{record.id}: Cluster/{record.cluster} does not serve")
        of = cluster.teaching(task)
        present = renewed(cluster, decision, of)
        change = change_of([present], of)
        if isinstance(present, ScoreMove):  # each reward was noted when its task ended, or when somebody said it
            change = msgspec.structs.replace(change, lessons=())
        tell(services, [present], of, scope, f"proposal/{record.id}")
    elif isinstance(decision, Retirement | Revival | Shaping):
        why = Happened("denied", record.cluster, reason=f"{what} (proposal/{record.id}): {verdict.said()}").written()
        change = Learned(lineage=[Descent(record.namespace, decision.agent, decision.spec, why, task, now)])
    fact = ProposalDecided(
        record.id, record.mechanism, record.cluster, verdict.verdict, verdict.by, verdict.reason, what
    )
    scope.emit(fact, key=f"decided/{record.id}")
    learning = services.store.learning
    try:
        stored = await learning.decide(record.id, msgspec.json.encode(verdict), change=change)
    except Temporary as error:
        await stored_later(services.store, error)
        stored = await learning.proposal(record.id)
    return stored or record


def _same(cluster: Cluster, name: str, spec: str, why: str) -> Agent:
    """Return a member that behaves as it did.

    Raises:
        Conflict: it does not, or is no member any more; `why` says what that means.
    """
    agent = cluster.agents.get(name)
    if agent is None or agent.digest != spec:
        raise Conflict(f"Agent/{name} is another one now: {why}")
    return agent


def _refuse_locked(agent: Agent, domain: str) -> None:
    """Refuse to change what a person locked.

    Raises:
        Conflict: what is believed of the agent in the domain is locked.
    """
    if agent.keeps(domain):
        raise Conflict(f"Agent/{agent.name} is left as it is: `locked` of its manifest says so")


def renewed(cluster: Cluster, decision: Decision, of: Teaching) -> Decision:
    """Return a proposed change as it is to be carried out now: scores and corrections have moved since.

    Raises:
        Conflict: the agent is no member any more, behaves otherwise, does better by now, or is needed.
    """
    match decision:
        case ScoreMove() as d:
            agent = _same(cluster, d.agent, d.spec, "what was proposed is about how it was before")
            _refuse_locked(agent, d.domain)
            return msgspec.structs.replace(anew(cluster, d), done="")
        case Calibration() | Expense() as d:
            return msgspec.structs.replace(anew(cluster, d), done="")
        case Merge() as d:
            agent = _same(cluster, d.agent, d.spec, "nothing is added to what it was before")
            _refuse_locked(agent, d.domain)
            known = cluster.book.score(d.agent, d.spec, d.domain, d.before)
            mean = min(1.0, max(0.0, known.mean + d.after - d.before))
            return msgspec.structs.replace(d, before=known.mean, after=mean, count=max(known.count, d.count), done="")
        case Retirement() as d:
            agent = _same(cluster, d.agent, d.spec, "it is not retired for what it was before")
            if why := cluster.conditions.needed(agent):
                raise Conflict(f"Agent/{d.agent} is not retired: {why}")
            if (vitals := cluster.conditions.vitals(agent)).health != "dying":
                raise Conflict(f"Agent/{d.agent} is not retired: it does better by now: {vitals.reason}")
            return msgspec.structs.replace(d, until=cluster.conditions.ends(agent, of.now), done="")
        case Revival() as d:
            return msgspec.structs.replace(d, done="")
        case Shaping() as d:
            if why := cluster.blueprints.outdated(d):
                raise Conflict(f"Agent/{d.agent} is left as it is: {why}")
            return msgspec.structs.replace(d, version=cluster.blueprints.next(d.agent), done="")
