"""Facts of the passages of knowledge bases."""

from loomd.events.fact import Fact


class PassageFailed(Fact, tag="index.passage.failed", frozen=True):
    """A model could not say what a passage speaks of; the graph does without it.

    Attributes:
        knowledge: name of the knowledge base.
        source: where the passage stands.
        reason: what was wrong with the answers.
    """

    knowledge: str
    source: str
    reason: str
