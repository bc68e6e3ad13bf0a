"""How much work each agent has in hand: tasks from the moment they are its, and what other agents ask of it.

Kept for the whole process, so that clusters that share an agent agree, and a new revision of it goes on with its load.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

_NOBODY: Mapping[str, int] = MappingProxyType({})


class Loads:
    """Counts the work of agents, by namespace and name."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, int]] = {}

    def of(self, namespace: str, agent: str) -> int:
        """Return how many pieces of work an agent has in hand, those included that wait for something."""
        return self.now(namespace).get(agent, 0)

    def now(self, namespace: str) -> Mapping[str, int]:
        """Return the same of all agents of a namespace that have any."""
        return self._counts.get(namespace, _NOBODY)

    @contextmanager
    def bearing(self, namespace: str, agent: str) -> Generator[None]:
        """Count one more piece of work of an agent, as long as the context lasts."""
        counts = self._counts.setdefault(namespace, {})
        counts[agent] = counts.get(agent, 0) + 1
        try:
            yield
        finally:
            counts[agent] -= 1
            if not counts[agent]:
                del counts[agent]
