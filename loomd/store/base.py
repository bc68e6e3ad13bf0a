"""What the rest of loomd expects of a store: records that are on disk when a call returns.

One state directory holds one store. Values are JSON, never pickle; secrets never enter it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the journal.

    Attributes:
        task: id of the task, or empty for facts about the system.
        type: the event's type.
        body: the whole event as JSON.
        key: stable key of a checkpoint (`phase/sense`, `step/execute/0`), or empty for a plain fact; a key is
            stored at most once per task.
        seq: place in the journal, set by the store.
    """

    task: str
    type: str
    body: bytes
    key: str = ""
    seq: int = 0


class Capability(msgspec.Struct, frozen=True):
    """What was learned of an agent: exponential moving average of its reward in a domain.

    `spec` is the digest of the agent's behaviour, `variance` the moving variance, `updated` wall-clock seconds.
    """

    agent: str
    spec: str
    domain: str
    score: float
    variance: float
    count: int
    updated: float


class TaskRecord(msgspec.Struct, frozen=True):
    """A task as the store knows it; `body` and `result` are JSON, `result` empty until the task ended."""

    id: str
    namespace: str
    cluster: str
    phase: str
    body: bytes
    result: bytes = b""
    created: float = 0.0


class StoredFile(msgspec.Struct, frozen=True):
    """A manifest file as it was applied: its source, the root of relative paths, its path below it, its bytes."""

    source: str
    root: str
    path: str
    data: bytes


class Store(Protocol):
    """Everything that outlives the process. Every write is durable when the call returns."""

    @property
    def directory(self) -> Path:
        """Return the state directory."""
        ...

    def note(self, row: Row) -> int:
        """Queue a row for the next commit and return the sequence number that it has from now on.

        Order is kept: when a row is durable, so is every row noted before it. A row whose (task, key) is already
        stored is skipped by the writer. When a commit fails (disk full), noted rows stay queued for the next one.
        """
        ...

    async def durable(self, seq: int) -> None:
        """Wait until the row with this sequence number is on disk; many callers share one commit.

        Raises:
            Temporary: the commit failed; the text says why (disk full, input/output error).
        """
        ...

    async def read(self, after: int = 0, task: str = "", limit: int = 1000, tree: bool = False) -> list[Row]:
        """Return rows with a sequence number above `after`, in order; of one task when given, or its whole `tree`."""
        ...

    async def put_task(self, record: TaskRecord) -> None:
        """Create or replace a task record."""
        ...

    async def get_task(self, task: str) -> TaskRecord | None:
        """Return a task record."""
        ...

    async def list_tasks(self, unfinished: bool = False) -> list[TaskRecord]:
        """Return all task records, newest first; only those without a result when asked."""
        ...

    async def learn(self, task: str, scores: Sequence[Capability]) -> bool:
        """Store scores, once per task: a second call with the same task changes nothing and returns False."""
        ...

    async def capabilities(self) -> list[Capability]:
        """Return all learned scores."""
        ...

    async def save_files(self, source: str, files: Sequence[StoredFile], revision: str) -> None:
        """Replace the last known good set of one source."""
        ...

    async def load_files(self) -> list[StoredFile]:
        """Return the last known good files of all sources."""
        ...

    async def close(self) -> None:
        """Write what waits and release the state directory."""
        ...
