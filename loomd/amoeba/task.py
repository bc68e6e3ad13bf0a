"""A task and what each phase makes of it: `Task -> Sensed -> Matched -> Scaled -> Executed -> Evaluated -> Adapted`.

Frozen and JSON-encodable: every value is a checkpoint in the journal, from which a killed task resumes, and says why.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from loomd.agents.work import Citation, Outcome
from loomd.messages import Image, JsonObject, Usage

Durability = Literal["steps", "task", "none"]
"""What is kept of a task: every step; that it was accepted and what became of it; nothing."""

Ended = Literal["Succeeded", "Failed", "Cancelled"]
"""How a task ends."""

ENGINE = 1
"""Version of the order and the keys of steps, and of what loomd itself says to models in them.

A task is replayed only by an engine that knows its version; what one of an earlier version asked is not compared.
"""


class Budget(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a task and all its descendants may use together; None is the cluster's own limit, never unlimited."""

    tokens: int | None = None
    cost: float | None = None
    seconds: float | None = None
    calls: int | None = None
    tool_calls: int | None = None


class Grant(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the cluster granted a whole tree of tasks at first; None where the task outside set its own limit.

    `share` (0 to 1) of everything but the time is for this task and its descendants.
    """

    tokens: int | None = None
    cost: float | None = None
    seconds: float | None = None
    share: float = 1.0
    calls: int | None = None
    tool_calls: int | None = None


class Expect(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the answer must satisfy, declared with the task."""

    contains: tuple[str, ...] = ()
    cites: bool = False
    output_schema: JsonObject | None = None


class Finding(msgspec.Struct, frozen=True):
    """The result of a subtask, handed along an edge to the task that depends on it."""

    goal: str
    output: str
    agent: str = ""
    citations: tuple[Citation, ...] = ()
    failed: str = ""


class Task(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of work.

    Attributes:
        id: unique, sortable by time; a child's id is its parent's plus `.ordinal`.
        goal: what is wanted, in words.
        namespace: where its cluster lives.
        cluster: name of the cluster that runs it; empty until it was accepted by the only one of its namespace.
        agent: name of the member that is to do it, alone; empty for whoever the cluster chooses.
        seed: start of every random draw, so that a run can be repeated.
        parent: id of the parent task, or empty.
        depth: 0 for a task from outside, +1 per split.
        findings: results of the tasks that this one depends on.
        budget: what it and its descendants may use.
        grant: what of that the cluster's own limits decided, to follow them when they are lowered.
        deadline: wall-clock seconds since 1970-01-01 UTC at which it and its descendants end; 0 until accepted.
        expect: what the answer must satisfy.
        revision: snapshot that it is pinned to.
        created: wall-clock seconds since 1970-01-01 UTC at which it was accepted.
        durability: what is kept of it; the cluster's own choice when None, until it is accepted.
        engine: version of the order and the keys of its steps, `ENGINE` when it was accepted.
        session: the conversation that it is a turn of, or empty for none.
        tenant: whose work it is; what is said and remembered for one tenant is never seen by another.
        user: which user of the tenant; kept apart alike.
        images: what its agents are shown beside the goal; kept and told by their digests.
        seeds: what the agent that split its parent remembers that fits its goal.
        permissions: those of the agents that split its parents, which bind it beside the agent's own.
        leads: the agents that split its parents, the last one last.
    """

    id: str
    goal: str
    namespace: str = "default"
    cluster: str = ""
    agent: str = ""
    seed: int = 0
    parent: str = ""
    depth: int = 0
    findings: tuple[Finding, ...] = ()
    budget: Budget = Budget()
    grant: Grant = Grant()
    deadline: float = 0.0
    expect: Expect = Expect()
    revision: str = ""
    created: float = 0.0
    durability: Durability | None = None
    engine: int = 0
    session: str = ""
    tenant: str = ""
    user: str = ""
    images: tuple[Image, ...] = ()
    permissions: tuple[JsonObject, ...] = ()
    seeds: tuple[str, ...] = ()
    leads: tuple[str, ...] = ()


class Asked(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the model calls of a phase itself used; nothing when it asked no model. `calls` is their number."""

    usage: Usage = Usage()
    cost: float = 0.0
    calls: int = 0


class Sensed(Asked, frozen=True, omit_defaults=True):
    """What kind of task this is.

    `complexity` runs from 0 (one look-up) to 1 (needs a team); `domains` are weights that sum to 1; `tokens` is an
    estimate for the whole task; `evidence` says which signals led to the numbers.
    """

    complexity: float
    domains: dict[str, float]
    tools: tuple[str, ...] = ()
    tokens: int = 0
    method: str = "heuristic"
    evidence: tuple[str, ...] = ()


class Bid(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an agent offered, and what that rests on.

    Attributes:
        agent: its name.
        total: the sum of its weighted factors.
        factors: the factors before weighting.
        scores: what is believed of the agent in each domain of the task.
        seen: tasks that say so, each domain by its weight.
        spread: standard deviation of what is believed of the agent.
        drawn: the draw behind exploration, in standard deviations.
    """

    agent: str
    total: float
    factors: dict[str, float]
    scores: dict[str, float] = {}
    seen: float = 0.0
    drawn: float = 0.0
    spread: float = 0.0


class Matched(Asked, frozen=True, omit_defaults=True):
    """Who does it.

    Attributes:
        winner: empty when nobody bid above the reserve and the cluster's fallback refused.
        bids: what the best agents offered, the best first; the winner is among them.
        why: the decision in a few words.
        weights: by what each factor of a bid was multiplied.
        reserve: the lowest bid that could win.
        bidders: how many bid; 0 when all their bids are kept.
        refused: why others could not bid, by name; some of them when they are many.
        refusals: how many could not.
    """

    winner: str
    bids: tuple[Bid, ...] = ()
    why: str = ""
    weights: dict[str, float] = {}
    reserve: float = 0.0
    bidders: int = 0
    refused: dict[str, str] = {}
    refusals: int = 0


class Subtask(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node of a split; `needs` are ordinals of earlier subtasks whose results it gets."""

    goal: str
    needs: tuple[int, ...] = ()


class Scaled(Asked, frozen=True, omit_defaults=True):
    """Alone or together: no subtasks means that the winner does it alone."""

    subtasks: tuple[Subtask, ...] = ()
    why: str = ""


class Executed(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came out and what it took, the phases before it and children included.

    `own` is the share (0 to 1) of the tokens that the agent used itself, the rest is its children's. `children` are the
    ids of the subtasks, `missing` the goals of those that brought nothing, `error` says why there
    is no answer at all.
    """

    outcome: Outcome
    agent: str = ""
    own: float = 1.0
    children: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    error: str = ""


class Evaluated(Asked, frozen=True, omit_defaults=True):
    """How good it was, each from 0 to 1, and what that rests on; `weights` are the shares in the reward."""

    reward: float
    quality: float
    efficiency: float
    reliability: float
    evidence: tuple[str, ...] = ()
    weights: dict[str, float] = {}


class ScoreMove(msgspec.Struct, frozen=True, omit_defaults=True, tag="score"):
    """The score of an agent in a domain moves."""

    agent: str
    spec: str
    domain: str
    before: float
    after: float
    variance: float
    count: int
    reason: str


Decision = ScoreMove
"""One change that ADAPT wants, told apart by its tag in `type`. The cluster carries it out once per task."""


class _Untold(msgspec.Struct):
    """What a decision is; those of before there were several sorts do not say it, and all move a score."""

    type: str = ""


_untold = msgspec.json.Decoder(_Untold).decode
_score = msgspec.json.Decoder(ScoreMove).decode
_decision = msgspec.json.Decoder(Decision).decode
_encode = msgspec.json.Encoder().encode


class Adapted(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is to be learned; `written` are the decisions as JSON."""

    written: tuple[msgspec.Raw, ...] = msgspec.field(default=(), name="decisions")

    @classmethod
    def of(cls, decisions: Iterable[Decision]) -> "Adapted":
        """Return these decisions."""
        return cls(tuple(msgspec.Raw(_encode(one)) for one in decisions))

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Return what was decided."""
        return tuple(_decision(one) if _untold(one).type else _score(one) for one in self.written)


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """A finished task, all phases together."""

    task: Task
    phase: Ended
    sensed: Sensed | None = None
    matched: Matched | None = None
    scaled: Scaled | None = None
    executed: Executed | None = None
    evaluated: Evaluated | None = None
    adapted: Adapted | None = None
    error: str = ""

    @property
    def output(self) -> str:
        """Return the answer, whole or partial; an empty text when there is none."""
        return "" if self.executed is None else self.executed.outcome.output
