"""What is believed of the agents: learned scores, and the prior where nothing was learned yet.

Scores belong to (agent, digest of its behaviour, domain): an agent whose prompt or model was edited starts from its
prior again. Every book hears of every update through the bus, so that clusters that share an agent agree.
"""

from collections.abc import Iterable, Mapping, Sequence

from loomd.amoeba.world import Score
from loomd.events.cluster import CapabilityUpdated
from loomd.events.event import Event
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Share
from loomd.store.records import Capability

Key = tuple[str, str, str]


class Priors(Spec):
    """What is believed of an agent before anything was learned."""

    unknown: Share = 0.3
    """Score of an agent in a domain that it does not declare."""
    described: Share = 0.6
    """Score of an agent that declares no domains in the domain that its own description stands for."""


class Book:
    """The scores of some agents as they behave now, in memory; the store keeps those of all."""

    def __init__(self, members: Iterable[tuple[str, str]], learned: Sequence[Capability]) -> None:
        """Take over what was learned of the members: names of agents with the digests of their behaviour."""
        self._scores: dict[Key, Score] = {}
        self._totals: dict[tuple[str, str], tuple[float, int]] = dict.fromkeys(members, (0.0, 0))
        for c in learned:
            self._put((c.agent, c.spec, c.domain), Score(c.score, c.variance, c.count))

    def admit(self, agent: str, spec: str, learned: Sequence[Capability]) -> None:
        """Take over what was learned of an agent that becomes a member, or behaves otherwise from now on."""
        self._totals.setdefault((agent, spec), (0.0, 0))
        for c in learned:
            self._put((c.agent, c.spec, c.domain), Score(c.score, c.variance, c.count))

    def hear(self, event: Event) -> None:
        """Take over an update that was carried out; a handler for the bus."""
        fact = event.data
        if isinstance(fact, CapabilityUpdated):
            self._put((fact.owner, fact.spec, fact.domain), Score(fact.after, fact.variance, fact.count))

    def _put(self, key: Key, score: Score) -> None:
        if key[:2] not in self._totals:
            return
        old = self._scores.get(key, Score(0.0))
        total, count = self._totals[key[:2]]
        self._totals[key[:2]] = (
            total + score.mean * score.count - old.mean * old.count,
            count + score.count - old.count,
        )
        self._scores[key] = score

    def score(self, agent: str, spec: str, domain: str, prior: float) -> Score:
        """Return what is believed of an agent in a domain."""
        return self._scores.get((agent, spec, domain)) or Score(prior)

    def overall(self, agent: str, spec: str, prior: float) -> Score:
        """Return what is believed of an agent over all domains, weighted by the number of tasks."""
        total, count = self._totals.get((agent, spec), (0.0, 0))
        return Score(total / count, count=count) if count else Score(prior)

    def table(self) -> Mapping[Key, Score]:
        """Return all learned scores."""
        return dict(self._scores)
