"""How much work each agent has in hand: tasks from the moment they are its, and what other agents ask of it.

Kept for the whole process, so that clusters that share an agent agree, and a new revision of it goes on with its load.
"""

from collections.abc import Generator
from contextlib import contextmanager


class Loads:
    """Counts the work of agents, by namespace and name."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}

    def of(self, namespace: str, agent: str) -> int:
        """Return how many pieces of work an agent has in hand, those included that wait for something."""
        return self._counts.get((namespace, agent), 0)

    @contextmanager
    def bearing(self, namespace: str, agent: str) -> Generator[None]:
        """Count one more piece of work of an agent, as long as the context lasts."""
        key = (namespace, agent)
        self._counts[key] = self._counts.get(key, 0) + 1
        try:
            yield
        finally:
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]
