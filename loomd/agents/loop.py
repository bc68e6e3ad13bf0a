"""The agent's loop: ask the model, run the tools that it calls, hand back the results, until it answers.

Every model call and tool call is a recorded step; between steps the loop is pure, so that a killed task runs through
what is recorded and goes on after it. Limits are checked before each call and end in a wrap-up turn, never in lost
work.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any

import msgspec

from loomd.agents import citation
from loomd.agents.agent import Agent
from loomd.agents.ask import ask
from loomd.agents.base import Steps, Tool
from loomd.agents.budget import Budget, Exhausted
from loomd.agents.context import Context, assemble
from loomd.agents.schema import violation
from loomd.agents.work import Outcome, StopReason, Work
from loomd.errors import Diverged, LoomdError, RecordFailed, Temporary, ToolFailed
from loomd.events.bus import Scope
from loomd.events.event import BudgetExceeded, Fallback, ToolCompleted, ToolErred, ToolStarted
from loomd.messages import Message, Reply, Request, ToolCall

_SHOWN = 500
"""Characters of a tool's result that its event shows; the step keeps all of it."""

WRAP_UP = "Stop here. Give your best answer now from what you have; call no more tools."


class Loop:
    """One run of an agent over one piece of work."""

    def __init__(self, agent: Agent, work: Work, steps: Steps, scope: Scope) -> None:
        self._agent = agent
        self._work = work
        self._steps = steps
        self._scope = scope
        limits = agent.limits
        self._seconds = min(limits.time, work.seconds if work.seconds is not None else limits.time)
        self._budget = Budget(
            min(limits.tokens, work.tokens if work.tokens is not None else limits.tokens),
            min(limits.cost, work.cost if work.cost is not None else limits.cost),
        )
        self._messages: list[Message] = []
        self._partial = ""
        self._calls = 0
        self._tools: list[str] = []
        self._tool_errors = 0
        self._repeats: Counter[str] = Counter()
        self._schemas = tuple(tool.schema for tool in agent.tools.values())

    async def run(self) -> Outcome:
        """Return the answer, whole or partial, with what it took; a failure ends in an outcome, too.

        Raises:
            RecordFailed: the work could not be recorded.
            Diverged: the work does something else than was recorded.
        """
        clock = self._agent.clock
        started = clock.monotonic()
        context = Context((), {}, 0)
        limit = asyncio.timeout(self._seconds)
        reason: StopReason
        failure: LoomdError | None = None
        self._agent.running += 1
        try:
            async with limit:
                context = await assemble(self._agent, self._work, self._steps, self._scope)
                self._messages = list(context.messages)
                text, reason = await self._converse()
        except TimeoutError:
            if not limit.expired():
                raise
            text, reason = self._partial, "budget_time"
            self._exceeded(reason, self._seconds, clock.monotonic() - started)
        except Exhausted as exhausted:
            text, reason = self._partial, exhausted.reason
            self._exceeded(reason, exhausted.limit, exhausted.used)
        except (RecordFailed, Diverged):
            raise
        except LoomdError as error:
            text, reason, failure = self._partial, "error", error
        finally:
            self._agent.running -= 1
        outcome = self._outcome(text, reason, context, clock.monotonic() - started)
        if failure is not None:
            temporary = isinstance(failure, Temporary)
            outcome = msgspec.structs.replace(outcome, error=str(failure), temporary=temporary)
        await self._remember(outcome)
        return outcome

    async def _converse(self) -> tuple[str, StopReason]:
        """Go back and forth with the model until it answers; the last allowed call is a wrap-up without tools."""
        limits = self._agent.limits
        reason: StopReason = "completed"
        reply = Reply()
        for left in range(limits.steps, 0, -1):
            if self._repeats and max(self._repeats.values()) >= limits.repeats:
                reason = "tool_loop"
            elif left == 1 and self._tools:
                reason = "max_steps"
            if reason != "completed":
                self._messages.append(Message("user", WRAP_UP))
            reply = await self._ask(tools=left > 1 and reason == "completed")
            if reply.stop == "refusal":
                return reply.text, "refused"
            if reason != "completed":
                return reply.text, reason
            if not reply.tool_calls:
                return await self._finish(reply)
            self._messages.append(Message("assistant", reply.text, reply.tool_calls))
            await self._run_tools(reply.tool_calls)
        return reply.text, "max_steps"

    async def _finish(self, reply: Reply) -> tuple[str, StopReason]:
        """Accept an answer; one that breaks the output schema gets one chance to be mended."""
        schema = self._agent.output
        if schema is None:
            return reply.text, "budget_tokens" if reply.stop == "length" else "completed"
        wrong = violation(reply.text, schema)
        if wrong is None:
            return reply.text, "completed"
        self._messages += [
            Message("assistant", reply.text),
            Message("user", f"That does not fit the required JSON Schema: {wrong}. Answer again with valid JSON only."),
        ]
        mended = await self._ask(tools=False)
        return mended.text, "completed" if violation(mended.text, schema) is None else "output_invalid"

    async def _ask(self, *, tools: bool) -> Reply:
        """Make one model call as a recorded step."""
        self._budget.check()
        agent = self._agent
        messages = tuple(self._messages)
        request = Request(
            agent.memory.fit(messages) if agent.memory else messages,
            self._schemas if tools else (),
            agent.output,
            agent.temperature,
            self._budget.room(agent.max_tokens),
        )
        key = f"{self._work.key}/model/{self._calls}"
        self._calls += 1
        reply = await self._steps.step(
            key, "model", partial(ask, self._agent, request, self._scope, heard=self._hear), Reply
        )
        self._budget.settle(reply)
        self._partial = reply.text or self._partial
        return reply

    def _hear(self, text: str) -> None:
        self._partial = text

    async def _run_tools(self, calls: tuple[ToolCall, ...]) -> None:
        """Run the calls of one turn side by side and hand their results back in the order of the calls."""
        step = self._calls - 1
        if len(calls) == 1:
            results = [await self._run_tool(calls[0], step, 0)]
        else:
            results = await _together([self._run_tool(call, step, n) for n, call in enumerate(calls)])
        for call, result in zip(calls, results, strict=True):
            self._repeats[json.dumps([call.name, call.arguments], sort_keys=True)] += 1
            self._tools.append(call.name)
            self._messages.append(Message("tool", result, call_id=call.id))

    async def _run_tool(self, call: ToolCall, step: int, ordinal: int) -> str:
        """Return the result of one call as text; a failure is a text for the model, and counted."""
        tool = self._agent.tools.get(call.name)
        try:
            if tool is None:
                known = ", ".join(self._agent.tools) or "none"
                raise ToolFailed(f'there is no tool "{call.name}"; available: {known}')  # noqa: TRY301  # one exit
            for interceptor in self._agent.interceptors:
                call = await interceptor.before_tool(call)
            outcome = await self._steps.step(
                f"{self._work.key}/tool/{step}/{ordinal}",
                f"tool:{call.name}",
                partial(self._call_tool, call, tool),
                ToolOutcome,
                once=tool.effects != "read" and not tool.idempotent,
            )
        except ToolFailed as error:
            self._scope.emit(ToolErred(call.name, call.id, str(error)), self._agent.name)
            outcome = ToolOutcome(str(error), failed=True)
        if outcome.failed:
            self._tool_errors += 1
            return f"Error: {outcome.text}"
        return outcome.text

    async def _call_tool(self, call: ToolCall, tool: Tool) -> "ToolOutcome":
        """Make one call; a failure is recorded like a result, because the model will see it."""
        emit, agent, clock = self._scope.emit, self._agent.name, self._agent.clock
        emit(ToolStarted(call.name, call.id, call.arguments), agent)
        started = clock.monotonic()
        try:
            result = await tool.call(call.arguments)
        except ToolFailed as error:
            emit(ToolErred(call.name, call.id, str(error)), agent)
            return ToolOutcome(str(error), failed=True)
        for interceptor in reversed(self._agent.interceptors):
            result = await interceptor.after_tool(call, result)
        emit(ToolCompleted(call.name, call.id, result[:_SHOWN], clock.monotonic() - started), agent)
        return ToolOutcome(result)

    def _exceeded(self, reason: str, limit: float, used: float) -> None:
        self._scope.emit(BudgetExceeded(reason, limit, used), self._agent.name)

    def _outcome(self, text: str, reason: StopReason, context: Context, seconds: float) -> Outcome:
        cited, unknown = citation.resolve(text, context.citable)
        return Outcome(
            output=text,
            stop_reason=reason,
            usage=self._budget.usage,
            cost=self._budget.spent,
            seconds=seconds,
            steps=self._calls,
            tools=tuple(self._tools),
            tool_errors=self._tool_errors,
            citations=cited,
            offered=context.offered,
            unknown_citations=unknown,
            grounding=citation.grounding(text, cited),
        )

    async def _remember(self, outcome: Outcome) -> None:
        """Keep a whole answer, once, when the agent has a memory."""
        memory, key = self._agent.memory, self._work.remember
        if memory is None or not key or outcome.stop_reason != "completed":
            return
        text = citation.unmarked(outcome.output)
        try:
            await memory.remember(self._agent.name, key, f"{self._work.goal}\n{text}")
        except LoomdError as error:
            self._scope.emit(Fallback("remember", str(error), "the answer is not remembered"), self._agent.name)


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


class ToolOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a tool call gave, as it is recorded."""

    text: str
    failed: bool = False
