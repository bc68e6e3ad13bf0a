"""In which order an agent behaved in its ways, so that one comes back with what it began with. Called by `cluster`.

What an agent takes over from how it behaved before is worked out, and not stored. So it is kept when it behaved so for
the first time: a way that did no task of its own takes over from those before it alone, whatever came later.
"""

from collections.abc import Iterable, Mapping

from loomd.store.records import Average
from loomd.topology import Services

_LEAST = 1e-6
"""Seconds between two ways at least."""


class Behaviours:
    """When the agents of a namespace behaved in each way for the first time."""

    def __init__(self, namespace: str, services: Services) -> None:
        """Keep it beside what else is averaged, for all clusters of the namespace."""
        self._namespace = namespace
        self._services = services

    def earlier(self, agent: str, spec: str, others: Iterable[str]) -> set[str]:
        """Return those of some ways in which an agent behaved before it behaved in this one, which is noted."""
        known = self._known(agent)
        if spec not in known:
            at = max([self._services.clock.now(), *(one.value + _LEAST for one in known.values())])
            own = Average(self._subject(agent), spec, at, 1, at)
            self._services.averages.take(own)
            self._services.store.average(own)
        return self.before(agent, spec, others)

    def before(self, agent: str, spec: str, others: Iterable[str]) -> set[str]:
        """Return the same, and note nothing: before a way of which nothing is known came all others."""
        known = self._known(agent)
        own = known.get(spec)
        return {one for one in others if own is None or one not in known or known[one].value < own.value}

    def _known(self, agent: str) -> Mapping[str, Average]:
        return self._services.averages.of(self._subject(agent))

    def _subject(self, agent: str) -> str:
        return f"behaviour {self._namespace}/{agent}"
