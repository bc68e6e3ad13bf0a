"""Signal: what somebody outside sends to the task, such as a build that is done or a person's answer.

Sent by `loomd signal` or the API, kept with the task: it may come before the agent asks for it, and while the daemon
restarts.
"""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

from pydantic import Field

from loomd.errors import ToolFailed
from loomd.manifest.quantity import Duration
from loomd.messages import JsonObject, ToolSchema
from loomd.tools.base import Effects, LiveTool, ToolSpec
from loomd.tools.context import ToolContext
from loomd.topology import Parts


class SignalTool(ToolSpec):
    """Lets an agent wait for something that is sent to its task by name."""

    type: Literal["signal"] = "signal"
    signal: str = Field(min_length=1, max_length=100, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", examples=["build"])
    """Name under which it is sent: `loomd signal task/T build '{"ok": true}'`."""
    effects: Effects = "read"
    """What a call does to the world: nothing."""
    timeout: Duration = Field(default=86_400.0, gt=0)
    """Longest time that is waited in one call; the agent's own `limits.time` must leave room for it."""

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[LiveTool, None]:
        """Yield the live tool."""
        description = (
            self.description or f'Waits for "{self.signal}", which somebody sends to this task, and returns it.'
        )
        schema = ToolSchema(
            parts.name, description, {"type": "object", "properties": {}, "additionalProperties": False}
        )
        yield LiveTool(schema, self, self._receive, parts, timed=False)

    async def _receive(self, arguments: JsonObject, context: ToolContext | None) -> str:
        if arguments:
            raise ToolFailed(f"expected no arguments, got {', '.join(arguments)}")
        if context is None:
            raise ToolFailed("there is no task to wait in")
        try:
            value = await context.receive(self.signal, self.timeout)
        except TimeoutError as error:
            raise ToolFailed(f'"{self.signal}" did not come within {self.timeout:g} s') from error
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
