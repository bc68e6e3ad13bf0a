"""What is believed of the members of a large cluster, in columns: a score that moves changes one number of them.

All of it is worked out as `capability` does it for one member, to the last bit. Called by `standings`.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING

from loomd.agents.agent import Agent
from loomd.amoeba.crowd import Column
from loomd.amoeba.world import Score
from loomd.cluster.capability import Ageing, Book, Priors

if TYPE_CHECKING:
    from loomd.amoeba.crowd import Flags, Floats

_KEPT = 64
"""Domains whose columns are kept, those that were asked for last; one that is asked for anew is put together again."""


class Columns:
    """What is believed of some members; it follows what the book hears until the book is followed by another."""

    def __init__(self, book: Book, agents: Sequence[Agent], priors: Priors) -> None:
        """Begin without any column.

        Args:
            book: the scores.
            agents: the members; a place in a column is one among them.
            priors: what is believed at first.
        """
        self._book = book
        self._agents = agents
        self._unknown = priors.unknown
        self._places = {(agent.name, agent.digest): at for at, agent in enumerate(agents)}
        self._declared: dict[str, dict[int, float]] = {}
        """By domain, and place of who declares it."""
        self._learned: dict[str, set[int]] = {}
        """By domain, places of those who learned something in it."""
        self._domains: dict[str, _Kept] = {}
        highest: list[float] = []
        for at, agent in enumerate(agents):
            declared = agent.domains or {agent.name: priors.described}
            highest.append(max(declared.values()))
            for domain, prior in declared.items():
                self._declared.setdefault(domain, {})[at] = prior
            for domain in book.known(agent.name, agent.digest):
                self._learned.setdefault(domain, set()).add(at)
        whole = [(at, score) for at, agent in enumerate(agents) if (score := self._all_of(agent)) is not None]
        self._overall = _Kept(highest, whole)
        book.follow(self.take)

    def of(self, domain: str) -> Column:
        """Return what is believed of each in a domain now."""
        kept = self._domains.pop(domain, None)
        if kept is None:
            kept = _Kept(self._priors(domain), self._known(domain))
            if len(self._domains) >= _KEPT:
                del self._domains[next(iter(self._domains))]
        self._domains[domain] = kept
        return kept.now(self._book.ageing)

    @property
    def overall(self) -> Column:
        """Return what is believed of each over all domains now."""
        return self._overall.now(self._book.ageing)

    def take(self, agent: str, spec: str, domain: str, score: Score) -> None:
        """Take over what an agent as it behaves has learned in a domain."""
        at = self._places.get((agent, spec))
        if at is None:
            return
        self._learned.setdefault(domain, set()).add(at)
        if self._agents[at].keeps(domain):
            return
        if (kept := self._domains.get(domain)) is not None:
            kept.put(at, score, self._book.ageing)
        self._overall.put(at, self._all_of(self._agents[at]), self._book.ageing)

    def _priors(self, domain: str) -> list[float]:
        priors = [self._unknown] * len(self._agents)
        for at, score in self._declared.get(domain, {}).items():
            priors[at] = score
        return priors

    def _known(self, domain: str) -> Iterator[tuple[int, Score]]:
        """Yield what was learned in a domain, where no person locked what is believed."""
        for at in self._learned.get(domain, ()):
            agent = self._agents[at]
            if not agent.keeps(domain):
                yield at, self._book.known(agent.name, agent.digest)[domain]

    def _all_of(self, agent: Agent) -> Score | None:
        """Return what an agent learned over all domains; None when it is nothing."""
        return self._book.learned(agent.name, agent.digest, agent.keeps if agent.locked else None)


class _Kept:
    """A column: what is believed at first, what was learned, and what time has left of it."""

    def __init__(self, priors: Sequence[float], learned: Iterable[tuple[int, Score]]) -> None:
        import numpy as np  # noqa: PLC0415  # loaded with the first crowd

        self._prior: Floats = np.array(priors, np.float64)
        size = len(priors)
        self._learned = Column(self._prior.copy(), np.zeros(size), np.zeros(size, np.int64), np.zeros(size))
        self._known: Flags = np.zeros(size, np.bool_)
        for at, score in learned:
            self._learned.put(at, score)
            self._known[at] = True
        self._read: tuple[float, Column] | None = None

    def put(self, at: int, learned: Score | None, ageing: Ageing) -> None:
        """Take over what was learned of the member at a place; what was handed out stays as it is."""
        prior = float(self._prior[at])
        score = Score(prior) if learned is None else learned
        self._known[at] = learned is not None
        self._learned.put(at, score)
        if self._read is not None:
            when, column = self._read
            column = column.copy()
            column.put(at, score if learned is None else ageing.aged(score, prior))
            self._read = when, column

    def now(self, ageing: Ageing) -> Column:
        """Return what is left of it; it is worked out anew when time may have taken something since."""
        moment, now = ageing.moment, ageing.now()
        if self._read is None or not 0 <= now - self._read[0] <= moment:
            self._read = now, self._aged(ageing, now)
        return self._read[1]

    def _aged(self, ageing: Ageing, now: float) -> Column:
        """Return what is left of the scores, as `Ageing.aged` says of each."""
        import numpy as np  # noqa: PLC0415  # as above

        left, prior = self._learned.copy(), self._prior
        ages = now - left.updated
        old = ((ages > ageing.moment) & self._known).nonzero()[0]
        if len(old):
            halves = (ages[old] / ageing.half_life).tolist()
            shares = np.fromiter(map(pow, repeat(0.5), halves), np.float64, len(old))  # that of numpy rounds otherwise
            left.mean[old] = prior[old] + shares * (left.mean[old] - prior[old])
            left.count[old] = np.rint(left.count[old] * shares)
        return left
