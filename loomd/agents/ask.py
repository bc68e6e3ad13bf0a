"""One model call of an agent: through its interceptors, evented, and closed when it is given up.

The only way in which an agent's words reach a model: the loop answers through it, SCALE plans through it.
"""

import msgspec

from loomd.accounts.account import Hold
from loomd.agents.agent import Agent
from loomd.agents.base import ChatModel
from loomd.agents.budget import Budget
from loomd.agents.interception import Passing
from loomd.agents.learning import learn_tokens
from loomd.agents.measure import Size
from loomd.agents.spending import measured, reserve, settle
from loomd.errors import BadReply, Refused
from loomd.events.bus import Scope
from loomd.events.event import ModelCalled, ModelDelta, ModelRetried, ReasoningDelta
from loomd.messages import ReasoningDelta as ReasoningChunk
from loomd.messages import Reply, Request, Retried, TextDelta, fingerprint


async def ask(
    agent: Agent,
    request: Request,
    scope: Scope,
    *,
    heard: list[str] | None = None,
    model: ChatModel | None = None,
    size: Size | None = None,
    budget: Budget | None = None,
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
        size: that of the request, when it was counted before.
        budget: the account of the work, when other work may go on beside it; what the call may use is set aside there
            until the caller releases it.

    Raises:
        BadReply: the stream ended without a reply.
        Exhausted: the task or a day's budget has nothing left for the call.
        LoomdError: the provider failed.
    """
    asked = model or agent.model
    passing = Passing(agent, scope, "model", asked.name) if agent.interceptors else None
    try:
        sent = request if passing is None else await passing.request(request)
    except Refused as error:
        return Reply(stop="refusal", refused=str(error))
    started = agent.clock.monotonic()
    if isinstance(sent, Reply):  # no call is made, so none is booked
        reply = await _passed(passing, sent)
        shown, seconds = False, agent.clock.monotonic() - started
    else:
        shown = passing is None or not agent.around("afterModel")
        size = size if size is not None and sent is request else measured(agent, asked, sent)
        hold = await reserve(agent, asked, sent, size, budget)
        try:
            answer: Reply | None = None
            chunks = asked.stream(_within(sent, hold))
            try:
                async for chunk in chunks:
                    if isinstance(chunk, Reply):
                        answer = chunk
                    else:
                        _pass_on(chunk, agent, scope, heard if shown else None)
            finally:
                await chunks.aclose()
            if answer is None:
                raise BadReply(f"Provider {asked.name} ended its stream without a reply")
            reply = await _passed(passing, msgspec.structs.replace(answer, asked=fingerprint(sent)))
            seconds = agent.clock.monotonic() - started
            settle(agent, scope, hold, reply, seconds)
            learn_tokens(agent, asked, size.characters, reply.usage.input)
        finally:
            agent.accounts.release(agent.namespace, agent.account, hold)
    if not shown and heard is not None:
        _show(agent, reply, scope, heard)
    scope.emit(ModelCalled(reply.model, reply.usage, reply.cost, seconds), agent.name)
    return reply


def _show(agent: Agent, reply: Reply, scope: Scope, heard: list[str]) -> None:
    """Show at once what was not shown piece by piece."""
    if reply.reasoning:
        scope.emit(ReasoningDelta(reply.reasoning), agent.name)
    if reply.text:
        heard.append(reply.text)
        scope.emit(ModelDelta(reply.text), agent.name)


async def _passed(passing: Passing | None, reply: Reply) -> Reply:
    """Return a reply as the interceptors let it pass; one that they refuse says so."""
    if passing is None:
        return reply
    try:
        return await passing.reply(reply)
    except Refused as error:
        return msgspec.structs.replace(reply, text="", thoughts=(), tool_calls=(), stop="refusal", refused=str(error))


def _within(request: Request, hold: Hold) -> Request:
    """Return a request whose answer is no longer than what is held for it."""
    if hold.output >= request.max_tokens:
        return request
    return msgspec.structs.replace(request, max_tokens=hold.output)


def _pass_on(chunk: TextDelta | ReasoningChunk | Retried, agent: Agent, scope: Scope, heard: list[str] | None) -> None:
    """Show a piece of the answer, or of what led to it; without `heard` only that it begins anew."""
    if isinstance(chunk, Retried):
        if heard is not None:
            heard.clear()
        scope.emit(ModelRetried(chunk.model, chunk.reason, chunk.wait, chunk.after), agent.name)
    elif heard is None:
        return
    elif isinstance(chunk, TextDelta):
        heard.append(chunk.text)
        scope.emit(ModelDelta(chunk.text), agent.name)
    else:
        scope.emit(ReasoningDelta(chunk.text), agent.name)
