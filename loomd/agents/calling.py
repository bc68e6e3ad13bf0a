"""The tool calls of an agent's work: agreed to by people where they must be, recorded, and told to the model.

Each call has keys of its own below its step, so that calls side by side are never mixed up. Called by the loop.
"""

import asyncio
import hashlib
from collections.abc import Coroutine, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec

from loomd.agents.approval import Approval, Ask, Decision
from loomd.agents.base import Tool
from loomd.agents.call_context import CallContext, Caller, Delegated, Errand
from loomd.agents.context import request_window
from loomd.agents.interception import Passing, before_call
from loomd.agents.spending import tool_call
from loomd.agents.work import Citation, Outcome, StopReason
from loomd.errors import Refused, ToolFailed, Uncertain
from loomd.events.event import CallChecked, ToolCompleted, ToolErred, ToolStarted
from loomd.memory.window import CHARACTERS_PER_TOKEN
from loomd.messages import JsonObject, ToolCall
from loomd.tools.text import cut

T = TypeVar("T")

_encode = msgspec.json.Encoder(order="deterministic").encode
_SHOWN = 500
"""Characters of a tool's result that its event shows; the step keeps all of it."""
_LEAST = 1024
"""Bytes that a result has in the smallest window; in a larger one all of a turn have half of it between them."""
_REFUSAL = 4096
"""Bytes of what is said of a tool that the agent does not have."""
_ASKING = 86_400.0
"""Seconds for which people are asked whether an interrupted call is to be repeated, when the tool does not say."""


class ToolOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a tool call gave, as it is recorded."""

    text: str
    failed: bool = False
    cost: float = 0.0
    """USD that it cost."""
    refused: StopReason | None = None
    """Why the work ends after it, when people refused the call."""
    citations: tuple[Citation, ...] = ()
    """The passages that it offers, by their numbers in the text."""
    delegated: Delegated | None = None
    """What other agents used for it."""
    made: bool = True
    """Whether it was made; one beyond a limit is not."""
    denied: bool = False
    """Whether people did not agree to it, which is no failure of the agent's."""

    @property
    def said(self) -> str:
        """Return what the model is told of it."""
        return f"Error: {self.text}" if self.failed else self.text


class Worker(Protocol):
    """Whoever does the piece of work that calls belong to; `agents.loop.Loop` fits."""

    def unlimited(self) -> AbstractContextManager[None]:
        """Return a context in which time counts against no limit, because people are asked."""
        ...

    async def ask_other(self, errand: Errand) -> Outcome:
        """Return what another agent makes of what it is asked."""
        ...


class ToolCalls:
    """Makes the tool calls of one piece of work.

    Args:
        caller: whose calls they are.
        worker: whoever does the work; it outlives them, and should be held weakly if it holds them.

    Attributes:
        failed: how many calls failed so far, those left out to which people did not agree.
        failing: how many of them failed last, one after another.
        refused: why the work is to end, once people refused a call and the tool says so.
        full: whether a call was not made because the task may make no more.
        long: whole results of which the model was shown the beginning, by the name that it was told.
    """

    def __init__(self, caller: Caller, worker: Worker) -> None:
        self._caller = caller
        self._agent = caller.agent
        self._skills = caller.skills
        self._key = caller.key
        self._steps = caller.steps
        self._scope = caller.scope
        self._worker = worker
        self._inherited = caller.inherited
        self._wanted: dict[str, int] = {}
        self.failed = 0
        self.failing = 0
        self.refused: StopReason | None = None
        self.full = False
        self.long: dict[str, str] = {}
        self._room = _LEAST

    def limit(self, errors: int) -> StopReason | None:
        """Return why the work is to end after the calls that were made, if it is; `errors` may fail in a row."""
        if self.refused is not None:
            return self.refused
        if self.failing >= errors:
            return "tool_errors"
        return "max_tool_calls" if self.full else None

    async def run(self, calls: Sequence[ToolCall], step: int, per_turn: int, left: int) -> list[ToolOutcome]:
        """Return the results of the calls of one turn in their order, made side by side unless the agent wants it not.

        Args:
            calls: at least one.
            step: number of the model call that wanted them.
            per_turn: most calls to make of them.
            left: most calls that the task may still make.

        Raises:
            Uncertain: one was begun before an interruption, may have had its effect, and is not to be repeated.
            RecordFailed: one could not be recorded.
        """
        most = min(per_turn, left)
        self.full = self.full or len(calls[:per_turn]) > left
        places = [f"{step}/{ordinal}" for ordinal in range(len(calls))]
        making = list(zip(calls[:most], places, strict=False))
        self._room = max(_LEAST, request_window(self._agent) * CHARACTERS_PER_TOKEN // 2 // max(1, len(making)))
        if self._agent.parallel_tools and len(making) > 1:
            outcomes = await _together([self._run(call, place) for call, place in making])
        else:
            outcomes = [await self._run(call, place) for call, place in making]
        why = "the task may make no more calls" if left < per_turn else f"at most {per_turn} are made in one turn"
        for call, place in zip(calls[most:], places[most:], strict=True):
            outcomes.append(await self._keep_back(call, f"{self._key}/tool/{place}", why))
        for outcome in outcomes:
            self.failed += outcome.failed and not outcome.denied
            self.failing = self.failing + 1 if outcome.failed else self.failing * (not outcome.made)
            self.refused = outcome.refused or self.refused
        return outcomes

    async def _keep_back(self, call: ToolCall, key: str, why: str) -> ToolOutcome:
        """Return what stands for a call beyond a limit, also when the task is resumed with another one."""
        outcome = ToolOutcome(f"not made: {why}", made=False)
        return await self._steps.skip(key, f"tool:{call.name}", outcome, asked=_gist(call.arguments))

    async def _run(self, call: ToolCall, place: str) -> ToolOutcome:
        """Return the result of one call; a failure is a text for the model."""
        self._wanted[call.name] = self._wanted.get(call.name, 0) + 1
        before, wanted = f"{self._key}/before/{place}", dict(self._wanted)
        checked = await before_call(self._agent, call, self._scope, self._steps, before, wanted)
        if checked.refused:
            return ToolOutcome(checked.refused, failed=True)
        outcome = await self._make_call(checked.call or call, f"{self._key}/tool/{place}", checked.terms)
        return self._shown(outcome, self._skills.find(call.name), f"r{place.replace('/', '-')}")

    def _shown(self, outcome: ToolOutcome, tool: Tool | None, name: str) -> ToolOutcome:
        """Return a result as the model is shown it; of a long one the beginning, and where it may read on."""
        text, limit = outcome.text, min(self._room, _REFUSAL if tool is None else tool.max_output)
        shown = cut(text, limit, f'; the whole is result "{name}", of which this ends at character {{at}}')
        if shown == text:
            return outcome
        if len(text.encode("utf-8", "replace")) > limit:
            self.long[name] = text
        return msgspec.structs.replace(outcome, text=shown)

    async def _make_call(self, call: ToolCall, key: str, terms: Approval | None) -> ToolOutcome:
        """Make a call as a recorded step, once people agreed to it where they must; `terms` are an interceptor's.

        Raises:
            Uncertain: it was begun before an interruption, may have had its effect, and is not to be repeated.
        """
        tool, asked = self._skills.find(call.name), _gist(call.arguments)
        skip = partial(self._steps.skip, key, f"tool:{call.name}", asked=asked)
        if (refusal := await self._refused(call, key, terms)) is not None:
            return await skip(refusal)
        do = partial(self._call, call, key)
        step = partial(self._steps.step, key, f"tool:{call.name}", do, ToolOutcome, asked=asked)
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
                return await skip(ToolOutcome(text, failed=True, denied=True))

    async def _refused(self, call: ToolCall, key: str, terms: Approval | None) -> ToolOutcome | None:
        """Return what stands for a call to which people did not agree, now or before; None when it may be made."""
        decision: Decision | None
        terms = self._agent.approval(call.name, call.arguments, self._inherited) or terms
        if terms is not None and not self._forbidden(call):
            decision = await self._ask_people(key, Ask(call.name, call.arguments, terms.ttl))
        else:
            decision = await self._steps.denied(key, Ask(call.name, call.arguments, 0.0))
        if decision is None or decision.verdict == "approved":
            return None
        refused: StopReason | None = None
        if terms is not None and terms.on_denied == "stop":
            refused = "approval_denied" if decision.verdict == "denied" else "approval_expired"
        text = f"the call was not made: {decision.said()}"
        return ToolOutcome(text, failed=True, refused=refused, denied=True)

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
        with self._worker.unlimited():
            return await self._steps.approve(key, ask)

    def _forbidden(self, call: ToolCall) -> str:
        """Return why a call may not be made, or an empty string."""
        agent = self._agent
        return self._skills.refusal(call.name) or agent.forbids(call.name, call.arguments, self._inherited)

    async def _call(self, call: ToolCall, key: str) -> ToolOutcome:
        """Call a tool; a failure is recorded like a result, because the model will see it."""
        emit, agent, clock = self._scope.emit, self._agent.name, self._agent.clock
        started = clock.monotonic()
        context = CallContext(self._caller, key, self._worker.ask_other, self.long)
        tool = self._skills.find(call.name)
        if (refusal := self._forbidden(call)) or tool is None:
            if not self._skills.refusal(call.name):
                emit(CallChecked("permissions", f"tool:{call.name}", "refused", refusal), agent)
            emit(ToolErred(call.name, call.id, refusal), agent)
            return ToolOutcome(refusal, failed=True)
        emit(ToolStarted(call.name, call.id, call.arguments), agent)
        text, failed = await self._result(tool, call, context)
        if failed:
            emit(ToolErred(call.name, call.id, text[:_SHOWN]), agent)
        else:
            emit(ToolCompleted(call.name, call.id, text[:_SHOWN], clock.monotonic() - started), agent)
        cited = () if failed else tuple(context.citations)
        return ToolOutcome(text, failed, cost=context.spent, citations=cited, delegated=context.used)

    async def _result(self, tool: Tool, call: ToolCall, context: CallContext) -> tuple[str, bool]:
        """Return what a tool gave, and whether that is a failure; a call for which the day has no room is one."""
        try:
            with tool_call(self._agent, self._scope, context):
                return await self._given(tool, call, context)
        except ToolFailed as error:
            return str(error), True

    async def _given(self, tool: Tool, call: ToolCall, context: CallContext) -> tuple[str, bool]:
        """Return what a tool gave, as the interceptors let the model see it, and whether that is a failure."""
        failed = False
        try:
            text = await tool.call(call.arguments, context)
        except ToolFailed as error:
            text, failed = str(error), True
        if not self._agent.around("afterTool"):
            return text, failed
        try:
            passing = Passing(self._agent, self._scope, f"tool:{call.name}", calls=self._wanted)
            return await passing.result(call, text), failed
        except Refused as error:
            return str(error), True


def _gist(arguments: JsonObject) -> str:
    """Return what tells the arguments of a call from others."""
    return f"arguments={hashlib.sha256(_encode(arguments)).hexdigest()[:16]}"


async def _together(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
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
