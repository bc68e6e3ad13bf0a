"""The agent's loop: ask the model, run the tools that it calls, hand back the results, until it answers.

The conversation is kept in one form; the agent's strategy puts it into words for the model and reads what it says. What
another agent is asked is a loop of its own, below the call that asked it, on the account of whoever asked.

Every model call and tool call is a recorded step; between steps the loop is pure, so that a killed task runs through
what is recorded and goes on after it. Limits are checked before each call and end in a wrap-up turn, never in lost
work.
"""

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from weakref import proxy

import msgspec

from loomd.accounts.account import Want
from loomd.agents import citation, done
from loomd.agents.agent import Agent
from loomd.agents.ask import ask
from loomd.agents.base import Steps
from loomd.agents.budget import Budget, Exhausted, Limits, Spent
from loomd.agents.call_context import Caller, Errand
from loomd.agents.calling import ToolCalls, ToolOutcome
from loomd.agents.citation import Passages
from loomd.agents.context import Context, assemble
from loomd.agents.ending import at_end, at_limit, cut_short
from loomd.agents.interception import enter, leave
from loomd.agents.learning import learn
from loomd.agents.measure import Conversation, Size, around, sent
from loomd.agents.remembering import absorb, condense, remember, seed, summarizing, whose_of
from loomd.agents.reminding import shown
from loomd.agents.schema import plain, violation
from loomd.agents.skills import SkillUse
from loomd.agents.spending import book
from loomd.agents.strategies.base import Unreadable
from loomd.agents.work import Ended, Outcome, StopReason, Work
from loomd.errors import Diverged, LoomdError, RecordFailed, Refused, Temporary, ToolFailed, Uncertain
from loomd.events.bus import Scope
from loomd.events.room import MemoryCompacted
from loomd.memory.item import Turn
from loomd.messages import Message, Reply, Request, Thought, ToolCall, gist

WRAP_UP = "Stop here. Give your best answer now from what you have; call no more tools."
_ordered = msgspec.json.Encoder(order="deterministic").encode
"""Encodes calls so that those with the same arguments are the same, in whatever order these stand."""
_NOTHING = Context()
"""With what no conversation began yet."""
_MISFIT = "That does not fit the required JSON Schema: {}."


class Loop:
    """One run of an agent over one piece of work.

    Args:
        agent: who works.
        work: what is wanted.
        steps: where side effects are recorded.
        scope: the envelope of its events.
        above: the loop that delegated the work.
        account: that of the task that is split, when the work belongs to a part of it.

    Attributes:
        budget: the account of the work.
        depth: how many delegations stand above it.
    """

    def __init__(
        self,
        agent: Agent,
        work: Work,
        steps: Steps,
        scope: Scope,
        above: "Loop | None" = None,
        account: Budget | None = None,
    ) -> None:
        self._agent = agent
        self._work = work
        self._steps = steps
        self._scope = scope
        self._above = above
        self.depth: int = 0 if above is None else above.depth + 1
        account = account if above is None else above.budget
        self.budget: Budget = Budget(above=account, known=steps.recorded(work.key))
        self._began = 0.0
        self._seconds = -1.0
        self._asking = 0
        self._timer = asyncio.timeout(None)
        self._messages: list[Message] = []
        self._goal = 0
        self._context = _NOTHING
        self._conversation = Conversation()
        self._dropped = 0
        self._passages = Passages()
        self._answered = ""
        self._ended: Ended | None = None
        self._heard: list[str] = []
        self._thought: list[str] = []
        self._calls = self._errors = self._spoiled = 0
        self._acted = False
        self._skills = SkillUse(agent, work.key, steps, scope)
        self._tools: ToolCalls | None = None
        self._called: list[str] = []
        self._repeats: dict[bytes, int] = {}

    async def run(self) -> Outcome:
        """Return the answer, whole or partial, with what it took; a failure ends in an outcome, too.

        Raises:
            RecordFailed: the work could not be recorded.
            Diverged: the work does something else than was recorded.
        """
        reason: StopReason
        failure: LoomdError | None = None
        try:
            async with self._timer:
                self._began = self._steps.now(f"{self._work.key}/began")
                with self._agent.listening(self._heed):
                    self._heed()
                    self._work = await self._enter(self._work)
                    await self._condense()
                    self._begin(
                        await assemble(self._agent, self._work, self._steps, self._scope, self._skills, self.budget)
                    )
                    text, reason = await self._converse()
        except TimeoutError:
            if not self._timer.expired():
                raise
            waited = self._steps.waited(self._work.key)
            found = Exhausted("budget_time", self._seconds - waited, self._elapsed - waited)
            self._ended = at_limit(self._agent, self._scope, found, asked=self._above is not None)
            text, reason = self._partial, self._ended.reason
        except Exhausted as exhausted:
            self._ended = at_limit(self._agent, self._scope, exhausted, asked=self._above is not None)
            text, reason = self._partial, self._ended.reason
        except (RecordFailed, Diverged):
            raise
        except (Refused, Uncertain) as error:
            text, reason, failure = self._partial, "refused" if isinstance(error, Refused) else "uncertain", error
        except LoomdError as error:
            text, reason, failure = self._partial, "error", error
        except asyncio.CancelledError:
            if self._above is None:
                self._steps.leave(self._outcome(self._partial, "cancelled"))
            raise
        outcome = await self._leave(text, reason, failure)
        if outcome.stop_reason == "completed":
            learn(self._agent, self._work, self._steps, self._context.texts, outcome)
        await remember(self._agent, self._work, self._scope, outcome, self._began, self._calls)
        return outcome

    async def _enter(self, work: Work) -> Work:
        """Return the work as the interceptors let it pass."""
        if self._seconds <= 0 and not self._steps.recorded(work.key).steps:
            await asyncio.sleep(0)  # the timer ends it here, before anything is done
        goal = await enter(self._agent, work.goal, self._scope, self._steps, work.key)
        if work.within:
            within = await enter(self._agent, work.within, self._scope, self._steps, f"{work.key}/within")
            work = msgspec.structs.replace(work, within=within)
        return work if goal == work.goal else msgspec.structs.replace(work, goal=goal)

    async def _leave(self, text: str, reason: StopReason, failure: LoomdError | None) -> Outcome:
        """Return the outcome, once the interceptors have seen its text."""
        try:
            text = await leave(self._agent, text, self._scope, self._steps, self._work.key)
        except Refused as error:
            text, reason, failure = "", "refused", error
        except asyncio.CancelledError:
            if self._above is None:
                self._steps.leave(self._outcome("", "cancelled"))
            raise
        outcome = self._outcome(text, reason)
        if failure is None:
            return outcome
        return msgspec.structs.replace(outcome, error=str(failure), temporary=isinstance(failure, Temporary))

    def _begin(self, context: Context) -> None:
        """Take over what the conversation begins with."""
        self._context = context
        self._messages = list(context.messages)
        self._conversation = Conversation(len(self._messages), context.characters)
        self._goal = len(self._messages) - 1
        self._passages = Passages(dict(context.citable), context.offered)

    async def _converse(self) -> tuple[str, StopReason]:
        """Go back and forth with the model until it answers; at a limit it is asked once more, without tools."""
        for turn in range(self._agent.limits.steps):
            limits = self._heed()
            left = max(1, min(limits.steps - turn, self.budget.steps_left))
            tools = left > 1 and self.budget.calls_left > 0
            if (limit := self._limit(limits, left, last=limits.steps - turn <= 1)) is not None:
                self._messages.append(Message("user", WRAP_UP))
                reply = await self._ask("wrap-up")
                return reply.text or self._partial, "refused" if reply.stop == "refusal" else limit
            try:
                reply = await self._ask(tools=tools)
            except Unreadable as error:
                self._send_back(error.said, str(error))
                continue
            if reply.stop == "refusal":
                return reply.text, "refused"
            ended = await self._use(reply, limits) if reply.tool_calls else self._finish(reply, limits, tools=tools)
            if ended is not None:
                return ended
        return self._partial, "output_invalid" if self._spoiled else "max_steps"

    def _limit(self, limits: Limits, left: int, *, last: bool) -> StopReason | None:
        """Return which limit is reached that leaves a last turn, if one is.

        Args:
            limits: those that hold now.
            left: model calls that are left.
            last: whether no more are left of the agent's own.
        """
        reason: StopReason | None = None
        called = None if self._tools is None else self._tools.limit(limits.tool_errors)
        if self._repeats and max(self._repeats.values()) >= limits.repeats:
            reason = "tool_loop"
        elif called is not None:
            reason = called
        elif self._spoiled > limits.repairs:
            reason = "bad_format"
        elif left == 1 and self._called:
            reason = "max_steps" if last else "budget_calls"
        return reason

    async def _use(self, reply: Reply, limits: Limits) -> tuple[str, StopReason] | None:
        """Run the calls of a turn and hand their results back; return the answer when the model is done."""
        calls = reply.tool_calls
        self._messages.append(Message("assistant", reply.text, calls, thoughts=reply.thoughts))
        last = done.find(calls) if self._agent.done else None
        if last is None:
            await self._run_tools(calls, limits)
            return None
        answer = done.answer_of(last, self._agent.output)
        wrong = "expected the answer, got none" if answer is None else self._violation(answer)
        if answer is not None and wrong is None:
            return answer, "completed"
        if self._spoiled >= limits.repairs:
            return answer or self._partial, "output_invalid"
        self._spoiled += 1
        for call in calls:
            self._messages.append(Message("tool", f"Error: {wrong}" if call is last else done.BESIDE, call_id=call.id))
        return None

    def _finish(self, reply: Reply, limits: Limits, *, tools: bool) -> tuple[str, StopReason] | None:
        """Return an answer in words; None when it goes back to the model, because it cannot be used as it is."""
        if self._agent.done and tools and self._spoiled < limits.repairs:
            self._send_back(reply.text, done.MISSING, reply.thoughts)
            return None
        text = plain(reply.text, self._agent.output)
        wrong = self._violation(text)
        if wrong is None:
            if reply.stop != "length" or self._agent.output is not None:
                return text, "completed"
            self._ended = cut_short(self._agent, reply, self.budget)
            return reply.text, self._ended.reason
        if self._spoiled >= limits.repairs:
            return text, "output_invalid"
        self._send_back(reply.text, f"{_MISFIT.format(wrong)} Answer again with valid JSON only.", reply.thoughts)
        return None

    def _violation(self, answer: str) -> str | None:
        """Return what an answer breaks of the agent's output schema, if it has one."""
        return None if self._agent.output is None else violation(answer, self._agent.output)

    def _send_back(self, said: str, why: str, thoughts: tuple[Thought, ...] = ()) -> None:
        """Let the model try again, and tell it why."""
        self._spoiled += 1
        if said:
            self._messages.append(Message("assistant", said, thoughts=thoughts))
        self._messages.append(Message("user", why))

    def _heed(self) -> Limits:
        """Take over what was lowered since the work began, and return the agent's limits as they hold now."""
        limits, work, cut = self._agent.limits_now(), self._work, self._work.cut()
        self.budget.bound(limits, work, cut)
        seconds = limits.time + self._steps.waited(work.key)
        if work.deadline is not None:
            seconds = min(seconds, work.deadline + self._steps.waited() - self._began - cut.seconds)
        if seconds != self._seconds and not self._asking and not self._timer.expired():
            self._seconds = seconds
            left = self._began + seconds - self._agent.clock.now()
            self._timer.reschedule(asyncio.get_running_loop().time() + left)
        return limits

    async def _ask(self, kind: str = "model", *, tools: bool = False) -> Reply:
        """Make one model call as a recorded step, and return the reply as the agent's strategy reads it.

        A wrap-up has a key of its own: when limits are lowered, it comes in place of a call that may be recorded.

        Raises:
            Unreadable: the reply does not keep to the strategy's form.
            Refused: an interceptor does not let it pass.
        """
        agent, context = self._agent, self._context
        offered = tuple([tool.schema for tool in self._skills.offered()]) if tools else ()
        ends = tools and agent.done
        if ends:
            offered = (*offered, done.schema_of(agent.output))
        most, output = agent.max_tokens, None if ends else agent.output
        beside, turns = around(offered, output) + context.added, self._conversation.characters(self._messages)
        messages = shown(context, agent, self._messages, self._goal, beside, turns)
        plain = Request(messages, offered, output, agent.temperature, most)
        request = agent.strategy.phrase(plain)
        whole = request is plain and len(messages) == len(self._messages)
        characters = beside + turns if whole else sent(request) + context.added
        key = f"{self._work.key}/{kind}/{self._calls}"
        if len(messages) != len(self._messages) or self._dropped:
            self._tell_dropped(len(self._messages) - len(messages))
        tokens = context.measure.tokens(characters, len(messages) + len(request.examples))
        room = self.budget.allow(Want(tokens, most, context.cost))
        if room < most:
            request = msgspec.structs.replace(request, max_tokens=room)
        self._calls += 1
        heard = self._heard if agent.strategy.streams or not plain.tools else None
        shared = None if self.budget.above is None else self.budget  # alone, nobody holds anything of it
        call = partial(ask, agent, request, self._scope, heard=heard, size=Size(characters, tokens), budget=shared)
        made = True
        try:
            reply = await self._steps.step(key, "model", call, Reply, asked=gist(request))
            self._spend(Spent(reply.usage, reply.cost))
        except Exhausted as exhausted:
            made = exhausted.reason == "budget_time"  # all others refuse a call before it is made
            raise
        finally:
            self.budget.steps += made
            self.budget.release()
        if reply.refused:
            raise Refused(reply.refused)
        if reply.thoughts and (thought := reply.reasoning):
            self._thought.append(thought)
        before = self._partial
        self._heard.clear()
        self._answered = reply.text or before
        reply = agent.strategy.read(reply, plain, self._calls - 1)
        self._answered = reply.text or before
        return reply

    def _spend(self, spent: Spent) -> None:
        """Book what was used, and tell once when most of a limit is."""
        book(self._agent, self._scope, self.budget, self._work.key, spent)

    def _tell_dropped(self, dropped: int) -> None:
        """Make known that earlier turns left the window, when there are more of them than before."""
        if dropped > self._dropped:
            fact = MemoryCompacted(dropped, len(self._messages) - dropped)
            self._scope.emit(fact, self._agent.name, key=f"compacted/{self._work.key}/{self._calls}")
        self._dropped = dropped

    @property
    def _elapsed(self) -> float:
        """Return the seconds since the work began, those included in which it was interrupted or waited for people."""
        return max(0.0, self._agent.clock.now() - self._began) if self._began else 0.0

    @property
    def _partial(self) -> str:
        """Return what there is of an answer: of the one under way, or the last one that had a text."""
        return "".join(self._heard) or self._answered

    async def _run_tools(self, calls: tuple[ToolCall, ...], limits: Limits) -> None:
        """Run the calls of one turn and hand their results back in the order of the calls."""
        self._spoiled = 0
        tools = [self._skills.find(call.name) for call in calls]
        self._acted = self._acted or any(tool is not None and tool.effects != "read" for tool in tools)
        left = self.budget.calls_left
        self.budget.making = min(len(calls), limits.calls_per_turn, left)
        try:
            outcomes = await self._calling().run(calls, self._calls - 1, limits.calls_per_turn, left)
        finally:
            self.budget.making = 0
        self.budget.below.clear()  # what was used there is in the outcomes, also of those that were recorded before
        for call, outcome in zip(calls, outcomes, strict=True):
            if outcome.made:
                same = _ordered([call.name, call.arguments])
                self._repeats[same] = self._repeats.get(same, 0) + 1
                self._book(call, outcome)
            self._skills.note(call, outcome.said)
            self._messages.append(
                Message("tool", self._passages.take(outcome.said, outcome.citations), call_id=call.id)
            )
        self.budget.held.clear()  # what calls cost is booked

    @property
    def session(self) -> str:
        """Return the conversation that the whole work is a turn of, or an empty string."""
        return self._work.session if self._above is None else self._above.session

    def _calling(self) -> ToolCalls:
        """Return what makes the tool calls; work that needs none has none."""
        if self._tools is None:
            whose = self._work.permissions, self.session, self._work.owner
            caller = Caller(self._agent, self._skills, self._work.key, self._steps, self._scope, self.budget, *whose)
            self._tools = ToolCalls(caller, proxy(self))  # without a cycle all goes when the work has ended
        return self._tools

    def _book(self, call: ToolCall, outcome: ToolOutcome) -> None:
        """Take a call that was made into the account, with what other agents used for it."""
        self._called.append(call.name)
        self._spend(Spent(cost=outcome.cost, calls=1))
        if (used := outcome.delegated) is not None:
            self._called += used.tools
            self._errors += used.tool_errors
            self._acted = self._acted or used.acted
            self._spend(Spent(used.usage, used.cost, len(used.tools), used.steps))

    async def ask_other(self, errand: Errand) -> Outcome:
        """Return what another agent makes of what it is asked; it is told what fits, and its answer is remembered."""
        whose = whose_of(self._agent, self._work, self._scope)
        seeds = await seed(self._agent, whose, errand.goal, self._steps, f"{errand.key}/seed", self._scope)
        outcome = await self._delegate(errand, seeds)
        if outcome.stop_reason == "completed":
            key = f"{self._scope.task}/{errand.key}"
            turn = Turn(key, errand.goal, citation.unmarked(outcome.output), f"step/{errand.key}", self._began)
            await absorb(self._agent, whose, turn, self._scope)
        return outcome

    async def _delegate(self, errand: Errand, seeds: Sequence[str] = ()) -> Outcome:
        """Return what another agent makes of what it is asked, within what is left of this work.

        Of the tools that change something or reach out it gets those that this agent may call itself.

        Raises:
            ToolFailed: too many delegations stand above each other.
        """
        if self.depth >= errand.most:
            raise ToolFailed(
                f"Agent/{errand.agent.name} is not asked: at most {errand.most} delegations stand above each other"
            )
        agent, now = errand.agent, self._steps.now(f"{errand.key}/asked")
        own = {name: tool for name, tool in self._agent.tools.items() if not self._skills.refusal(name)}
        tools = {name: one for name, one in agent.tools.items() if one.effects == "read" or own.get(name) is one}
        end = min(self._began + self._seconds, now + errand.seconds) - self._steps.waited()
        rules = (*self._work.permissions, *self._agent.rules())
        work = Work(errand.goal, errand.key, deadline=end, owner=self._work.owner, permissions=rules, seeds=seeds)
        outer = [*self._agent.outer, *(one for one in self._agent.interceptors if one not in agent.interceptors)]
        scope = self._scope.within(errand.key)
        itself = (agent.namespace, agent.name) == (self._agent.namespace, self._agent.name)  # counted already
        with nullcontext() if itself else agent.loads.bearing(agent.namespace, agent.name):
            return await Loop(replace(agent, tools=tools, outer=outer), work, self._steps, scope, self).run()

    async def _condense(self) -> None:
        """Let the memory's summarizer put working facts that are too many into fewer words, on this account."""
        agent, work = self._agent, self._work
        errand = await summarizing(agent, work, self._steps, self._scope, self.depth + 1)
        if errand is None:
            return
        try:
            outcome = await self._delegate(errand.errand)
        except LoomdError as error:
            if isinstance(error, RecordFailed | Diverged):
                raise
            outcome = Outcome("", "error", error=str(error))
        self.budget.below.clear()
        self._spend(Spent(outcome.usage, outcome.cost, len(outcome.tools), outcome.steps))
        await condense(agent, work, self._scope, errand, outcome, self._began)

    @contextmanager
    def unlimited(self) -> Generator[None]:
        """Let time go by that counts against no limit, here and above: people are asked."""
        self._asking += 1
        if not self._timer.expired():
            self._timer.reschedule(None)
        try:
            with nullcontext() if self._above is None else self._above.unlimited():
                yield
        finally:
            self._asking -= 1
            self._seconds = -1.0
            self._heed()

    def _outcome(self, text: str, reason: StopReason) -> Outcome:
        cited, unknown = citation.resolve(text, self._passages.citable)
        used = self.budget.total
        ended = self._ended or at_end(self._agent, reason, self.budget)
        cut = text.strip() and reason not in {"completed", "output_invalid", "refused", "cancelled", "error"}
        wrong = self._violation(text) if cut else None
        return Outcome(
            output=text,
            stop_reason=reason,
            usage=used.usage,
            cost=used.cost,
            seconds=self._elapsed,
            steps=used.steps,
            tools=tuple(self._called),
            tool_errors=self._errors if self._tools is None else self._errors + self._tools.failed,
            acted=self._acted,
            citations=cited,
            offered=self._passages.offered,
            error="" if wrong is None else f"{_MISFIT.format(wrong)} The work ended as {reason}",
            unknown_citations=unknown,
            grounding=citation.grounding(text, cited),
            reasoning="\n\n".join(self._thought),
            note=ended.note,
            temporary=ended.temporary,
            foreign=ended.foreign,
        )
