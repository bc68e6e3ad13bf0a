"""Many members stand, and are chosen, bit for bit as few are, whatever changes about them in between."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loomd.accounts.account import Accounts
from loomd.accounts.averages import Averages
from loomd.accounts.budget import Budget
from loomd.accounts.load import Loads
from loomd.agents.agent import Agent
from loomd.agents.budget import Limits
from loomd.agents.permissions import Permissions
from loomd.agents.toolbox import Toolbox
from loomd.amoeba.crowd import Crowd, beside, names_of, without
from loomd.amoeba.learning import Learning
from loomd.amoeba.policies.auction import Auction
from loomd.amoeba.policies.base import MatchPolicy
from loomd.amoeba.policies.cheapest import Cheapest
from loomd.amoeba.policies.static import Static
from loomd.amoeba.policies.thompson import Thompson
from loomd.amoeba.task import Matched, Sensed
from loomd.amoeba.world import Standing
from loomd.cluster import standings
from loomd.cluster.capability import Ageing, Book, Priors
from loomd.cluster.cluster import Cluster
from loomd.cluster.condition import Conditions
from loomd.cluster.learn import expenses_of
from loomd.cluster.roster import Roster
from loomd.cluster.standings import Standings
from loomd.daemon import System
from loomd.events.cluster import AgentRetired, CapabilityUpdated
from loomd.events.event import Event
from loomd.manifest.object import Ref
from loomd.messages import Usage
from loomd.store.records import Average, Capability
from tests.amoeba.cases import MUTE
from tests.engine.world import World, task_of

DOMAINS = ("law", "maths", "poetry", "general")
TOOLS = ("search", "files", "mail")
POLICIES: tuple[MatchPolicy, ...] = (
    Auction(),
    Auction.model_validate({"exploration": 0, "record": 2, "filters": {"tools": True}}),
    Auction.model_validate({"noWinner": "fail", "reserve": 0.7, "price": 0, "filters": {"health": False}}),
    Thompson(),
    Cheapest(),
    Cheapest.model_validate({"capability": 0.9, "noWinner": "fail", "record": 3}),
    Static(agent="a3"),
)


@dataclass(eq=False)
class Model:
    """A model that may be away, and may have a price."""

    name: str
    usd: float = 0.0
    down: str = ""

    def cost(self, usage: Usage) -> float:
        """Return what tokens cost."""
        return self.usd * usage.input + 5 * self.usd * usage.output


@dataclass(eq=False)
class Tool:
    """A tool that may be withdrawn."""

    name: str
    withdrawn: str = ""
    schema: Any = None

    def __post_init__(self) -> None:
        self.schema = SimpleNamespace(name=self.name, description="")


@dataclass
class Hands:
    """A clock whose hands are turned, and what serves."""

    at: float = 100.0
    serving: Any = field(default_factory=lambda: SimpleNamespace(snapshot=object(), withdrawn=frozenset(), live={}))

    def now(self) -> float:
        """Return the time."""
        return self.at

    monotonic = now


class Company:
    """Members of whom everything differs, and may change."""

    def __init__(self, seed: int, size: int, half_life: float = 0.0) -> None:
        self.draw = draw = Random(seed)
        self.hands = Hands()
        services: Any = SimpleNamespace(
            clock=self.hands, serving=self.hands.serving, loads=Loads(), accounts=Accounts(), averages=Averages()
        )
        self.services = services
        self.models: list[Any] = [Model("free"), Model("dear", 1e-6), Model("dearer", draw.random() * 1e-5)][
            : draw.randint(1, 3)
        ]
        self.tools: dict[str, Any] = {name: Tool(name) for name in TOOLS}
        self.set: Any = SimpleNamespace(tools=[Tool("mail"), Tool("post")])
        self.budgets: dict[str, Budget] = {}
        self.stack = ExitStack()
        self.made = 0
        agents = [self.agent() for _ in range(size)]
        self.roster = Roster(agents, None)
        known = [
            Capability(one.name, one.digest, domain, draw.random(), draw.random() / 9, draw.randrange(9), draw.random())
            for one in agents
            for domain in draw.sample(DOMAINS, draw.randrange(3))
        ]
        members = [(one.name, one.digest) for one in agents]
        self.book = Book(members, known, Ageing(0.3, half_life, self.hands.now))
        learning = Learning()
        self.conditions = Conditions(Ref("Cluster", "c", "default"), self.roster, learning)
        terms = (Priors(), learning)
        self.standings = Standings("default", self.roster, self.book, self.conditions, services, terms)

    def agent(self) -> Agent:
        """Return an agent like no other."""
        draw, name = self.draw, f"a{self.made}"
        self.made += 1
        tools: Any = {}
        if draw.random() < 0.7:
            objects = {one: self.tools[one] for one in draw.sample(TOOLS[:2], draw.randint(0, 2))}
            objects |= {"set": self.set} if draw.random() < 0.5 else {}
            tools = Toolbox(objects) if objects else {}
        locks = ["scores", "health", "domains.law", "domains.maths"]
        made = Agent(
            name=name,
            namespace="default",
            digest=f"{name}-{draw.random()}",
            description=name,
            domains={one: draw.random() for one in draw.sample(DOMAINS, draw.randrange(3))},
            model=draw.choice(self.models),
            prompt="",
            limits=Limits(),
            clock=self.hands,
            tools=tools,
            permissions=Permissions(deny=draw.sample(TOOLS, draw.randrange(2))),
            locked=frozenset(draw.sample(locks, 1) if draw.random() < 0.2 else ()),
        )
        if draw.random() < 0.5:
            self.budgets[name] = Budget(tokens=draw.choice([0, 100, 1000]))
            self.stack.enter_context(
                self.services.accounts.bounded(
                    "default", name, lambda: self.budgets[name]
                )  # read anew, as of a manifest
            )
        return made

    def change(self) -> None:
        """Let something happen."""
        draw = self.draw
        often = [self.learn, self.learn, self.learn, self.spend, self.work, self.wait, self.expect, self.fail]
        what = draw.choice([*often, self.fetch, self.bar, self.come, self.go, self.rest, self.reload])
        what(draw.choice(list(self.roster.agents.values())))

    def learn(self, one: Agent, reward: float | None = None) -> None:
        """A score moves."""
        draw = self.draw
        reward = draw.random() if reward is None else reward
        moved = (draw.random(), draw.random(), draw.random() / 9, draw.randrange(20))
        fact = CapabilityUpdated(one.name, one.digest, draw.choice(DOMAINS), *moved, "x", reward)
        event = Event(fact, self.hands.at, f"t{draw.random()}", namespace="default")
        self.book.hear(event)
        self.conditions.hear(event)

    def fail(self, one: Agent) -> None:
        """An agent begins to die."""
        for _ in range(4):
            self.learn(one, 0.0)

    def spend(self, one: Agent) -> None:
        """Tokens are used."""
        self.services.accounts._book(("default", one.account), {"tokens": self.draw.choice([90.0, 950.0])})

    def work(self, one: Agent) -> None:
        """Somebody gets a task."""
        self.stack.enter_context(self.services.loads.bearing("default", one.name))

    def wait(self, one: Agent) -> None:
        """Time goes by."""
        del one
        self.hands.at += self.draw.choice([70.0, 5000.0, 90_000.0]) * (1 + self.draw.random())

    def expect(self, one: Agent) -> None:
        """It is learned how much an agent writes."""
        for name in ("read", "written"):
            average = Average(expenses_of("default", one.name), f"{one.digest}/{name}", self.draw.random(), 4, 0.0)
            self.services.averages.take(average)

    def fetch(self, one: Agent) -> None:
        """A set offers other tools."""
        del one
        self.set.tools = [Tool(name) for name in self.draw.sample([*TOOLS, "post"], 2)]

    def bar(self, one: Agent) -> None:
        """A tool, or the service of a model, is away or back."""
        del one
        thing = self.draw.choice([*self.tools.values(), *self.set.tools, *self.models])
        if isinstance(thing, Model):
            thing.down = "" if thing.down else "it rests"
        else:
            thing.withdrawn = "" if thing.withdrawn else "gone"

    def come(self, one: Agent) -> None:
        """Somebody joins, or comes back."""
        one = self.draw.choice([one, self.agent()])
        self.book.admit(one.name, one.digest, [])
        self.roster.add(one)
        self.conditions.admit(one)

    def go(self, one: Agent) -> None:
        """Somebody goes."""
        if len(self.roster.agents) > 3:
            self.roster.remove(one.name)

    def rest(self, one: Agent) -> None:
        """Somebody is retired."""
        fact = AgentRetired(one.name, one.digest, "c", self.hands.at + 1000, "x")
        self.conditions.hear(Event(fact, self.hands.at, namespace="default"))

    def reload(self, one: Agent) -> None:
        """Other budgets serve."""
        del one
        for name in self.budgets:
            self.budgets[name] = Budget(tokens=self.draw.choice([0, 100, None]))
        self.hands.serving.snapshot = object()


def as_few(company: Company, domains: Sequence[str]) -> tuple[Crowd, Sequence[Standing]]:
    """Return how the members stand in columns, and one after another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standings, "MANY", 0)
        many = company.standings.now(domains)
        assert isinstance(many, Crowd)
        patch.setattr(standings, "MANY", 10_000)
        return many, company.standings.now(domains)


async def both(policy: MatchPolicy, sensed: Sensed, many: Sequence[Standing], few: Sequence[Standing]) -> Matched:
    """Return whom a policy chooses, the same of both, with the same words and numbers."""
    found = [await policy.choose(sensed, agents, Random(7), MUTE) for agents in (many, few)]
    assert msgspec.json.encode(found[0]) == msgspec.json.encode(found[1]), policy
    assert dict(policy.refused(sensed, many)) == dict(policy.refused(sensed, few))
    return found[0]


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 12), half_life=st.sampled_from([0.0, 50.0, 10_000.0]))
async def test_many_are_chosen_as_few_are(seed: int, size: int, half_life: float) -> None:
    """After each of many changes: the same standings, winners, bids and reasons, to the last bit."""
    company = Company(seed, size, half_life)
    draw = company.draw
    with company.stack:
        for _ in range(25):
            company.change()
            domains = draw.sample(DOMAINS, draw.randint(1, 3))
            if not company.roster.open:
                continue
            many, few = as_few(company, domains)
            assert list(many) == few
            assert [many[-1], *many[:2]] == [few[-1], *few[:2]]
            shares = [draw.random() for _ in domains]
            weights = {domain: share / sum(shares) for domain, share in zip(domains, shares, strict=True)}
            needed = tuple(draw.sample([*TOOLS, "post"], draw.randrange(3)))
            sensed = Sensed(0.3, weights, tools=needed, tokens=draw.randrange(5000))
            some = draw.choices(names_of(few), k=3)
            pairs = [(many, few), (without(many, some), without(few, some)), (beside(many, some), beside(few, some))]
            for policy in POLICIES:
                for pair in pairs:
                    assert list(pair[0]) == list(pair[1])
                    await both(policy, sensed, *pair)


async def test_a_thousand_are_chosen_as_few_are() -> None:
    """And what was handed out stays as it was, whatever changes later."""
    company = Company(1, 1000, half_life=500.0)
    sensed = Sensed(0.3, {"law": 0.5, "maths": 0.3, "poetry": 0.2}, tools=("search",), tokens=3000)
    with company.stack:
        for _ in range(20):
            company.change()
            many, few = as_few(company, list(sensed.domains))
            before = many.scores["law"].mean.tolist()
            for policy in POLICIES:
                await both(policy, sensed, many, few)
            company.learn(company.roster.open[0])
            assert many.scores["law"].mean.tolist() == before


TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: [{text: done, delay: DELAY, times: null}]}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: default}
spec: {agentSelector: {}, match: MATCH, scale: {type: never}}
"""
AGENT = """
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: aNUMBER}
spec: {description: Does the work., provider: script, domains: {work: 0.6}}
"""


class Crowded(World):
    """As many equal agents as are a crowd."""

    def declare(self, match: dict[str, Any], delay: str = "0s") -> None:
        """Write the manifests."""
        text = TEAM.replace("MATCH", json.dumps(match)).replace("DELAY", delay)
        text += "".join(AGENT.replace("NUMBER", str(at)) for at in range(standings.MANY))
        (self.folder / "manifests.yaml").write_text(text)


async def winners(system: System, count: int) -> list[str]:
    """Return who did tasks that came at the same time."""
    tasks = [await system.engine.submit(task_of(system, "work")) for _ in range(count)]
    results = [await system.engine.result(task) for task in tasks]
    return [one.matched.winner for one in results if one.matched is not None]


async def test_concurrent_tasks_spread_over_a_crowd_of_equals(tmp_path: Path) -> None:
    """Each gets two of twice as many tasks as there are agents: the load is real."""
    crowded = Crowded(tmp_path)
    crowded.declare({"type": "auction", "exploration": 0}, "60s")
    async with crowded.open() as system:
        cluster, loads = cluster_of(system), system.services.loads
        assert isinstance(cluster.standings(["work"]), Crowd)
        tasks = [await system.engine.submit(task_of(system, "work")) for _ in range(2 * standings.MANY)]
        async with asyncio.timeout(60):
            while sum(loads.now("default").values()) < len(tasks):  # noqa: ASYNC110  # no event tells of work in hand
                await asyncio.sleep(0.01)
        assert loads.now("default") == dict.fromkeys(cluster.agents, 2)
        for task in tasks:
            await system.engine.cancel(task)


def cluster_of(system: System) -> Cluster:
    """Return the cluster."""
    cluster = system.reconciler.topology.live[Ref("Cluster", "default", "default")]
    assert isinstance(cluster, Cluster)
    return cluster


async def test_a_policy_of_a_package_gets_standings_in_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented objects, of a crowd as of few, made before it is asked."""
    given: list[Sequence[Standing]] = []

    async def choose(self: Static, sensed: Sensed, agents: Sequence[Standing], draw: Random, asking: object) -> Matched:
        del self, draw, asking
        given.append(agents)
        return Matched(max(agents, key=lambda one: (one.scores[next(iter(sensed.domains))].mean, one.agent)).agent)

    crowded = Crowded(tmp_path)
    crowded.declare({"type": "static", "agent": "a1"})
    async with crowded.open() as system:
        monkeypatch.setattr(Static, "choose", choose)
        monkeypatch.setattr(Static, "__module__", "acme_match")
        assert await winners(system, 1) == ["a9"]
    (agents,) = given
    assert isinstance(agents, list)
    assert [type(one) for one in agents] == [Standing] * standings.MANY
