"""The Messages protocol of Anthropic and of every service that speaks the same, in both directions.

Requests become JSON bytes, the data of events become deltas and one reply. Structured output is a tool that the model
must call: its arguments become the answer's text. Nothing here knows how the bytes travel.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from loomd.encoded import Encoded, to_json
from loomd.messages import Chunk, JsonObject, Message, ReasoningDelta, Reply, Request, TextDelta, ToolSchema
from loomd.providers.encoding import Envelope, array
from loomd.providers.remote import Wire, distinct, tool_call, user_text

_ANSWER = "give_answer"
_STOPS: dict[str, Literal["stop", "length", "tool_calls", "refusal"]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}


class MessagesApi:
    """Speaks the Messages protocol for one provider."""

    def __init__(self, wire: Wire) -> None:
        """Take the way of the provider, with its fields."""
        fields = wire.fields
        fixed: JsonObject = {"model": fields.model}
        if fields.stream:
            fixed["stream"] = True
        if fields.temperature is not None:
            fixed["temperature"] = fields.temperature
        self._wire = wire
        self._envelope = Envelope(fixed, fields.parameters)
        self._messages = Encoded[Message](_blocks)
        self._tools = Encoded[ToolSchema](_tool)

    def body(self, request: Request) -> bytes:
        """Return a request as JSON."""
        fields = {"max_tokens": to_json(request.max_tokens), "messages": self._turns(request.turns)}
        system = "\n\n".join(message.text for message in request.messages if message.role == "system")
        if system:
            fields["system"] = to_json(system)
        if request.temperature is not None:
            fields["temperature"] = to_json(request.temperature)
        return self._envelope.seal(fields | self._offer(request))

    def answer(self, request: Request) -> "_Answer":
        """Return what reads the answer to a request."""
        return _Answer(self._wire, structured=request.output_schema is not None)

    def _turns(self, messages: tuple[Message, ...]) -> bytes:
        """Return the turns, neighbours of one role merged: tool results are part of a user turn here."""
        turns: list[tuple[bytes, list[bytes]]] = []
        for message, blocks in zip(messages, self._messages.all(messages), strict=True):
            if not blocks:
                continue
            role = b"assistant" if message.role == "assistant" else b"user"
            if turns and turns[-1][0] == role:
                turns[-1][1].append(blocks)
            else:
                turns.append((role, [blocks]))
        return array([b'{"role":"%b","content":%b}' % (role, array(blocks)) for role, blocks in turns])

    def _offer(self, request: Request) -> dict[str, bytes]:
        """Return what may be called, and what must. Tools of earlier turns have to be declared when none is left."""
        tools = self._tools.all(request.tools)
        choice: JsonObject = {"type": "auto"}
        if not tools:
            used = dict.fromkeys(call.name for message in request.messages for call in message.tool_calls)
            tools = [to_json({"name": name, "input_schema": {"type": "object"}}) for name in used]
            choice = {"type": "none"}
        if request.output_schema is not None:
            answer = {"name": _ANSWER, "description": "Give the final answer.", "input_schema": request.output_schema}
            tools.append(to_json(answer))
            choice = {"type": "any"} if request.tools else {"type": "tool", "name": _ANSWER}
        return {"tools": array(tools), "tool_choice": to_json(choice)} if tools else {}


def _tool(tool: ToolSchema) -> bytes:
    return to_json({"name": tool.name, "description": tool.description, "input_schema": tool.parameters})


def _blocks(message: Message) -> bytes:
    """Return the content blocks of a message, divided by commas; the system turn has none here."""
    if message.role == "system":
        return b""
    if message.role == "tool":
        return to_json({"type": "tool_result", "tool_use_id": message.call_id, "content": message.text})
    text = user_text(message)
    blocks: list[JsonObject] = [{"type": "text", "text": text}] if text.strip() else []
    blocks.extend({"type": "tool_use", "id": c.id, "name": c.name, "input": c.arguments} for c in message.tool_calls)
    return b",".join([to_json(block) for block in blocks])


class _Block(msgspec.Struct, gc=False):
    """A content block: empty at its beginning in a stream, whole in an answer that is none."""

    type: str = ""
    id: str = ""
    name: str = ""
    text: str | None = None
    thinking: str | None = None
    input: Any = None


class _Delta(msgspec.Struct, gc=False):
    type: str = ""
    text: str = ""
    thinking: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _Start(msgspec.Struct, gc=False):
    usage: Any = None


class _Event(msgspec.Struct, gc=False):
    """One event of a stream, or a whole answer; usage is read leniently because nothing depends on it."""

    type: str = ""
    index: int = 0
    content: list[_Block] | None = None
    stop_reason: str | None = None
    message: _Start | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: Any = None
    error: Any = None


_EVENT = msgspec.json.Decoder(_Event)


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
        self.done = False
        self._wire = wire
        self._structured = structured
        self._parts: dict[int, _Part] = {}
        self._stop: str | None = None
        self._usage: dict[str, Any] = {}

    def take(self, data: bytes) -> list[Chunk]:
        """Add an event and return the deltas to hand on.

        Raises:
            LoomdError: the event is an error object, or cannot be read.
        """
        event = self._wire.decode(_EVENT, data)
        if event.type == "error" or event.error:
            raise self._wire.error(event.error)
        for usage in (event.message.usage if event.message else None, event.usage):
            if isinstance(usage, dict):
                self._usage |= {key: value for key, value in usage.items() if value is not None}
        if event.type == "content_block_start" and event.content_block is not None:
            return self._start(event.index, event.content_block)
        if event.type == "content_block_delta" and event.delta is not None:
            return self._grow(event.index, event.delta.text or event.delta.thinking or event.delta.partial_json)
        if event.type == "message_delta" and event.delta is not None:
            self._stop = event.delta.stop_reason or self._stop
        if event.type == "message":
            self._stop = event.stop_reason
            return [chunk for at, block in enumerate(event.content or ()) for chunk in self._start(at, block)]
        self.done = event.type == "message_stop"
        return []

    def _start(self, index: int, block: _Block) -> list[Chunk]:
        self._parts[index] = _Part(block)
        arguments = to_json(block.input).decode() if block.input else ""
        return self._grow(index, block.text or block.thinking or arguments)

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
        calls = distinct(
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
