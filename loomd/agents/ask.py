"""One model call of an agent: through its interceptors, evented, and closed when it is given up.

The only way in which an agent's words reach a model: the loop answers through it, SCALE plans through it.
"""

from contextlib import aclosing

import msgspec

from loomd.agents.agent import Agent
from loomd.agents.base import ChatModel
from loomd.errors import BadReply
from loomd.events.bus import Scope
from loomd.events.event import ModelCalled, ModelDelta, ModelRetried, ReasoningDelta
from loomd.messages import Reply, Request, Retried, TextDelta, fingerprint


async def ask(
    agent: Agent, request: Request, scope: Scope, *, heard: list[str] | None = None, model: ChatModel | None = None
) -> Reply:
    """Return the whole answer of a model.

    An agent with interceptors does not stream: nothing is shown or kept before they have seen all of it.

    Args:
        agent: who asks.
        request: what is asked.
        scope: the task that it is asked for.
        heard: gets each piece of the answer, and is emptied when it begins anew; without it nothing is streamed.
        model: who is asked; the agent's own model by default.

    Raises:
        BadReply: the stream ended without a reply.
        LoomdError: the provider or an interceptor failed.
    """
    asked = model or agent.model
    for interceptor in agent.interceptors:
        request = await interceptor.before_model(request)
    mark = fingerprint(request)
    started = agent.clock.monotonic()
    reply = await _listen(agent, asked, request, scope, None if agent.interceptors else heard)
    if reply is None:
        raise BadReply(f"Provider {asked.name} ended its stream without a reply")
    for interceptor in reversed(agent.interceptors):
        reply = await interceptor.after_model(reply)
    reply = msgspec.structs.replace(reply, asked=mark)
    if agent.interceptors and heard is not None:
        if reply.reasoning:
            scope.emit(ReasoningDelta(reply.reasoning), agent.name)
        if reply.text:
            heard.append(reply.text)
            scope.emit(ModelDelta(reply.text), agent.name)
    scope.emit(ModelCalled(reply.model, reply.usage, reply.cost, agent.clock.monotonic() - started), agent.name)
    return reply


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
