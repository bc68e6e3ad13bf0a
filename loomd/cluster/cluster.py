"""A live cluster: its agents, what is believed of them, and the policies by which they share work."""

from collections.abc import Mapping, Sequence

from loomd.agents.agent import Agent
from loomd.agents.base import ChatModel
from loomd.amoeba.loop import Policies, run_task
from loomd.amoeba.task import Decision, Result, Task
from loomd.amoeba.world import Run, Signals, Standing
from loomd.cluster.capability import Book, Priors
from loomd.cluster.likeness import Embedder, Likeness
from loomd.events.bus import Scope
from loomd.events.event import CapabilityUpdated
from loomd.store.base import Capability
from loomd.topology import Services


class Cluster:
    """Runs tasks with its agents; fits `amoeba.world.World`."""

    def __init__(
        self,
        agents: Sequence[Agent],
        policies: Policies,
        services: Services,
        learned: Sequence[Capability],
        priors: Priors,
        planner: ChatModel | None = None,
        embedder: Embedder | None = None,
    ) -> None:
        self._agents = {agent.name: agent for agent in agents}
        self._policies = policies
        self._services = services
        self._priors = priors
        self._planner = planner
        self.book = Book(learned)
        self._domains = Likeness(_domain_texts(agents), embedder)
        self._tools = Likeness(_tool_texts(agents), embedder)

    @property
    def agents(self) -> Mapping[str, Agent]:
        """Return the members by name."""
        return self._agents

    async def run(self, task: Task, run: Run) -> Result:
        """Take a task through the six phases."""
        return await run_task(task, self, self._policies, run)

    async def signals(self, task: Task) -> Signals:
        """Return what SENSE may look at."""
        return Signals(
            task.goal, len(task.findings), await self._domains.of(task.goal), await self._tools.of(task.goal)
        )

    def standings(self, domains: Sequence[str]) -> list[Standing]:
        """Return every agent's standing in the given domains."""
        return [self._standing(agent, domains) for agent in self._agents.values()]

    def _standing(self, agent: Agent, domains: Sequence[str]) -> Standing:
        declared = agent.domains or {agent.name: self._priors.described}
        best = max(declared.values())
        return Standing(
            agent=agent.name,
            spec=agent.digest,
            scores={
                d: self.book.score(agent.name, agent.digest, d, declared.get(d, self._priors.unknown)) for d in domains
            },
            overall=self.book.overall(agent.name, agent.digest, best),
            running=agent.running,
            tools=frozenset(agent.tools),
        )

    def agent(self, name: str) -> Agent:
        """Return a member."""
        return self._agents[name]

    def planner(self, winner: str) -> ChatModel:
        """Return the cluster's planner, or the winner's own model."""
        return self._planner or self._agents[winner].model

    async def learn(self, decisions: Sequence[Decision], scope: Scope) -> None:
        """Take new scores over at once, tell everybody, and store them, once per task."""
        services = self._services
        now = services.clock.now()
        for d in decisions:
            fact = CapabilityUpdated(d.agent, d.spec, d.domain, d.before, d.after, d.variance, d.count, d.reason)
            scope.emit(fact, d.agent, key=f"learned/{d.agent}/{d.domain}")
        scores = [Capability(d.agent, d.spec, d.domain, d.after, d.variance, d.count, now) for d in decisions]
        if not await services.store.learn(scope.task, scores):
            self.book.load(await services.store.capabilities())  # a task that was learned from before a crash


def _domain_texts(agents: Sequence[Agent]) -> dict[str, str]:
    """Return a text for every domain: its name, and what the agents that declare it say of themselves."""
    texts: dict[str, list[str]] = {}
    for agent in agents:
        for domain in agent.domains or (agent.name,):
            texts.setdefault(domain, [domain.replace("-", " ")]).append(agent.description)
    return {domain: ". ".join(part for part in parts if part) for domain, parts in texts.items()}


def _tool_texts(agents: Sequence[Agent]) -> dict[str, str]:
    schemas = {name: tool.schema for agent in agents for name, tool in agent.tools.items()}
    return {name: f"{name.replace('_', ' ')}: {schema.description}" for name, schema in schemas.items()}
