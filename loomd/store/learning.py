"""What learning expects of a store beside the scores: how they moved, past tasks, and what came of all that.

What a task teaches is written by `Store.learn`, once; what nobody's task teaches by `change`. Every write is one
transaction, on disk when the call returns.
"""

from collections.abc import Callable
from typing import Protocol

from loomd.store.records import (
    BlueprintRecord,
    Descent,
    Experience,
    Learned,
    Lesson,
    Movement,
    ProposalRecord,
)


class Learning(Protocol):
    """What was learned; reached as `Store.learning`."""

    async def change(self, change: Learned) -> None:
        """Store what no task taught: decay, a proposal that a person agreed to, a blueprint that is pruned."""
        ...

    async def movements(self, agent: str = "", after: int = 0, limit: int = 1000) -> list[Movement]:
        """Return how scores moved, oldest first: of one agent when given, with numbers above `after`."""
        ...

    async def experience(
        self,
        namespace: str,
        cluster: str,
        embedder: str = "",
        limit: int = 10_000,
        owner: tuple[str, str] | None = None,
    ) -> list[Experience]:
        """Return the tasks that a cluster learned from, newest first.

        Args:
            namespace: of the cluster.
            cluster: its name.
            embedder: only those of which the embedder of this fingerprint made a vector; all when empty.
            limit: most that are returned.
            owner: only those of a tenant and one of its users, each empty for those without one; all when None.
        """
        ...

    async def experienced(self, namespace: str, cluster: str) -> set[str]:
        """Return the ids of all tasks that a cluster learned from, whatever embedder they were compared by."""
        ...

    async def trim(self, namespace: str, cluster: str, keep: int) -> int:
        """Remove all but the newest `keep` tasks that a cluster learned from; return how many."""
        ...

    async def forget(self, namespace: str, tenant: str | None, user: str | None = None, cluster: str = "") -> int:
        """Remove tasks from what was learned, and return how many. Scores and averages stay.

        Args:
            namespace: of the clusters.
            tenant: whose they were, empty for those without one; None for all.
            user: which of its users' they were, alike.
            cluster: of which cluster; of all of the namespace when empty.
        """
        ...

    async def lessons(self, namespace: str, agent: str, spec: str, limit: int = 100) -> list[Lesson]:
        """Return the last rewards of an agent as it behaves with one digest, newest first."""
        ...

    async def behaviours(self, namespace: str) -> dict[str, list[str]]:
        """Return the digests of how each agent behaved of which a reward is kept, by its name, the latest first."""
        ...

    async def blueprints(self, namespace: str = "") -> list[BlueprintRecord]:
        """Return all versions of all blueprints, by namespace, name and version; of one namespace when given."""
        ...

    async def proposal(self, name: str) -> ProposalRecord | None:
        """Return a proposal."""
        ...

    async def proposals(self, namespace: str = "", pending: bool = False) -> list[ProposalRecord]:
        """Return proposals, newest first: of one namespace when given, only those that nobody decided when pending."""
        ...

    async def decide(
        self, name: str, decision: bytes, now: Callable[[], float] | None = None, change: Learned | None = None
    ) -> ProposalRecord | None:
        """Store a decision unless there is one; return the proposal as it is stored, None when there is none.

        By a clock `now` one that has expired when the decision is stored is left as it is. What the decision changes is
        stored with it, in one transaction, so that it is carried out once. When a commit fails it stays queued for the
        next one: what is decided is told by then.
        """
        ...

    async def lineage(self, namespace: str = "", agent: str = "") -> list[Descent]:
        """Return where agents came from, oldest first: of one namespace when given, with one as child or parent."""
        ...
