"""What every interceptor type declares, and a live interceptor that changes nothing: a type overrides what it needs.

Interceptors run in the order of the agent's list before a call and in the reverse order after it. One that raises
`Refused` does not let the call pass; any other failure of its own does the same, unless its `onError` says to skip it.
Called by the agent.
"""

from abc import abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Literal

from pydantic import Field

from loomd.interceptors.context import InterceptorContext, Moment
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Duration
from loomd.messages import Reply, Request, ToolCall
from loomd.topology import Parts

OnError = Literal["refuse", "skip"]

OWN = ("skill", "done")
"""Names of the tools that loomd itself gives to agents; no object brings them."""


class InterceptorSpec(Spec):
    """Looks at the runs, model calls and tool calls of an agent, and may change or refuse them.

    Each type adds its field `type`. A type that fails lets nothing pass, unless it is a `SkippableSpec`.
    """

    pure: ClassVar[bool] = False
    """Whether what it does hangs on the call alone: then it is done again when a recorded task is replayed."""

    timeout: Duration = Field(default=10.0, gt=0)
    """Longest time for one look at a call; what takes longer has failed."""

    @property
    @abstractmethod
    def moments(self) -> frozenset[Moment]:
        """Return when the interceptor is asked, with these fields."""

    @property
    def failing(self) -> OnError:
        """Return what a failure of the interceptor itself does to the call."""
        return "refuse"

    @abstractmethod
    def open(self, parts: Parts) -> AbstractAsyncContextManager["LiveInterceptor"]:
        """Open the live interceptor."""


class SkippableSpec(InterceptorSpec):
    """An interceptor without which a call may pass, if its manifest says so."""

    on_error: OnError = "refuse"
    """What a failure of the interceptor itself does: refuse the call, or let it pass as it is, which is noted."""

    @property
    def failing(self) -> OnError:
        """Return what a failure of the interceptor itself does to the call."""
        return self.on_error


class LiveInterceptor:
    """Lets everything pass unchanged.

    Attributes:
        name: `Interceptor/guard`.
        foreign: whether it runs what somebody else wrote, which may end the process.
        moments: when it is asked.
        timeout: seconds that it may take each time.
        on_error: what a failure of its own does to the call.
    """

    foreign = False

    def __init__(self, spec: InterceptorSpec, parts: Parts) -> None:
        self.name = str(parts.declared.ref)
        self.moments = spec.moments
        self.timeout = spec.timeout
        self.on_error = spec.failing

    async def before_run(self, goal: str, context: InterceptorContext) -> str:
        """Return the goal to work on.

        Raises:
            Refused: the work is not to be done.
        """
        del context
        return goal

    async def after_run(self, output: str, context: InterceptorContext) -> str:
        """Return the answer to give, which may be partial.

        Raises:
            Refused: it is not to be given.
        """
        del context
        return output

    async def before_model(self, request: Request, context: InterceptorContext) -> Request | Reply:
        """Return the request to send, or the reply to it that makes the call needless.

        Raises:
            Refused: it is not to be sent.
        """
        del context
        return request

    async def after_model(self, request: Request, reply: Reply, context: InterceptorContext) -> Reply:
        """Return the reply to use; `request` is what this interceptor let pass.

        Raises:
            Refused: it is not to be used.
        """
        del request, context
        return reply

    async def before_tool(self, call: ToolCall, context: InterceptorContext) -> ToolCall:
        """Return the call to make; of it only the arguments may differ.

        Raises:
            Refused: it is not to be made.
        """
        del context
        return call

    async def after_tool(self, call: ToolCall, result: str, context: InterceptorContext) -> str:
        """Return the result to use, or the text of the failure.

        Raises:
            Refused: the model is not to see it.
        """
        del call, context
        return result
