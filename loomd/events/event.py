"""A fact that happened, typed. The union is closed: what is not listed here cannot be emitted.

Every floor above `events` emits; the journal, the API, logs and the console listen. Model text is a fact of its own
and never carries control information. A fact's wire name is its tag (`phase.completed`).
"""

from fnmatch import fnmatchcase
from typing import Literal, get_args

import msgspec

from loomd.errors import NotFound
from loomd.events.cluster import AuctionBid, ClusterFact
from loomd.events.fact import Fact
from loomd.events.passage import PassageFailed
from loomd.events.phase import Phase
from loomd.events.room import BudgetExceeded, BudgetWarning, ContextAssembled, MemoryFact
from loomd.events.skill import SkillActivated, SkillsOffered
from loomd.messages import JsonObject, Usage

CallAction = Literal["refused", "changed", "warned", "skipped", "answered"]
"""What is done about a call: it does not pass, is changed, passes with a warning, passes because an interceptor failed
that may be skipped, or is answered from a cache."""


class TaskStarted(Fact, tag="task.started", frozen=True):
    """A task was accepted: it is on disk and will be run."""

    goal: str
    cluster: str


class TaskResumed(Fact, tag="task.resumed", frozen=True):
    """A task that was interrupted goes on; `recorded` is how many of its checkpoints answer for what was done."""

    recorded: int


class TaskAttempted(Fact, tag="task.attempted", frozen=True):
    """A task that was interrupted is about to do a step: found last in its record, the process ended in it.

    `step` is empty when the task came out of it: it waits, or was interrupted in good order. With `within` the process
    was still in the step that was told before: it went into an interceptor that runs somebody else's code, or came out.
    """

    step: str
    within: bool = False


class TaskSetAside(Fact, tag="task.set_aside", frozen=True):
    """A task does not go on by itself: the process ended so many times in a row while it was in this step."""

    step: str
    times: int
    reason: str


class TaskMoved(Fact, tag="task.moved", frozen=True):
    """A task that had begun goes on from its recorded steps on another revision."""

    before: str
    after: str


class TaskCompleted(Fact, tag="task.completed", frozen=True):
    """A task ended with an answer, whole or partial."""

    stop_reason: str
    reward: float
    cost: float
    usage: Usage


class TaskFailed(Fact, tag="task.failed", frozen=True):
    """A task ended without an answer; `retried` is the id of the attempt that begins in its place, or empty."""

    stop_reason: str
    error: str
    retried: str = ""


class PhaseStarted(Fact, tag="phase.started", frozen=True):
    """A phase began: SENSE with its task, each other one with the end of the one before it, see `phase_after`."""

    phase: Phase


class PhaseCompleted(Fact, tag="phase.completed", frozen=True):
    """A phase ended; `value` is its whole output, the checkpoint to resume from; `why` is its explanation."""

    phase: Phase
    why: str
    value: msgspec.Raw = msgspec.Raw(b"null")
    seconds: float = 0.0


class StepStarted(Fact, tag="step.started", frozen=True):
    """A side effect that must not happen twice is about to be done; found without its end, it is uncertain.

    `asked` says what was asked, as words `part=hash`; empty when nothing is to be held against it.
    """

    name: str
    asked: str = ""


class StepCompleted(Fact, tag="step.completed", frozen=True):
    """A side effect was done once; `value` is its result, so that it is never done again; `asked` as above."""

    name: str
    value: msgspec.Raw = msgspec.Raw(b"null")
    asked: str = ""


class StepFailed(Fact, tag="step.failed", frozen=True):
    """A side effect brought no result: it failed, its time was over, or it was interrupted; `asked` as above.

    `ended` is the limit that left no room for it, such as `budget_tokens`.
    """

    name: str
    asked: str = ""
    ended: str = ""


class ApprovalRequested(Fact, tag="approval.requested", frozen=True):
    """A person must agree before a task goes on.

    Attributes:
        approval: id of the question, for `loomd approve`.
        tool: what is to be called.
        arguments: with which arguments; the answer holds for these alone.
        question: `call`, or `repeat` when the call may have had its effect already.
        expires: wall-clock seconds at which the question expires.
    """

    approval: str
    tool: str
    arguments: JsonObject
    question: str
    expires: float


class ApprovalResolved(Fact, tag="approval.resolved", frozen=True):
    """A person decided, or nobody did in time; `seconds` is how long the task waited."""

    approval: str
    verdict: Literal["approved", "denied", "expired"]
    by: str
    reason: str
    at: float
    seconds: float


class ModelCalled(Fact, tag="model.called", frozen=True):
    """A model answered."""

    model: str
    usage: Usage
    cost: float
    seconds: float


class ModelRetried(Fact, tag="model.retried", frozen=True):
    """A model did not answer and is asked again after `wait` seconds, or `after` is asked instead.

    What was streamed of its answer is void.
    """

    model: str
    reason: str
    wait: float
    after: str = ""


class ModelDelta(Fact, tag="model.delta", frozen=True):
    """A piece of an answer. Not journaled: the whole answer is."""

    text: str


class ReasoningDelta(Fact, tag="reasoning.delta", frozen=True):
    """A piece of a model's reasoning. Not journaled."""

    text: str


class ToolStarted(Fact, tag="tool.call.started", frozen=True):
    """A tool call began."""

    tool: str
    call_id: str
    arguments: JsonObject


class ToolCompleted(Fact, tag="tool.call.completed", frozen=True):
    """A tool answered; `result` is cut to a readable length."""

    tool: str
    call_id: str
    result: str
    seconds: float


class ToolErred(Fact, tag="tool.call.failed", frozen=True):
    """A tool refused or raised; the text went back to the model."""

    tool: str
    call_id: str
    error: str


class CallChecked(Fact, tag="call.checked", frozen=True):
    """An interceptor or an agent's permissions did something about a call.

    Attributes:
        by: who, `Interceptor/guard` or `permissions`.
        call: `run`, `model`, or `tool:NAME`.
        action: what was done.
        reason: why, in words.
    """

    by: str
    call: str
    action: CallAction
    reason: str


class KnowledgeSearched(Fact, tag="knowledge.searched", frozen=True):
    """Passages were retrieved; `sources` are in order of rank, `wordings` what was looked for beside the query."""

    knowledge: str
    query: str
    sources: tuple[str, ...]
    wordings: tuple[str, ...] = ()


class IndexProgress(Fact, tag="index.progress", frozen=True):
    """A knowledge base is being indexed. `done` and `total` count chunks; `stage` says what is done with them."""

    knowledge: str
    done: int
    total: int
    stage: Literal["index", "graph"] = "index"


class EventsMissing(Fact, tag="events.missing", frozen=True):
    """Said to one reader: of the events with the numbers after `after` up to `until`, retention removed some."""

    after: int
    until: int


class DocumentSkipped(Fact, tag="index.document.skipped", frozen=True):
    """A document of a knowledge base could not be read; the others are indexed. `reason` says what to do."""

    knowledge: str
    path: str
    reason: str


class IndexDamaged(Fact, tag="index.damaged", frozen=True):
    """The store of a knowledge base was damaged and is made anew; `vectors` of it could be read, and are kept."""

    knowledge: str
    reason: str
    vectors: int


class ConfigLoaded(Fact, tag="config.loaded", frozen=True):
    """A new revision serves: its number in the history, its digest, and what led to it."""

    source: str
    changes: tuple[str, ...]
    number: int = 0
    digest: str = ""
    cause: str = ""


class ConfigRejected(Fact, tag="config.rejected", frozen=True):
    """A candidate was refused; the old revision serves on."""

    source: str
    problems: tuple[str, ...]


class ConfigRolledBack(Fact, tag="config.rolled_back", frozen=True):
    """What serves is an earlier revision again; `number` is the new entry in the history."""

    to: int
    number: int
    digest: str


class SourceSuspended(Fact, tag="source.suspended", frozen=True):
    """The deliveries of a source are ignored from now on."""

    source: str
    reason: str = ""


class SourceResumed(Fact, tag="source.resumed", frozen=True):
    """The deliveries of a source are taken again."""

    source: str


class SourceForced(Fact, tag="source.forced", frozen=True):
    """A branch that is followed was rewritten, or a tag moved; the new one is followed. Both are hashes."""

    source: str
    ref: str
    before: str
    after: str


class ScheduleFired(Fact, tag="schedule.fired", frozen=True):
    """A run of a schedule was submitted as a task.

    Attributes:
        schedule: its name; the namespace is the event's.
        task: the task.
        due: when it was due, wall-clock seconds.
        late: seconds between the time at which it should have started and its start.
        manual: whether a person asked for it, so that it was due nowhere.
    """

    schedule: str
    task: str
    due: float
    late: float = 0.0
    manual: bool = False


class ScheduleMissed(Fact, tag="schedule.missed", frozen=True):
    """Runs of a schedule are given up: they did not start at their time and are not made up.

    Attributes:
        schedule: its name; the namespace is the event's.
        first: when the first of them was due, wall-clock seconds.
        last: when the last of them was due.
        count: how many they are.
        reason: why they did not start at their time.
        more: whether there were others before them, which are not counted.
    """

    schedule: str
    first: float
    last: float
    count: int
    reason: str
    more: bool = False


class ScheduleSuspended(Fact, tag="schedule.suspended", frozen=True):
    """Somebody suspended a schedule: it starts no runs."""

    schedule: str
    reason: str = ""


class ScheduleResumed(Fact, tag="schedule.resumed", frozen=True):
    """A schedule that somebody suspended starts runs again."""

    schedule: str


class Fallback(Fact, tag="fallback.used", frozen=True):
    """What a model or a policy said could not be used, and the declared fallback was taken instead."""

    phase: str
    reason: str
    fallback: str


AnyFact = (
    TaskStarted
    | TaskResumed
    | TaskAttempted
    | TaskSetAside
    | TaskMoved
    | TaskCompleted
    | TaskFailed
    | PhaseStarted
    | PhaseCompleted
    | StepStarted
    | StepCompleted
    | StepFailed
    | ApprovalRequested
    | ApprovalResolved
    | ModelCalled
    | ModelRetried
    | ModelDelta
    | ReasoningDelta
    | ToolStarted
    | ToolCompleted
    | ToolErred
    | CallChecked
    | KnowledgeSearched
    | SkillActivated
    | SkillsOffered
    | MemoryFact
    | BudgetWarning
    | BudgetExceeded
    | ContextAssembled
    | ClusterFact
    | IndexProgress
    | PassageFailed
    | EventsMissing
    | DocumentSkipped
    | IndexDamaged
    | ConfigLoaded
    | ConfigRejected
    | ConfigRolledBack
    | SourceSuspended
    | SourceResumed
    | SourceForced
    | ScheduleFired
    | ScheduleMissed
    | ScheduleSuspended
    | ScheduleResumed
    | Fallback
)


def subject(key: str, fact: ApprovalRequested | ApprovalResolved) -> str:
    """Return the key of the step that a recorded question or decision is about, such as `execute/tool/0/0`."""
    return key.partition("/")[2].removesuffix(f"/{fact.approval}")


TRANSIENT: frozenset[type[Fact]] = frozenset(
    {ModelDelta, ReasoningDelta, IndexProgress, EventsMissing, PhaseStarted, AuctionBid}
)
"""Facts that are spread but not journaled: what is, says the same later, or it matters to nobody by then."""

_NAMED: dict[str, type[Fact]] = {str(fact.__struct_config__.tag): fact for fact in get_args(AnyFact)}

NAMES: dict[type[Fact], str] = {fact: name for name, fact in _NAMED.items()}
"""The wire name of each type of facts."""

TYPES: tuple[str, ...] = tuple(_NAMED)
"""The wire names of all facts."""


def facts_of(said: type[Fact] | str) -> tuple[type[Fact], ...]:
    """Return the types of facts that a type, a name (`tool.call.failed`) or a pattern (`tool.*`) stands for.

    Raises:
        NotFound: there is no such fact.
    """
    if isinstance(said, str):
        found = tuple(fact for name, fact in _NAMED.items() if fnmatchcase(name, said))
    else:
        found = (said,) if said in _NAMED.values() else ()
    if not found:
        raise NotFound(f"no type of events {str(said)[:80]!r}; there are: {', '.join(TYPES)}")
    return found


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """A fact with its envelope.

    Attributes:
        data: the fact; its `type` is the event's type.
        ts: wall-clock seconds since 1970-01-01 UTC.
        task: id of the task it belongs to, or empty.
        agent: name of the agent, or empty.
        parent: id of the parent task, or empty.
        namespace: namespace of the task or object.
        revision: snapshot that the task is pinned to.
        seq: place in the journal, from 1; 0 for a transient fact.
        key: what names it within its task when it is a checkpoint (`step/execute/model/0`), or empty.
        within: key of the delegation that it happened in (`execute/tool/0/0/agent/1`), or empty.
    """

    data: AnyFact
    ts: float
    task: str = ""
    agent: str = ""
    parent: str = ""
    namespace: str = "default"
    revision: str = ""
    seq: int = 0
    key: str = ""
    within: str = ""

    @property
    def type(self) -> str:
        """Return the wire name of the fact, `phase.completed`."""
        return NAMES[type(self.data)]
