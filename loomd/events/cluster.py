"""Facts about how a cluster shares work, and about what it learns of its agents."""

import msgspec

from loomd.events.fact import Fact


class AuctionBid(Fact, tag="auction.bid", frozen=True):
    """An agent's bid, with its factors."""

    bidder: str
    total: float
    factors: dict[str, float]


class AuctionAwarded(Fact, tag="auction.awarded", frozen=True):
    """Somebody won."""

    winner: str
    bid: float


class TaskQueued(Fact, tag="task.queued", frozen=True):
    """Nobody takes a task, for a reason; it waits until then at the latest, in wall-clock seconds."""

    reason: str
    until: float


class AgentSplit(Fact, tag="agent.split", frozen=True):
    """A task was split into children."""

    children: tuple[str, ...]
    goals: tuple[str, ...]


class PartRetried(Fact, tag="part.retried", frozen=True):
    """A part of a split failed, and another agent gets it.

    Attributes:
        part: id of the task that failed.
        by: who failed at it.
        reason: how it failed.
        child: id of the task that is begun in its place.
    """

    part: str
    by: str
    reason: str
    child: str


class CapabilityUpdated(Fact, tag="capability.updated", frozen=True):
    """An agent's score in a domain moved, after a reward. `spec` is the digest of the behaviour that was scored."""

    owner: str
    spec: str
    domain: str
    before: float
    after: float
    variance: float
    count: int
    reason: str
    reward: float = 0.0


class CapabilityMerged(Fact, tag="capability.merged", frozen=True):
    """What a specialist that goes had learned in a domain was added to the score of the agent that it was made from.

    Attributes:
        owner: the agent whose score moved.
        spec: digest of its behaviour.
        origin: the specialist.
        domain: the domain.
        before: mean reward until then.
        after: from then on.
        variance: of the rewards.
        count: tasks that say so.
        reason: in words.
    """

    owner: str
    spec: str
    origin: str
    domain: str
    before: float
    after: float
    variance: float
    count: int
    reason: str


class CalibrationUpdated(Fact, tag="calibration.updated", frozen=True):
    """By how much complexity in a domain is estimated too low moved; `cluster` is whose estimates these are."""

    cluster: str
    domain: str
    before: float
    after: float
    count: int
    predicted: float
    observed: float
    reason: str


class ExpenseUpdated(Fact, tag="expense.updated", frozen=True):
    """What an agent needs for each token that is expected of its tasks moved: tokens that it reads, and writes."""

    owner: str
    spec: str
    before: tuple[float, float]
    after: tuple[float, float]
    count: int
    reason: str


class AgentRetired(Fact, tag="agent.retired", frozen=True):
    """An agent that does badly gets no new tasks of a cluster until then, in wall-clock seconds."""

    owner: str
    spec: str
    cluster: str
    until: float
    reason: str


class AgentRevived(Fact, tag="agent.revived", frozen=True):
    """An agent that was retired gets tasks of a cluster again, on probation."""

    owner: str
    spec: str
    cluster: str
    reason: str


class _Shaped(Fact, frozen=True):
    """An agent was made anew from a blueprint, or goes.

    Attributes:
        owner: the agent.
        cluster: in which.
        version: of the blueprint.
        parent: the version that it takes the place of, or goes back to; 0 for what was declared, or nothing.
        spec: digest of how the agent behaved before, or empty.
        reason: in words.
        blueprint: the blueprint.
    """

    owner: str
    cluster: str
    version: int
    parent: int
    spec: str
    reason: str
    blueprint: msgspec.Raw = msgspec.Raw(b"null")


class BlueprintForged(_Shaped, tag="blueprint.forged", frozen=True):
    """A specialist was made for tasks that nobody took."""


class BlueprintPruned(_Shaped, tag="blueprint.pruned", frozen=True):
    """A specialist went, because it did badly or nothing."""


class SkillProposed(Fact, tag="skill.proposed", frozen=True):
    """A model wrote better instructions for an agent, and they were tried on past tasks, beside the old ones.

    Attributes:
        owner: the agent.
        cluster: in which.
        spec: digest of how the agent behaved.
        instructions: what was written.
        reason: the means, and why they are not taken, when they are not.
        taken: whether they did well enough.
        trial: the results of each task, and what it took.
    """

    owner: str
    cluster: str
    spec: str
    instructions: str
    reason: str
    taken: bool
    trial: msgspec.Raw = msgspec.Raw(b"null")


class SkillAbandoned(Fact, tag="skill.abandoned", frozen=True):
    """An agent was to get better instructions, and none were tried to the end; `spec` is how it behaves."""

    owner: str
    cluster: str
    spec: str
    reason: str


class SkillPromoted(_Shaped, tag="skill.promoted", frozen=True):
    """An agent got better instructions, that did not do worse on past tasks."""


class SkillReverted(_Shaped, tag="skill.reverted", frozen=True):
    """An agent got earlier instructions back."""


class ChangeObserved(Fact, tag="change.observed", frozen=True):
    """A mechanism that only observes would have changed something; `value` is the change."""

    mechanism: str
    cluster: str
    reason: str
    value: msgspec.Raw = msgspec.Raw(b"null")


class ProposalMade(Fact, tag="proposal.made", frozen=True):
    """A mechanism wants to change something, and people decide; `expires` is wall-clock seconds."""

    proposal: str
    mechanism: str
    cluster: str
    reason: str
    expires: float
    value: msgspec.Raw = msgspec.Raw(b"null")


class ProposalDecided(Fact, tag="proposal.decided", frozen=True):
    """A person decided on a proposal; what was approved is carried out. `what` says in words what was proposed."""

    proposal: str
    mechanism: str
    cluster: str
    verdict: str
    by: str
    reason: str
    what: str = ""


class HistoryForgotten(Fact, tag="history.forgotten", frozen=True):
    """Somebody had past tasks removed from those that a cluster compares new ones with; whose is not told."""

    cluster: str
    count: int


class FeedbackGiven(Fact, tag="feedback.given", frozen=True):
    """A person said how good an answer is.

    Attributes:
        score: from 0 to 1.
        by: who.
        note: why.
        before: the task's reward until then; None when nobody has evaluated it.
        after: the reward from then on.
        why: why no score moves, or empty.
        counts: whether it counts for the reward, and for what is known of judges, although no score moves.
    """

    score: float
    by: str
    note: str
    before: float | None = None
    after: float | None = None
    why: str = ""
    counts: bool = False


ClusterFact = (
    AuctionBid
    | AuctionAwarded
    | TaskQueued
    | AgentSplit
    | PartRetried
    | CapabilityUpdated
    | CapabilityMerged
    | CalibrationUpdated
    | ExpenseUpdated
    | AgentRetired
    | AgentRevived
    | BlueprintForged
    | BlueprintPruned
    | SkillProposed
    | SkillAbandoned
    | SkillPromoted
    | SkillReverted
    | ChangeObserved
    | ProposalMade
    | ProposalDecided
    | HistoryForgotten
    | FeedbackGiven
)
"""What happens between the members of a cluster, and to what is believed of them."""
