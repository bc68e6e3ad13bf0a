"""Where one tool call comes from, and what it may ask of the work that it belongs to. Made by `calling`."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import msgspec

from loomd.accounts.account import Hold
from loomd.agents import citation
from loomd.agents.agent import Agent
from loomd.agents.asking import Asking
from loomd.agents.base import Steps
from loomd.agents.budget import Budget, Spent
from loomd.agents.permissions import Permissions
from loomd.agents.skills import SkillUse
from loomd.agents.spending import widen
from loomd.agents.work import Citation, Outcome, cite
from loomd.errors import ToolFailed, Uncertain
from loomd.events.bus import Scope
from loomd.messages import Passage, Usage, render_passages
from loomd.tools.context import attribute

T = TypeVar("T")


class Delegated(msgspec.Struct, frozen=True, omit_defaults=True):
    """What agents used that worked for another one; booked to that one's work."""

    usage: Usage = Usage()
    cost: float = 0.0
    steps: int = 0
    tools: tuple[str, ...] = ()
    tool_errors: int = 0
    acted: bool = False

    def and_spent(self, spent: Spent) -> "Delegated":
        """Return the sum with what a search asked of models."""
        return msgspec.structs.replace(
            self, usage=self.usage + spent.usage, cost=self.cost + spent.cost, steps=self.steps + spent.steps
        )

    def and_of(self, outcome: Outcome) -> "Delegated":
        """Return the sum with what one more piece of work used."""
        return Delegated(
            self.usage + outcome.usage,
            self.cost + outcome.cost,
            self.steps + outcome.steps,
            self.tools + outcome.tools,
            self.tool_errors + outcome.tool_errors,
            self.acted or outcome.acted,
        )


@dataclass(frozen=True)
class Errand:
    """What one agent asks of another.

    Attributes:
        agent: who is asked.
        goal: what is wanted.
        key: prefix of the keys of its steps.
        most: how many delegations may stand above each other.
        seconds: longest time.
    """

    agent: Agent
    goal: str
    key: str
    most: int
    seconds: float


class Caller(NamedTuple):
    """Whose calls they are.

    Attributes:
        agent: the agent.
        skills: what it has taken up, which decides what may be called.
        key: prefix of the keys of its work's steps.
        steps: where they are recorded.
        scope: the envelope of the task's events.
        budget: what the work may spend; calls that cost something are held there.
        inherited: permissions that bind the work beside the agent's own.
        session: the conversation that the work is a turn of, or empty.
        owner: whose work it is, a tenant and one of its users.
    """

    agent: Agent
    skills: SkillUse
    key: str
    steps: Steps
    scope: Scope
    budget: Budget
    inherited: Sequence[Permissions] = ()
    session: str = ""
    owner: tuple[str, str] = ("", "")


class CallContext:
    """Where one tool call comes from; fits `loomd.tools.context.ToolContext`.

    Args:
        caller: whose call it is.
        key: the key of the call's step.
        run: does what another agent is asked, as a part of the work that the call belongs to.
        long: whole results of which the model was shown the beginning, by the name that it was told.

    Attributes:
        agent: name of the agent that calls.
        metadata: what the agent's manifest says to its tools; each field is an attribute, too.
        session: the conversation that the task is a turn of, or empty.
        tenant: on whose behalf the task runs, or empty.
        user: who speaks in it, or empty.
        citations: the passages that the result offers, numbered from 1.
        used: what other agents and searches used for it; None when none worked for it.
        hold: what is set aside for it of the day's budgets, while it is made.
        away: seconds that were spent for it on accounts of their own.
    """

    def __init__(
        self, caller: Caller, key: str, run: Callable[[Errand], Awaitable[Outcome]], long: Mapping[str, str]
    ) -> None:
        self._steps = caller.steps
        self._scope = caller.scope
        self._budget = caller.budget
        self._key = key
        self._run = run
        self._long = long
        self._count: dict[str, int] = {}
        self._agent = caller.agent
        self.agent = caller.agent.name
        self.metadata: Mapping[str, object] = caller.agent.tool_context
        self.session = caller.session
        self.tenant, self.user = caller.owner
        self.citations: list[Citation] = []
        self.used: Delegated | None = None
        self.hold: Hold | None = None
        self.away = 0.0

    def __getattr__(self, name: str) -> object:
        """Return a field of `metadata`.

        Raises:
            AttributeError: there is none of that name.
        """
        return attribute(self.__dict__.get("metadata", {}), name)

    @property
    def task(self) -> str:
        """Return the id of the task."""
        return self._scope.task

    @property
    def namespace(self) -> str:
        """Return the namespace of the task."""
        return self._scope.namespace

    @property
    def key(self) -> str:
        """Return what is the same whenever this call is made again, and unique among all calls."""
        return f"{self._scope.task}/{self._key}"

    def spend(self, usd: float) -> None:
        """Book US dollars before they are spent.

        Raises:
            ToolFailed: so many are not left.
        """
        left = self._budget.left
        if usd > left:
            raise ToolFailed(f"the call costs {usd:g} USD, and {max(0.0, left):g} USD are left: go on without it")
        if self.hold is not None:
            widen(self._agent, self.hold, usd)
        self._budget.held[self._key] = self.spent + usd

    @property
    def spent(self) -> float:
        """Return the USD that the call has cost so far."""
        return self._budget.held.get(self._key, 0.0)

    def result(self, name: str) -> str | None:
        """Return a whole result of which the model was shown the beginning."""
        return self._long.get(name)

    async def step(self, name: str, do: Callable[[], Awaitable[T]], result: type[T], *, once: bool = False) -> T:
        """Return the recorded result of a part of the call, or do it and record the result."""
        return await self._steps.step(f"{self._key}/{name}", name, do, result, once=once)

    async def sleep(self, seconds: float) -> None:
        """Return when so many seconds have gone by since the call first came here."""
        await self._steps.sleep(self._next("timer"), seconds)

    async def receive(self, name: str, seconds: float) -> object:
        """Return what is sent to the task under a name."""
        return await self._steps.receive(self._next("signal"), name, seconds)

    def now(self) -> float:
        """Return the wall-clock time at which the call first came here."""
        return self._steps.now(self._next("clock"))

    def random(self) -> float:
        """Return a number from 0 to 1."""
        return self._steps.random(self._next("random"))

    def offer(self, passages: Sequence[Passage]) -> str:
        """Return passages as text for the result, so that the answer may cite them."""
        return "\n\n".join(self._offer(passage) for passage in passages)

    async def delegate(self, agent: object, goal: str, *, most: int, seconds: float) -> str:
        """Return the answer of another agent, with marks for its citations.

        Raises:
            ToolFailed: it came to no answer, or too many delegations stand above each other.
            Uncertain: it made a call before an interruption that may have had its effect, and is not to be repeated.
        """
        if not isinstance(agent, Agent):
            raise TypeError(f"expected a live agent, got {type(agent).__name__}")
        errand = Errand(agent, goal, self._next("agent"), most, seconds)
        clock = self._agent.clock
        began = clock.monotonic()
        outcome = await self._run(errand)
        self.away += clock.monotonic() - began
        self.used = (self.used or Delegated()).and_of(outcome)
        if outcome.stop_reason == "uncertain":
            raise Uncertain(outcome.error, errand.key)
        if outcome.failure:
            raise ToolFailed(f"Agent/{agent.name}: {outcome.failure}")
        moved = {cited.number: self._cite(cited) for cited in outcome.citations}
        text = citation.put_aside(outcome.output, moved)
        if outcome.stop_reason == "completed":
            return text
        return f"{text}\n[not all of it: Agent/{agent.name} ended as {outcome.stop_reason}]"

    def asker(self) -> Asking:
        """Return what pays for what a search asks of models."""
        return Asking(self._agent, self._steps, self._scope, self._next("search"), self._budget, self._asked)

    def _asked(self, spent: Spent, seconds: float) -> None:
        self.used = (self.used or Delegated()).and_spent(spent)
        self.away += seconds

    def _offer(self, passage: Passage) -> str:
        block = render_passages((passage,)).removeprefix(f"[{passage.number}]")
        return f"{citation.aside(self._cite(cite(passage)))}{block}"

    def _cite(self, cited: Citation) -> int:
        """Return the number of a passage in this call."""
        number = len(self.citations) + 1
        self.citations.append(msgspec.structs.replace(cited, number=number))
        return number

    def _next(self, sort: str) -> str:
        """Return a key by what is asked and how often it was before: never by the order of arrival."""
        self._count[sort] = self._count.get(sort, 0) + 1
        return f"{self._key}/{sort}/{self._count[sort]}"
