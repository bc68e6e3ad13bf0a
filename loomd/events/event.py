"""A fact that happened, typed. The union is closed: what is not listed here cannot be emitted.

Every floor above `events` emits; the journal, the API, logs and the console listen. Model text is a fact of its own
and never carries control information. A fact's wire name is its tag (`phase.completed`).
"""

from typing import Literal

import msgspec

from loomd.messages import JsonObject, Usage

Phase = Literal["sense", "match", "scale", "execute", "evaluate", "adapt"]


class Fact(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """Base of all facts."""


class TaskStarted(Fact, tag="task.started", frozen=True):
    """A task was accepted: it is on disk and will be run."""

    goal: str
    cluster: str


class TaskCompleted(Fact, tag="task.completed", frozen=True):
    """A task ended with an answer, whole or partial."""

    stop_reason: str
    reward: float
    cost: float
    usage: Usage


class TaskFailed(Fact, tag="task.failed", frozen=True):
    """A task ended without an answer."""

    stop_reason: str
    error: str


class PhaseStarted(Fact, tag="phase.started", frozen=True):
    """A phase began."""

    phase: Phase


class PhaseCompleted(Fact, tag="phase.completed", frozen=True):
    """A phase ended; `value` is its whole output, the checkpoint to resume from; `why` is its explanation."""

    phase: Phase
    why: str
    value: msgspec.Raw = msgspec.Raw(b"null")
    seconds: float = 0.0


class AuctionBid(Fact, tag="auction.bid", frozen=True):
    """An agent's bid, with its factors."""

    bidder: str
    total: float
    factors: dict[str, float]


class AuctionAwarded(Fact, tag="auction.awarded", frozen=True):
    """Somebody won."""

    winner: str
    bid: float


class AgentSplit(Fact, tag="agent.split", frozen=True):
    """A task was split into children."""

    children: tuple[str, ...]
    goals: tuple[str, ...]


class StepStarted(Fact, tag="step.started", frozen=True):
    """A side effect that must not happen twice is about to be done; found without its end, it is uncertain."""

    name: str


class StepCompleted(Fact, tag="step.completed", frozen=True):
    """A side effect was done once; `value` is its result, so that it is never done again."""

    name: str
    value: msgspec.Raw = msgspec.Raw(b"null")


class ModelCalled(Fact, tag="model.called", frozen=True):
    """A model answered."""

    model: str
    usage: Usage
    cost: float
    seconds: float


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


class KnowledgeSearched(Fact, tag="knowledge.searched", frozen=True):
    """Passages were retrieved; `sources` are in order of rank."""

    knowledge: str
    query: str
    sources: tuple[str, ...]


class MemoryCompacted(Fact, tag="memory.compacted", frozen=True):
    """Old turns left the window."""

    dropped: int
    kept: int


class BudgetExceeded(Fact, tag="budget.exceeded", frozen=True):
    """A limit was reached; the task wraps up."""

    stop_reason: str
    limit: float
    used: float


class CapabilityUpdated(Fact, tag="capability.updated", frozen=True):
    """An agent's score in a domain moved. `spec` is the digest of the behaviour that was scored."""

    owner: str
    spec: str
    domain: str
    before: float
    after: float
    variance: float
    count: int
    reason: str


class IndexProgress(Fact, tag="index.progress", frozen=True):
    """A knowledge base is being indexed. `done` and `total` count chunks."""

    knowledge: str
    done: int
    total: int


class DocumentSkipped(Fact, tag="index.document.skipped", frozen=True):
    """A document of a knowledge base could not be read; the others are indexed. `reason` says what to do."""

    knowledge: str
    path: str
    reason: str


class ConfigLoaded(Fact, tag="config.loaded", frozen=True):
    """A new revision serves."""

    source: str
    changes: tuple[str, ...]


class ConfigRejected(Fact, tag="config.rejected", frozen=True):
    """A candidate was refused; the old revision serves on."""

    source: str
    problems: tuple[str, ...]


class Fallback(Fact, tag="fallback.used", frozen=True):
    """A model's answer could not be used, and the declared fallback was taken instead."""

    phase: str
    reason: str
    fallback: str


AnyFact = (
    TaskStarted
    | TaskCompleted
    | TaskFailed
    | PhaseStarted
    | PhaseCompleted
    | AuctionBid
    | AuctionAwarded
    | AgentSplit
    | StepStarted
    | StepCompleted
    | ModelCalled
    | ModelDelta
    | ReasoningDelta
    | ToolStarted
    | ToolCompleted
    | ToolErred
    | KnowledgeSearched
    | MemoryCompacted
    | BudgetExceeded
    | CapabilityUpdated
    | IndexProgress
    | DocumentSkipped
    | ConfigLoaded
    | ConfigRejected
    | Fallback
)

TRANSIENT: tuple[type[Fact], ...] = (ModelDelta, ReasoningDelta, IndexProgress)
"""Facts that are spread but not journaled."""


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
    """

    data: AnyFact
    ts: float
    task: str = ""
    agent: str = ""
    parent: str = ""
    namespace: str = "default"
    revision: str = ""
    seq: int = 0

    @property
    def type(self) -> str:
        """Return the wire name of the fact, `phase.completed`."""
        return str(self.data.__struct_config__.tag)
