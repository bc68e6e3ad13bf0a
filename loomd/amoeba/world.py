"""What the six phases need to know of the cluster, and of whoever keeps their record. Owned here, made elsewhere."""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Literal, NamedTuple, Protocol, TypeVar

import msgspec

from loomd.agents.agent import Agent
from loomd.agents.base import ChatModel, Steps
from loomd.agents.budget import Budget, Spent
from loomd.agents.work import Cut
from loomd.amoeba.blueprint import Blueprint
from loomd.amoeba.decision import Decision, Shaping
from loomd.amoeba.forging import Forge, Plan, Queue
from loomd.amoeba.leaning import Bias
from loomd.amoeba.task import Evaluated, Executed, Grant, Result, Sensed, Task
from loomd.events.bus import Scope
from loomd.events.phase import Phase
from loomd.messages import Message
from loomd.store.records import Experience
from loomd.tools.check import Check, Checked

T = TypeVar("T")

_SPREAD = 1 / 12
"""Variance of a number that may be anything from 0 to 1."""

Health = Literal["unknown", "good", "warning", "dying"]
"""What is known of how well an agent does; `unknown` as long as too few tasks say so."""


class Score(msgspec.Struct, frozen=True):
    """What is believed of an agent in a domain: mean reward (0 to 1), its variance, and how many tasks say so.

    `updated` is when the last of them ended, in wall-clock seconds; 0 when nothing was learned.
    """

    mean: float
    variance: float = 0.0
    count: int = 0
    updated: float = 0.0

    @property
    def uncertainty(self) -> float:
        """Return the standard error of the mean; of what nothing is known that of a reward anywhere from 0 to 1."""
        spread = max(self.variance, _SPREAD / (self.count + 1))
        return math.sqrt(spread / (self.count + 1))


class Uses(NamedTuple):
    """What an agent needs for each token that SENSE expects of a task: how many it reads and writes.

    `seen` is how many tasks say so.
    """

    read: float = 0.0
    written: float = 0.0
    seen: int = 0


class Standing(msgspec.Struct, frozen=True):
    """An agent as MATCH sees it, at one moment.

    Attributes:
        agent: its name.
        spec: digest of its behaviour.
        scores: belief per domain of the task; a domain that nothing is known of holds the prior.
        overall: belief over all domains.
        running: pieces of work in hand, each from MATCH to its end, over all clusters and revisions.
        tools: names of its tools.
        health: what its last tasks say of it.
        budget_left: share (0 to 1) of its day's budget that is left; 1 without one.
        permits: names of the tools that it may call; None for all of its tools.
        price: USD of an input token and of an output token of its model; 0 when it is not known, or free.
        down: why its model is not asked for now; empty when it is.
        description: what it says of itself.
        uses: what it needs for each token that SENSE expects; None as long as too few tasks say so.
        fixed: the domains of the task in which its scores stay as they are declared, because a person locked them.
    """

    agent: str
    spec: str
    scores: Mapping[str, Score]
    overall: Score
    running: int
    tools: frozenset[str]
    health: Health = "unknown"
    budget_left: float = 1.0
    permits: frozenset[str] | None = None
    price: tuple[float, float] = (0.0, 0.0)
    down: str = ""
    description: str = ""
    uses: Uses | None = None
    fixed: frozenset[str] = frozenset()


class Neighbour(msgspec.Struct, frozen=True):
    """A past task that is like this one.

    Attributes:
        task: its id.
        goal: what was wanted.
        likeness: how alike they are, 0 to 1.
        complexity: what SENSE took it for, before calibration.
        observed: what it turned out to be.
        domains: weights of its domains.
        tokens: that it took, children included.
        weight: how much it counts, from 0 at the least likeness that plays a part to 1.
    """

    task: str
    goal: str
    likeness: float
    complexity: float
    observed: float
    domains: Mapping[str, float]
    tokens: int = 0
    weight: float = 1.0


class Signals(msgspec.Struct, frozen=True):
    """What SENSE may look at.

    Attributes:
        goal: the task in words.
        findings: how many results it builds on.
        likeness: how well the goal fits each domain, 0 to 1.
        tools: how well the goal fits each tool of the cluster, 0 to 1.
        neighbours: past tasks that are like this one, the most alike first.
        bias: by how much complexity is estimated too low on average, per domain of which enough is known.
        most: largest correction of a task's complexity by that.
        lost: why nothing could be compared by meaning, so that shared words count; empty when nothing went wrong.
        unread: why past tasks could not be looked at; empty when nothing went wrong.
        counted: whether past tasks may count, or are only told.
    """

    goal: str
    findings: int
    likeness: Mapping[str, float]
    tools: Mapping[str, float]
    neighbours: Sequence[Neighbour] = ()
    bias: Mapping[str, float] = {}
    most: float = 1.0
    lost: str = ""
    unread: str = ""
    counted: bool = True


class Lived(msgspec.Struct, frozen=True):
    """A task that was done, as it is kept to compare later ones with."""

    task: Task
    sensed: Sensed
    executed: Executed
    evaluated: Evaluated


class Stirring(Protocol):
    """Waits until another auction may come out otherwise."""

    async def wait(self, until: float, every: float) -> bool:
        """Return True once something has changed, or after `every` seconds; False when it is `until`, wall-clock."""
        ...


class BlueprintForge(Protocol):
    """Where the specialists of a cluster are made."""

    @property
    def terms(self) -> Forge:
        """Return when one is made."""
        ...

    @property
    def turn(self) -> AbstractAsyncContextManager[None]:
        """Return what lets one task at a time have a specialist made."""
        ...

    async def made(self, task: str) -> str:
        """Return who was made for a task and is on disk; an empty string for nobody."""
        ...

    async def fitting(self, task: Task, refused: Mapping[str, str]) -> str:
        """Return the specialist that a task fits best, of those that may take it; an empty string for none.

        Args:
            task: the task.
            refused: who may not take it now, and why.
        """
        ...

    async def denied(self, task: Task) -> str:
        """Return that people denied the specialist that was designed for a task, or one that it fits; or nothing."""
        ...

    def redacted(self, goal: str) -> str:
        """Return a goal without secrets and without what any member's interceptors redact."""
        ...

    async def plan(self, task: Task, bidder: str, refused: Mapping[str, str]) -> Plan:
        """Return what is to be done for a task that nobody takes; a design that is to be asked for counts from now on.

        Args:
            task: the task.
            bidder: the best of those who may make a specialist, or empty.
            refused: who may not take it now, and why.
        """
        ...

    async def judge(self, why: str) -> str:
        """Take over why no usable design came, or with an empty string that one did; return the same."""
        ...

    async def make(self, wanted: Shaping, way: str, task: str, scope: Scope) -> tuple[str, str]:
        """Let a specialist be made, as far as the cluster may go.

        Args:
            wanted: the specialist; its name is what it is to be called if nobody else is.
            way: how it came about, see `Plan`.
            task: id of the task that it is made for; the same task makes it once.
            scope: the envelope of the task's events.

        Returns:
            Its name and why, once it is a member and on disk; or an empty name and why it is none.
        """
        ...


class World(Protocol):
    """The cluster, as the phases see it."""

    @property
    def forge(self) -> BlueprintForge:
        """Return where specialists are made."""
        ...

    @property
    def queue(self) -> Queue:
        """Return how tasks wait that nobody takes."""
        ...

    def stirring(self) -> AbstractContextManager[Stirring]:
        """Return what waits until another auction may come out otherwise, from now on."""
        ...

    def made(self, agent: str) -> Blueprint | None:
        """Return from what an agent is made now; None of one that is as a person declared it."""
        ...

    def bound(self, agent: str, made: Blueprint | None) -> "World":
        """Return the cluster with an agent as it was when it won, whatever became of it since."""
        ...

    async def signals(self, task: Task) -> Signals:
        """Return what SENSE may look at."""
        ...

    def standings(self, domains: Sequence[str]) -> Sequence[Standing]:
        """Return every agent's standing in the given domains, in the order of the manifest."""
        ...

    def standing(self, agent: str, domains: Sequence[str]) -> Standing:
        """Return one agent's standing in the given domains."""
        ...

    def prior(self, agent: str, domain: str) -> float:
        """Return what is believed of a live agent in a domain before anything is learned."""
        ...

    def agent(self, name: str) -> Agent:
        """Return a live agent.

        Raises:
            NotFound: it is no member any more.
        """
        ...

    def bearing(self, agent: str) -> AbstractContextManager[None]:
        """Count one more piece of work of an agent, as long as the context lasts."""
        ...

    def asker(self, agent: str) -> Agent:
        """Return who asks a model for a phase: a member, or with an empty name the cluster itself.

        What the cluster asks passes the interceptors of all its members, because it may be the task of any of them.

        Raises:
            NotFound: it is no member any more, or the cluster has no members.
        """
        ...

    def model(self, provider: str, agent: str) -> ChatModel:
        """Return the model that a phase asks: that of a provider which the cluster names anywhere.

        With an empty name it is the one that plans, or else that of whoever asks.

        Raises:
            NotFound: the cluster names no such provider, or nobody asks.
        """
        ...

    def cut(self, grant: Grant) -> Cut:
        """Return by how much less a task may use since the cluster's limits were lowered."""
        ...

    async def history(self, task: Task, agent: str) -> list[Message]:
        """Return the earlier turns of a task's session with an agent, oldest first."""
        ...

    async def converse(self, task: Task, agent: str, answer: str) -> None:
        """Keep a task with its answer as a turn of its session."""
        ...

    def correction(self, domain: str) -> tuple[float, int]:
        """Return by how much complexity is estimated too low in a domain on average, and how many tasks say so."""
        ...

    def uses(self, agent: str, spec: str) -> Uses:
        """Return what an agent needs for each token that SENSE expects, however few tasks say so."""
        ...

    def upkeep(self, ending: str, reward: float | None = None, moves: Sequence[Decision] = ()) -> Sequence[Decision]:
        """Return what is to be done about members that do badly, and about those that were retired.

        Args:
            ending: whose task is about to end.
            reward: with what its scores move for that; None when they do not.
            moves: how they move.
        """
        ...

    async def check(self, check: Check, given: Mapping[str, str]) -> Checked:
        """Return what a check says of an answer, from a process of its own in a sandbox."""
        ...

    def bias(self, judge: str) -> Bias:
        """Return what is known of a judge's errors."""
        ...

    def lean(self, judge: str, error: float, pace: float) -> Bias:
        """Take an error of a judge over, in one transaction with what is noted next."""
        ...

    async def learned(self, task: str) -> tuple[Decision, ...] | None:
        """Return what ADAPT decided for a task and was carried out, or None when nothing was carried out yet."""
        ...

    async def experience(self, lived: Lived) -> Experience | None:
        """Return a task as it is kept to compare later ones with; None when it is not.

        Raises:
            LoomdError: the embedder failed.
        """
        ...

    async def learn(
        self, decisions: Sequence[Decision], scope: Scope, kept: Experience | None = None
    ) -> Sequence[Decision]:
        """Carry out what ADAPT decided, and keep the task, once per task; nothing is awaited before it is taken over.

        Returns it as it is recorded: what is proposed is joined with what of the same waits for people already.

        Args:
            decisions: what it decided.
            scope: the envelope of the task's events.
            kept: the task, as it is kept to compare later ones with.
        """
        ...


class Run(Steps, Protocol):
    """The record of one task: what is in it is not done again."""

    @property
    def resumed(self) -> bool:
        """Return whether the task ran before and was interrupted."""
        ...

    def loose(self) -> Steps:
        """Return steps that are done and not recorded, for work that begins anew when it is interrupted."""
        ...

    @property
    def scope(self) -> Scope:
        """Return the envelope of the task's events."""
        ...

    async def phase(self, name: Phase, result: type[T], do: Callable[[], Awaitable[T]], why: Callable[[T], str]) -> T:
        """Return the recorded output of a phase, or run the phase and record its output."""
        ...

    @property
    def account(self) -> Budget | None:
        """Return the account of the task as a part of a split one; None for a task that is whole."""
        ...

    async def parts(self) -> Spent:
        """Return what was used before an interruption in the parts of the task, as it is recorded."""
        ...

    def queued(self) -> AbstractAsyncContextManager[None]:
        """Return a context in which the task is known to wait; it goes on elsewhere when another revision serves."""
        ...

    async def child(self, task: Task, account: Budget) -> Result:
        """Run a subtask as a task of its own and return what became of it; it never raises for a failed child.

        Args:
            task: the subtask.
            account: its account, below that of this task.
        """
        ...
