"""What is believed of the agents: learned scores, and the prior where nothing was learned yet.

Scores belong to (agent, digest of its behaviour, domain): an agent whose prompt or model was edited starts from what it
had learned before, which counts less. What no task renews goes back toward the prior by and by; that is worked out when
it is read, and never stored. Every book hears of every update through the bus, so that clusters that share an agent
agree.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from loomd.amoeba.world import Score
from loomd.events.cluster import CapabilityMerged, CapabilityUpdated
from loomd.events.event import Event
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Share
from loomd.store.records import Capability

Key = tuple[str, str, str]
_Member = tuple[str, str]
"""An agent, the digest of how it behaves, and a domain."""

_MOVED = (CapabilityUpdated, CapabilityMerged)
"""The facts that say how a score moved."""
_MOMENT = 1e-6
"""Share of the half-life in which what is believed is not worked out anew."""


class Priors(Spec):
    """What is believed of an agent before anything was learned."""

    unknown: Share = 0.3
    """Score of an agent in a domain that it does not declare."""
    described: Share = 0.6
    """Score of an agent that declares no domains in the domain that its own description stands for."""


def _never() -> float:
    return 0.0


Earlier = Callable[[str, str, Iterable[str]], Iterable[str]]
"""Returns those of some digests of an agent that came before a given one."""


def all_of(agent: str, spec: str, others: Iterable[str]) -> Iterable[str]:
    """Return all of them."""
    del agent, spec
    return others


@dataclass(frozen=True)
class Ageing:
    """What becomes of scores by an edit, and by time.

    Attributes:
        keep: share of the tasks behind a score that counts after an edit; with 0 nothing is taken over.
        half_life: seconds after which a score is half the way back at its prior; 0 for never.
        now: returns wall-clock seconds.
        known: digests of how each agent behaved before, in this namespace, by its name.
        earlier: returns those of some digests of an agent that came before a given one.
    """

    keep: float = 0.0
    half_life: float = 0.0
    now: Callable[[], float] = _never
    known: Mapping[str, Collection[str]] = field(default_factory=dict[str, Collection[str]])
    earlier: Earlier = all_of

    @cached_property
    def moment(self) -> float:
        """Return for how many seconds nothing is taken of a score; endless where time takes nothing."""
        return self.half_life * _MOMENT if self.half_life > 0 else math.inf

    def aged(self, score: Score, prior: float) -> Score:
        """Return what is left of a score now: its distance from the prior and its count, halved each half-life.

        Of a score that was renewed within a moment all is left.
        """
        age = self.now() - score.updated
        if age <= self.moment:
            return score
        left = 0.5 ** (age / self.half_life)
        mean, count = prior + left * (score.mean - prior), round(score.count * left)
        return Score(mean, score.variance, count, score.updated)

    def inherited(self, agent: str, spec: str, learned: Sequence[Capability]) -> list[Capability]:
        """Return what an agent takes over from how it behaved before, in domains in which it learned nothing since."""
        others = set(self.known.get(agent, ())) - {spec} if self.keep else set[str]()
        before = set(self.earlier(agent, spec, others))
        own = {one.domain for one in learned if (one.agent, one.spec) == (agent, spec)}
        latest: dict[str, Capability] = {}
        for one in sorted(learned, key=lambda one: one.updated):
            if one.agent == agent and one.spec in before and one.domain not in own:
                latest[one.domain] = msgspec.structs.replace(one, spec=spec, count=int(one.count * self.keep))
        return list(latest.values())


Follower = Callable[[str, str, str, Score], None]
"""Takes over what an agent, with the digest of how it behaves, has learned in a domain."""
_AGELESS = Ageing()
_NONE = Score(0.0)


@dataclass(slots=True)
class _Learned:
    """What an agent has learned as it behaves, and what is worked out of it."""

    scores: dict[str, Score] = field(default_factory=dict[str, Score])
    """By domain."""
    total: float = 0.0
    count: int = 0
    moved: float = 0.0
    read: "tuple[float, tuple[object, ...], Believed] | None" = None
    """When it was asked last what is believed of it, what was asked, and the answer; None once it learned more."""

    def whole(self, fixed: Callable[[str], bool] | None = None) -> Score | None:
        """Return what it has learned over all domains that are not left out; None when it is nothing."""
        total, count, updated = self.total, self.count, self.moved
        if fixed is not None:
            learned = [one for domain, one in self.scores.items() if not fixed(domain)]
            total, count = sum(one.mean * one.count for one in learned), sum(one.count for one in learned)
            updated = max((one.updated for one in learned), default=0.0)
        return Score(total / count, count=count, updated=updated) if count else None


class Believed(NamedTuple):
    """What is believed of an agent in some domains, and over all of them.

    Attributes:
        scores: beliefs by domain.
        overall: belief over all domains in which it has learned.
    """

    scores: Mapping[str, Score]
    overall: Score


class Stored:
    """The scores of some agents however they behaved, as they are stored, and in which ways they behaved.

    Attributes:
        ways: digests of how each agent behaved in the namespace.
    """

    def __init__(
        self, namespace: str, learned: Iterable[Capability], behaviours: Mapping[str, Collection[str]]
    ) -> None:
        """Take over what is stored."""
        self.ways = {name: set(digests) for name, digests in behaviours.items()}
        self._namespace = namespace
        self._scores = {(one.agent, one.spec, one.domain): one for one in learned}

    def hear(self, event: Event) -> None:
        """Take over an update that was carried out; a handler for the bus."""
        fact = event.data
        if isinstance(fact, _MOVED):
            score = Capability(fact.owner, fact.spec, fact.domain, fact.after, fact.variance, fact.count, event.ts)
            self._scores[fact.owner, fact.spec, fact.domain] = score
            if event.namespace == self._namespace:
                self.ways.setdefault(fact.owner, set()).add(fact.spec)

    def of(self, agent: str) -> list[Capability]:
        """Return the scores of an agent."""
        return [one for one in self._scores.values() if one.agent == agent]


class Book:
    """The scores of some agents as they behave now, in memory; the store keeps those of all."""

    def __init__(
        self, members: Iterable[tuple[str, str]], learned: Sequence[Capability], ageing: Ageing = _AGELESS
    ) -> None:
        """Take over what was learned of the members: names of agents with the digests of their behaviour."""
        self.ageing = ageing
        self._members: dict[_Member, _Learned] = {}
        self._follower: Follower | None = None
        for agent, spec in members:
            self.admit(agent, spec, learned)

    def follow(self, follower: Follower) -> None:
        """Call somebody, in the place of whom it was before, with every score that is taken over from now on."""
        self._follower = follower

    def admit(self, agent: str, spec: str, learned: Sequence[Capability]) -> None:
        """Take over what was learned of an agent that becomes a member, or behaves otherwise from now on.

        Args:
            agent: its name.
            spec: digest of how it behaves.
            learned: scores of it and others, of whatever behaviour.
        """
        self._members.setdefault((agent, spec), _Learned())
        mine = [one for one in learned if (one.agent, one.spec) == (agent, spec)]
        for c in [*self.ageing.inherited(agent, spec, learned), *mine]:
            self._put((c.agent, c.spec), c.domain, Score(c.score, c.variance, c.count, c.updated))

    def hear(self, event: Event) -> None:
        """Take over an update that was carried out; a handler for the bus."""
        fact = event.data
        if isinstance(fact, _MOVED):
            score = Score(fact.after, fact.variance, fact.count, event.ts)
            self._put((fact.owner, fact.spec), fact.domain, score)

    def merged(self, origin: Key, before: Score) -> Score | None:
        """Return what is believed of an agent with what another one had learned, which counts as after an edit.

        Means are weighted by the tasks behind them, what was believed at first as one; the variance is that of both
        together. None when the other one had learned nothing that counts.

        Args:
            origin: the score that is added.
            before: what is believed of the agent in that domain now.
        """
        agent, spec, domain = origin
        added = self.known(agent, spec).get(domain)
        if added is None or not added.count or not self.ageing.keep:
            return None
        count = added.count * self.ageing.keep
        whole, total = before.count + 1, before.count + 1 + count
        mean = (whole * before.mean + count * added.mean) / total
        spread = whole * (before.variance + before.mean**2) + count * (added.variance + added.mean**2)
        return Score(mean, max(0.0, spread / total - mean**2), before.count + round(count))

    def _put(self, key: _Member, domain: str, score: Score) -> None:
        member = self._members.get(key)
        if member is None:
            return
        old = member.scores.get(domain, _NONE)
        member.total += score.mean * score.count - old.mean * old.count
        member.count += score.count - old.count
        member.moved = max(score.updated, member.moved)
        member.scores[domain] = score
        member.read = None
        if self._follower is not None:
            self._follower(*key, domain, score)

    def known(self, agent: str, spec: str) -> Mapping[str, Score]:
        """Return the learned scores of an agent by domain, without what time took of them."""
        return self._members.get((agent, spec), _NOTHING).scores

    def score(self, agent: str, spec: str, domain: str, prior: float) -> Score:
        """Return what is believed of an agent in a domain."""
        known = self.known(agent, spec).get(domain)
        return Score(prior) if known is None else self.ageing.aged(known, prior)

    def overall(self, agent: str, spec: str, prior: float, fixed: Callable[[str], bool] | None = None) -> Score:
        """Return what is believed of an agent over all domains, weighted by the number of tasks.

        Args:
            agent: its name.
            spec: digest of how it behaves.
            prior: what is believed when nothing was learned.
            fixed: returns whether what was learned in a domain is left out; None leaves nothing out.
        """
        learned = self.learned(agent, spec, fixed)
        return Score(prior) if learned is None else self.ageing.aged(learned, prior)

    def learned(self, agent: str, spec: str, fixed: Callable[[str], bool] | None = None) -> Score | None:
        """Return what an agent has learned over all domains, without what time took of it; None when it is nothing.

        Args:
            agent: its name.
            spec: digest of how it behaves.
            fixed: as in `overall`.
        """
        return self._members.get((agent, spec), _NOTHING).whole(fixed)

    def believed(
        self, agent: str, spec: str, domains: Sequence[str], declared: Mapping[str, float], unknown: float
    ) -> Believed:
        """Return what is believed of an agent, in some domains and over all.

        It is asked for every member with every task, so what was worked out last is kept until the agent has learned
        more, or for a millionth of the half-life, in which time takes less than a millionth of a score. Policies see
        it, so it cannot be changed.

        Args:
            agent: its name.
            spec: digest of how it behaves.
            domains: the domains.
            declared: what is believed of it before anything was learned, by domain.
            unknown: the same in a domain that is not declared.
        """
        member, now = self._members.get((agent, spec), _NOTHING), self.ageing.now()
        asked = (domains, declared, unknown)
        if (read := member.read) is not None and read[1] == asked and 0 <= now - read[0] <= self.ageing.moment:
            return read[2]
        scores: dict[str, Score] = {}
        for domain in domains:
            prior, known = declared.get(domain, unknown), member.scores.get(domain)
            scores[domain] = Score(prior) if known is None else self.ageing.aged(known, prior)
        prior, learned = max(declared.values()), member.whole()
        overall = Score(prior) if learned is None else self.ageing.aged(learned, prior)
        found = Believed(MappingProxyType(scores), overall)
        if member is not _NOTHING:
            member.read = now, asked, found
        return found

    def table(self) -> Mapping[Key, Score]:
        """Return all learned scores, without what time took of them."""
        return {
            (*member, domain): score
            for member, known in self._members.items()
            for domain, score in known.scores.items()
        }


_NOTHING = _Learned()
"""What somebody has learned who is no member."""
