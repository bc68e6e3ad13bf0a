"""How the members of a cluster stand now: what is believed of each, its work, tools, budget, price and health.

Of few they are worked out one after another; of many what changes seldom is kept, and the rest is worked out in
columns, because every task asks for them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress, count
from operator import is_, is_not
from typing import TYPE_CHECKING

from loomd.agents.agent import Agent
from loomd.agents.base import Tool
from loomd.agents.toolbox import sets_of
from loomd.amoeba.crowd import Costs, Crowd
from loomd.amoeba.learning import Learning
from loomd.amoeba.world import Score, Standing, Uses
from loomd.cluster.capability import Believed, Book, Priors
from loomd.cluster.columns import Columns
from loomd.cluster.condition import Conditions
from loomd.cluster.learn import expenses_of
from loomd.cluster.prices import Prices
from loomd.cluster.roster import Roster
from loomd.store.records import Average
from loomd.topology import Services

if TYPE_CHECKING:
    from loomd.amoeba.crowd import Flags
    from loomd.amoeba.crowd import Floats as Table

MANY = 64
"""Members from which on they are worked out in columns: there both ways take as long."""
_FREE = (0.0, 0.0)
_NOTHING: frozenset[str] = frozenset()


class Standings:
    """How the members of a cluster stand."""

    def __init__(
        self,
        namespace: str,
        roster: Roster,
        book: Book,
        conditions: Conditions,
        services: Services,
        terms: tuple[Priors, Learning],
    ) -> None:
        """Look at nothing yet.

        Args:
            namespace: the cluster's.
            roster: its members.
            book: what is believed of them.
            conditions: how they do.
            services: what the daemon lends.
            terms: what is believed at first, and from how many tasks on prices follow them.
        """
        self._namespace = namespace
        self._roster = roster
        self._book = book
        self._conditions = conditions
        self._services = services
        self._priors, self._learning = terms
        self._prices = Prices(services.clock)
        self._members: _Members | None = None

    def now(self, domains: Sequence[str]) -> Sequence[Standing]:
        """Return the standing in some domains of every member that takes new work, or whose retirement is over."""
        agents, back = self._roster.open, self._conditions.back(self._services.clock.now())
        agents = (*agents, *back) if back else agents
        return self.of(agents, domains) if len(agents) < MANY else self._crowd(agents, domains)

    def of(self, agents: Sequence[Agent], domains: Sequence[str]) -> list[Standing]:
        """Return the standings of some members."""
        known = [self._believed(agent, domains) for agent in agents]
        return self._made(agents, domains, known, self._services.loads.now(self._namespace))

    def _believed(self, agent: Agent, domains: Sequence[str]) -> Believed:
        name, digest, unknown, book = agent.name, agent.digest, self._priors.unknown, self._book
        declared = agent.domains or {name: self._priors.described}
        known = book.believed(name, digest, domains, declared, unknown)
        if not agent.locked:
            return known
        fixed = {domain: Score(declared.get(domain, unknown)) for domain in domains if agent.keeps(domain)}
        return Believed({**known.scores, **fixed}, book.overall(name, digest, max(declared.values()), agent.keeps))

    def _made(
        self, agents: Sequence[Agent], domains: Sequence[str], known: Iterable[Believed], running: Mapping[str, int]
    ) -> list[Standing]:
        """Return standings with what is believed of the members, and the work in hand of those that have any."""
        services, price = self._services, self._prices.now()
        left = self._left([agent.account for agent in agents])
        healths = self._conditions.healths(agents, services.clock.now())
        found: list[Standing] = []
        for agent, (scores, overall), share, health in zip(agents, known, left, healths, strict=True):
            name, digest, cost = agent.name, agent.digest, price(agent)
            tools = agent.tools or None
            found.append(
                Standing(
                    name,
                    digest,
                    scores,
                    overall,
                    running.get(name, 0),
                    _NOTHING if tools is None else frozenset(tools),
                    health,
                    share,
                    None if tools is None else frozenset([tool.schema.name for tool in agent.offered()]),
                    cost,
                    getattr(agent.model, "down", ""),
                    agent.description,
                    self._known_uses(name, digest) if cost != _FREE else None,
                    frozenset(filter(agent.keeps, domains)) if agent.locked else _NOTHING,
                )
            )
        return found

    @property
    def _declared(self) -> tuple[object, object]:
        """Return the things from which budgets, tools and permissions are read."""
        serving = self._services.serving
        return serving.snapshot, serving.withdrawn

    def _left(self, accounts: Sequence[str]) -> list[float]:
        return self._services.accounts.left(self._namespace, accounts, self._declared)

    def uses(self, agent: str, spec: str) -> Uses:
        """Return what an agent needs for each token that SENSE expects, however few tasks say so."""
        subject, averages = expenses_of(self._namespace, agent), self._services.averages
        read, written = averages.get(subject, f"{spec}/read"), averages.get(subject, f"{spec}/written")
        return Uses() if read is None or written is None else Uses(read.value, written.value, read.count)

    def _known_uses(self, agent: str, spec: str) -> Uses | None:
        """Return the same once enough tasks say so."""
        uses = self.uses(agent, spec)
        return uses if uses.seen >= self._learning.price.first else None

    def _crowd(self, agents: Sequence[Agent], domains: Sequence[str]) -> Crowd:
        """Return the standings of many members."""
        import numpy as np  # noqa: PLC0415  # 80 ms: only in large clusters

        members, declared = self._members, self._declared
        if members is None or not (_same(agents, members.agents) and _same(declared, members.declared)):
            columns = Columns(self._book, agents, self._priors)
            members = self._members = _Members(self._namespace, agents, declared, columns)
        places, suspects = members.places, np.zeros(len(agents), np.bool_)
        running = np.zeros(len(agents), np.int64)
        for name, work in self._services.loads.now(self._namespace).items():
            if (at := places.get(name)) is not None:
                running[at] = work
        left = self._left(members.accounts)
        if min(left) <= 0:
            suspects |= np.array(left) <= 0
        for name, digest in self._conditions.dying:
            if (at := places.get(name)) is not None and agents[at].digest == digest:
                suspects[at] = True
        for model, mine in members.models.values():
            if getattr(model, "down", ""):
                suspects[mine] = True

        def make(crowd: Crowd, ats: list[int]) -> list[Standing]:
            who = [agents[at] for at in crowd.places[ats].tolist()]
            work = dict(zip([agent.name for agent in who], crowd.running[ats].tolist(), strict=True))
            columns = [column.scores(ats) for column in crowd.scores.values()]
            known = [dict(zip(crowd.scores, row, strict=True)) for row in zip(*columns, strict=True)] or [{}] * len(who)
            beliefs = map(Believed, known, crowd.overall.scores(ats))
            return self._made(who, domains, beliefs, work)

        return Crowd(
            members.names,
            {domain: members.columns.of(domain) for domain in domains},
            members.columns.overall,
            running,
            suspects,
            self._costs(members),
            members.tool,
            make,
            members.everybody,
        )

    def _costs(self, members: "_Members") -> Costs | None:
        """Return what the members' tokens cost; None when no model has a price."""
        import numpy as np  # noqa: PLC0415  # as above

        price = self._prices.now()
        if members.priced != self._prices.until:
            members.priced = self._prices.until
            costs = [price(agent) for agent in members.agents]
            members.prices = np.array(costs).T if any(cost != _FREE for cost in costs) else None
        if members.prices is None:
            return None
        read = self._services.averages.each(members.expenses, members.reads)
        for at in compress(count(), map(is_not, read, members.read)):
            uses = self._known_uses(members.names[at], members.agents[at].digest)
            members.uses = members.uses.copy()
            members.uses[:, at] = (math.nan, math.nan) if uses is None else uses[:2]
        members.read = read
        return Costs(*members.prices, *members.uses)


def _same(some: Sequence[object], others: Sequence[object]) -> bool:
    """Return whether two sequences are one, or of the very same things."""
    return some is others or (len(some) == len(others) and all(map(is_, some, others)))


class _Members:
    """The members of a large cluster, and of them what changes with a revision, or now and then."""

    def __init__(self, namespace: str, agents: Sequence[Agent], declared: Sequence[object], columns: Columns) -> None:
        import numpy as np  # noqa: PLC0415  # as above

        self.agents = agents
        self.declared = declared
        self.columns = columns
        self.names = [agent.name for agent in agents]
        self.places = {name: at for at, name in enumerate(self.names)}
        self.everybody = np.arange(len(agents))
        self.accounts = [agent.account for agent in agents]
        self.models: dict[int, tuple[object, list[int]]] = {}
        """The models, each with the places of those that have it."""
        for at, agent in enumerate(agents):
            self.models.setdefault(id(agent.model), (agent.model, []))[1].append(at)
        self.priced = -1.0
        """Until when the prices hold."""
        self.prices: Table | None = None
        """USD of an input token, and of an output token; None when nothing has a price."""
        self.expenses = [expenses_of(namespace, name) for name in self.names]
        self.reads = [f"{agent.digest}/read" for agent in agents]
        self.read: Sequence[Average | None] = [None] * len(agents)
        """From what the uses were worked out."""
        self.uses: Table = np.full((2, len(agents)), math.nan)
        """Tokens that are read and written for each one expected; not a number where they are not known."""
        self._sets = list({id(one): one for agent in agents for one in sets_of(agent.tools)}.values())
        self._offered: tuple[Sequence[Tool], ...] | None = None
        self._having: dict[str, tuple[list[int], dict[int, Tool]]] = {}
        """By name of a tool places of who has it, and the live tools that they have."""
        self._tools: dict[str, tuple[tuple[str, ...], Flags, Flags]] = {}

    def tool(self, name: str) -> "tuple[Flags, Flags]":
        """Return who has a tool, and who of them may call it; it is kept until what a set offers, or bars, changes."""
        import numpy as np  # noqa: PLC0415  # as above

        offered = tuple(one.tools for one in self._sets)
        if self._offered is None or not all(map(is_, offered, self._offered)):
            self._offered, self._having, self._tools = offered, {}, {}
            for at, agent in enumerate(self.agents):
                for tool, live in agent.tools.items():
                    places, all_ = self._having.setdefault(tool, ([], {}))
                    places.append(at)
                    all_[id(live)] = live
        having, known = self._having.get(name, ([], {}))
        barred = tuple([tool.withdrawn for tool in known.values()])
        if (kept := self._tools.get(name)) is None or kept[0] != barred:
            has, may = np.zeros(len(self.agents), np.bool_), np.zeros(len(self.agents), np.bool_)
            has[having] = True
            may[having] = [any(tool.schema.name == name for tool in self.agents[at].offered()) for at in having]
            kept = self._tools[name] = barred, has, may
        return kept[1:]
