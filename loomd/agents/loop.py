"""The agent's loop: ask the model, run the tools that it calls, hand back the results, until it answers.

Every model call and tool call is a recorded step; between steps the loop is pure, so that a killed task runs through
what is recorded and goes on after it. Limits are checked before each call and end in a wrap-up turn, never in lost
work.
"""

import asyncio
import json
from collections import Counter
from contextlib import aclosing

import msgspec

from loomd.agents import citation
from loomd.agents.agent import Agent
from loomd.agents.base import Steps
from loomd.agents.budget import Budget, Exhausted
from loomd.agents.context import Context, assemble
from loomd.agents.schema import violation
from loomd.agents.work import Outcome, StopReason, Work
from loomd.errors import BadReply, ToolFailed
from loomd.events.bus import Scope
from loomd.events.event import (
    BudgetExceeded,
    ModelCalled,
    ModelDelta,
    ReasoningDelta,
    ToolCompleted,
    ToolErred,
    ToolStarted,
)
from loomd.messages import Message, Reply, Request, TextDelta, ToolCall

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
        """Return the answer, whole or partial, with what it took.

        Raises:
            LoomdError: the model or a look-up failed before there was anything to return.
        """
        clock = self._agent.clock
        started = clock.monotonic()
        context = Context((), {}, 0)
        limit = asyncio.timeout(self._seconds)
        reason: StopReason
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
        except Exhausted as error:
            text, reason = self._partial, error.reason
            self._exceeded(reason, error.limit, error.used)
        outcome = self._outcome(text, reason, context, clock.monotonic() - started)
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
        reply = await self._steps.step(key, "model", lambda: self._call_model(request), Reply)
        self._budget.settle(reply)
        self._partial = reply.text or self._partial
        return reply

    async def _call_model(self, request: Request) -> Reply:
        """Stream one answer from the provider; interceptors see it whole, and only then is it shown."""
        agent, emit = self._agent, self._scope.emit
        for interceptor in agent.interceptors:
            request = await interceptor.before_model(request)
        started = agent.clock.monotonic()
        reply: Reply | None = None
        text = ""
        live = not agent.interceptors
        async with aclosing(agent.model.stream(request)) as chunks:
            async for chunk in chunks:
                if isinstance(chunk, TextDelta):
                    self._partial = text = text + chunk.text
                    if live:
                        emit(ModelDelta(chunk.text), agent.name)
                elif isinstance(chunk, Reply):
                    reply = chunk
                elif live:
                    emit(ReasoningDelta(chunk.text), agent.name)
        if reply is None:
            raise BadReply(f"Provider {agent.model.name} ended its stream without a reply")
        for interceptor in reversed(agent.interceptors):
            reply = await interceptor.after_model(reply)
        if agent.interceptors and reply.text:
            self._partial = reply.text
            emit(ModelDelta(reply.text), agent.name)
        emit(ModelCalled(reply.model, reply.usage, reply.cost, agent.clock.monotonic() - started), agent.name)
        return reply

    async def _run_tools(self, calls: tuple[ToolCall, ...]) -> None:
        """Run the calls of one turn side by side and hand their results back in the order of the calls."""
        step = self._calls - 1
        if len(calls) == 1:
            results = [await self._run_tool(calls[0], step, 0)]
        else:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(self._run_tool(call, step, n)) for n, call in enumerate(calls)]
            results = [task.result() for task in running]
        for call, result in zip(calls, results, strict=True):
            self._repeats[json.dumps([call.name, call.arguments], sort_keys=True)] += 1
            self._tools.append(call.name)
            self._messages.append(Message("tool", result, call_id=call.id))

    async def _run_tool(self, call: ToolCall, step: int, ordinal: int) -> str:
        """Return the result of one call as text; a failure is a text for the model, and counted."""
        emit, agent, clock = self._scope.emit, self._agent.name, self._agent.clock
        key = f"{self._work.key}/tool/{step}/{ordinal}"
        tool = self._agent.tools.get(call.name)
        started = clock.monotonic()
        try:
            if tool is None:
                known = ", ".join(self._agent.tools) or "none"
                raise ToolFailed(f'there is no tool "{call.name}"; available: {known}')  # noqa: TRY301  # one exit
            for interceptor in self._agent.interceptors:
                call = await interceptor.before_tool(call)
            emit(ToolStarted(call.name, call.id, call.arguments), agent)
            outcome = await self._steps.step(
                key,
                f"tool:{call.name}",
                lambda: self._call_tool(call),
                ToolOutcome,
                once=tool.effects != "read" and not tool.idempotent,
            )
            if outcome.failed:
                raise ToolFailed(outcome.text)  # noqa: TRY301  # recorded failures and fresh ones take one path
        except ToolFailed as error:
            self._tool_errors += 1
            emit(ToolErred(call.name, call.id, str(error)), agent)
            return f"Error: {error}"
        emit(ToolCompleted(call.name, call.id, outcome.text[:500], clock.monotonic() - started), agent)
        return outcome.text

    async def _call_tool(self, call: ToolCall) -> "ToolOutcome":
        """Make one call; a failure is recorded like a result, because the model will see it."""
        try:
            result = await self._agent.tools[call.name].call(call.arguments)
        except ToolFailed as error:
            return ToolOutcome(str(error), failed=True)
        for interceptor in reversed(self._agent.interceptors):
            result = await interceptor.after_tool(call, result)
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
        if memory is not None and key and outcome.stop_reason == "completed":
            await memory.remember(self._agent.name, key, f"{self._work.goal}\n{outcome.output}")


class ToolOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a tool call gave, as it is recorded."""

    text: str
    failed: bool = False
