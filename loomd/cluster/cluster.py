"""A live cluster: its agents, what is believed of them, and the policies by which they share work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loomd.agents.agent import Agent
from loomd.agents.base import ChatModel
from loomd.amoeba.loop import Policies, run_task
from loomd.amoeba.task import Budget, Decision, Result, Task
from loomd.amoeba.world import Run, Signals, Standing
from loomd.cluster.capability import Book, Priors
from loomd.cluster.likeness import Embedder, Likeness
from loomd.cluster.limits import TreeLimits
from loomd.errors import NotFound
from loomd.events.bus import Scope
from loomd.events.event import CapabilityUpdated
from loomd.store.base import Capability
from loomd.topology import Services


@dataclass(frozen=True)
class Terms:
    """On what terms the members share work: how each phase decides, what is believed at first, what a task may use."""

    policies: Policies
    priors: Priors
    limits: TreeLimits


class Cluster:
    """Runs tasks with its agents; fits `amoeba.world.World`."""

    def __init__(
        self,
        agents: Sequence[Agent],
        terms: Terms,
        services: Services,
        learned: Sequence[Capability],
        planner: ChatModel | None = None,
        embedder: Embedder | None = None,
    ) -> None:
        self._agents = {agent.name: agent for agent in agents}
        self._terms = terms
        self._services = services
        self._planner = planner
        self.book = Book(learned)
        self._domains = _domain_texts(agents)
        self._tools = _tool_texts(agents)
        named = {f"domain {name}": text for name, text in self._domains.items()}
        named |= {f"tool {name}": text for name, text in self._tools.items()}
        self._likeness = Likeness(named, embedder)

    @property
    def agents(self) -> Mapping[str, Agent]:
        """Return the members by name."""
        return self._agents

    async def run(self, task: Task, run: Run) -> Result:
        """Take a task through the six phases."""
        return await run_task(task, self, self._terms.policies, run)

    async def signals(self, task: Task) -> Signals:
        """Return what SENSE may look at."""
        fits = await self._likeness.of(task.goal)
        domains = {name: fits[f"domain {name}"] for name in self._domains}
        tools = {name: fits[f"tool {name}"] for name in self._tools}
        return Signals(task.goal, len(task.findings), domains, tools)

    def standings(self, domains: Sequence[str]) -> list[Standing]:
        """Return every agent's standing in the given domains."""
        return [self.standing(name, domains) for name in self._agents]

    def standing(self, agent: str, domains: Sequence[str]) -> Standing:
        """Return one agent's standing in the given domains."""
        return self._standing(self.agent(agent), domains)

    def _standing(self, agent: Agent, domains: Sequence[str]) -> Standing:
        declared = agent.domains or {agent.name: self._terms.priors.described}
        best, unknown = max(declared.values()), self._terms.priors.unknown
        return Standing(
            agent=agent.name,
            spec=agent.digest,
            scores={d: self.book.score(agent.name, agent.digest, d, declared.get(d, unknown)) for d in domains},
            overall=self.book.overall(agent.name, agent.digest, best),
            running=agent.running,
            tools=frozenset(agent.tools),
        )

    def agent(self, name: str) -> Agent:
        """Return a member.

        Raises:
            NotFound: there is no such member, or no longer.
        """
        if name not in self._agents:
            raise NotFound(f"Agent/{name} is not a member of the cluster; members: {', '.join(self._agents)}")
        return self._agents[name]

    def planner(self, winner: str) -> ChatModel:
        """Return the cluster's planner, or the winner's own model."""
        return self._planner or self.agent(winner).model

    def limit(self, budget: Budget) -> Budget:
        """Return a task's budget with the cluster's own limits where it names none; none is ever unlimited."""
        own = self._terms.limits
        return Budget(
            own.tokens if budget.tokens is None else budget.tokens,
            own.cost if budget.cost is None else budget.cost,
            own.time if budget.seconds is None else budget.seconds,
        )

    async def learn(self, decisions: Sequence[Decision], scope: Scope, *, again: bool) -> None:
        """Take new scores over, tell everybody, and store them, once per task.

        They are taken over before they are stored, so that siblings that end at the same time build on each other; a
        task that was interrupted asks the store first.
        """
        services = self._services
        now = services.clock.now()
        scores = [Capability(d.agent, d.spec, d.domain, d.after, d.variance, d.count, now) for d in decisions]
        if again and not await services.store.learn(scope.task, scores):
            return
        for d in decisions:
            fact = CapabilityUpdated(d.agent, d.spec, d.domain, d.before, d.after, d.variance, d.count, d.reason)
            scope.emit(fact, d.agent, key=f"learned/{d.agent}/{d.domain}")
        if not again:
            await services.store.learn(scope.task, scores)


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
