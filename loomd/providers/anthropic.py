"""Anthropic: the Messages API of Anthropic and of every service that speaks the same protocol.

The only module that imports `anthropic`. The SDK carries the bytes; request and answer are translated here.
Structured output is a tool that the model must call: its arguments become the answer's text.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from loomd.messages import Chunk, JsonObject, Message, ReasoningDelta, Reply, Request, TextDelta
from loomd.providers.base import ProviderSpec
from loomd.providers.remote import RemoteFields, Sdk, Wire, tool_call, user_text
from loomd.topology import Parts

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

_URL = "https://api.anthropic.com"
_ANSWER = "give_answer"
_STOPS: dict[str, Literal["stop", "length", "tool_calls", "refusal"]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}


class Anthropic(RemoteFields, ProviderSpec):
    """A model behind the Messages protocol. The key is read when the provider opens."""

    type: Literal["anthropic"] = "anthropic"

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["AnthropicModel", None]:
        """Yield the live model.

        Raises:
            Unauthorized: the key is missing; the text says which variable to set.
        """
        wire = Wire(self, parts, _URL, "ANTHROPIC_API_KEY")
        client, sdk = await asyncio.to_thread(_connect, wire)
        try:
            yield AnthropicModel(self, wire, client, sdk)
        finally:
            await client.close()


def _connect(wire: Wire) -> "tuple[AsyncAnthropic, Sdk]":
    import anthropic  # noqa: PLC0415  # the SDK takes seconds to import

    client = anthropic.AsyncAnthropic(
        api_key=wire.key or "none",
        base_url=wire.url,
        max_retries=0,
        timeout=wire.fields.deadline,
        default_headers=wire.headers,
    )
    return client, Sdk(anthropic.APIStatusError, anthropic.APIConnectionError)


class AnthropicModel:
    """A model that answers over the Messages API."""

    def __init__(self, spec: Anthropic, wire: Wire, client: "AsyncAnthropic", sdk: Sdk) -> None:
        self.name = wire.name
        self._wire = wire
        self._spec = spec
        self._client = client
        self._sdk = sdk

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Answer a request: deltas as they come, then exactly one `Reply`.

        Raises:
            Unauthorized: the key is refused.
            QuotaExceeded: the account is used up.
            BadReply: the answer cannot be used.
            Unreachable: no connection, it broke, or the deadline passed.
            Overloaded: rate limit or a busy service.
        """
        call = self._client.messages.with_streaming_response.create(
            model=self._spec.model,
            max_tokens=request.max_tokens,
            messages=[],
            stream=True,
            extra_body=self._body(request),
        )
        answer = _Answer(self._wire, structured=request.output_schema is not None)
        async with aclosing(self._wire.exchange(call, self._sdk)) as events:
            async for data in events:
                for delta in answer.take(self._wire.decode(data, _Event)):
                    yield delta
        yield self._wire.reply(request, answer.counts(), answer.reply())

    def _body(self, request: Request) -> JsonObject:
        body: JsonObject = {"messages": _turns(request.turns)}
        system = "\n\n".join(message.text for message in request.messages if message.role == "system")
        if system:
            body["system"] = system
        temperature = self._spec.temperature if request.temperature is None else request.temperature
        if temperature is not None:
            body["temperature"] = temperature
        return body | _tools(request) | self._spec.parameters


def _tools(request: Request) -> JsonObject:
    """Return what may be called, and what must; tools of earlier turns have to be declared even when none is left."""
    tools: list[JsonObject] = [
        {"name": tool.name, "description": tool.description, "input_schema": tool.parameters} for tool in request.tools
    ]
    choice: JsonObject = {"type": "auto"}
    if not tools:
        used = dict.fromkeys(call.name for message in request.messages for call in message.tool_calls)
        tools = [{"name": name, "input_schema": {"type": "object"}} for name in used]
        choice = {"type": "none"}
    if request.output_schema is not None:
        tools.append({"name": _ANSWER, "description": "Give the final answer.", "input_schema": request.output_schema})
        choice = {"type": "any"} if request.tools else {"type": "tool", "name": _ANSWER}
    return {"tools": tools, "tool_choice": choice} if tools else {}


def _turns(messages: tuple[Message, ...]) -> list[JsonObject]:
    """Return the turns, neighbours of one role merged: tool results are part of a user turn here."""
    turns: list[JsonObject] = []
    last: list[JsonObject] = []
    for message in messages:
        blocks = _blocks(message)
        if not blocks:
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if turns and turns[-1]["role"] == role:
            last += blocks
        else:
            last = blocks
            turns.append({"role": role, "content": last})
    return turns


def _blocks(message: Message) -> list[JsonObject]:
    if message.role == "system":
        return []
    if message.role == "tool":
        return [{"type": "tool_result", "tool_use_id": message.call_id, "content": message.text}]
    text = user_text(message)
    blocks: list[JsonObject] = [{"type": "text", "text": text}] if text.strip() else []
    blocks.extend({"type": "tool_use", "id": c.id, "name": c.name, "input": c.arguments} for c in message.tool_calls)
    return blocks


class _Block(msgspec.Struct):
    type: str = ""
    id: str = ""
    name: str = ""
    text: str = ""


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _Start(msgspec.Struct):
    usage: Any = None


class _Event(msgspec.Struct):
    """One event of the stream; usage is read leniently because nothing depends on it."""

    type: str = ""
    index: int = 0
    message: _Start | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: Any = None
    error: Any = None


@dataclass
class _Part:
    """A content block that grows."""

    block: _Block
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class _Answer:
    """Puts the pieces of one answer together."""

    def __init__(self, wire: Wire, *, structured: bool) -> None:
        self._wire = wire
        self._structured = structured
        self._parts: dict[int, _Part] = {}
        self._stop: str | None = None
        self._usage: dict[str, Any] = {}

    def take(self, event: _Event) -> list[Chunk]:
        """Add an event and return the deltas to hand on.

        Raises:
            LoomdError: the event is an error object.
        """
        if event.type == "error" or event.error:
            raise self._wire.error(event.error)
        for usage in (event.message.usage if event.message else None, event.usage):
            if isinstance(usage, dict):
                self._usage |= {key: value for key, value in usage.items() if value is not None}
        if event.type == "content_block_start" and event.content_block is not None:
            self._parts[event.index] = _Part(event.content_block)
            return self._grow(event.index, event.content_block.text)
        if event.type == "message_delta" and event.delta is not None:
            self._stop = event.delta.stop_reason or self._stop
        if event.type == "content_block_delta" and event.delta is not None:
            return self._grow(event.index, event.delta.text or event.delta.thinking or event.delta.partial_json)
        return []

    def _grow(self, index: int, text: str) -> list[Chunk]:
        part = self._parts.get(index)
        if part is None:
            raise self._wire.bad(f"the answer adds to content block {index}, which never began")
        if not text:
            return []
        part.pieces.append(text)
        if part.block.type == "thinking":
            return [ReasoningDelta(text)]
        whole = part.block.name == _ANSWER if self._structured else part.block.type == "text"
        return [TextDelta(text)] if whole else []

    def counts(self) -> tuple[object, object, object, object]:
        """Return input (with what was read from or written to the cache), output, cached and reasoning tokens."""
        parts = [self._usage.get(f"{name}input_tokens") for name in ("", "cache_read_", "cache_creation_")]
        known = [n for n in parts if isinstance(n, int) and n >= 0]
        return (sum(known) if known else None, self._usage.get("output_tokens"), parts[1], None)

    def reply(self) -> Reply:
        """Return the whole answer.

        Raises:
            BadReply: there is no stop reason, no content, or a call without a name.
        """
        if self._stop is None:
            raise self._wire.bad("the answer ends without a stop reason: it was cut off")
        parts = [part for _, part in sorted(self._parts.items())]
        uses = [part for part in parts if part.block.type == "tool_use"]
        answers = [part for part in uses if self._structured and part.block.name == _ANSWER]
        calls = tuple(
            tool_call(part.block.id or f"call-{at}", part.block.name, part.text)
            for at, part in enumerate(uses)
            if part not in answers
        )
        if any(not call.name for call in calls):
            raise self._wire.bad("the answer calls a tool without a name")
        text = answers[0].text if answers else "".join(part.text for part in parts if part.block.type == "text")
        stop = _STOPS.get(self._stop, "stop")
        if stop in ("stop", "tool_calls"):
            stop = "tool_calls" if calls else "stop"
            if not text and not calls:
                raise self._wire.bad("the answer is empty")
        reasoning = "".join(part.text for part in parts if part.block.type == "thinking")
        return Reply(text, calls, stop=stop, reasoning=reasoning)
