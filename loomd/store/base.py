"""What the rest of loomd expects of a store: records that are on disk when a call returns.

One state directory holds one store. Values are JSON, never pickle; secrets never enter it.
"""

from collections.abc import Callable, Sequence
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


class Extent(msgspec.Struct, frozen=True):
    """How far the journal reaches.

    `last` is the newest number that was given out; of the rows up to `trimmed` some were removed, 0 for none.
    """

    last: int
    trimmed: int = 0


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


class Charge(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an agent used: in one call, or in a day.

    Attributes:
        namespace: of the agent.
        agent: its name.
        day: `2026-11-30`, in UTC.
        input: tokens of requests, those from a cache included.
        output: tokens of answers.
        cached: those of `input` that came from a cache.
        cost: USD.
        calls: model calls.
        tool_calls: tool calls.
        seconds: that the calls took.
    """

    namespace: str
    agent: str
    day: str = ""
    input: int = 0
    output: int = 0
    cached: int = 0
    cost: float = 0.0
    calls: int = 0
    tool_calls: int = 0
    seconds: float = 0.0


class Average(msgspec.Struct, frozen=True):
    """A moving average: of what, called how, its value, how many values it is made of, and when it moved last."""

    subject: str
    name: str
    value: float
    count: int
    updated: float


class TaskRecord(msgspec.Struct, frozen=True):
    """A task as the store knows it.

    `body` and `result` are JSON, `result` is empty until the task ended; `reason` says why it does not run meanwhile.
    """

    id: str
    namespace: str
    cluster: str
    phase: str
    body: bytes
    result: bytes = b""
    created: float = 0.0
    reason: str = ""


class ApprovalRecord(msgspec.Struct, frozen=True):
    """A question to people, and what was decided.

    Attributes:
        id: its name.
        task: the task that waits.
        namespace: of the task.
        body: what is asked, as JSON.
        created: wall-clock seconds.
        expires: wall-clock seconds from which on it counts as denied.
        decision: what was decided, as JSON, or empty.
    """

    id: str
    task: str
    namespace: str
    body: bytes
    created: float
    expires: float
    decision: bytes = b""


class SessionKey(msgspec.Struct, frozen=True):
    """A conversation: its namespace, its id, and whose it is."""

    namespace: str
    session: str
    tenant: str = ""
    user: str = ""


class Turn(msgspec.Struct, frozen=True):
    """One task of a conversation: with which agent, what was asked, what was answered, and when it was accepted."""

    key: SessionKey
    agent: str
    task: str
    goal: str
    answer: str
    created: float


class SessionRecord(msgspec.Struct, frozen=True):
    """What is known of a conversation: with which agents, how many turns, when the first and the last were accepted."""

    key: SessionKey
    agents: tuple[str, ...]
    turns: int
    created: float
    last: float


class StoredFile(msgspec.Struct, frozen=True):
    """A manifest file as it was delivered: its source, the root of relative paths, its path below it, its bytes.

    `base` tells one root from another, as in `loomd.manifest.source.SourceFile`. With a `target` it is no manifest but
    a file that an object names: the source is the object, the target where the file lies with links resolved.
    """

    source: str
    root: str
    path: str
    data: bytes
    base: str = ""
    target: str = ""


class RevisionRecord(msgspec.Struct, frozen=True):
    """One entry of the history of what served.

    Attributes:
        number: counts up from 1, never reused.
        revision: digest of the snapshot; two entries with the same one behave alike.
        at: wall-clock seconds since 1970-01-01 UTC.
        cause: what led to it: `apply`, `sync`, `delete`, `edit`, `undo`, `migrate`.
        source: the source that changed.
        changes: one line for each object that changed.
    """

    number: int
    revision: str
    at: float
    cause: str
    source: str
    changes: tuple[str, ...] = ()


class ObjectRecord(msgspec.Struct, frozen=True):
    """What is known of an object beside its manifest.

    Attributes:
        uid: identity; an object that is deleted and created again gets a new one.
        generation: counts changes of the spec, from 1.
        version: number of the revision in which its manifest changed last.
        created: wall-clock seconds.
        digest: digest of its spec, to notice changes.
        source: the source that declares it.
        manager: who changed it last.
        conditions: its conditions as JSON, so that transition times outlive the process.
    """

    kind: str
    namespace: str
    name: str
    uid: str
    generation: int
    version: int
    created: float
    digest: str
    source: str
    manager: str
    conditions: bytes = b"[]"


class SourceRecord(msgspec.Struct, frozen=True):
    """What is known of a source: whether it is suspended, what it tried and what serves; `body` is JSON."""

    name: str
    body: bytes


class ScheduleRecord(msgspec.Struct, frozen=True):
    """What is known of a schedule beside its manifest: `uid` is the identity of its object, `body` is JSON."""

    uid: str
    body: bytes


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """What one transaction changes of what serves and of what is known of it.

    Attributes:
        record: the new revision, which is the last known good from then on; None: the newest one has other bytes.
        files: files that are new or have other contents, manifests and such that objects name.
        dropped: source, root and path of files that are gone.
        anew: sources of which the revision has no other file; of all others it has those of the revision before, too.
        objects: records that are new or differ.
        gone: kind, namespace and name of the objects that are deleted.
        sources: records that are new or differ.
        forgotten: names of the sources that are gone.
        keep: revisions to keep; older ones are removed with the bytes that only they hold.
    """

    record: RevisionRecord | None = None
    files: Sequence[StoredFile] = ()
    dropped: Sequence[tuple[str, str, str]] = ()
    anew: Sequence[str] = ()
    objects: Sequence[ObjectRecord] = ()
    gone: Sequence[tuple[str, str, str]] = ()
    sources: Sequence[SourceRecord] = ()
    forgotten: Sequence[str] = ()
    keep: int = 100


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

    async def learn(self, task: str, scores: Sequence[Capability]) -> bool:
        """Store scores, once per task: a second call with the same task changes nothing and returns False.

        When a commit fails they stay queued for the next one: later scores may build on them.
        """
        ...

    async def learned_from(self, task: str) -> bool:
        """Return whether scores were stored for a task."""
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
