"""The agent's loop: ask the model, run the tools that it calls, hand back the results, until it answers.

Every model call and tool call is a recorded step; between steps the loop is pure, so that a killed task runs through
what is recorded and goes on after it. Limits are checked before each call and end in a wrap-up turn, never in lost
work.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial

import msgspec

from loomd.agents import citation
from loomd.agents.agent import Agent
from loomd.agents.ask import ask
from loomd.agents.base import Steps
from loomd.agents.budget import Budget, Exhausted, Limits
from loomd.agents.calling import ToolCalls
from loomd.agents.context import Context, assemble
from loomd.agents.schema import violation
from loomd.agents.skills import SkillUse
from loomd.agents.work import Outcome, StopReason, Work
from loomd.errors import Diverged, LoomdError, RecordFailed, Temporary, Uncertain
from loomd.events.bus import Scope
from loomd.events.event import BudgetExceeded, Fallback
from loomd.messages import Message, Reply, Request, ToolCall, gist

WRAP_UP = "Stop here. Give your best answer now from what you have; call no more tools."


class Loop:
    """One run of an agent over one piece of work."""

    def __init__(self, agent: Agent, work: Work, steps: Steps, scope: Scope) -> None:
        self._agent = agent
        self._work = work
        self._steps = steps
        self._scope = scope
        self._budget = Budget()
        self._began = 0.0
        self._seconds = 0.0
        self._asking = 0
        self._timer = asyncio.timeout(None)
        self._messages: list[Message] = []
        self._answered = ""
        self._heard: list[str] = []
        self._calls = 0
        self._skills = SkillUse(agent, work.goal, work.key, steps, scope)
        self._tools = ToolCalls(agent, self._skills, work.key, steps, scope, self._unlimited)
        self._called: list[str] = []
        self._repeats: Counter[str] = Counter()

    async def run(self) -> Outcome:
        """Return the answer, whole or partial, with what it took; a failure ends in an outcome, too.

        Raises:
            RecordFailed: the work could not be recorded.
            Diverged: the work does something else than was recorded.
        """
        context = Context((), {}, 0)
        reason: StopReason
        failure: LoomdError | None = None
        self._agent.running += 1
        try:
            async with self._timer:
                self._began = self._steps.now(f"{self._work.key}/began")
                with self._agent.listening(self._heed):
                    self._heed()
                    context = await assemble(self._agent, self._work, self._steps, self._scope, self._skills)
                    self._messages = list(context.messages)
                    text, reason = await self._converse()
        except TimeoutError:
            if not self._timer.expired():
                raise
            text, reason = self._partial, "budget_time"
            waited = self._steps.waited(self._work.key)
            self._exceeded(reason, self._seconds - waited, self._elapsed - waited)
        except Exhausted as exhausted:
            text, reason = self._partial, exhausted.reason
            self._exceeded(reason, exhausted.limit, exhausted.used)
        except (RecordFailed, Diverged):
            raise
        except Uncertain as error:
            text, reason, failure = self._partial, "uncertain", error
        except LoomdError as error:
            text, reason, failure = self._partial, "error", error
        except asyncio.CancelledError:
            self._steps.leave(self._outcome(self._partial, "cancelled", context))
            raise
        finally:
            self._agent.running -= 1
        outcome = self._outcome(text, reason, context)
        if failure is not None:
            temporary = isinstance(failure, Temporary)
            outcome = msgspec.structs.replace(outcome, error=str(failure), temporary=temporary)
        await self._remember(outcome)
        return outcome

    async def _converse(self) -> tuple[str, StopReason]:
        """Go back and forth with the model until it answers; the last allowed call is a wrap-up without tools."""
        reason: StopReason = "completed"
        reply = Reply()
        for turn in range(self._agent.limits.steps):
            limits = self._heed()
            left = max(1, limits.steps - turn)
            if self._repeats and max(self._repeats.values()) >= limits.repeats:
                reason = "tool_loop"
            elif self._tools.refused is not None:
                reason = self._tools.refused
            elif left == 1 and self._called:
                reason = "max_steps"
            if reason != "completed":
                self._messages.append(Message("user", WRAP_UP))
                reply = await self._ask("wrap-up")
                return reply.text, "refused" if reply.stop == "refusal" else reason
            reply = await self._ask(tools=left > 1)
            if reply.stop == "refusal":
                return reply.text, "refused"
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
        self._heed()
        mended = await self._ask()
        return mended.text, "completed" if violation(mended.text, schema) is None else "output_invalid"

    def _heed(self) -> Limits:
        """Take over what was lowered since the work began, and return the agent's limits as they hold now."""
        limits, work, cut = self._agent.limits_now(), self._work, self._work.cut()
        self._budget.tokens = limits.tokens if work.tokens is None else min(limits.tokens, work.tokens - cut.tokens)
        self._budget.cost = limits.cost if work.cost is None else min(limits.cost, work.cost - cut.cost)
        seconds = limits.time + self._steps.waited(work.key)
        if work.deadline is not None:
            seconds = min(seconds, work.deadline + self._steps.waited() - self._began - cut.seconds)
        if seconds != self._seconds and not self._asking and not self._timer.expired():
            self._seconds = seconds
            left = self._began + seconds - self._agent.clock.now()
            self._timer.reschedule(asyncio.get_running_loop().time() + left)
        return limits

    async def _ask(self, kind: str = "model", *, tools: bool = False) -> Reply:
        """Make one model call as a recorded step.

        A wrap-up has a key of its own: when limits are lowered, it comes in place of a call that may be recorded.
        """
        self._budget.check()
        agent = self._agent
        messages = tuple(self._messages)
        request = Request(
            agent.memory.fit(messages) if agent.memory else messages,
            tuple(tool.schema for tool in self._skills.offered()) if tools else (),
            agent.output,
            agent.temperature,
            self._budget.room(agent.max_tokens),
        )
        key = f"{self._work.key}/{kind}/{self._calls}"
        self._calls += 1
        call = partial(ask, agent, request, self._scope, heard=self._heard)
        reply = await self._steps.step(key, "model", call, Reply, asked=gist(request))
        self._budget.settle(reply)
        self._answered = reply.text or self._partial
        self._heard.clear()
        return reply

    @property
    def _elapsed(self) -> float:
        """Return the seconds since the work began, those included in which it was interrupted or waited for people."""
        return max(0.0, self._agent.clock.now() - self._began) if self._began else 0.0

    @property
    def _partial(self) -> str:
        """Return what there is of an answer: of the one under way, or the last one that had a text."""
        return "".join(self._heard) or self._answered

    async def _run_tools(self, calls: tuple[ToolCall, ...]) -> None:
        """Run the calls of one turn and hand their results back in the order of the calls."""
        results = await self._tools.run(calls, self._calls - 1)
        for call, result in zip(calls, results, strict=True):
            self._repeats[json.dumps([call.name, call.arguments], sort_keys=True)] += 1
            self._called.append(call.name)
            self._skills.note(call, result)
            self._messages.append(Message("tool", result, call_id=call.id))

    @contextmanager
    def _unlimited(self) -> Generator[None]:
        """Let time go by that counts against no limit: people are asked."""
        self._asking += 1
        if not self._timer.expired():
            self._timer.reschedule(None)
        try:
            yield
        finally:
            self._asking -= 1
            self._seconds = -1.0
            self._heed()

    def _exceeded(self, reason: str, limit: float, used: float) -> None:
        self._scope.emit(BudgetExceeded(reason, limit, used), self._agent.name)

    def _outcome(self, text: str, reason: StopReason, context: Context) -> Outcome:
        cited, unknown = citation.resolve(text, context.citable)
        return Outcome(
            output=text,
            stop_reason=reason,
            usage=self._budget.usage,
            cost=self._budget.spent,
            seconds=self._elapsed,
            steps=self._calls,
            tools=tuple(self._called),
            tool_errors=self._tools.failed,
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
