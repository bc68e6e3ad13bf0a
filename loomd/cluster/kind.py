"""`kind: Cluster`: which agents work together, and by which policies."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from pydantic import Field

from loomd.agents.agent import Agent
from loomd.agents.base import ChatModel
from loomd.amoeba.loop import Policies
from loomd.amoeba.policies.auction import Auction
from loomd.amoeba.policies.base import AdaptPolicy, EvaluatePolicy, MatchPolicy, ScalePolicy, SensePolicy
from loomd.amoeba.policies.ema import Ema
from loomd.amoeba.policies.heuristic import Heuristic
from loomd.amoeba.policies.rules import Rules
from loomd.amoeba.policies.threshold import Threshold
from loomd.cluster.capability import Priors
from loomd.cluster.cluster import Cluster, Terms
from loomd.cluster.likeness import Embedder
from loomd.cluster.limits import TreeLimits
from loomd.manifest.kind import Kind, RefTo, Spec
from loomd.manifest.oneof import OneOf
from loomd.topology import Parts

_POLICIES = "loomd.amoeba.policies"


class ClusterSpec(Spec):
    """Agents that share tasks, and how each of the six phases decides."""

    description: str = ""
    """What the cluster is for."""
    agents: list[Annotated[str, RefTo("Agent")]] = Field(min_length=1)
    """The members."""
    priors: Priors = Field(default_factory=Priors)
    """What is believed of the agents before anything was learned."""
    limits: TreeLimits = Field(default_factory=TreeLimits)
    """What one task may use together with everything that it is split into."""
    planner: Annotated[str, RefTo("Provider")] | None = None
    """Provider of the model that plans splits; the winner's own when unset."""
    embedder: Annotated[str, RefTo("Embedder")] | None = None
    """Embedder by which tasks are compared with domains and tools; without it they are compared by shared words."""
    sense: Annotated[SensePolicy, OneOf(_POLICIES)] = Field(default_factory=Heuristic)
    """SENSE: what kind of task is this?"""
    match: Annotated[MatchPolicy, OneOf(_POLICIES)] = Field(default_factory=Auction)
    """MATCH: who does it?"""
    scale: Annotated[ScalePolicy, OneOf(_POLICIES)] = Field(default_factory=Threshold)
    """SCALE: alone or together?"""
    merge: Literal["model", "join"] = "model"
    """How the results of a split are put together: the winner writes one answer, or they are put under each other."""
    evaluate: Annotated[EvaluatePolicy, OneOf(_POLICIES)] = Field(default_factory=Rules)
    """EVALUATE: how good was it?"""
    adapt: Annotated[AdaptPolicy, OneOf(_POLICIES)] = Field(default_factory=Ema)
    """ADAPT: what is to be learned?"""

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[Cluster, None]:
        """Bring the agents together, with what was learned of them before."""
        bus = parts.services.bus
        cluster = Cluster(
            agents=[parts.get("Agent", name, Agent) for name in self.agents],
            terms=Terms(
                Policies(self.sense, self.match, self.scale, self.merge, self.evaluate, self.adapt),
                self.priors,
                self.limits,
            ),
            services=parts.services,
            learned=await parts.services.store.capabilities(),
            planner=parts.get("Provider", self.planner, ChatModel) if self.planner else None,
            embedder=parts.get("Embedder", self.embedder, Embedder) if self.embedder else None,
        )
        unsubscribe = bus.subscribe(cluster.book.hear)
        try:
            yield cluster
        finally:
            unsubscribe()


def _implicit(names: Mapping[str, Sequence[str]]) -> dict[str, object] | None:
    """Return the spec of the cluster of a namespace that declares none: all its agents, nothing special."""
    agents = names.get("Agent")
    return {"agents": list(agents)} if agents else None


KIND = Kind(
    name="Cluster",
    plural="clusters",
    spec=ClusterSpec,
    summary="Agents that share tasks, and how each of the six phases decides.",
    implicit=_implicit,
)
