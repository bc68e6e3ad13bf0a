"""Cache: answers a request that was asked before, word by word or in other words of the same meaning.

Only whole answers are kept, in memory, by model and by everything that the model would see. An answer that is found
costs nothing and goes through the interceptors before this one like any other.
"""

import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

import msgspec
from pydantic import Field

from loomd.interceptors.base import LiveInterceptor, OnError, SkippableSpec
from loomd.interceptors.context import InterceptorContext, Moment
from loomd.manifest.kind import RefTo, Spec
from loomd.manifest.quantity import Bytes, Duration, Share
from loomd.messages import Reply, Request, Usage, fingerprint
from loomd.topology import Parts


class Embedder(Protocol):
    """Turns texts into unit vectors; the live form of kind Embedder."""

    async def embed(self, texts: Sequence[str]) -> Any:
        """Return `(texts, dimension)` float32, every row of length 1 or all zeros."""
        ...


class Semantic(Spec):
    """When a question in other words counts as the same."""

    embedder: Annotated[str, RefTo("Embedder")] = Field(examples=["words"])
    """Embedder that compares the last user turn; everything else of the request must be the same."""
    threshold: Share = 0.95
    """Least likeness (cosine) of two questions that count as the same. Lower ones give wrong answers sooner; with
    averaged word vectors, high ones too, where questions differ in numbers, order or a "not"."""


class CacheInterceptor(SkippableSpec):
    """Answers requests from earlier answers."""

    type: Literal["cache"] = "cache"
    on_error: OnError = "skip"
    """What a failure of the interceptor itself does: refuse the call, or let it pass as it is, which is noted."""
    semantic: Semantic | None = None
    """Answer questions in other words of the same meaning, too; without it only the very same request."""
    ttl: Duration = Field(default=3600.0, gt=0)
    """How long an answer may be given again."""
    max_entries: int = Field(default=1000, ge=1)
    """Most answers that are kept; the one that was not asked for the longest leaves first."""
    max_size: Bytes = Field(default=16 << 20, ge=1)
    """Most bytes of answers that are kept; a larger answer is not kept at all."""
    with_tools: bool = False
    """Whether calls are answered, too, that offer tools or follow on results of tools, which may have changed since."""

    @property
    def moments(self) -> frozenset[Moment]:
        """Return when it is asked."""
        return frozenset({"beforeModel", "afterModel"})

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["Cache", None]:
        """Yield the live interceptor."""
        embedder = parts.get("Embedder", self.semantic.embedder, Embedder) if self.semantic else None
        yield Cache(self, parts, embedder)


@dataclass(frozen=True)
class _Entry:
    """An answer; `frame` is all of its request but the words of the question, `vector` their meaning."""

    reply: Reply
    until: float
    size: int
    frame: str = ""
    vector: Any = None


class Cache(LiveInterceptor):
    """Keeps answers."""

    def __init__(self, spec: CacheInterceptor, parts: Parts, embedder: Embedder | None) -> None:
        super().__init__(spec, parts)
        self._spec = spec
        self._clock = parts.services.clock
        self._embedder = embedder
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._size = 0

    async def before_model(self, request: Request, context: InterceptorContext) -> Request | Reply:
        """Return an earlier answer, or the request when there is none."""
        if not self._may(request):
            return request
        self._forget()
        key = _key(request, context)
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._answer(self._entries[key], "the same request was answered before", context)
        return await self._alike(request, context) or request

    async def after_model(self, request: Request, reply: Reply, context: InterceptorContext) -> Reply:
        """Keep an answer that is whole."""
        if not self._may(request) or reply.stop != "stop" or reply.tool_calls:
            return reply
        size = len(msgspec.json.encode(reply))
        if size > self._spec.max_size:
            return reply
        frame, vector = "", None
        if self._embedder is not None and (parted := _parted(request, context)) is not None:
            frame, vector = parted[0], (await self._embedder.embed([parted[1]]))[0]
        key = _key(request, context)
        self._drop(key)
        self._entries[key] = _Entry(reply, self._clock.monotonic() + self._spec.ttl, size, frame, vector)
        self._size += size
        while self._size > self._spec.max_size or len(self._entries) > self._spec.max_entries:
            self._drop(next(iter(self._entries)))
        return reply

    def _may(self, request: Request) -> bool:
        return self._spec.with_tools or not (
            request.tools or any(message.role == "tool" for message in request.messages)
        )

    async def _alike(self, request: Request, context: InterceptorContext) -> Reply | None:
        """Return the answer to the question that is most alike, if it is alike enough."""
        semantic, parted = self._spec.semantic, _parted(request, context)
        if semantic is None or self._embedder is None or parted is None:
            return None
        frame, question = parted
        known = [(key, entry) for key, entry in self._entries.items() if entry.frame == frame]
        if not known:
            return None
        vector = (await self._embedder.embed([question]))[0]
        score, key = max((float(entry.vector @ vector), key) for key, entry in known)
        entry = self._entries.get(key)
        if entry is None or score < semantic.threshold:
            return None
        self._entries.move_to_end(key)
        return self._answer(entry, f"a question was answered before that is {score:.3f} alike", context)

    def _answer(self, entry: _Entry, why: str, context: InterceptorContext) -> Reply:
        context.note("answered", why)
        return msgspec.structs.replace(entry.reply, usage=Usage(), cost=0.0, asked="")

    def _forget(self) -> None:
        """Drop what is too old."""
        now = self._clock.monotonic()
        for key in [key for key, entry in self._entries.items() if entry.until <= now]:
            self._drop(key)

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= entry.size


def _key(request: Request, context: InterceptorContext) -> str:
    return f"{context.model} {fingerprint(request)}"


def _parted(request: Request, context: InterceptorContext) -> tuple[str, str] | None:
    """Return all of a request but the words of its last turn, as a hash, and these words; None without such a turn."""
    last = request.messages[-1] if request.messages else None
    if last is None or last.role != "user" or not last.text:
        return None
    rest = msgspec.structs.replace(request, messages=(*request.messages[:-1], msgspec.structs.replace(last, text="")))
    return hashlib.sha256(_key(rest, context).encode()).hexdigest(), last.text
