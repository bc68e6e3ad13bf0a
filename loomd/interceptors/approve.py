"""Approve: lets people be asked before tool calls that fit a pattern, whatever the tool itself says.

The question is about the arguments that the call has in the end, after all interceptors, and is as durable as any.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from pydantic import Field

from loomd.interceptors.base import OWN, InterceptorSpec, LiveInterceptor
from loomd.interceptors.context import InterceptorContext, Moment
from loomd.manifest.call_pattern import CallPattern, read_calls
from loomd.manifest.mention import Mention
from loomd.manifest.quantity import Duration
from loomd.messages import ToolCall
from loomd.topology import Parts


class ApproveInterceptor(InterceptorSpec):
    """Asks people before certain tool calls (`loomd approve`)."""

    type: Literal["approve"] = "approve"
    calls: list[Annotated[CallPattern, Mention("Tool", own=OWN)]] = Field(
        min_length=1, examples=[["refund", "files(action=write)"]]
    )
    """Calls to which a person must agree, by patterns such as `refund(amount=*00)`; of an argument that is a list one
    item must fit."""
    ttl: Duration = Field(default=86_400.0, gt=0)
    """Time after which a question that nobody answered counts as denied."""
    on_denied: Literal["stop", "continue"] = "stop"
    """What a denial does: end the work with what there is, or tell the model, which goes on."""

    @property
    def moments(self) -> frozenset[Moment]:
        """Return when it is asked."""
        return frozenset({"beforeTool"})

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["Approver", None]:
        """Yield the live interceptor."""
        yield Approver(self, parts)


class Approver(LiveInterceptor):
    """Picks the calls that people are asked about."""

    def __init__(self, spec: ApproveInterceptor, parts: Parts) -> None:
        super().__init__(spec, parts)
        self._spec = spec
        self._calls = [read_calls(pattern) for pattern in spec.calls]

    async def before_tool(self, call: ToolCall, context: InterceptorContext) -> ToolCall:
        """Return the call, which waits for people if it is one of those."""
        arguments = context.effective(call)
        if any(calls.fits(call.name, arguments) for calls in self._calls):
            context.require_approval(self._spec.ttl, self._spec.on_denied)
        return call
