"""OpenAI: chat completions of OpenAI and of every service that speaks the same protocol.

The only module that imports `openai`. The SDK carries the bytes; request and answer are translated here, because an
agent must not take an empty, foreign or half answer for a good one.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from loomd.messages import Chunk, JsonObject, Message, ReasoningDelta, Reply, Request, TextDelta
from loomd.providers.base import ProviderSpec
from loomd.providers.remote import RemoteFields, Sdk, Wire, tool_call, user_text
from loomd.topology import Parts

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_URL = "https://api.openai.com/v1"
_STOPS: dict[str, Literal["stop", "length", "tool_calls", "refusal"]] = {
    "length": "length",
    "content_filter": "refusal",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


class OpenAI(RemoteFields, ProviderSpec):
    """A model behind the chat-completions protocol. The key is read when the provider opens."""

    type: Literal["openai"] = "openai"
    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] | None = None
    """Field that limits the answer; by default the first for OpenAI itself and the second for a `baseUrl`."""

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["OpenAIModel", None]:
        """Yield the live model.

        Raises:
            Unauthorized: the key is missing; the text says which variable to set.
        """
        wire = Wire(self, parts, _URL, "OPENAI_API_KEY")
        client, sdk = await asyncio.to_thread(_connect, wire)
        try:
            yield OpenAIModel(self, wire, client, sdk)
        finally:
            await client.close()


def _connect(wire: Wire) -> "tuple[AsyncOpenAI, Sdk]":
    import openai  # noqa: PLC0415  # the SDK takes over a second to import

    client = openai.AsyncOpenAI(
        api_key=wire.key or "none",
        base_url=wire.url,
        max_retries=0,
        timeout=wire.fields.deadline,
        default_headers=wire.headers,
    )
    return client, Sdk(openai.APIStatusError, openai.APIConnectionError)


class OpenAIModel:
    """A model that answers over chat completions."""

    def __init__(self, spec: OpenAI, wire: Wire, client: "AsyncOpenAI", sdk: Sdk) -> None:
        self.name = wire.name
        self._wire = wire
        self._spec = spec
        self._client = client
        self._sdk = sdk
        own = "max_tokens" if spec.base_url else "max_completion_tokens"
        self._limit = spec.max_tokens_field or own

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Answer a request: deltas as they come, then exactly one `Reply`.

        Raises:
            Unauthorized: the key is refused.
            QuotaExceeded: the account is used up.
            BadReply: the answer cannot be used.
            Unreachable: no connection, it broke, or the deadline passed.
            Overloaded: rate limit or a busy service.
        """
        call = self._client.chat.completions.with_streaming_response.create(
            model=self._spec.model, messages=[], stream=True, extra_body=self._body(request)
        )
        answer = _Answer(self._wire)
        async with aclosing(self._wire.exchange(call, self._sdk)) as events:
            async for data in events:
                if data == b"[DONE]":
                    break
                for delta in answer.take(self._wire.decode(data, _Event)):
                    yield delta
        yield self._wire.reply(request, answer.counts(), answer.reply())

    def _body(self, request: Request) -> JsonObject:
        body: JsonObject = {
            "messages": [_turn(message) for message in request.turns],
            "stream_options": {"include_usage": True},
            self._limit: request.max_tokens,
        }
        temperature = self._spec.temperature if request.temperature is None else request.temperature
        if temperature is not None:
            body["temperature"] = temperature
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
                }
                for tool in request.tools
            ]
        if request.output_schema is not None:
            schema = {"name": "answer", "schema": request.output_schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body | self._spec.parameters


def _turn(message: Message) -> JsonObject:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.call_id, "content": message.text}
    if message.role == "user":
        return {"role": "user", "content": user_text(message)}
    turn: JsonObject = {"role": message.role, "content": message.text}
    if message.tool_calls:
        turn["content"] = message.text or None
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": msgspec.json.encode(call.arguments).decode()},
            }
            for call in message.tool_calls
        ]
    return turn


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _CallDelta(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: Any = None
    tool_calls: list[_CallDelta] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Event(msgspec.Struct):
    """One event of the stream; usage is read leniently because nothing depends on it."""

    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


class _Answer:
    """Puts the pieces of one answer together."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, tuple[list[str], list[str], list[str]]] = {}
        self._finish: str | None = None
        self._refused = False
        self._chosen = False
        self._usage: dict[str, Any] = {}

    def take(self, event: _Event) -> list[Chunk]:
        """Add an event and return the deltas to hand on.

        Raises:
            LoomdError: the event is an error object.
        """
        if event.error:
            raise self._wire.error(event.error)
        if isinstance(event.usage, dict):
            self._usage = event.usage
        deltas: list[Chunk] = []
        for choice in event.choices or ():
            if choice.index == 0:
                self._chosen = True
                self._finish = choice.finish_reason or self._finish
                if choice.delta is not None:
                    deltas += self._take_delta(choice.delta)
        return deltas

    def _take_delta(self, delta: _Delta) -> list[Chunk]:
        deltas: list[Chunk] = []
        reasoning = delta.reasoning_content or (delta.reasoning if isinstance(delta.reasoning, str) else "")
        if reasoning:
            self._reasoning.append(reasoning)
            deltas.append(ReasoningDelta(reasoning))
        text = delta.content or delta.refusal
        if text:
            self._refused = self._refused or bool(delta.refusal)
            self._text.append(text)
            deltas.append(TextDelta(text))
        for piece in delta.tool_calls or ():
            self._take_call(piece)
        return deltas

    def _take_call(self, piece: _CallDelta) -> None:
        """Add a piece of a tool call; a service that numbers none starts a new call with each id."""
        at = piece.index
        if at is None:
            at = len(self._calls) if piece.id or not self._calls else len(self._calls) - 1
        idents, names, arguments = self._calls.setdefault(at, ([], [], []))
        if piece.id and piece.id not in idents:
            idents.append(piece.id)
        if piece.function is not None:
            names.append(piece.function.name or "")
            arguments.append(piece.function.arguments or "")

    def counts(self) -> tuple[object, object, object, object]:
        """Return input, output, cached and reasoning tokens as the service reported them."""
        sent, made = self._usage.get("prompt_tokens_details"), self._usage.get("completion_tokens_details")
        return (
            self._usage.get("prompt_tokens"),
            self._usage.get("completion_tokens"),
            sent.get("cached_tokens") if isinstance(sent, dict) else None,
            made.get("reasoning_tokens") if isinstance(made, dict) else None,
        )

    def reply(self) -> Reply:
        """Return the whole answer.

        Raises:
            BadReply: there is no choice, no finish reason, no content, or a call without a name.
        """
        if not self._chosen:
            raise self._wire.bad("the answer has no choices")
        if self._finish is None:
            raise self._wire.bad("the answer ends without a finish reason: it was cut off")
        calls = tuple(
            tool_call("".join(idents[:1]) or f"call-{at}", "".join(names), "".join(arguments))
            for at, (idents, names, arguments) in sorted(self._calls.items())
        )
        if any(not call.name for call in calls):
            raise self._wire.bad("the answer calls a tool without a name")
        text = "".join(self._text)
        stop = "refusal" if self._refused else _STOPS.get(self._finish, "stop")
        if calls and stop == "stop":
            stop = "tool_calls"
        if not text and not calls and stop in ("stop", "tool_calls"):
            raise self._wire.bad("the answer is empty")
        return Reply(text, calls, stop=stop, reasoning="".join(self._reasoning))
