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
    """A person said how good an answer is.

    Attributes:
        score: from 0 to 1.
        by: who.
        note: why.
        before: the task's reward until then; None when nobody has evaluated it.
        after: the reward from then on.
        why: why no score moves, or empty.
    """

    score: float
    by: str
    note: str
    before: float | None = None
    after: float | None = None
    why: str = ""


ClusterFact = AuctionBid | AuctionAwarded | AgentSplit | CapabilityUpdated | FeedbackGiven
"""What happens between the members of a cluster, and to what is believed of them."""
