"""Wait: some time goes by, durably. A restart of the daemon does not begin it anew.

Called by the agent's loop; what it waits for is recorded by whoever keeps the task.
"""

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

_SUMMARY = "Waits for some time, for example before you look again whether something is done."


class WaitTool(ToolSpec):
    """Lets an agent wait; the time is kept with the task and goes on while the daemon is down."""

    type: Literal["wait"] = "wait"
    effects: Effects = "read"
    """What a call does to the world: nothing."""
    timeout: Duration = Field(default=3600.0, gt=0)
    """Longest time that may be waited in one call; the agent's own `limits.time` must leave room for it."""

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[LiveTool, None]:
        """Yield the live tool."""
        seconds = {"type": "number", "exclusiveMinimum": 0, "maximum": self.timeout, "description": "Seconds to wait."}
        parameters: JsonObject = {
            "type": "object",
            "properties": {"seconds": seconds},
            "required": ["seconds"],
            "additionalProperties": False,
        }
        schema = ToolSchema(parts.name, self.description or _SUMMARY, parameters)
        yield LiveTool(schema, self, self._wait, parts, timed=False)

    async def _wait(self, arguments: JsonObject, context: ToolContext | None) -> str:
        seconds = arguments.get("seconds")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= self.timeout:
            raise ToolFailed(f"seconds: expected a number above 0 and up to {self.timeout:g}, got {seconds!r}")
        if context is None:
            raise ToolFailed("there is no task to wait in")
        await context.sleep(float(seconds))
        return f"{seconds:g} s have gone by"
