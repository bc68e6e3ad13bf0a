"""Interceptors that somebody else writes: what they are told of a call as JSON, and what they may change of it.

The same document goes to a Python function and to the standard input of a command; both answer with nothing, or with
the fields that are to be replaced. Called by `python` and `command`.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from pydantic import Field

from loomd.errors import BadReply
from loomd.interceptors.base import LiveInterceptor, SkippableSpec
from loomd.interceptors.context import InterceptorContext, Moment
from loomd.messages import Image, JsonObject, Message, Passage, Reply, Request, Thought, ToolCall

P = TypeVar("P", bound=msgspec.Struct)

_UNSET = msgspec.UNSET
_Text = str | msgspec.UnsetType


class HookSpec(SkippableSpec):
    """An interceptor that asks something that was written for it."""

    at: list[Moment] = Field(min_length=1, examples=[["beforeTool"]])
    """When it is asked: around the agent's whole work, each model call, each tool call."""

    @property
    def moments(self) -> frozenset[Moment]:
        """Return when it is asked."""
        return frozenset(self.at)


class _Goal(msgspec.Struct, forbid_unknown_fields=True):
    goal: _Text = _UNSET


class _Output(msgspec.Struct, forbid_unknown_fields=True):
    output: _Text = _UNSET


class _Call(ToolCall, frozen=True, forbid_unknown_fields=True):
    pass


class _Passage(Passage, frozen=True, forbid_unknown_fields=True):
    pass


class _Thought(Thought, frozen=True, forbid_unknown_fields=True):
    pass


class _Image(Image, frozen=True, forbid_unknown_fields=True):
    pass


class _Turn(Message, frozen=True, forbid_unknown_fields=True):
    tool_calls: tuple[_Call, ...] = ()
    passages: tuple[_Passage, ...] = ()
    thoughts: tuple[_Thought, ...] = ()
    images: tuple[_Image, ...] = ()


class _Messages(msgspec.Struct, forbid_unknown_fields=True):
    messages: tuple[_Turn, ...] | msgspec.UnsetType = _UNSET


class _Answer(msgspec.Struct, forbid_unknown_fields=True):
    text: _Text = _UNSET


class _Arguments(msgspec.Struct, forbid_unknown_fields=True):
    arguments: JsonObject | msgspec.UnsetType = _UNSET


class _Result(msgspec.Struct, forbid_unknown_fields=True):
    result: _Text = _UNSET


class Hook(LiveInterceptor):
    """Asks, and applies what comes back."""

    foreign = True

    @abstractmethod
    async def consult(self, document: JsonObject) -> object:
        """Return what is to be changed, a mapping or None.

        Raises:
            Refused: the call is not to pass.
        """

    async def before_run(self, goal: str, context: InterceptorContext) -> str:
        """Return the goal to work on."""
        return _either((await self._ask("beforeRun", context, _Goal, goal=goal)).goal, goal)

    async def after_run(self, output: str, context: InterceptorContext) -> str:
        """Return the answer to give."""
        return _either((await self._ask("afterRun", context, _Output, output=output)).output, output)

    async def before_model(self, request: Request, context: InterceptorContext) -> Request:
        """Return the request to send."""
        tools = [tool.name for tool in request.tools]
        more: JsonObject = {"model": context.model, "messages": msgspec.to_builtins(request.messages), "tools": tools}
        patch = await self._ask("beforeModel", context, _Messages, **more)
        if isinstance(patch.messages, msgspec.UnsetType):
            return request
        messages = msgspec.convert(msgspec.to_builtins(patch.messages), tuple[Message, ...])
        if wrong := _broken(messages):
            raise BadReply(f"it answered beforeModel with messages that are no conversation: {wrong}")
        return msgspec.structs.replace(request, messages=messages)

    async def after_model(self, request: Request, reply: Reply, context: InterceptorContext) -> Reply:
        """Return the reply to use."""
        del request
        calls = msgspec.to_builtins(reply.tool_calls)
        patch = await self._ask("afterModel", context, _Answer, model=reply.model, text=reply.text, tool_calls=calls)
        return msgspec.structs.replace(reply, text=_either(patch.text, reply.text))

    async def before_tool(self, call: ToolCall, context: InterceptorContext) -> ToolCall:
        """Return the call to make."""
        more: JsonObject = {"arguments": call.arguments, "calls": dict(context.calls)}
        patch = await self._ask("beforeTool", context, _Arguments, tool=call.name, **more)
        if isinstance(patch.arguments, msgspec.UnsetType):
            return call
        return msgspec.structs.replace(call, arguments=patch.arguments)

    async def after_tool(self, call: ToolCall, result: str, context: InterceptorContext) -> str:
        """Return the result to use."""
        more: JsonObject = {"tool": call.name, "arguments": call.arguments, "result": result}
        return _either((await self._ask("afterTool", context, _Result, **more)).result, result)

    async def _ask(self, moment: Moment, context: InterceptorContext, shape: type[P], **more: Any) -> P:
        """Return what is to be changed.

        Raises:
            BadReply: the answer is none.
        """
        where = {"namespace": context.namespace, "task": context.task, "agent": context.agent}
        answer = await self.consult({"moment": moment, **where, **more})
        try:
            return msgspec.convert({} if answer is None else answer, shape)
        except msgspec.ValidationError as error:
            fields = ", ".join(shape.__struct_fields__)
            raise BadReply(f"it answered {moment} with something that is no mapping of {fields}: {error}") from error


def _broken(messages: Sequence[Message]) -> str:
    """Return why messages are no conversation, which services refuse; empty when they are one."""
    if not messages:
        return "there are none"
    wanted: list[str] = []
    for number, message in enumerate(messages):
        if message.role == "tool":
            if message.call_id not in wanted:
                return f"messages[{number}] answers the call {message.call_id!r}, for which no turn before it asks"
            wanted.remove(message.call_id)
        elif wanted:
            break
        elif message.role == "system" and number:
            return f"messages[{number}] is a system turn, which only the first may be"
        else:
            wanted = [call.id for call in message.tool_calls]
    return f"the call {wanted[0]!r} has no answer" if wanted else ""


def _either(changed: _Text, text: str) -> str:
    return text if isinstance(changed, msgspec.UnsetType) else changed
