"""Calls that people are asked about."""

from typing import Any

import pytest

from loomd.messages import ToolCall


@pytest.mark.parametrize(
    ("call", "asked"),
    [
        (ToolCall("c", "refund", {"amount": 5}), True),
        (ToolCall("c", "files", {"action": "write", "path": "a"}), True),
        (ToolCall("c", "files", {"action": "read", "path": "a"}), False),
        (ToolCall("c", "files", {"path": "a"}), True),
        (ToolCall("c", "search", {}), False),
    ],
)
async def test_calls_that_fit_wait_for_people(interceptor: Any, context: Any, call: ToolCall, *, asked: bool) -> None:
    """A call that fits passes unchanged, on terms; any other passes without. Defaults of the tool count."""
    context.defaults = {"action": "write"}
    spec = {"type": "approve", "calls": ["refund", "files(action=write)"], "ttl": "1h", "onDenied": "continue"}
    async with interceptor(spec) as live:
        assert await live.before_tool(call, context) == call
    assert context.terms == ([(3600.0, "continue")] if asked else [])
