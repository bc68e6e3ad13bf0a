"""Where one tool call comes from, and what it may ask of the work that it belongs to. Made by `calling`."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from loomd.agents import citation
from loomd.agents.agent import Agent
from loomd.agents.base import Steps
from loomd.agents.work import Citation, Outcome, cite
from loomd.errors import ToolFailed, Uncertain
from loomd.events.bus import Scope
from loomd.messages import Passage, Usage, render_passages

T = TypeVar("T")


class Delegated(msgspec.Struct, frozen=True, omit_defaults=True):
    """What agents used that worked for another one; booked to that one's work."""

    usage: Usage = Usage()
    cost: float = 0.0
    steps: int = 0
    tools: tuple[str, ...] = ()
    tool_errors: int = 0

    def and_of(self, outcome: Outcome) -> "Delegated":
        """Return the sum with what one more piece of work used."""
        return Delegated(
            self.usage + outcome.usage,
            self.cost + outcome.cost,
            self.steps + outcome.steps,
            self.tools + outcome.tools,
            self.tool_errors + outcome.tool_errors,
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


class CallContext:
    """Where one tool call comes from; fits `loomd.tools.context.ToolContext`.

    Args:
        steps: where its parts are recorded.
        scope: the envelope of the task's events.
        agent: name of the agent that calls.
        key: the key of the call's step.
        run: does what another agent is asked, as a part of the work that the call belongs to.

    Attributes:
        agent: name of the agent that calls.
        citations: the passages that the result offers, numbered from 1.
        used: what other agents used for it; None when none worked for it.
    """

    def __init__(
        self, steps: Steps, scope: Scope, agent: str, key: str, run: Callable[[Errand], Awaitable[Outcome]]
    ) -> None:
        self._steps = steps
        self._scope = scope
        self._key = key
        self._run = run
        self._count: Counter[str] = Counter()
        self.agent = agent
        self.citations: list[Citation] = []
        self.used: Delegated | None = None

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
        outcome = await self._run(errand)
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
        self._count[sort] += 1
        return f"{self._key}/{sort}/{self._count[sort]}"
