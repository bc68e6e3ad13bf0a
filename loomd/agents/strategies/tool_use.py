"""Tool use: the model calls tools by the means that its service has for that."""

from typing import Literal

from loomd.agents.strategies.base import Strategy
from loomd.messages import Reply, Request


class ToolUse(Strategy):
    """Hands tools to the service of the model, which says by itself which ones are called."""

    type: Literal["tool_use"] = "tool_use"

    def phrase(self, request: Request) -> Request:
        """Return the request as it is."""
        return request

    def read(self, reply: Reply, request: Request, number: int) -> Reply:
        """Return the reply as it is."""
        del request, number
        return reply
