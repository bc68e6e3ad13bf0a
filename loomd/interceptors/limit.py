"""Limit: how many model calls and tool calls there may be a minute, and how many tool calls in one task.

Calls of a task are counted by its record, so that an interruption forgets none. Calls a minute are counted over all
tasks of all agents that share the interceptor, as long as it is open.
"""

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from loomd.clock import Clock
from loomd.errors import Refused
from loomd.interceptors.base import OWN, InterceptorSpec, LiveInterceptor
from loomd.interceptors.context import InterceptorContext, Moment
from loomd.manifest.mention import Mention
from loomd.manifest.rule import some_of
from loomd.messages import Request, ToolCall
from loomd.topology import Parts

_MINUTE = 60.0
_NOTHING = "expected a limit, got none: set one of modelCallsPerMinute, toolCallsPerMinute, toolCallsPerTask, perTool"
Count = Annotated[int, Field(ge=0)]


class LimitInterceptor(InterceptorSpec):
    """Refuses calls beyond a number."""

    model_config = ConfigDict(
        json_schema_extra=some_of(
            _NOTHING,
            modelCallsPerMinute={},
            toolCallsPerMinute={},
            toolCallsPerTask={},
            perTool={"minProperties": 1},
        )
    )

    type: Literal["limit"] = "limit"
    model_calls_per_minute: int | None = Field(default=None, ge=1, examples=[60])
    """Model calls in any minute, of all agents that use this interceptor together. One more ends its work as refused; a
    provider's `rate` lets it wait instead."""
    tool_calls_per_minute: int | None = Field(default=None, ge=1, examples=[30])
    """Tool calls in any minute, of all agents that use this interceptor together. One more is refused, and the model is
    told."""
    tool_calls_per_task: int | None = Field(default=None, ge=0, examples=[20])
    """Tool calls in one task; each part of a split counts its own."""
    per_tool: dict[Annotated[str, Mention("Tool", own=OWN)], Count] = Field(
        default_factory=dict, examples=[{"search": 5}]
    )
    """Calls of single tools in one task, by the name of the tool."""

    @model_validator(mode="after")
    def _some_limit(self) -> Self:
        limits = (self.model_calls_per_minute, self.tool_calls_per_minute, self.tool_calls_per_task)
        if all(one is None for one in limits) and not self.per_tool:
            raise ValueError(_NOTHING)
        return self

    @property
    def moments(self) -> frozenset[Moment]:
        """Return when it is asked."""
        return frozenset({"beforeModel", "beforeTool"})

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["Limit", None]:
        """Yield the live interceptor."""
        yield Limit(self, parts)


class Limit(LiveInterceptor):
    """Counts calls."""

    def __init__(self, spec: LimitInterceptor, parts: Parts) -> None:
        super().__init__(spec, parts)
        self._spec = spec
        clock = parts.services.clock
        self._model = _Minute("model", spec.model_calls_per_minute, clock)
        self._tool = _Minute("tool", spec.tool_calls_per_minute, clock)

    async def before_model(self, request: Request, context: InterceptorContext) -> Request:
        """Return the request.

        Raises:
            Refused: there were too many.
        """
        del context
        self._model.count()
        return request

    async def before_tool(self, call: ToolCall, context: InterceptorContext) -> ToolCall:
        """Return the call.

        Raises:
            Refused: there were too many.
        """
        most = self._spec.per_tool.get(call.name)
        if most is not None and context.calls.get(call.name, 0) > most:
            raise Refused(f"a task may call {call.name} {most} times, which it has: go on without it")
        most = self._spec.tool_calls_per_task
        if most is not None and sum(context.calls.values()) > most:
            raise Refused(f"a task may make {most} tool calls, which it has: answer with what there is")
        self._tool.count()
        return call


class _Minute:
    """Counts what happened in the last minute."""

    def __init__(self, what: str, most: int | None, clock: Clock) -> None:
        self._what = what
        self._most = most
        self._clock = clock
        self._times: deque[float] = deque(maxlen=most)

    def count(self) -> None:
        """Count one more.

        Raises:
            Refused: there were as many as there may be.
        """
        if self._most is None:
            return
        now = self._clock.monotonic()
        if len(self._times) == self._most and now - self._times[0] < _MINUTE:
            wait = _MINUTE - (now - self._times[0])
            raise Refused(f"there were {self._most} {self._what} calls in the last minute: again in {wait:.0f} s")
        self._times.append(now)
