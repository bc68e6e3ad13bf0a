"""A past task done anew on trial: without any effect, nothing kept, nobody taught; what models use is paid.

The agent gets the same prompt, tools and documents as in earnest, but no memory, because that may hold the answer. Of
its tools only those are called that read; of all others it is told that the call is not permitted. It is graded by the
cluster's own evaluators, which nothing that is tried can change. Called by `evolution`.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec

from loomd.accounts.averages import Averages
from loomd.accounts.load import Loads
from loomd.agents.agent import Agent
from loomd.agents.approval import Ask, Decision
from loomd.agents.base import Effects, OnUncertain, Steps, Tool
from loomd.agents.budget import NOTHING, Budget, Spent
from loomd.agents.transient import TransientSteps
from loomd.amoeba import evaluate, execute, task
from loomd.amoeba.asking import Asking
from loomd.amoeba.policies.rules import Rules
from loomd.amoeba.task import Result, Scaled, Task
from loomd.clock import Clock
from loomd.cluster.cluster import Cluster
from loomd.errors import ToolFailed
from loomd.events.bus import Bus, Scope
from loomd.events.phase import Phase
from loomd.messages import JsonObject, ToolSchema
from loomd.tools.context import ToolContext

T = TypeVar("T")

_NOBODY = Decision("denied", "loomd", "this is a trial, in which nobody is asked")


class Grade(msgspec.Struct, frozen=True):
    """How good an answer was on trial.

    Attributes:
        reward: by the cluster's evaluators, 0 to 1.
        checked: the quality that rules and the task's own expectations alone see, 0 to 1.
        lost: why it says nothing of the agent, such as a service that is away; or empty.
    """

    reward: float
    checked: float
    lost: str = ""


@dataclass(frozen=True)
class Forbidden:
    """A tool that does more than read, in a trial: it is offered like the tool, and calls nothing."""

    tool: Tool
    effects: Effects = "read"
    idempotent: bool = True
    on_uncertain: OnUncertain = "fail"
    approval: None = None

    @property
    def schema(self) -> ToolSchema:
        """Return what a model is told of the tool."""
        return self.tool.schema

    @property
    def withdrawn(self) -> str:
        """Return why the tool may not be called any more, or an empty string."""
        return self.tool.withdrawn

    @property
    def max_output(self) -> int:
        """Return how many bytes of a result the model is shown."""
        return self.tool.max_output

    async def call(self, arguments: JsonObject, context: ToolContext | None = None) -> str:
        """Refuse.

        Raises:
            ToolFailed: always.
        """
        del arguments, context
        name = self.tool.schema.name
        raise ToolFailed(
            f'the call is not permitted: this is a trial, and "{name}" does more than read; answer without it'
        )


class Rehearsal(TransientSteps):
    """The record of a trial, of which nothing is kept; fits `amoeba.world.Run`."""

    def __init__(self, name: str, namespace: str, clock: Clock, account: Budget) -> None:
        """Begin.

        Args:
            name: id of the past task; draws are the same for all trials of it.
            namespace: of the task.
            clock: the time.
            account: that of all trials together.
        """
        super().__init__(clock, name)
        self._scope = Scope(Bus(clock), name, namespace=namespace)
        self._account = account
        self.resumed: bool = False

    @property
    def scope(self) -> Scope:
        """Return the envelope of its events, which nobody hears."""
        return self._scope

    @property
    def account(self) -> Budget | None:
        """Return the account of all trials together."""
        return self._account

    def loose(self) -> Steps:
        """Return itself: nothing is recorded anyway."""
        return self

    async def phase(self, name: Phase, result: type[T], do: Callable[[], Awaitable[T]], why: Callable[[T], str]) -> T:
        """Run a phase."""
        del name, result, why
        return await do()

    async def parts(self) -> Spent:
        """Return that no parts were begun before."""
        return NOTHING

    async def child(self, task: Task, account: Budget) -> Result:
        """Return that a part failed: a trial has none."""
        del account
        return Result(task, "Failed", error="a trial has no parts")

    async def sleep(self, key: str, seconds: float) -> None:
        """Refuse to wait.

        Raises:
            ToolFailed: always.
        """
        del key, seconds
        raise ToolFailed("this is a trial, in which nothing is waited for")

    async def receive(self, key: str, name: str, seconds: float) -> object:
        """Return that nothing was sent.

        Raises:
            TimeoutError: always.
        """
        del key, name, seconds
        raise TimeoutError

    async def approve(self, key: str, ask: Ask) -> Decision:
        """Return that nobody agrees."""
        del key, ask
        return _NOBODY

    def queued(self) -> AbstractAsyncContextManager[None]:
        """Return a context in which nobody is told anything."""
        return nullcontext()


def on_trial(agent: Agent) -> Agent:
    """Return an agent as it is tried: it remembers nothing, changes nothing, and what it does counts nowhere."""
    tools: dict[str, Tool] = {
        name: tool if tool.effects == "read" else Forbidden(tool) for name, tool in agent.tools.items()
    }
    return replace(agent, tools=tools, memory=None, averages=Averages(), loads=Loads(), conditions={})


async def rehearse(cluster: Cluster, agent: Agent, past: Task, account: Budget, deadline: float) -> Grade:
    """Return how good an agent is at a past task.

    Args:
        cluster: whose evaluators grade it.
        agent: who does it.
        past: the task as it was accepted.
        account: that of all trials together.
        deadline: wall-clock seconds at which it ends.
    """
    agent = on_trial(agent)
    world = cluster.rehearsal(agent)
    run = Rehearsal(past.id, past.namespace, agent.clock, account)
    anew = msgspec.structs.replace(past, budget=task.Budget(), grant=task.Grant(), deadline=deadline)
    scarce = account.tokens - account.total.usage.total < agent.limits.tokens or account.left < agent.limits.cost
    executed = await execute.execute(anew, agent.name, Scaled(), world, run, "join", NOTHING)
    outcome = executed.outcome
    case = await evaluate.case_of(anew, executed, world, run)
    evaluated = await evaluate.judged(case, cluster.evaluators, Asking("evaluate", anew, world, run))
    account.close(account.total)
    lost = ""
    if outcome.temporary:
        lost = executed.error or outcome.end
    elif scarce and outcome.stop_reason in {"budget_tokens", "budget_cost"}:
        lost = "what trials may use is used up"
    return Grade(evaluated.reward, Rules().opinion(case).quality, lost)
