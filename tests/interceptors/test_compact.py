"""Long conversations become shorter, and stay whole conversations."""

from typing import Any

from loomd.messages import Message, Request, ToolCall


def conversation(*results: str) -> Request:
    """Return a conversation in which a tool was called again and again."""
    messages = [Message("system", "s"), Message("user", "u")]
    for at, result in enumerate(results):
        messages.append(Message("assistant", "", (ToolCall(f"c{at}", "look", {"n": at}),)))
        messages.append(Message("tool", result, call_id=f"c{at}"))
    return Request(tuple(messages))


async def test_old_results_are_cut_first(interceptor: Any, context: Any) -> None:
    """As few results as necessary are cut, oldest first; every call keeps its result."""
    request = conversation("a" * 4000, "b" * 4000, "c" * 4000)
    async with interceptor({"type": "compact", "tokens": 2200, "keep": 1, "head": 10}) as live:
        sent = await live.before_model(request, context)
    texts = [message.text for message in sent.messages if message.role == "tool"]
    assert texts == ["a" * 10 + "\n[cut: 10 of 4000 characters]", "b" * 4000, "c" * 4000]
    assert [message.call_id for message in sent.messages] == [message.call_id for message in request.messages]
    assert context.notes == [("changed", "1 old result of tools cut to 10 characters")]


async def test_the_newest_stay_whole(interceptor: Any, context: Any) -> None:
    """What was just looked up is never cut, even if the conversation stays too long."""
    request = conversation("a" * 4000, "b" * 4000)
    async with interceptor({"type": "compact", "tokens": 100, "keep": 2}) as live:
        assert await live.before_model(request, context) == request
    async with interceptor({"type": "compact", "tokens": 100, "keep": 0}) as live:
        sent = await live.before_model(request, context)
    assert all("[cut: 400 of 4000" in message.text for message in sent.messages if message.role == "tool")


async def test_a_short_conversation_stays_as_it_is(interceptor: Any, context: Any) -> None:
    """The very same request is passed on."""
    request = conversation("a")
    async with interceptor({"type": "compact"}) as live:
        assert await live.before_model(request, context) is request
