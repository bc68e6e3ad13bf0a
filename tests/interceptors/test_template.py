from typing import Any

import pytest

from loomd.errors import Permanent
from loomd.messages import Message, Request, ToolSchema
from loomd.testing import VirtualClock

ADD = ToolSchema("add", "Add.", {})


async def test_prefix_and_suffix(interceptor: Any, context: Any) -> None:
    """Rendered text stands around the system prompt; the rest of the request stays."""
    spec = {
        "type": "template",
        "prefix": "It is {{ date }}, {{ time }} UTC.",
        "suffix": "Tools: {{ tools | join(', ') }}",
    }
    request = Request((Message("system", "Be brief."), Message("user", "hello")), (ADD,), max_tokens=7)
    async with interceptor(spec, clock=VirtualClock(1_700_000_000.0)) as live:
        sent = await live.before_model(request, context)
    assert sent.messages[0] == Message("system", "It is 2023-11-14, 22:13 UTC.\n\nBe brief.\n\nTools: add")
    assert sent.messages[1:] == request.messages[1:]
    assert (sent.tools, sent.max_tokens) == ((ADD,), 7)


async def test_without_a_system_turn(interceptor: Any, context: Any) -> None:
    """A system turn is made when there is none; the goal is the first user turn, and is never a template itself."""
    async with interceptor({"type": "template", "suffix": "Goal: {{ goal }}"}) as live:
        sent = await live.before_model(Request((Message("user", "say {{ date }}"),)), context)
    assert sent.messages == (Message("system", "Goal: say {{ date }}"), Message("user", "say {{ date }}"))


async def test_a_text_that_cannot_be_rendered(interceptor: Any, context: Any) -> None:
    """An unknown variable is an error, never an empty text."""
    async with interceptor({"type": "template", "prefix": "{{ nobody }}"}) as live:
        with pytest.raises(Permanent, match="nobody"):
            await live.before_model(Request((Message("user", "hi"),)), context)
