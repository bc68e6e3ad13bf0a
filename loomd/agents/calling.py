"""The tool calls of an agent's work: agreed to by people where they must be, recorded, and told to the model.

Each call has keys of its own below its step, so that calls side by side are never mixed up. Called by the loop.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

import msgspec

from loomd.agents.agent import Agent
from loomd.agents.approval import Ask, Decision
from loomd.agents.base import Steps, Tool
from loomd.agents.skills import SkillUse
from loomd.agents.work import StopReason
from loomd.errors import ToolFailed, Uncertain
from loomd.events.bus import Scope
from loomd.events.event import ToolCompleted, ToolErred, ToolStarted
from loomd.messages import JsonObject, ToolCall

T = TypeVar("T")

_encode = msgspec.json.Encoder(order="deterministic").encode
_SHOWN = 500
"""Characters of a tool's result that its event shows; the step keeps all of it."""
_ASKING = 86_400.0
"""Seconds for which people are asked whether an interrupted call is to be repeated, when the tool does not say."""


class CallContext:
    """Where one tool call comes from; fits `loomd.tools.context.ToolContext`.

    Attributes:
        agent: name of the agent that calls.
    """

    def __init__(self, steps: Steps, scope: Scope, agent: str, key: str) -> None:
        self._steps = steps
        self._scope = scope
        self._key = key
        self._count: Counter[str] = Counter()
        self.agent = agent

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

    def _next(self, sort: str) -> str:
        """Return a key by what is asked and how often it was before: never by the order of arrival."""
        self._count[sort] += 1
        return f"{self._key}/{sort}/{self._count[sort]}"


class ToolOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a tool call gave, as it is recorded."""

    text: str
    failed: bool = False
    refused: StopReason | None = None
    """Why the work ends after it, when people refused the call."""


class ToolCalls:
    """Makes the tool calls of one piece of work.

    Args:
        agent: whose calls they are.
        skills: what it has taken up, which decides what may be called.
        key: prefix of the keys of the work's steps.
        steps: where they are recorded.
        scope: the envelope of the task's events.
        unlimited: a context in which time counts against no limit, because people are asked.

    Attributes:
        failed: how many calls failed so far.
        refused: why the work is to end, once people refused a call and the tool says so.
    """

    def __init__(
        self,
        agent: Agent,
        skills: SkillUse,
        key: str,
        steps: Steps,
        scope: Scope,
        unlimited: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._agent = agent
        self._skills = skills
        self._key = key
        self._steps = steps
        self._scope = scope
        self._unlimited = unlimited
        self.failed = 0
        self.refused: StopReason | None = None

    async def run(self, calls: Sequence[ToolCall], step: int) -> list[str]:
        """Return the results of the calls of one turn, made side by side, in the order of the calls.

        Args:
            calls: at least one.
            step: number of the model call that wanted them.

        Raises:
            Uncertain: one was begun before an interruption, may have had its effect, and is not to be repeated.
            RecordFailed: one could not be recorded.
        """
        if len(calls) == 1:
            return [await self._run(calls[0], step, 0)]
        return await _together([self._run(call, step, n) for n, call in enumerate(calls)])

    async def _run(self, call: ToolCall, step: int, ordinal: int) -> str:
        """Return the result of one call as text; a failure is a text for the model, and counted."""
        name, key = call.name, f"{self._key}/tool/{step}/{ordinal}"
        try:
            for interceptor in self._agent.interceptors:
                call = await interceptor.before_tool(call)
            outcome = await self._make_call(call, name, key)
        except ToolFailed as error:
            self._scope.emit(ToolErred(call.name, call.id, str(error)), self._agent.name)
            outcome = ToolOutcome(str(error), failed=True)
        if outcome.refused is not None:
            self.refused = outcome.refused
        if outcome.failed:
            self.failed += 1
            return f"Error: {outcome.text}"
        return outcome.text

    async def _make_call(self, call: ToolCall, name: str, key: str) -> ToolOutcome:
        """Make a call as a recorded step, once people agreed to it where they must.

        Raises:
            Uncertain: it was begun before an interruption, may have had its effect, and is not to be repeated.
        """
        tool = self._skills.find(name)
        skip = partial(self._steps.skip, key, f"tool:{call.name}", asked=_gist(call.arguments))
        if (refusal := await self._refused(tool, call, name, key)) is not None:
            return await skip(refusal)
        do = partial(self._call, call, name, key)
        step = partial(self._steps.step, key, f"tool:{call.name}", do, ToolOutcome, asked=_gist(call.arguments))
        if tool is None or tool.effects == "read" or tool.idempotent:
            return await step()
        repeats = 0
        while True:
            try:
                return await step(once=True, again=repeats)
            except Uncertain as error:
                if error.step != key:
                    raise
                uncertain, repeats = error, repeats + 1
            decision = await self._repeats(tool, call, key, repeats)
            if decision is None or decision.verdict == "expired":
                raise uncertain
            if decision.verdict == "denied":
                text = f"the call was interrupted and may have had its effect; not repeated: {decision.said()}"
                self._scope.emit(ToolErred(call.name, call.id, text), self._agent.name)
                return await skip(ToolOutcome(text, failed=True))

    async def _refused(self, tool: Tool | None, call: ToolCall, name: str, key: str) -> ToolOutcome | None:
        """Return what stands for a call to which people did not agree, now or before; None when it may be made."""
        decision: Decision | None
        terms = tool.approval if tool is not None else None
        if terms is not None and not self._skills.refusal(name):
            decision = await self._ask_people(key, Ask(name, call.arguments, terms.ttl))
        else:
            decision = await self._steps.denied(key, Ask(name, call.arguments, 0.0))
        if decision is None or decision.verdict == "approved":
            return None
        refused: StopReason | None = None
        if terms is not None and terms.on_denied == "stop":
            refused = "approval_denied" if decision.verdict == "denied" else "approval_expired"
        return ToolOutcome(f"the call was not made: {decision.said()}", failed=True, refused=refused)

    async def _repeats(self, tool: Tool, call: ToolCall, key: str, number: int) -> Decision | None:
        """Return what is decided about a call that may have had its effect: whether it is made again, for this time.

        None when neither people nor the tool allow it. What people agree to is one repeat.
        """
        place = f"{key}/repeat" if number == 1 else f"{key}/repeat/{number}"
        ttl = tool.approval.ttl if tool.approval is not None else _ASKING
        ask = Ask(call.name, call.arguments, ttl, "repeat")
        if tool.on_uncertain == "ask":
            return await self._ask_people(place, ask)
        if (decision := await self._steps.denied(place, ask)) is not None:
            return decision
        return Decision("approved") if tool.on_uncertain == "retry" else None

    async def _ask_people(self, key: str, ask: Ask) -> Decision:
        """Return what people decide."""
        with self._unlimited():
            return await self._steps.approve(key, ask)

    async def _call(self, call: ToolCall, name: str, key: str) -> ToolOutcome:
        """Call the tool of a name; a failure is recorded like a result, because the model will see it."""
        emit, agent, clock = self._scope.emit, self._agent.name, self._agent.clock
        started = clock.monotonic()
        try:
            tool = self._skills.find(name)
            if (refusal := self._skills.refusal(name)) or tool is None:
                raise ToolFailed(refusal)  # noqa: TRY301  # one exit
            emit(ToolStarted(call.name, call.id, call.arguments), agent)
            context = CallContext(self._steps, self._scope, agent, key)
            result = await tool.call(call.arguments, context)
        except ToolFailed as error:
            emit(ToolErred(call.name, call.id, str(error)), agent)
            return ToolOutcome(str(error), failed=True)
        for interceptor in reversed(self._agent.interceptors):
            result = await interceptor.after_tool(call, result)
        emit(ToolCompleted(call.name, call.id, result[:_SHOWN], clock.monotonic() - started), agent)
        return ToolOutcome(result)


def _gist(arguments: JsonObject) -> str:
    """Return what tells the arguments of a call from others."""
    return f"arguments={hashlib.sha256(_encode(arguments)).hexdigest()[:16]}"


async def _together(calls: Sequence[Coroutine[Any, Any, str]]) -> list[str]:
    """Return the results of calls made side by side, in their order.

    Raises:
        LoomdError: the first failure; the other calls are ended.
    """
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(call) for call in calls]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in running]
