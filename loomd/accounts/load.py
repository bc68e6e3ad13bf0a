"""How much work each agent has in hand: tasks from the moment they are its, and what other agents ask of it.

Kept for the whole process, so that clusters that share an agent agree, and a new revision of it goes on with its load.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
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

    def bearing(self, namespace: str, agent: str) -> AbstractContextManager[None]:
        """Count one more piece of work of an agent, as long as the context lasts."""
        return _Bearing(self._counts.setdefault(namespace, {}), agent)


class _Bearing:
    """One piece of work in hand."""

    __slots__ = ("_agent", "_counts")

    def __init__(self, counts: dict[str, int], agent: str) -> None:
        self._counts = counts
        self._agent = agent

    def __enter__(self) -> None:
        self._counts[self._agent] = self._counts.get(self._agent, 0) + 1

    def __exit__(self, *failure: object) -> None:
        left = self._counts[self._agent] - 1
        if left:
            self._counts[self._agent] = left
        else:
            del self._counts[self._agent]
