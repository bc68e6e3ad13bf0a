"""Agent: another agent of the same namespace does a piece of work, and its answer is the result.

It works below the task of whoever asks: on the same account, until the same time, in the same record. What it needs of
the loop it asks of the call's context; which agent that is, it does not know.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Literal, Protocol

from pydantic import Field

from loomd.errors import ToolFailed
from loomd.manifest.kind import RefTo
from loomd.manifest.quantity import Duration
from loomd.messages import JsonObject, ToolSchema
from loomd.tools.base import LiveTool, ToolSpec
from loomd.tools.context import ToolContext
from loomd.topology import Parts

_GOAL = "What is wanted, in words, with all that must be known for it: nothing else of this conversation is seen."


class Worker(Protocol):
    """A live agent, as far as this module knows it."""

    @property
    def name(self) -> str:
        """Return its name."""
        ...

    @property
    def description(self) -> str:
        """Return what it is good at."""
        ...


class AgentTool(ToolSpec):
    """Hands a goal to another agent and returns its answer, with the passages that it cites."""

    type: Literal["agent"] = "agent"
    agent: Annotated[str, RefTo("Agent")] = Field(examples=["researcher"])
    """The agent that is asked. It uses its own model, prompt and tools; of the tools that change something or reach out
    only those that the caller may call itself."""
    effects: Literal["read"] = "read"  # pyright: ignore[reportIncompatibleVariableOverride]  # frozen: nobody sets it
    """What a call does by itself: nothing. What the agent's tools do is declared with them."""
    max_depth: int = Field(default=3, ge=1, le=20)
    """How many delegations may stand above each other: with 1 an agent that was asked may not ask another by this
    tool."""
    timeout: Duration = Field(default=300.0, gt=0)
    """Longest time for one call; the limits of both agents hold, too."""

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[LiveTool, None]:
        """Yield the live tool."""
        agent = parts.get("Agent", self.agent, Worker)
        goal = {"type": "string", "minLength": 1, "description": _GOAL}
        parameters: JsonObject = {
            "type": "object",
            "properties": {"goal": goal},
            "required": ["goal"],
            "additionalProperties": False,
        }
        summary = self.description or f"Asks another agent, {agent.name}. {agent.description}".strip()

        async def delegate(arguments: JsonObject, context: ToolContext | None) -> str:
            wanted = arguments.get("goal")
            if not isinstance(wanted, str) or not wanted.strip() or len(arguments) > 1:
                raise ToolFailed(f'expected "goal" with what is wanted in words, and nothing else; got {arguments!r}')
            if context is None:
                raise ToolFailed("there is no task to work in")
            return await context.delegate(agent, wanted.strip(), most=self.max_depth, seconds=self.timeout)

        yield LiveTool(ToolSchema(parts.name, summary, parameters), self, delegate, parts, timed=False)
