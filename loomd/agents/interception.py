"""One call of an agent on its way through the agent's interceptors.

Whatever they decide is recorded by whoever asks: inside the step of a model call, in a step of its own before a tool
call and around the whole work. An interceptor that fails, or takes too long, lets nothing pass unless it is declared
to be skipped. Called by `ask`, `calling` and the loop, and by SCALE before it plans.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Literal, TypeVar

import msgspec

from loomd.agents.agent import Agent
from loomd.agents.base import Interceptor, Steps
from loomd.agents.suspicion import running
from loomd.errors import Diverged, RecordFailed, Refused
from loomd.events.bus import Scope
from loomd.events.event import CallAction, CallChecked, ToolErred
from loomd.manifest.raised import is_cancelled, words_of
from loomd.manifest.wording import inert, without_secrets
from loomd.messages import JsonObject, Reply, Request, ToolCall

T = TypeVar("T")
R = TypeVar("R")


class Terms(msgspec.Struct, frozen=True):
    """On what terms people must agree to a call, because an interceptor says so; fits `agents.approval.Approval`."""

    ttl: float
    on_denied: Literal["stop", "continue"]


class Checked(msgspec.Struct, frozen=True, omit_defaults=True):
    """What interceptors made of a text or a tool call, as it is recorded.

    Attributes:
        text: the goal to work on, or the answer to give.
        call: the tool call to make.
        refused: why it does not pass, or empty.
        terms: on what terms people must agree to the call.
    """

    text: str = ""
    call: ToolCall | None = None
    refused: str = ""
    terms: Terms | None = None


class Passing:
    """The way of one call through the interceptors; fits `loomd.interceptors.context.InterceptorContext`.

    Args:
        agent: whose call it is.
        scope: the envelope of the task's events.
        what: `run`, `model` or `tool:NAME`.
        model: `provider/model` that is asked, for a model call.
        calls: how often each tool was called in this work.

    Attributes:
        terms: on what terms people must agree, once an interceptor said so.
    """

    def __init__(
        self,
        agent: Agent,
        scope: Scope,
        what: str,
        model: str = "",
        calls: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self._around = agent.around
        self._interceptors = agent.interceptors
        self._scope = scope
        self._what = what
        self._by = ""
        self._sent: list[tuple[Interceptor, Request]] = []
        self.agent = agent.name
        self._effective = agent.effective
        self.model = model
        self.calls = calls
        self.terms: Terms | None = None

    @property
    def task(self) -> str:
        """Return the id of the task."""
        return self._scope.task

    @property
    def namespace(self) -> str:
        """Return the namespace of the task."""
        return self._scope.namespace

    def effective(self, call: ToolCall) -> JsonObject:
        """Return the arguments of a call as its tool takes them."""
        return self._effective(call.name, call.arguments)

    def note(self, action: CallAction, reason: str) -> None:
        """Note what the interceptor that looks at the call does about it."""
        self._scope.emit(CallChecked(self._by, self._what, action, reason), self.agent)

    def require_approval(self, ttl: float, on_denied: Literal["stop", "continue"]) -> None:
        """Let people be asked before the call is made; of several terms the first ones count."""
        self.terms = self.terms or Terms(ttl, on_denied)

    async def goal(self, goal: str) -> str:
        """Return the goal to work on.

        Raises:
            Refused: the work is not to be done.
        """
        for one in self._around("beforeRun"):
            goal = await self._look(one, goal, partial(one.before_run, goal, self))
        return goal

    async def output(self, output: str) -> str:
        """Return the answer to give.

        Raises:
            Refused: it is not to be given.
        """
        for one in reversed(self._around("afterRun")):
            output = await self._look(one, output, partial(one.after_run, output, self))
        return output

    async def request(self, request: Request) -> Request | Reply:
        """Return the request to send, or the reply that makes the call needless.

        Raises:
            Refused: it is not to be sent.
        """
        for one in self._interceptors:
            if "beforeModel" in one.moments:
                passed = await self._look(one, request, partial(one.before_model, request, self))
                if isinstance(passed, Reply):
                    return passed
                request = passed
            self._sent.append((one, request))
        return request

    async def reply(self, reply: Reply) -> Reply:
        """Return the reply to use, after those interceptors have seen it that let the request pass.

        Raises:
            Refused: it is not to be used.
        """
        for one, request in reversed(self._sent):
            if "afterModel" in one.moments:
                reply = await self._look(one, reply, partial(one.after_model, request, reply, self))
        return reply

    async def call(self, call: ToolCall) -> ToolCall:
        """Return the call to make; no interceptor can make it the call of another tool.

        Raises:
            Refused: it is not to be made.
        """
        for one in self._around("beforeTool"):
            passed = await self._look(one, call, partial(one.before_tool, call, self))
            call = msgspec.structs.replace(call, arguments=passed.arguments)
        return call

    async def result(self, call: ToolCall, result: str) -> str:
        """Return the result to use.

        Raises:
            Refused: the model is not to see it.
        """
        for one in reversed(self._around("afterTool")):
            result = await self._look(one, result, partial(one.after_tool, call, result, self))
        return result

    async def _look(self, one: Interceptor, value: T, look: Callable[[], Awaitable[R]]) -> T | R:
        """Return what an interceptor makes of a value, or the value itself when a failing interceptor is skipped.

        Raises:
            Refused: the interceptor refuses it, or failed.
        """
        self._by = one.name
        try:
            if not one.foreign:
                async with asyncio.timeout(one.timeout):
                    return await look()
            async with running(one.name), asyncio.timeout(one.timeout):
                return await look()
        except Refused as error:
            reason = str(error)
        except (Diverged, RecordFailed):
            raise
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise
            said = str(error) if isinstance(error, Exception) else words_of(error)
            said = f"no end within {one.timeout:g} s" if isinstance(error, TimeoutError) else said
            reason = f"it failed: {said or type(error).__name__}"
            if one.on_error == "skip":
                self.note("skipped", reason)
                return value
        reason = inert(without_secrets(reason))  # a hook may say what it saw, and this becomes a part of the result
        self.note("refused", reason)
        raise Refused(f"{one.name} refused the {_NAMES.get(self._what, 'call')}: {reason}")


_NAMES = {"run": "work", "model": "model call"}


async def enter(agent: Agent, goal: str, scope: Scope, steps: Steps, key: str) -> str:
    """Return the goal that an agent is to work on, once its interceptors have seen it; a step of its own.

    Raises:
        Refused: the work is not to be done.
    """
    if not agent.around("beforeRun"):
        return goal
    return await _text(steps, f"{key}/enter", lambda: Passing(agent, scope, "run").goal(goal))


async def leave(agent: Agent, output: str, scope: Scope, steps: Steps, key: str) -> str:
    """Return the answer that an agent is to give, once its interceptors have seen it; a step of its own.

    Raises:
        Refused: it is not to be given.
    """
    if not output or not agent.around("afterRun"):
        return output
    return await _text(steps, f"{key}/leave", lambda: Passing(agent, scope, "run").output(output))


async def _text(steps: Steps, key: str, look: Callable[[], Awaitable[str]]) -> str:
    async def do() -> Checked:
        try:
            return Checked(await look())
        except Refused as error:
            return Checked(refused=str(error))

    checked = await steps.step(key, "interceptors", do, Checked)
    if checked.refused:
        raise Refused(checked.refused)
    return checked.text


async def before_call(
    agent: Agent, call: ToolCall, scope: Scope, steps: Steps, key: str, calls: Mapping[str, int]
) -> Checked:
    """Return what interceptors make of a tool call; a step of its own, so that it is decided once.

    Args:
        agent: whose call it is.
        call: what the model wants.
        scope: the envelope of the task's events.
        steps: where it is recorded.
        key: key of the step.
        calls: how often each tool was called in this work, this call included.
    """
    if not agent.around("beforeTool"):
        return Checked(call=call)

    async def do() -> Checked:
        passing = Passing(agent, scope, f"tool:{call.name}", calls=calls)
        try:
            return Checked(call=await passing.call(call), terms=passing.terms)
        except Refused as error:
            scope.emit(ToolErred(call.name, call.id, str(error)), agent.name)
            return Checked(call=call, refused=str(error))

    return await steps.step(key, "interceptors", do, Checked)
