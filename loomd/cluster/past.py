"""What a cluster believed at a moment that is over, worked out from how scores moved and what was declared then. Pure.

Called by the API; the live cluster has the same from its memory.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from loomd.agents.agent import keeps
from loomd.amoeba.blueprint import Blueprint, decode
from loomd.amoeba.world import Score
from loomd.cluster.capability import Ageing, Book, Earlier, all_of
from loomd.cluster.kind import ClusterSpec
from loomd.cluster.retirement import Retired
from loomd.manifest.object import Object, Snapshot
from loomd.store.records import BlueprintRecord, Capability, Descent, Movement


@dataclass(frozen=True)
class Belief:
    """What was believed of an agent in a domain.

    Attributes:
        agent: its name.
        spec: digest of how it behaved.
        domain: the domain.
        score: what was believed, with what time had taken of it by then.
        learned: what was learned, without that; None when nothing was.
        retired: whether it got no new tasks.
    """

    agent: str
    spec: str
    domain: str
    score: Score
    learned: Score | None
    retired: bool


@dataclass(frozen=True)
class Records:
    """What is stored that happened until the moment, oldest first."""

    movements: Sequence[Movement]
    blueprints: Sequence[BlueprintRecord]
    lineage: Sequence[Descent]

    def until(self, at: float) -> "Records":
        """Return what had happened by a moment, in wall-clock seconds."""
        return Records(
            [one for one in self.movements if one.at <= at],
            [one for one in self.blueprints if one.created <= at],
            [one for one in self.lineage if one.at <= at],
        )


@dataclass(frozen=True)
class _Member:
    name: str
    digest: str
    domains: Mapping[str, float]
    locked: frozenset[str] = frozenset()


def beliefs(
    item: Object, snapshot: Snapshot, records: Records, at: float, earlier: Earlier = all_of
) -> Iterator[Belief]:
    """Yield what a cluster believed of its members, by agent and domain.

    Args:
        item: the cluster as it was declared.
        snapshot: all that was declared.
        records: what is stored.
        at: the moment, in wall-clock seconds.
        earlier: returns in which of some ways an agent behaved before a given one.
    """
    spec: ClusterSpec = item.spec
    past = records.until(at)
    learned = _learned(past.movements)
    found = [*_members(item, snapshot, past.blueprints), *_nodes(spec, learned)]
    members = sorted(found, key=lambda one: one.name)
    known: dict[str, list[str]] = {}
    for one in learned:
        known.setdefault(one.agent, []).append(one.spec)
    learned += _lost(records.movements, at, learned)
    rules = spec.learning
    half_life = rules.half_life if rules.reading_of("decay") == "auto" else 0.0
    book = Book(
        [(member.name, member.digest) for member in members],
        learned,
        Ageing(rules.keep, half_life, lambda: at, known, earlier),
    )
    retired = Retired(item.ref.name, [one for one in past.lineage if one.namespace == item.ref.namespace])
    for member in members:
        declared = member.domains or {member.name: spec.priors.described}
        gone = retired.of(member.name, member.digest).active
        for domain in sorted({*book.known(member.name, member.digest), *declared}):
            prior = declared.get(domain, spec.priors.unknown)
            fixed = keeps(member.locked, domain)
            score = Score(prior) if fixed else book.score(member.name, member.digest, domain, prior)
            stored = book.known(member.name, member.digest).get(domain)
            yield Belief(member.name, member.digest, domain, score, stored, gone)


def _learned(movements: Iterable[Movement]) -> list[Capability]:
    """Return the scores that the last movements led to."""
    last: dict[tuple[str, str, str], Capability] = {}
    for one in movements:
        score = Capability(one.agent, one.spec, one.domain, one.after, one.variance, one.count, one.at)
        last[one.agent, one.spec, one.domain] = score
    return list(last.values())


def _lost(movements: Iterable[Movement], at: float, learned: Sequence[Capability]) -> list[Capability]:
    """Return the scores of which nothing is kept until a moment, as the first movement after it found them.

    Of a score that moved since, movements that are old are removed.
    """
    seen = {(one.agent, one.spec, one.domain) for one in learned}
    found: list[Capability] = []
    for one in movements:
        key = (one.agent, one.spec, one.domain)
        if one.at > at and key not in seen:
            seen.add(key)
            if one.count > 1:
                found.append(Capability(*key, one.before, one.variance, one.count - 1, one.at))
    return found


def _members(item: Object, snapshot: Snapshot, blueprints: Sequence[BlueprintRecord]) -> Iterator[_Member]:
    """Yield the members: those that were declared, as they had learned to be, and those that were made or joined."""
    named = [to for pointer, to in item.refs if pointer.startswith("/spec/agent") and to in snapshot.objects]
    declared = {to.name: snapshot.objects[to] for to in named}
    waiting = [to for pointer, to in item.refs if pointer.startswith("/spec/forge/blueprints")]
    reserve = {to.name: snapshot.objects[to] for to in waiting if to in snapshot.objects and to.name not in declared}
    current: dict[str, Blueprint] = {}
    for one in blueprints:
        made = decode(one.body)
        if (one.namespace, made.cluster) == (item.ref.namespace, item.ref.name):
            current.pop(one.name, None)
            if one.state != "pruned":
                current[one.name] = made
    for name in dict.fromkeys([*declared, *current]):
        own, made_from = declared.get(name), current.get(name)
        if made_from is None or (own is not None and made_from.creator != name):
            if own is not None:
                yield _Member(name, snapshot.behaviour(own.ref), own.spec.domains, own.spec.keeps)
        elif (creator := declared.get(made_from.creator) or reserve.get(made_from.creator)) is not None:
            digest = made_from.digest(name, snapshot.behaviour(creator.ref), creator.spec.prompt)
            if name == made_from.creator and "instructions" in creator.spec.keeps:
                digest = snapshot.behaviour(creator.ref)
            same = name == made_from.creator
            locked = creator.spec.keeps if same else frozenset[str]()
            yield _Member(name, digest, creator.spec.domains if same else made_from.domains, locked)


def _nodes(spec: ClusterSpec, learned: Iterable[Capability]) -> Iterator[_Member]:
    """Yield the skills that were members, of those of which something was learned, as they behaved last.

    What a skill says is not kept, so its scores say how it behaved.
    """
    if (nodes := spec.skill_nodes) is None:
        return
    last: dict[str, Capability] = {}
    for one in sorted(learned, key=lambda one: one.updated):
        if one.agent.startswith(f"{nodes.host}+"):
            last[one.agent] = one
    for name, one in last.items():
        skill = name.partition("+")[2]
        locked = frozenset((f"domains.{skill}",)) if spec.keeps_skill(skill) else frozenset[str]()
        yield _Member(name, one.spec, {skill: nodes.prior(skill)}, locked)
