"""Answers in the Messages protocol: the data of events become deltas and one reply. Called by `messages_api`.

Reasoning is kept piece by piece with what the service knows it by, and with its place in the turn, so that it can be
handed back as it came.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from loomd.encoded import NO_JSON, to_json
from loomd.messages import Chunk, ReasoningDelta, Reply, TextDelta, Thought, ToolCall
from loomd.providers.base import Counts
from loomd.providers.remote import Wire, distinct, tool_call

ANSWER = "give_answer"
"""Tool whose arguments are the answer, when it has a schema."""
_STOPS: dict[str, Literal["stop", "length", "tool_calls", "refusal"]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}


class _Block(msgspec.Struct, gc=False):
    """A content block: empty at its beginning in a stream, whole in an answer that is none."""

    type: str = ""
    id: str = ""
    name: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    input: Any = None


class _Delta(msgspec.Struct, gc=False):
    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
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


_read = msgspec.json.Decoder(_Event).decode


@dataclass
class _Part:
    """A content block that grows."""

    block: _Block
    pieces: list[str] = field(default_factory=list)
    signature: str = ""

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class MessagesAnswer:
    """Puts the pieces of one answer together."""

    def __init__(self, wire: Wire, *, structured: bool) -> None:
        """Take the way of the provider, and whether the answer has a schema."""
        self.done = False
        self._wire = wire
        self._structured = structured
        self._parts: dict[int, _Part] = {}
        self._stop: str | None = None
        self._usage: dict[str, Any] = {}

    def take(self, data: bytes) -> Sequence[Chunk]:
        """Add an event and return the deltas to hand on.

        Raises:
            LoomdError: the event is an error object, or cannot be read.
        """
        try:
            event = _read(data)
        except NO_JSON as error:
            raise self._wire.unreadable(error, data) from None
        if event.type == "error" or event.error:
            raise self._wire.error(event.error)
        for usage in (event.message.usage if event.message else None, event.usage):
            if isinstance(usage, dict):
                self._usage |= {key: value for key, value in usage.items() if value is not None}
        if event.type == "content_block_start" and event.content_block is not None:
            return self._start(event.index, event.content_block)
        if event.type == "content_block_delta" and event.delta is not None:
            delta = event.delta
            return self._grow(event.index, delta.text or delta.thinking or delta.partial_json, delta.signature)
        if event.type == "message_delta" and event.delta is not None:
            self._stop = event.delta.stop_reason or self._stop
        if event.type == "message":
            self._stop = event.stop_reason
            return [chunk for at, block in enumerate(event.content or ()) for chunk in self._start(at, block)]
        self.done = self.done or event.type == "message_stop"
        return []

    def _start(self, index: int, block: _Block) -> list[Chunk]:
        self._parts[index] = _Part(block)
        arguments = to_json(block.input).decode() if block.input else ""
        return self._grow(index, block.text or block.thinking or arguments, block.signature or "")

    def _grow(self, index: int, text: str, signature: str) -> list[Chunk]:
        part = self._parts.get(index)
        if part is None:
            raise self._wire.bad(f"the answer adds to content block {index}, which never began")
        if signature:
            part.signature += signature
        if not text:
            return []
        part.pieces.append(text)
        if part.block.type == "thinking":
            return [ReasoningDelta(text)]
        whole = part.block.name == ANSWER if self._structured else part.block.type == "text"
        return [TextDelta(text)] if whole else []

    def counts(self) -> Counts:
        """Return the tokens; what was read from or written to the cache is part of the input."""
        parts = [self._usage.get(f"{name}input_tokens") for name in ("", "cache_read_", "cache_creation_")]
        known = [n for n in parts if isinstance(n, int) and n >= 0]
        made = self._usage.get("output_tokens_details")
        return Counts(
            sum(known) if known else None,
            self._usage.get("output_tokens"),
            parts[1],
            made.get("thinking_tokens") if isinstance(made, dict) else None,
            parts[2],
        )

    def reply(self) -> Reply:
        """Return the whole answer.

        Raises:
            BadReply: there is no stop reason, no content, or a call without a name.
        """
        if self._stop is None:
            raise self._wire.bad("the answer ends without a stop reason: it was cut off")
        texts: list[str] = []
        calls: list[ToolCall] = []
        answers: list[str] = []
        thoughts: list[Thought] = []
        for _, part in sorted(self._parts.items()):
            block = part.block
            if block.type == "text":
                texts.append(part.text)
            elif block.type == "tool_use" and self._structured and block.name == ANSWER:
                answers.append(part.text)
            elif block.type == "tool_use":
                calls.append(tool_call(block.id or f"call-{len(calls)}", block.name, part.text))
            elif block.type in ("thinking", "redacted_thinking"):
                before = sum(map(len, texts))
                sealed = block.data or ""
                thoughts.append(Thought(part.text, self._wire.name, part.signature, sealed, before, len(calls)))
        if any(not call.name for call in calls):
            raise self._wire.bad("the answer calls a tool without a name")
        text = answers[0] if answers else "".join(texts)
        stop = _STOPS.get(self._stop, "stop")
        if stop in ("stop", "tool_calls"):
            stop = "tool_calls" if calls else "stop"
            if not text and not calls:
                raise self._wire.bad("the answer is empty")
        return Reply(text, distinct(calls), stop=stop, thoughts=tuple(thoughts))
