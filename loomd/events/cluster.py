"""Facts about how a cluster shares work, and about what it learns of its agents."""

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
    """An agent's score in a domain moved. `spec` is the digest of the behaviour that was scored."""

    owner: str
    spec: str
    domain: str
    before: float
    after: float
    variance: float
    count: int
    reason: str


class FeedbackGiven(Fact, tag="feedback.given", frozen=True):
    """A person said how good an answer is: `score` from 0 to 1."""

    score: float
    by: str
    note: str


ClusterFact = AuctionBid | AuctionAwarded | AgentSplit | PartRetried | CapabilityUpdated | FeedbackGiven
"""What happens between the members of a cluster, and to what is believed of them."""
