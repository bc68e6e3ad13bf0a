"""A task and what each phase makes of it: `Task -> Sensed -> Matched -> Scaled -> Executed -> Evaluated -> Adapted`.

Frozen and JSON-encodable: every value is a checkpoint in the journal, from which a killed task resumes, and says why.
"""

from typing import Literal

import msgspec

from loomd.agents.work import Citation, Outcome
from loomd.amoeba.blueprint import Blueprint
from loomd.amoeba.decision import Adapted
from loomd.amoeba.expect import Expect
from loomd.amoeba.forging import NoWinner
from loomd.messages import Image, JsonObject, Usage

Durability = Literal["steps", "task", "none"]
"""What is kept of a task: every step; that it was accepted and what became of it; nothing."""

Ended = Literal["Succeeded", "Failed", "Cancelled"]
"""How a task ends."""

GENERAL = "general"
"""The domain of a task that fits no other; nobody is a specialist in it."""

ENGINE = 4
"""Version of the order and the keys of steps, and of what loomd itself says to models in them.

A task is replayed only by an engine of its version. One that an earlier version began goes on: what is recorded
answers, and what was asked is not compared, because it was asked in other words. A test holds a hash of the words.

- 1: the first.
- 2: a part of a split is told of the whole and of the other parts.
- 3: it is told so in other words, none of which speaks of itself.
- 4: who writes one answer from the parts of a split is told which are missing, and why.
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


class Finding(msgspec.Struct, frozen=True):
    """The result of a subtask, handed along an edge to the task that depends on it; or a file that came with a task.

    Of a file, `goal` is the name and `output` the text.
    """

    goal: str
    output: str
    agent: str = ""
    citations: tuple[Citation, ...] = ()
    failed: str = ""
    file: bool = False


class Place(msgspec.Struct, frozen=True):
    """The place of a part in the plan of the task that was split.

    Attributes:
        goal: what is wanted of the whole.
        plan: the goals of all parts.
        at: which of them this part is, from 0.
    """

    goal: str
    plan: tuple[str, ...]
    at: int


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
        findings: results of the tasks that this one depends on, and the files that came with it.
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
        retries: how often it is begun anew when it fails, by an attempt of its own each.
        attempt: which attempt this is, from 1.
        avoid: who failed at it before; others do it when there are any.
        declared: name of the declared task that it is a run of, or empty.
        place: where it stands in the plan that it is a part of; None for a task from outside.
        descendants: most parts that it may have, those of its parts included; None for what its cluster allows.
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
    retries: int = 0
    attempt: int = 1
    avoid: tuple[str, ...] = ()
    declared: str = ""
    place: Place | None = None
    descendants: int | None = None
    leads: tuple[str, ...] = ()


class Asked(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the model calls of a phase itself used; nothing when it asked no model. `calls` is their number."""

    usage: Usage = Usage()
    cost: float = 0.0
    calls: int = 0


class Sensed(Asked, frozen=True, omit_defaults=True):
    """What kind of task this is.

    Attributes:
        complexity: from 0 (one look-up) to 1 (needs a team).
        domains: weights that sum to 1.
        tools: names of the tools that it seems to need.
        tokens: an estimate for the whole task.
        method: who said so.
        evidence: which signals led to the numbers.
        correction: the part of the complexity that comes of how wrong earlier estimates were.
        past: share (0 to 1) of what past tasks that are like it took in the complexity before that.
        alone: complexity without past tasks and correction; None where `complexity - correction` is that.
    """

    complexity: float
    domains: dict[str, float]
    tools: tuple[str, ...] = ()
    tokens: int = 0
    method: str = "heuristic"
    evidence: tuple[str, ...] = ()
    correction: float = 0.0
    past: float = 0.0
    alone: float | None = None

    @property
    def uncorrected(self) -> float:
        """Return the complexity by the text alone, which the correction is about."""
        return self.complexity - self.correction if self.alone is None else self.alone


class Bid(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an agent offered, and what that rests on.

    Attributes:
        agent: its name.
        total: the sum of its weighted factors.
        factors: the factors before weighting.
        scores: what is believed of the agent in each domain of the task.
        seen: tasks that say so, each domain by its weight.
        spread: standard deviation of what is believed of the agent.
        uses: tokens that the agent is known to read and to write for each one expected; empty when it is not known.
        drawn: the draw behind exploration, in standard deviations.
    """

    agent: str
    total: float
    factors: dict[str, float]
    scores: dict[str, float] = {}
    seen: float = 0.0
    drawn: float = 0.0
    spread: float = 0.0
    uses: tuple[float, ...] = ()


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
        nobody: why nobody took it at first; empty when somebody did.
        path: what was done then.
        domains: those that count in place of those that SENSE found, each with its weight: of the specialist that gets
            the task, or that came while it waited.
        made: from what the winner was made when that is a blueprint; so it is the same one after an interruption.
    """

    winner: str
    bids: tuple[Bid, ...] = ()
    why: str = ""
    weights: dict[str, float] = {}
    reserve: float = 0.0
    bidders: int = 0
    refused: dict[str, str] = {}
    refusals: int = 0
    nobody: str = ""
    path: NoWinner | None = None
    domains: dict[str, float] = {}
    made: Blueprint | None = None


class Subtask(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node of a split; `needs` are ordinals of earlier subtasks whose results it gets."""

    goal: str
    needs: tuple[int, ...] = ()


class Scaled(Asked, frozen=True, omit_defaults=True):
    """Alone or together: no subtasks means that the winner does it alone.

    Attributes:
        subtasks: the parts.
        why: the decision in a few words.
        retries: how often a part that fails is given to another agent.
        descendants: most parts that each part may have in turn.
    """

    subtasks: tuple[Subtask, ...] = ()
    why: str = ""
    retries: int = 0
    descendants: int | None = None


class Again(msgspec.Struct, frozen=True):
    """A part that failed was given to another agent.

    Attributes:
        goal: what the part is about.
        failed: id of the task that failed.
        agent: who failed at it.
        why: how it failed.
        task: id of the task in its place.
    """

    goal: str
    failed: str
    agent: str
    why: str
    task: str


class Executed(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came out and what it took, the phases before it and children included.

    `own` is the share (0 to 1) of the tokens that the agent used itself, the rest is its children's. `children` are the
    ids of the subtasks, `again` those that failed and were given to others, `missing` the goals of those that brought
    nothing, `error` says why there is no answer at all.
    """

    outcome: Outcome
    agent: str = ""
    own: float = 1.0
    children: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    error: str = ""
    again: tuple[Again, ...] = ()


class Opinion(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one evaluator says, each from 0 to 1.

    Attributes:
        evaluator: its type.
        reward: how good it was all in all.
        quality: how good the answer is.
        efficiency: how little it took.
        reliability: how little failed on the way.
        evidence: what that rests on.
        weights: shares of the three in the reward.
        uncertainty: standard deviation of the quality; 0 when it is not known.
        weight: the evaluator's share, among several.
        silent: why it had nothing to say of its own, so that it counts only when nobody has; else empty.
        judge: name of the judge whose errors are learned; empty for an evaluator that asks no model.
        said: what the judge said before its bias was taken away.
        bias: what was taken away.
        refused: whether it takes the answer for a refusal.
    """

    evaluator: str
    reward: float
    quality: float
    efficiency: float
    reliability: float
    evidence: tuple[str, ...] = ()
    weights: dict[str, float] = {}
    uncertainty: float = 0.0
    weight: float = 1.0
    silent: str = ""
    judge: str = ""
    said: float = 0.0
    bias: float = 0.0
    refused: bool = False


class Evaluated(Asked, frozen=True, omit_defaults=True):
    """How good it was, each from 0 to 1, and what that rests on.

    Attributes:
        reward: how good it was all in all.
        quality: how good the answer is.
        efficiency: how little it took.
        reliability: how little failed on the way.
        evidence: what that rests on, where rules alone said so.
        weights: shares of the three in the reward; empty when several evaluators weigh them differently.
        uncertainty: standard deviation of the reward; 0 when it is not known.
        opinions: what each evaluator said, where it was not rules alone.
        refused: whether the answer is taken for a refusal.
    """

    reward: float
    quality: float
    efficiency: float
    reliability: float
    evidence: tuple[str, ...] = ()
    weights: dict[str, float] = {}
    uncertainty: float = 0.0
    opinions: tuple[Opinion, ...] = ()
    refused: bool = False


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """A finished task, all phases together; `retried` is the id of the attempt that began in its place, or empty."""

    task: Task
    phase: Ended
    sensed: Sensed | None = None
    matched: Matched | None = None
    scaled: Scaled | None = None
    executed: Executed | None = None
    evaluated: Evaluated | None = None
    adapted: Adapted | None = None
    error: str = ""
    retried: str = ""

    @property
    def output(self) -> str:
        """Return the answer, whole or partial; an empty text when there is none."""
        return "" if self.executed is None else self.executed.outcome.output
