"""Which agents of a cluster get no new tasks for a while, and when they get some again. Called by `cluster`.

What is decided here are proposals to ADAPT, which records and carries them out like a move of a score. A retirement
belongs to how the agent behaved: an edit of that ends it.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from loomd.amoeba.decision import Decision, Retirement, Revival
from loomd.amoeba.learning import Retire
from loomd.cluster.health import Member, Vitals
from loomd.store.records import Descent

_RETIRED = "retired from "
_REVIVED = "revived in "
_EDITED = "it is another one since an edit, which ends its time without tasks"


@dataclass(frozen=True)
class Ward:
    """A member as it is decided on.

    Attributes:
        agent: its name.
        spec: digest of how it behaves.
        declared: whether a person declared it.
        domains: what it declares to be good at.
        vitals: how it does.
        locked: whether a person locked its health, there or in the cluster.
        free: whether it is let go, and not retired.
    """

    agent: str
    spec: str
    declared: bool
    domains: frozenset[str]
    vitals: Vitals
    locked: bool = False
    free: bool = False


@dataclass(frozen=True)
class Record:
    """What is known of the retirements of an agent as it behaves: how often, the last time, and when it was revived."""

    times: int = 0
    retired: float = 0.0
    revived: float = 0.0

    @property
    def active(self) -> bool:
        """Return whether it is retired."""
        return self.retired > self.revived

    def until(self, spec: Retire) -> float:
        """Return when its retirement ends, in wall-clock seconds."""
        return self.retired + cool_down(spec, self.times)


_NONE = Record()


class Retired:
    """Who is and was retired from a cluster."""

    def __init__(self, cluster: str, lineage: Sequence[Descent] = ()) -> None:
        """Take over what is stored."""
        self._records: dict[Member, Record] = {}
        self._silent: dict[Member, float] = {}
        self._names = (f"{_RETIRED}{cluster}", f"{_REVIVED}{cluster}")
        self._last = 0.0
        for one in lineage:
            if one.how == self._names[0]:
                self.retire(one.child, one.parent, one.at)
            elif one.how == self._names[1]:
                self.revive(one.child, one.parent, one.at)
        self._mine = set(self._records)
        """Whose retirement an edit here may have ended: who was retired before, and who is or was a member."""

    @property
    def anyone(self) -> bool:
        """Return whether an agent is retired."""
        return any(record.active for record in self._records.values())

    def over(self, spec: Retire, now: float) -> Collection[Member]:
        """Return whose retirement is over, at wall-clock seconds, and not ended yet."""
        return {one for one, record in self._records.items() if record.active and record.until(spec) <= now}

    def of(self, agent: str, spec: str) -> Record:
        """Return what is known of an agent as it behaves."""
        return self._records.get((agent, spec), _NONE)

    def retire(self, agent: str, spec: str, at: float) -> None:
        """Take over that an agent was retired, at wall-clock seconds; what is known already changes nothing.

        What comes later is later, also when the clock was set back.
        """
        before = self.of(agent, spec)
        if not before.active:
            since = max(at, math.nextafter(before.revived, math.inf))
            self._records[agent, spec] = Record(before.times + 1, since, before.revived)
            self._silent.pop((agent, spec), None)
            self._last = max(self._last, at)

    def revive(self, agent: str, spec: str, at: float) -> None:
        """Take over that an agent gets tasks again."""
        before = self.of(agent, spec)
        self._records[agent, spec] = Record(before.times, before.retired, max(at, before.retired))

    def kept(self, spec: Retire, one: Ward, wards: Sequence[Ward]) -> str:
        """Return why a member is not retired however badly it does, or an empty string."""
        return _kept(spec, one, self._open(wards))

    def _open(self, wards: Sequence[Ward]) -> list[Ward]:
        return [one for one in wards if not self.of(one.agent, one.spec).active]

    def admit(self, agent: str, spec: str) -> None:
        """Take over that an agent is a member, so that it is an edit when it behaves otherwise later."""
        self._mine.add((agent, spec))

    def hush(self, agent: str, spec: str, until: float) -> None:
        """Decide nothing about an agent until then: people are asked, or it was recorded and not done."""
        self._silent[agent, spec] = until

    def descent(self, decision: Retirement | Revival, namespace: str, task: str, at: float) -> Descent:
        """Return what is stored of a decision."""
        how = self._names[0] if isinstance(decision, Retirement) else self._names[1]
        return Descent(namespace, decision.agent, decision.spec, how, task, at)

    def due(self, spec: Retire, wards: Sequence[Ward], now: float, *, serves: bool = True) -> list[Decision]:
        """Return who gets tasks again, also by an edit, and who none any more: one agent at most.

        Args:
            spec: by which numbers.
            wards: the members.
            now: wall-clock seconds.
            serves: whether the cluster serves; one of an old revision, which tasks hold, says nothing of edits, because
                its members are those of before.
        """
        found = list(self._stale({one.agent: one.spec for one in wards})) if serves else list[Decision]()
        for one in wards:
            record = self.of(one.agent, one.spec)
            if record.active and now >= record.until(spec):
                reason = f"its {_ordinal(record.times)}time without tasks is over, and it is on probation"
                found.append(Revival(one.agent, one.spec, reason))
        if now - self._last < spec.every and self._last:
            return found
        open_ = self._open(wards)
        ill = [
            one
            for one in open_
            if one.vitals.health == "dying"
            and now >= self._silent.get((one.agent, one.spec), 0.0)
            and not _kept(spec, one, open_)
        ]
        if ill:
            worst = min(ill, key=lambda one: (one.vitals.mean, one.agent))
            until = now + cool_down(spec, self.of(worst.agent, worst.spec).times + 1)
            found.append(Retirement(worst.agent, worst.spec, until, worst.vitals.reason))
        return found

    def _stale(self, present: Mapping[str, str]) -> Iterator[Decision]:
        """Yield the ends of retirements of agents that are other ones by now.

        What an old revision retires while this one serves is that one's: it behaves as before there.
        """
        for agent, spec in sorted(self._mine):
            if self.of(agent, spec).active and present.get(agent, spec) != spec:
                yield Revival(agent, spec, _EDITED)


def cool_down(spec: Retire, times: int) -> float:
    """Return for how many seconds an agent is retired that is retired for the so many-th time."""
    return min(spec.max_cool_down, spec.cool_down * spec.backoff ** min(times - 1, 64))


def _kept(spec: Retire, one: Ward, open_: Sequence[Ward]) -> str:
    """Return why an agent is not retired however badly it does, or an empty string."""
    if one.locked:
        return "`locked` of it or of its cluster says so"
    if one.free:
        return "it is let go when it does badly"
    if one.declared and not spec.declared:
        return "a person declared it"
    if one.vitals.samples < spec.samples:
        return f"{one.vitals.samples} tasks say too little"
    if len(open_) <= spec.min_agents:
        return f"the cluster keeps {spec.min_agents} agents"
    others: Mapping[str, int] = {
        domain: sum(domain in other.domains for other in open_ if other is not one) for domain in one.domains
    }
    alone = [domain for domain, count in others.items() if not count]
    return f"nobody else does {', '.join(alone)}" if alone else ""


def _ordinal(times: int) -> str:
    return "" if times <= 1 else f"{times}. "
