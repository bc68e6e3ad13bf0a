"""`kind: Cluster`: which agents work together, and by which policies."""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator

from loomd.accounts.budget import Budget, Budgets
from loomd.agents.agent import Agent
from loomd.agents.base import ChatModel, Skills
from loomd.amoeba.forging import Forge, Queue
from loomd.amoeba.learning import Learning
from loomd.amoeba.policies.auction import Auction
from loomd.amoeba.policies.base import AdaptPolicy, EvaluatePolicy, MatchPolicy, ScalePolicy, SensePolicy
from loomd.amoeba.policies.ema import Ema
from loomd.amoeba.policies.heuristic import Heuristic
from loomd.amoeba.policies.rules import Rules
from loomd.amoeba.policies.threshold import Threshold
from loomd.cluster.capability import Priors
from loomd.cluster.likeness import Embedder
from loomd.cluster.limits import TreeLimits
from loomd.cluster.skill_nodes import SELECTOR, SkillNodes
from loomd.errors import Permanent
from loomd.events.event import Event
from loomd.manifest.kind import Kind, RefTo, Reload, Spec
from loomd.manifest.locked import missing
from loomd.manifest.object import Object
from loomd.manifest.oneof import OneOf, OrList
from loomd.manifest.quantity import Duration, Share
from loomd.manifest.rule import PATTERN_MESSAGE, some_of
from loomd.manifest.selector import Selector, SelectorOf
from loomd.topology import Parts

if TYPE_CHECKING:
    from loomd.cluster.cluster import Cluster
    from loomd.cluster.condition import Past

_POLICIES = "loomd.amoeba.policies"
_SELECTOR = "/spec/agentSelector"
_EVALUATORS = OrList(EvaluatePolicy, OneOf(_POLICIES, default="rules"), most=8)
_NO_MEMBER = "expected members, got none: name them in agents, or select them with agentSelector"


_PATH_RULE: dict[str, JsonValue] = {
    PATTERN_MESSAGE: "expected agents or skillNodes.scores and the name of one, such as agents.writer"
}
_LockedPath = Annotated[
    str,
    Field(pattern=r"^(agents|skillNodes\.scores)\..+$", examples=["agents.writer"], json_schema_extra=_PATH_RULE),
]


class FeedbackTerms(Spec):
    """How much people count who say how good an answer was, with `loomd feedback`."""

    weight: Share = 1.0
    """Share of what people say in the quality of the answer; the rest stays what the evaluators said. With 1 it takes
    their place, with 0 it is kept and moves no score."""


class ClusterSpec(Spec):
    """Agents that share tasks, and how each of the six phases decides."""

    model_config = ConfigDict(json_schema_extra=some_of(_NO_MEMBER, agents={"minItems": 1}, agentSelector={}))

    description: str = Field(default="", examples=["Answers what customers ask."])
    """What the cluster is for."""
    agents: list[Annotated[str, RefTo("Agent")]] = Field(default_factory=list, examples=[["writer", "reviewer"]])
    """The members, by name."""
    agent_selector: Annotated[Selector, SelectorOf("Agent")] | None = Field(
        default=None, examples=[{"matchLabels": {"team": "support"}}]
    )
    """Further members, by the labels of the agents in this namespace; `{}` selects all of them. An agent that is named
    and selected is one member."""
    skill_nodes: SkillNodes | None = None
    """Skills that bid for tasks beside the agents."""
    priors: Priors = Field(default_factory=Priors)
    """What is believed of the agents before anything was learned."""
    limits: Annotated[TreeLimits, Reload("immediate")] = Field(default_factory=TreeLimits)
    """What one task may use together with everything that it is split into."""
    budgets: Annotated[Budgets, Reload("immediate")] = Field(default_factory=Budgets)
    """What all tasks of the namespace together may use in a day; of several clusters the lowest limits hold."""
    durability: Literal["steps", "task", "none"] = "steps"
    """What is kept of a task that does not say it itself: with `steps` every step, so that an interrupted task goes on
    after the last one; with `task` that it was accepted and what became of it, so that it begins anew; with `none`
    nothing, for tasks that may be lost."""
    planner: Annotated[str, RefTo("Provider")] | None = Field(default=None, examples=["local"])
    """Provider of the model that plans splits; the winner's own when unset."""
    embedder: Annotated[str, RefTo("Embedder")] | None = Field(default=None, examples=["words"])
    """Embedder by which tasks are compared with domains and tools; without it they are compared by shared words."""
    embedder_wait: Duration = Field(default=2.0, gt=0)
    """Longest time that a task waits for the embedder. When it takes longer or cannot be reached, shared words count,
    and no task waits for it any more until it answers again; it is asked every 30 seconds, beside the tasks."""
    sense: Annotated[SensePolicy, OneOf(_POLICIES, default="heuristic")] = Field(default_factory=Heuristic)
    """SENSE: what kind of task is this?"""
    match: Annotated[MatchPolicy, OneOf(_POLICIES)] = Field(default_factory=Auction)
    """MATCH: who does it?"""
    queue: Queue = Field(default_factory=Queue)
    """How a task waits that nobody takes, with `match.noWinner: queue`."""
    forge: Forge = Field(default_factory=Forge)
    """When a specialist is made for a task that nobody takes, with `match.noWinner: forge`."""
    scale: Annotated[ScalePolicy, OneOf(_POLICIES)] = Field(default_factory=Threshold)
    """SCALE: alone or together?"""
    merge: Literal["model", "join"] = "model"
    """How the results of a split are put together: the winner writes one answer, or they are put under each other,
    where a line in brackets names a part that is missing, and why."""
    evaluate: Annotated[EvaluatePolicy | list[EvaluatePolicy], _EVALUATORS] = Field(default_factory=Rules)
    """EVALUATE: how good was it? One evaluator, or a list of them, each with a `weight`."""
    feedback: FeedbackTerms = Field(default_factory=FeedbackTerms)
    """How much people count who say later how good an answer was."""
    adapt: Annotated[AdaptPolicy, OneOf(_POLICIES)] = Field(default_factory=Ema)
    """ADAPT: what is to be learned?"""
    learning: Learning = Field(default_factory=Learning)
    """What becomes of what is learned: how far each mechanism may go, and by which numbers."""
    locked: list[Literal["agents", "skillNodes.scores"] | _LockedPath] = Field(
        default_factory=list, examples=[["agents.writer"]]
    )
    """Paths of what nothing that the cluster learns may change. With `agents` the members stay who they are: nobody is
    made, joins or is retired; with `agents.NAME` that one is left out of no auction here and never retired; with
    `skillNodes.scores` what is believed of skills that bid stays as it is declared, with `skillNodes.scores.NAME` of
    one of them. What an agent itself keeps stands in its own `locked`."""

    @model_validator(mode="after")
    def _some_member(self) -> Self:
        if not self.agents and self.agent_selector is None:
            raise ValueError(_NO_MEMBER)
        return self

    def check(self, root: Path) -> Iterator[tuple[str, str, str]]:
        """Yield evaluators that are one, and paths in `locked` of what is not declared.

        Whom a selector chooses is not known here.
        """
        del root
        names = [one.name for one in self.evaluators]
        for at, name in enumerate(names):
            if name and name in names[:at]:
                text = "expected judges that differ in provider or rubric, got one twice: ask one with samples: 2"
                yield f"/evaluate/{at}", text, "invalid-value"
        if self.agent_selector is None:
            yield from missing(self.locked, "agents.", self.agents, "a member")
        scores = {} if self.skill_nodes is None else self.skill_nodes.scores
        yield from missing(self.locked, "skillNodes.scores.", scores, "a skill that skillNodes.scores names")

    def keeps_skill(self, skill: str) -> bool:
        """Return whether what is believed of a skill that bids is locked."""
        return not {"skillNodes.scores", f"skillNodes.scores.{skill}"}.isdisjoint(self.locked)

    @property
    def learns(self) -> Learning:
        """Return what becomes of what is learned, as far as `locked` lets it."""
        if "agents" not in self.locked:
            return self.learning
        modes = self.learning.modes.model_copy(update={"retire": "off", "forge": "off"})
        return self.learning.model_copy(update={"modes": modes})

    @property
    def evaluators(self) -> Sequence[EvaluatePolicy]:
        """Return who judges."""
        return [self.evaluate] if isinstance(self.evaluate, EvaluatePolicy) else self.evaluate

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["Cluster", None]:
        """Bring the agents together, with what was learned of them before."""
        from loomd.amoeba.loop import Policies  # noqa: PLC0415  # runs tasks, as validation does not
        from loomd.cluster.cluster import Cluster  # noqa: PLC0415  # the same
        from loomd.cluster.condition import HEARD  # noqa: PLC0415  # the same
        from loomd.cluster.patient import Patient  # noqa: PLC0415  # the same
        from loomd.cluster.terms import Models, Terms  # noqa: PLC0415  # the same

        bus = parts.services.bus
        selected = [to.name for pointer, to in parts.declared.refs if pointer == _SELECTOR]
        agents = [parts.get("Agent", name, Agent) for name in dict.fromkeys([*self.agents, *selected])]
        agents = [_with(one, "health") if f"agents.{one.name}" in self.locked else one for one in agents]
        if self.skill_nodes is not None:
            agents += await self._nodes(self.skill_nodes, parts)
        reserve = [parts.get("Blueprint", name, Agent) for name in dict.fromkeys(self.forge.blueprints)]
        past, meanwhile = await _learned(parts, agents, reserve)

        def latest(item: Object | None) -> TreeLimits | None:
            return item.spec.limits if item is not None else None

        def budget(item: Object | None) -> Budget:
            return self.budgets.daily if item is None else item.spec.budgets.daily

        accounts = parts.services.accounts
        providers = [to.name for _, to in parts.declared.refs if to.kind == "Provider"]
        named = {name: parts.get("Provider", name, ChatModel) for name in providers}
        embedder = None
        if self.embedder:
            known = parts.get("Embedder", self.embedder, Embedder)
            embedder = Patient(f"Embedder/{self.embedder}", known, self.embedder_wait, parts.services.clock)

        cluster = Cluster(
            parts.declared.ref,
            agents,
            Terms(
                Policies(self.sense, self.match, self.scale, self.merge, self.evaluators, self.adapt, self.learns),
                self.priors,
                self.limits,
                parts.following(latest),
                self.durability,
                self.feedback.weight,
                self.queue,
                self.forge,
                reserve,
            ),
            services=parts.services,
            past=past,
            embedder=embedder,
            models=Models(named[self.planner] if self.planner else None, named),
        )
        for event in meanwhile:
            cluster.hear(event)
        unsubscribe = bus.subscribe(cluster.hear, *HEARD)
        try:
            with accounts.bounded(parts.declared.ref.namespace, "", parts.following(budget)):
                yield cluster
        finally:
            unsubscribe()
            cluster.conditions.close()
            if embedder is not None:
                embedder.close()

    async def _nodes(self, nodes: SkillNodes, parts: Parts) -> list[Agent]:
        """Return the members that are skills.

        Raises:
            Permanent: a skill cannot be one.
        """
        selected = [to.name for pointer, to in parts.declared.refs if pointer == SELECTOR]
        groups = {name: parts.get("Skill", name, Skills) for name in dict.fromkeys([*nodes.skills, *selected])}
        try:
            made = await nodes.make(parts.get("Agent", nodes.host, Agent), groups)
        except Permanent as error:
            raise Permanent(f"{parts.declared.ref} spec.skillNodes: {error}") from error
        return [_with(one, f"domains.{one.skill}") if self.keeps_skill(one.skill) else one for one in made]


def _with(agent: Agent, locked: str) -> Agent:
    """Return a member of which the cluster locks something, too."""
    return replace(agent, locked=agent.locked | {locked})


async def _learned(parts: Parts, agents: Sequence[Agent], reserve: Sequence[Agent]) -> "tuple[Past, Sequence[Event]]":
    """Return what was learned so far, and what happened while that was read: tasks learn while others open."""
    from loomd.cluster.blueprints import Blueprints  # noqa: PLC0415  # as above
    from loomd.cluster.condition import HEARD, Past  # noqa: PLC0415  # as above

    events: list[Event] = []
    unsubscribe = parts.services.bus.subscribe(events.append, *HEARD)
    store, namespace = parts.services.store, parts.declared.ref.namespace
    try:
        learning = store.learning
        records = await learning.blueprints(namespace)
        known = Blueprints(parts.name, agents, records, reserve)
        lessons = [
            one
            for agent in (*known.members(), *known.former().values())
            for one in await learning.lessons(namespace, agent.name, agent.digest)
            if one.at >= known.since(agent.name)
        ]
        past = Past(
            await store.capabilities(),
            lessons,
            await learning.lineage(namespace),
            await learning.proposals(namespace),
            await learning.behaviours(namespace),
            records,
        )
        return past, events
    finally:
        unsubscribe()


def _implicit(names: Mapping[str, Sequence[str]]) -> dict[str, object] | None:
    """Return the spec of the cluster of a namespace that declares none: all its agents, nothing special."""
    agents = names.get("Agent")
    return {"agents": list(agents)} if agents else None


KIND = Kind(
    name="Cluster",
    plural="clusters",
    spec_at=lambda: ClusterSpec,
    summary="Agents that share tasks, and how each of the six phases decides.",
    implicit=_implicit,
)
