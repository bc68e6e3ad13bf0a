"""On what terms the members of a cluster share work, and which models its phases ask. Made by `kind`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from loomd.agents.agent import Agent
from loomd.agents.base import ChatModel
from loomd.amoeba.forging import Forge, Queue
from loomd.amoeba.loop import Policies
from loomd.amoeba.task import Durability
from loomd.cluster.capability import Priors
from loomd.cluster.limits import TreeLimits


@dataclass(frozen=True)
class Terms:
    """On what terms the members share work: how each phase decides, what is believed at first, what a task may use.

    `latest` returns the limits that a newer revision declares, or None when it has no such cluster. `durability` is
    what is kept of a task that does not say it, `feedback` the share of what people say of an answer in its quality;
    `queue` and `forge` say what becomes of a task that nobody takes, `reserve` are those whom people declared to join
    when they are needed.
    """

    policies: Policies
    priors: Priors
    limits: TreeLimits
    latest: Callable[[], TreeLimits | None]
    durability: Durability = "steps"
    feedback: float = 1.0
    queue: Queue = field(default_factory=Queue)
    forge: Forge = field(default_factory=Forge)
    reserve: Sequence[Agent] = ()


@dataclass(frozen=True)
class Models:
    """The models that the phases of a cluster ask.

    Attributes:
        planner: the one that plans splits; the winner's own when None.
        named: those of the providers that the cluster's spec names anywhere, by name.
    """

    planner: ChatModel | None = None
    named: Mapping[str, ChatModel] = field(default_factory=dict[str, ChatModel])
