"""What the rest of loomd expects of a store: records that are on disk when a call returns.

One state directory holds one store. Values are JSON, never pickle; secrets never enter it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from loomd.store.learning import Learning
from loomd.store.records import (
    ApprovalRecord,
    Average,
    Capability,
    Charge,
    Commit,
    Extent,
    Learned,
    ObjectRecord,
    RevisionRecord,
    Row,
    ScheduleRecord,
    SessionKey,
    SessionRecord,
    SourceRecord,
    StoredFile,
    TaskRecord,
    Turn,
)


class Store(Protocol):
    """Everything that outlives the process. Every write is durable when the call returns."""

    @property
    def directory(self) -> Path:
        """Return the state directory."""
        ...

    @property
    def broken(self) -> str:
        """Return why nothing is written any more until somebody acts, or an empty string."""
        ...

    def note(self, row: Row) -> int:
        """Queue a row for the next commit and return the sequence number that it has from now on.

        Order is kept: when a row is durable, so is every row noted before it. A row whose (task, key) is already
        stored is skipped by the writer. When a commit fails (disk full), noted rows stay queued for the next one.
        """
        ...

    def charge(self, charge: Charge) -> None:
        """Add to what an agent used on a day, with the next commit.

        It is in one transaction with the rows that are noted in the same moment, and waits like them for a full disk.
        """
        ...

    async def usage(self, day: str) -> list[Charge]:
        """Return what was used on a day, by namespace and agent."""
        ...

    def average(self, average: Average) -> None:
        """Keep a moving average in the place of what it was, with the next commit, as above."""
        ...

    async def averages(self) -> list[Average]:
        """Return all moving averages."""
        ...

    async def durable(self, seq: int) -> None:
        """Wait until the row with this sequence number is on disk; many callers share one commit.

        Raises:
            Temporary: the commit failed; the text says why (disk full, input/output error).
        """
        ...

    async def settled(self) -> None:
        """Return once all that was handed to the store before this call is on disk, or was refused.

        Raises:
            Temporary: the commit failed.
        """
        ...

    async def read(
        self, after: int = 0, task: str = "", limit: int = 1000, tree: bool = False, strict: bool = False
    ) -> list[Row]:
        """Return rows with a sequence number above `after`, in order; of one task when given, or its whole `tree`.

        While noted rows cannot be written this returns what was stored before them, unless it is `strict`.

        Raises:
            Temporary: it is strict and a row that was noted before cannot be written, or nothing can be read now.
        """
        ...

    async def extent(self) -> Extent:
        """Return how far the journal reaches."""
        ...

    async def create_task(self, record: TaskRecord) -> bool:
        """Store a task record and return True; return False, and change nothing, when its id is taken."""
        ...

    async def put_task(self, record: TaskRecord) -> bool:
        """Create or replace a task record; return False, and change nothing, when the one there has a result.

        With the result the questions of the task that nobody answered are closed, in the same transaction.
        """
        ...

    async def get_task(self, task: str) -> TaskRecord | None:
        """Return a task record."""
        ...

    async def list_tasks(
        self,
        unfinished: bool = False,
        namespace: str = "",
        tree: str = "",
        limit: int = 0,
        before: tuple[float, str] | None = None,
    ) -> list[TaskRecord]:
        """Return task records, newest first; all of them unless less is asked for.

        Args:
            unfinished: only those without a result.
            namespace: only those of one namespace.
            tree: only the descendants of this task, without itself.
            limit: most that are returned; 0 for all.
            before: only those that come after this one in the list, by its `created` and its id.
        """
        ...

    async def put_signal(self, task: str, name: str, body: bytes, at: float) -> bool:
        """Store what is sent to a task under a name; return False when something was sent before."""
        ...

    async def get_signal(self, task: str, name: str) -> bytes | None:
        """Return what was sent to a task under a name."""
        ...

    async def ask(self, record: ApprovalRecord) -> ApprovalRecord:
        """Store a question unless it is stored already, and return it as it is stored."""
        ...

    async def decide(
        self, approval: str, decision: bytes, now: Callable[[], float] | None = None
    ) -> ApprovalRecord | None:
        """Store a decision unless there is one; return the question as it is stored, None when there is none.

        By a clock `now` one that has expired when the decision is stored is left as it is.
        """
        ...

    async def get_approval(self, approval: str) -> ApprovalRecord | None:
        """Return a question."""
        ...

    async def list_approvals(self, pending: bool = False) -> list[ApprovalRecord]:
        """Return all questions, newest first; or those that nobody decided, oldest first."""
        ...

    async def converse(self, turn: Turn) -> None:
        """Store a turn of a conversation; one of the same task is replaced."""
        ...

    async def turns(self, key: SessionKey, agent: str = "", limit: int = 0) -> list[Turn]:
        """Return the turns of a conversation, oldest first.

        Args:
            key: the conversation.
            agent: only those with this agent.
            limit: most that are returned, the newest; 0 for all.
        """
        ...

    async def sessions(self, namespace: str = "", session: str = "") -> list[SessionRecord]:
        """Return conversations, the one with the newest turn first.

        Args:
            namespace: only those of one namespace.
            session: only those with this id; each tenant and user may have one.
        """
        ...

    async def forget(self, key: SessionKey) -> bool:
        """Remove all turns of a conversation; return whether there were any. Its tasks stay."""
        ...

    @property
    def learning(self) -> Learning:
        """Return what else was learned: how scores moved, past tasks, blueprints, proposals."""
        ...

    async def learn(self, task: str, change: Learned) -> bool:
        """Store what a task taught, once: a second call with the same task changes nothing and returns False.

        When a commit fails it stays queued for the next one: what is learned later may build on it.
        """
        ...

    async def learned_from(self, task: str) -> bool:
        """Return whether something was stored of what a task taught."""
        ...

    async def capabilities(self) -> list[Capability]:
        """Return all learned scores."""
        ...

    async def sweep(self, before: float, keep: int) -> int:
        """Remove ended tasks, whole trees, and old facts about the system; return how many tasks from outside.

        What is old and belongs to a task of which no record is kept is removed as well.

        Args:
            before: wall-clock seconds; what ended before is removed.
            keep: most ended tasks from outside to keep; the oldest of more are removed.
        """
        ...

    async def commit(self, change: Commit) -> None:
        """Carry out a change in one transaction: all of it is on disk when the call returns, or nothing."""
        ...

    async def revisions(self) -> list[RevisionRecord]:
        """Return the stored revisions, newest first."""
        ...

    async def holders(self, number: int) -> list[str]:
        """Return the names of the sources that have files in a revision."""
        ...

    async def files(self, number: int, source: str | None = None) -> list[StoredFile]:
        """Return the manifest files of all sources in a revision, or of one, ordered by source and path.

        Raises:
            Damaged: the contents of one are not what was stored.
        """
        ...

    async def copies(self, number: int) -> list[StoredFile]:
        """Return what is kept in a revision of the files that objects name; without what is damaged."""
        ...

    async def roots(self) -> set[str]:
        """Return the roots that files of any stored revision have."""
        ...

    async def objects(self) -> list[ObjectRecord]:
        """Return what is known of all objects."""
        ...

    async def sources(self) -> list[SourceRecord]:
        """Return what is known of all sources."""
        ...

    async def keep_schedules(self, records: Sequence[ScheduleRecord], gone: Sequence[str] = ()) -> None:
        """Create or replace what is known of schedules, and forget those that are `gone`, by their uid."""
        ...

    async def schedules(self) -> list[ScheduleRecord]:
        """Return what is known of all schedules."""
        ...

    async def prove(self) -> None:
        """Read something, and write something when a write has failed: it may be possible again.

        Raises:
            Temporary: it cannot be read, or still not be written.
            Damaged: the database is corrupt.
        """
        ...

    async def close(self) -> None:
        """Write what waits and release the state directory."""
        ...
