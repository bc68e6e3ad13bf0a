"""What a store keeps, as its callers see it: one struct per sort of record.

Values are JSON, never pickle; secrets never enter it.
"""

from collections.abc import Sequence

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


class Experience(msgspec.Struct, frozen=True, kw_only=True):
    """A task that was learned from, as later ones are compared with it.

    Attributes:
        task: its id.
        namespace: of its cluster.
        cluster: name of its cluster.
        tenant: whose it was, or empty.
        user: which user of the tenant, or empty.
        goal: what was wanted, in words.
        embedder: fingerprint of the embedder that made the vector; vectors of another one are not comparable.
        vector: the goal as a unit vector, float16 in the order of this machine's bytes; empty without an embedder.
        domains: weights of its domains.
        complexity: what SENSE took it for, 0 to 1, before calibration.
        tokens: tokens that it took, children included.
        seconds: seconds that it took, without those in which it waited for people.
        steps: model calls that it took.
        children: into how many parts it was split.
        reward: how good it was, 0 to 1.
        created: wall-clock seconds at which it was accepted.
    """

    task: str
    namespace: str
    cluster: str
    tenant: str = ""
    user: str = ""
    goal: str
    embedder: str = ""
    vector: bytes = b""
    domains: dict[str, float]
    complexity: float
    tokens: int
    seconds: float
    steps: int
    children: int
    reward: float
    created: float


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """A score that moved: whose, in what, from where to where, after which task and reward, and when.

    `seq` counts up, and is set by the store.
    """

    agent: str
    spec: str
    domain: str
    before: float
    after: float
    variance: float
    count: int
    reward: float
    task: str
    at: float
    seq: int = 0


class Lesson(msgspec.Struct, frozen=True):
    """A reward of an agent as it behaved then; `spec` is the digest of that, `at` wall-clock seconds."""

    namespace: str
    agent: str
    spec: str
    task: str
    reward: float
    at: float


class BlueprintRecord(msgspec.Struct, frozen=True):
    """One version of a blueprint: its manifest as JSON, the version it was made from, and what is made of it.

    `version` counts up from 1 below a name, `parent` is 0 for the first; all versions are kept until they are removed.
    """

    namespace: str
    name: str
    version: int
    body: bytes
    parent: int
    created: float
    state: str


class ProposalRecord(msgspec.Struct, frozen=True):
    """A change that a mechanism wants and people decide on.

    Attributes:
        id: its name.
        namespace: of the cluster.
        cluster: name of the cluster that wants it.
        mechanism: what wants it.
        body: the change, as JSON.
        created: wall-clock seconds.
        expires: wall-clock seconds from which on it counts as denied.
        decision: what was decided, as JSON, or empty.
    """

    id: str
    namespace: str
    cluster: str
    mechanism: str
    body: bytes
    created: float
    expires: float
    decision: bytes = b""


class Descent(msgspec.Struct, frozen=True):
    """Where an agent came from: which other one or which blueprint, how, for which task, and when."""

    namespace: str
    child: str
    parent: str
    how: str
    task: str
    at: float


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What one transaction changes of what was learned.

    Attributes:
        scores: scores that are new or moved; each replaces the one before.
        movements: how they moved; they get their numbers.
        experience: tasks that were learned from; one of the same task is replaced.
        lessons: rewards; one of the same task is replaced.
        blueprints: versions that are new, or of which the state or the body changed.
        pruned: namespace and name of blueprints that go with all their versions.
        proposals: what is proposed; one whose id is taken changes nothing.
        lineage: where agents came from.
        averages: moving averages; each replaces the one before.
    """

    scores: Sequence[Capability] = ()
    movements: Sequence[Movement] = ()
    experience: Sequence[Experience] = ()
    lessons: Sequence[Lesson] = ()
    blueprints: Sequence[BlueprintRecord] = ()
    pruned: Sequence[tuple[str, str]] = ()
    proposals: Sequence[ProposalRecord] = ()
    lineage: Sequence[Descent] = ()
    averages: Sequence[Average] = ()
