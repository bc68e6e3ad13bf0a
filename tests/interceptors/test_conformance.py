"""What every interceptor type owes the agent's loop."""

from typing import Any

import pytest

from loomd.interceptors.base import InterceptorSpec
from loomd.manifest.oneof import find_types
from loomd.messages import Message, Reply, Request, ToolCall

TYPES = sorted(find_types("loomd.interceptors", InterceptorSpec))


@pytest.mark.parametrize("kind", TYPES)
async def test_by_default_harmless_text_passes(interceptor: Any, kind: str) -> None:
    """With nothing set, no harmless word of a conversation changes, and what came in is not altered in place."""
    messages = (Message("system", "Be brief."), Message("user", "hello"), Message("assistant", "hi"))
    request, reply, call = Request(messages), Reply("hi"), ToolCall("c", "add", {"a": 1, "b": ["x", {"y": "z"}]})
    async with interceptor({"type": kind}) as live:
        assert await live.before_model(request) == request
        assert await live.after_model(reply) == reply
        assert await live.before_tool(call) == call
        assert await live.after_tool(call, "3") == "3"
    assert request.messages == messages
