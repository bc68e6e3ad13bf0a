"""One model call of an agent: through its interceptors, evented, and closed when it is given up.

The only way in which an agent's words reach a model: the loop answers through it, SCALE plans through it.
"""

from contextlib import aclosing

import msgspec

from loomd.agents.agent import Agent
from loomd.agents.base import ChatModel
from loomd.agents.interception import Passing
from loomd.errors import BadReply, Refused
from loomd.events.bus import Scope
from loomd.events.event import ModelCalled, ModelDelta, ModelRetried, ReasoningDelta
from loomd.messages import Reply, Request, Retried, TextDelta, fingerprint


async def ask(
    agent: Agent, request: Request, scope: Scope, *, heard: list[str] | None = None, model: ChatModel | None = None
) -> Reply:
    """Return the whole answer of a model.

    Nothing is shown or kept before the interceptors that look at replies have seen all of it. When one does not let the
    call pass, that is the reply: its `refused` says so.

    Args:
        agent: who asks.
        request: what is asked.
        scope: the task that it is asked for.
        heard: gets each piece of the answer, and is emptied when it begins anew; without it nothing is streamed.
        model: who is asked; the agent's own model by default.

    Raises:
        BadReply: the stream ended without a reply.
        LoomdError: the provider failed.
    """
    asked = model or agent.model
    passing = Passing(agent, scope, "model", asked.name)
    try:
        sent = await passing.request(request)
    except Refused as error:
        return Reply(stop="refusal", refused=str(error))
    started = agent.clock.monotonic()
    whole = bool(agent.around("afterModel"))
    if isinstance(sent, Reply):
        reply, shown = sent, False
    else:
        reply, shown = await _call(agent, asked, sent, scope, None if whole else heard), not whole
    try:
        reply = await passing.reply(reply)
    except Refused as error:
        reply = msgspec.structs.replace(reply, text="", thoughts=(), tool_calls=(), stop="refusal", refused=str(error))
    if not shown and heard is not None:
        _show(agent, reply, scope, heard)
    scope.emit(ModelCalled(reply.model, reply.usage, reply.cost, agent.clock.monotonic() - started), agent.name)
    return reply


def _show(agent: Agent, reply: Reply, scope: Scope, heard: list[str]) -> None:
    """Show at once what was not shown piece by piece."""
    if reply.reasoning:
        scope.emit(ReasoningDelta(reply.reasoning), agent.name)
    if reply.text:
        heard.append(reply.text)
        scope.emit(ModelDelta(reply.text), agent.name)


async def _call(agent: Agent, model: ChatModel, request: Request, scope: Scope, heard: list[str] | None) -> Reply:
    """Return the reply of a model, with the mark of what it was asked.

    Raises:
        BadReply: the stream ended without a reply.
    """
    reply = await _listen(agent, model, request, scope, heard)
    if reply is None:
        raise BadReply(f"Provider {model.name} ended its stream without a reply")
    return msgspec.structs.replace(reply, asked=fingerprint(request))


async def _listen(
    agent: Agent, model: ChatModel, request: Request, scope: Scope, heard: list[str] | None
) -> Reply | None:
    """Return what a stream ended with, after passing on its pieces."""
    reply: Reply | None = None
    async with aclosing(model.stream(request)) as chunks:
        async for chunk in chunks:
            if isinstance(chunk, TextDelta):
                if heard is not None:
                    heard.append(chunk.text)
                    scope.emit(ModelDelta(chunk.text), agent.name)
            elif isinstance(chunk, Reply):
                reply = chunk
            elif isinstance(chunk, Retried):
                if heard is not None:
                    heard.clear()
                scope.emit(ModelRetried(chunk.model, chunk.reason, chunk.wait, chunk.after), agent.name)
            elif heard is not None:
                scope.emit(ReasoningDelta(chunk.text), agent.name)
    return reply
