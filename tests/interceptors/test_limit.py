"""Limits on calls, by the minute and by the task."""

from typing import Any

import pytest

from loomd.errors import Refused
from loomd.messages import Message, Request, ToolCall
from loomd.testing import VirtualClock

REQUEST = Request((Message("user", "hi"),))
CALL = ToolCall("c", "search", {})


async def test_calls_of_a_minute(interceptor: Any, context: Any) -> None:
    """One more than declared is refused until the first is a minute old; refused ones do not count."""
    clock = VirtualClock()
    async with interceptor({"type": "limit", "modelCallsPerMinute": 2}, clock=clock) as live:
        await live.before_model(REQUEST, context)
        clock.advance(30)
        await live.before_model(REQUEST, context)
        with pytest.raises(Refused, match="2 model calls in the last minute: again in 30 s"):
            await live.before_model(REQUEST, context)
        clock.advance(30)
        await live.before_model(REQUEST, context)
        with pytest.raises(Refused):
            await live.before_model(REQUEST, context)
        await live.before_tool(CALL, context)


async def test_calls_of_a_task(interceptor: Any, context: Any) -> None:
    """What counts is what the work says of itself, so that another task has its own."""
    async with interceptor({"type": "limit", "toolCallsPerTask": 3, "perTool": {"search": 1, "never": 0}}) as live:
        context.calls = {"search": 1, "add": 2}
        await live.before_tool(CALL, context)
        context.calls = {"search": 2}
        with pytest.raises(Refused, match="call search 1 times"):
            await live.before_tool(CALL, context)
        context.calls = {"add": 4}
        with pytest.raises(Refused, match="make 3 tool calls"):
            await live.before_tool(ToolCall("c", "add", {}), context)
        context.calls = {"never": 1}
        with pytest.raises(Refused, match="0 times"):
            await live.before_tool(ToolCall("c", "never", {}), context)
