"""Compact: shortens old tool results when a conversation becomes long. Calls and their results stay together.

The oldest results are cut first, to their beginning; the newest stay whole. A memory's window drops whole turns
instead; both may be used.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import ClassVar, Literal

import msgspec
from pydantic import Field

from loomd.interceptors.base import LiveInterceptor, OnError, SkippableSpec
from loomd.interceptors.context import InterceptorContext, Moment
from loomd.manifest.quantity import Tokens
from loomd.messages import Message, Request
from loomd.topology import Parts

_CHARACTERS_PER_TOKEN = 4


class CompactInterceptor(SkippableSpec):
    """Cuts old results of tools in long conversations."""

    pure: ClassVar[bool] = True
    type: Literal["compact"] = "compact"
    on_error: OnError = "skip"
    """What a failure of the interceptor itself does: refuse the call, or let it pass as it is, which is noted."""
    tokens: Tokens = 16_000
    """Size beyond which a conversation is shortened, in tokens, estimated as a quarter of the characters."""
    keep: int = Field(default=2, ge=0)
    """How many of the newest results stay whole."""
    head: int = Field(default=400, ge=0)
    """Characters of the beginning that a shortened result keeps."""

    @property
    def moments(self) -> frozenset[Moment]:
        """Return when it is asked."""
        return frozenset({"beforeModel"})

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["Compactor", None]:
        """Yield the live interceptor."""
        yield Compactor(self, parts)


class Compactor(LiveInterceptor):
    """Shortens conversations."""

    def __init__(self, spec: CompactInterceptor, parts: Parts) -> None:
        super().__init__(spec, parts)
        self._spec = spec

    async def before_model(self, request: Request, context: InterceptorContext) -> Request:
        """Return the request, short enough if old results can make it so."""
        messages = list(request.messages)
        over = sum(map(_characters, messages)) - self._spec.tokens * _CHARACTERS_PER_TOKEN
        if over <= 0:
            return request
        results = [at for at, message in enumerate(messages) if message.role == "tool"]
        cut = 0
        for at in results[: len(results) - self._spec.keep]:
            before = messages[at]
            messages[at] = self._short(before)
            over -= len(before.text) - len(messages[at].text)
            cut += messages[at] is not before
            if over <= 0:
                break
        if not cut:
            return request
        context.note(
            "changed", f"{cut} old result{'s' if cut > 1 else ''} of tools cut to {self._spec.head} characters"
        )
        return msgspec.structs.replace(request, messages=tuple(messages))

    def _short(self, message: Message) -> Message:
        note = f"\n[cut: {self._spec.head} of {len(message.text)} characters]"
        if len(message.text) <= self._spec.head + len(note):
            return message
        return msgspec.structs.replace(message, text=message.text[: self._spec.head] + note)


def _characters(message: Message) -> int:
    count = len(message.text)
    count += sum(len(passage.text) + len(passage.title) + len(passage.source) for passage in message.passages)
    return count + sum(len(call.name) + len(str(call.arguments)) for call in message.tool_calls)
