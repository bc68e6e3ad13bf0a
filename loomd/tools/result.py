"""Result: reads on in the result of an earlier call of which the model was shown only the beginning.

What a call gave is kept with its recorded step; here it is handed out piece by piece. Called by the agent's loop.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

from pydantic import Field

from loomd.errors import ToolFailed
from loomd.manifest.quantity import Bytes
from loomd.messages import JsonObject, ToolSchema
from loomd.tools.base import Effects, LiveTool, ToolSpec
from loomd.tools.context import ToolContext
from loomd.topology import Parts

_SUMMARY = "Reads on in a result that was cut: give its name, as in [cut: ...], and the character to begin at."
_NOTE = 200
"""Bytes that are left for what is said about a piece."""


class ResultTool(ToolSpec):
    """Lets an agent read on in a long result of another tool (`maxOutput`), as far as it is kept (`keep`)."""

    type: Literal["result"] = "result"
    effects: Effects = "read"
    """What a call does to the world: nothing."""
    max_output: Bytes = Field(default=64 << 10, ge=1)
    """Longest piece."""

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[LiveTool, None]:
        """Yield the live tool."""
        parameters: JsonObject = {
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "Name of the result, for example r3-0."},
                "from": {"type": "integer", "minimum": 0, "description": "Character to begin at; 0 is the first."},
            },
            "required": ["name", "from"],
            "additionalProperties": False,
        }
        yield LiveTool(ToolSchema(parts.name, self.description or _SUMMARY, parameters), self, self._read, parts)

    async def _read(self, arguments: JsonObject, context: ToolContext | None) -> str:
        name, first = arguments.get("name"), arguments.get("from", 0)
        if not isinstance(name, str) or isinstance(first, bool) or not isinstance(first, int) or first < 0:
            raise ToolFailed("expected the name of a result, and from as a whole number of at least 0")
        whole = None if context is None else context.result(name)
        if whole is None:
            raise ToolFailed(f'there is no result "{name}" that was cut: the name stands in [cut: ...]')
        if first >= len(whole):
            raise ToolFailed(f'result "{name}" has {len(whole)} characters, from {first} there is nothing')
        room = max(1, self.max_output - _NOTE)
        piece = whole[first : first + room].encode("utf-8", "replace")[:room].decode("utf-8", "ignore")
        end = first + len(piece)
        rest = f"; read on from {end}" if end < len(whole) else "; this is the end"
        return f'{piece}\n[result "{name}": characters {first} to {end} of {len(whole)}{rest}]'
