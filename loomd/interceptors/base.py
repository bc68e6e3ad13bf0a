"""What every interceptor type declares, and a live interceptor that changes nothing: a type overrides what it needs.

Interceptors run in the order of the agent's list before a call and in the reverse order after it.
"""

from abc import abstractmethod
from contextlib import AbstractAsyncContextManager

from loomd.manifest.kind import Spec
from loomd.messages import Reply, Request, ToolCall
from loomd.topology import Parts


class InterceptorSpec(Spec):
    """Looks at every model call and tool call of an agent, and may change it. Each type adds its field `type`."""

    @abstractmethod
    def open(self, parts: Parts) -> AbstractAsyncContextManager["LiveInterceptor"]:
        """Open the live interceptor."""


class LiveInterceptor:
    """Lets everything pass unchanged."""

    async def before_model(self, request: Request) -> Request:
        """Return the request to send."""
        return request

    async def after_model(self, reply: Reply) -> Reply:
        """Return the reply to use."""
        return reply

    async def before_tool(self, call: ToolCall) -> ToolCall:
        """Return the call to make."""
        return call

    async def after_tool(self, call: ToolCall, result: str) -> str:
        """Return the result to use."""
        del call
        return result
