"""What every tool type declares, and the guard that every call passes: readable arguments, a deadline, a capped result.

A tool type is one module here with one `ToolSpec`. Whatever goes wrong inside a call becomes `ToolFailed` with a text
that a model can act on; a tool never ends a task by itself. Called by the agent's loop.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal

from pydantic import Field

from loomd.errors import LoomdError, ToolFailed
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Bytes, Duration
from loomd.messages import UNREADABLE, JsonObject, ToolSchema
from loomd.topology import Parts

Effects = Literal["read", "write", "external"]


class ToolSpec(Spec):
    """Something an agent can do. Each type adds its field `type`."""

    description: str = ""
    """What the tool does and when to use it, for the model."""
    effects: Effects = "external"
    """What a call does to the world: `read` nothing, `write` changes something here, `external` reaches out."""
    idempotent: bool = False
    """Whether the same call may be made twice without harm, for example after a crash."""
    timeout: Duration = Field(default=30.0, gt=0)
    """Longest time for one call."""
    max_output: Bytes = Field(default=64 << 10, ge=1)
    """Longest result that is handed to the model; a longer one is cut, and says so."""

    @abstractmethod
    def open(self, parts: Parts) -> AbstractAsyncContextManager["LiveTool"]:
        """Open the live tool.

        Raises:
            Permanent: it cannot be used as declared; the text names the field.
        """


class LiveTool:
    """A tool that can be called."""

    def __init__(self, schema: ToolSchema, spec: ToolSpec, run: Callable[[JsonObject], Awaitable[str]]) -> None:
        """Guard `run`, which gets the decoded arguments and returns the result as text."""
        self.schema = schema
        self.effects: Effects = spec.effects
        self.idempotent = spec.idempotent
        self._spec = spec
        self._run = run

    async def call(self, arguments: JsonObject) -> str:
        """Do it and return the result as text, valid Unicode and of bounded length.

        Raises:
            ToolFailed: the arguments are refused, or the tool raised or took too long; the text is for the model.
        """
        if UNREADABLE in arguments:
            raise ToolFailed("the arguments are not a JSON object: call again with valid JSON")
        limit = asyncio.timeout(self._spec.timeout)
        try:
            async with limit:
                result = await self._run(arguments)
        except ToolFailed:
            raise
        except LoomdError as error:
            raise ToolFailed(str(error)) from error
        except Exception as error:
            if isinstance(error, TimeoutError) and limit.expired():
                raise ToolFailed(f"no result within {self._spec.timeout:g} s") from error
            raise ToolFailed(f"{type(error).__name__}: {error}") from error
        return cut(result, self._spec.max_output)


def cut(text: str, limit: int) -> str:
    """Return a text of at most `limit` bytes in UTF-8; what is cut says how much is missing."""
    if len(text) <= limit and text.isascii():
        return text
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode()
    return f"{data[:limit].decode('utf-8', 'ignore')}\n[cut: {limit} of {len(data)} bytes]"
