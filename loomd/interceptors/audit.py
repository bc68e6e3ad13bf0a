"""Audit: one JSON line for every run, model call and tool call that passes, appended to a file of its own.

Lines say who did what when, with SHA-256 and size of what was said, so that it can be proved and not read. Each line is
on disk before the call goes on. The file lies in the state directory, `interceptor/NAMESPACE/NAME/audit.jsonl`; one
that is full is renamed and never touched again.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from loomd.cassette import redacted
from loomd.clock import Clock
from loomd.encoded import to_json
from loomd.interceptors.base import LiveInterceptor, SkippableSpec
from loomd.interceptors.context import InterceptorContext, Moment
from loomd.manifest.quantity import Bytes
from loomd.messages import JsonObject, Reply, Request, ToolCall
from loomd.topology import Parts


class AuditInterceptor(SkippableSpec):
    """Writes down who did what."""

    type: Literal["audit"] = "audit"
    arguments: bool = True
    """Whether the arguments of tool calls are written down, without what may be a secret; other texts never are."""
    max_size: Bytes = Field(default=64 << 20, ge=1)
    """Size from which a new file is begun; full ones are kept as `audit-000001.jsonl` and so on."""

    @property
    def moments(self) -> frozenset[Moment]:
        """Return when it is asked."""
        return frozenset({"beforeRun", "afterRun", "beforeModel", "afterModel", "beforeTool", "afterTool"})

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["Audit", None]:
        """Yield the live interceptor."""
        pool = ThreadPoolExecutor(1, thread_name_prefix=f"audit-{parts.name}")
        try:
            yield Audit(self, parts, _File(parts.state_dir / "audit.jsonl", self.max_size), pool)
        finally:
            await asyncio.to_thread(pool.shutdown)


class Audit(LiveInterceptor):
    """Writes lines."""

    def __init__(self, spec: AuditInterceptor, parts: Parts, file: "_File", pool: ThreadPoolExecutor) -> None:
        super().__init__(spec, parts)
        self._arguments = spec.arguments
        self._clock: Clock = parts.services.clock
        self._file = file
        self._pool = pool

    async def before_run(self, goal: str, context: InterceptorContext) -> str:
        """Write down what is to be done."""
        await self._write("beforeRun", context, goal)
        return goal

    async def after_run(self, output: str, context: InterceptorContext) -> str:
        """Write down that there is an answer."""
        await self._write("afterRun", context, output)
        return output

    async def before_model(self, request: Request, context: InterceptorContext) -> Request:
        """Write down what a model is asked."""
        tools = [tool.name for tool in request.tools]
        await self._write("beforeModel", context, request, model=context.model, tools=tools)
        return request

    async def after_model(self, request: Request, reply: Reply, context: InterceptorContext) -> Reply:
        """Write down what a model answered."""
        del request
        calls = [call.name for call in reply.tool_calls]
        more = {"model": reply.model, "stop": reply.stop, "calls": calls, "cost": reply.cost}
        await self._write("afterModel", context, reply.text, **more, tokens=reply.usage.total)
        return reply

    async def before_tool(self, call: ToolCall, context: InterceptorContext) -> ToolCall:
        """Write down what a tool is called with."""
        more = redacted({"arguments": call.arguments}, dict[str, Any]) if self._arguments else {}
        await self._write("beforeTool", context, call.arguments, tool=call.name, call=call.id, **more)
        return call

    async def after_tool(self, call: ToolCall, result: str, context: InterceptorContext) -> str:
        """Write down that a tool answered."""
        await self._write("afterTool", context, result, tool=call.name, call=call.id)
        return result

    async def _write(self, moment: Moment, context: InterceptorContext, said: object, **more: object) -> None:
        text = said.encode("utf-8", "replace") if isinstance(said, str) else to_json(said)
        line: JsonObject = {
            "time": self._clock.now(),
            "moment": moment,
            "namespace": context.namespace,
            "task": context.task,
            "agent": context.agent,
            **more,
            "sha256": hashlib.sha256(text).hexdigest(),
            "bytes": len(text),
        }
        written = asyncio.get_running_loop().run_in_executor(self._pool, self._file.append, to_json(line) + b"\n")
        await asyncio.shield(written)


class _File:
    """A file that only grows, until another one is begun. Used by one thread."""

    def __init__(self, path: Path, most: int) -> None:
        self._path = path
        self._most = most

    def append(self, line: bytes) -> None:
        """Put a line at the end, on disk.

        Raises:
            OSError: it cannot be written.
        """
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(self._path, flags, 0o600)
        try:
            size = os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":  # the process ended in the middle of a line
                line = b"\n" + line
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
            full = os.fstat(file).st_size >= self._most
        finally:
            os.close(file)
        if full:
            numbers = [int(one.stem[6:]) for one in self._path.parent.glob("audit-[0-9]*.jsonl")]
            self._path.rename(self._path.with_name(f"audit-{max(numbers, default=0) + 1:06}.jsonl"))
