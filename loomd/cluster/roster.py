"""Who belongs to a cluster, and what its domains and tools are called. Members may come and go while it is open."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from loomd.agents.agent import Agent
from loomd.cluster.likeness import Embedder, Likeness
from loomd.errors import NotFound
from loomd.interceptors.redact import Redactor

if TYPE_CHECKING:
    from loomd.cluster.likeness import Vector


class Roster:
    """The members of a cluster, in the order in which they came."""

    def __init__(self, agents: Iterable[Agent], embedder: Embedder | None) -> None:
        """Begin with some members; goals are compared by meaning with an embedder, else by shared words."""
        self._agents = {agent.name: agent for agent in agents}
        self.embedder = embedder
        """What goals are compared by."""
        self._draining: set[str] = set()
        self._describe()

    @property
    def agents(self) -> Mapping[str, Agent]:
        """Return all members by name, those included that take no new work."""
        return self._agents

    @property
    def open(self) -> Sequence[Agent]:
        """Return the members that take new work: the same sequence as long as nobody comes, goes or is replaced."""
        return self._open

    def agent(self, name: str) -> Agent:
        """Return a member.

        Raises:
            NotFound: there is no such member, or no longer.
        """
        if name not in self._agents:
            raise NotFound(f"Agent/{name} is not a member of the cluster; members: {', '.join(self._agents)}")
        return self._agents[name]

    def add(self, agent: Agent) -> None:
        """Let an agent become a member; one of its name is replaced, and takes new work again."""
        self._agents[agent.name] = agent
        self._draining.discard(agent.name)
        self._describe()

    def drain(self, name: str) -> None:
        """Let a member take no new work; what it does goes on.

        Raises:
            NotFound: there is no such member.
        """
        self._draining.add(self.agent(name).name)
        self._describe()

    def remove(self, name: str) -> None:
        """Let a member go; what it still does goes on with the agent that it began with.

        Raises:
            NotFound: there is no such member.
        """
        del self._agents[self.agent(name).name]
        self._draining.discard(name)
        self._describe()

    async def fits(self, goal: str) -> tuple[dict[str, float], dict[str, float]]:
        """Return how well a goal fits each domain and each tool of the members that take new work, 0 to 1.

        Raises:
            LoomdError: the embedder failed.
        """
        domains, tools, likeness = self._domains, self._tools, self._likeness
        return _told(await likeness.of(goal), domains, tools)

    def fits_by_words(self, goal: str) -> tuple[dict[str, float], dict[str, float]]:
        """Return the same by shared words, whatever the embedder does."""
        return _told(self._likeness.by_words(goal), self._domains, self._tools)

    async def vector(self, goal: str) -> "Vector | None":
        """Return the unit vector of a goal, `(dimension,) float32`; None without an embedder.

        Raises:
            LoomdError: the embedder failed.
        """
        return await self._likeness.vector(goal)

    def redacted(self, goal: str) -> str:
        """Return a goal without what any member's interceptors redact."""
        for one in self._redactors:
            goal = one.conceal(goal)
        return goal

    def _describe(self) -> None:
        """Take over what the members say of themselves now."""
        agents = self._open = tuple(agent for name, agent in self._agents.items() if name not in self._draining)
        interceptors = {one.name: one for agent in self._agents.values() for one in agent.interceptors}
        self._redactors = [one for one in interceptors.values() if isinstance(one, Redactor)]
        domains, tools = _domain_texts(agents), _tool_texts(agents)
        self._domains = {name: f"domain {name}" for name in domains}
        self._tools = {name: f"tool {name}" for name in tools}
        named = {self._domains[name]: text for name, text in domains.items()}
        named |= {self._tools[name]: text for name, text in tools.items()}
        self._likeness = Likeness(named, self.embedder)


def _told(
    fits: Mapping[str, float], domains: Mapping[str, str], tools: Mapping[str, str]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return how well a goal fits domains and tools, which are given with what they are called among the texts."""
    return (
        {name: fits[text] for name, text in domains.items()},
        {name: fits[text] for name, text in tools.items()} if tools else {},
    )


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
