"""What the services say: whole answers in the wire formats of both protocols, for the tests of the providers."""

import json

from loomd.messages import Message, Request, ToolSchema

ADD = ToolSchema("add", "Add two numbers.", {"type": "object", "properties": {"a": {"type": "integer"}}})
HELLO = Request((Message("system", "Be brief."), Message("user", "hello")))
KEY = "sk-canary-0123456789"


def sse(*events: object) -> bytes:
    """Return server-sent events; bytes are sent as they are."""
    return b"".join(
        b"data: " + (event if isinstance(event, bytes) else json.dumps(event).encode()) + b"\n\n" for event in events
    )


def delta(finish: str | None = None, **fields: object) -> dict[str, object]:
    """Return a chat-completion chunk."""
    choice = {"index": 0, "delta": fields, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "model": "m", "created": 1, "choices": [choice]}


def block(index: int, kind: dict[str, object], *deltas: dict[str, object]) -> list[dict[str, object]]:
    """Return the events of a content block."""
    return [
        {"type": "content_block_start", "index": index, "content_block": kind},
        *({"type": "content_block_delta", "index": index, "delta": item} for item in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def message(stop: str | None, *blocks: list[dict[str, object]], usage: object = None) -> bytes:
    """Return a whole Messages stream."""
    return sse(
        {"type": "message_start", "message": {"id": "m", "role": "assistant", "content": [], "usage": usage or {}}},
        {"type": "ping"},
        *(event for events in blocks for event in events),
        {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    )


TEXT: dict[str, object] = {"type": "text", "text": ""}
GOOD = {
    "openai": sse(
        delta(role="assistant", content=""),
        delta(content="Hel"),
        delta(content="lo"),
        delta("stop"),
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 7}},
        b"[DONE]",
    ),
    "anthropic": message(
        "end_turn",
        block(0, TEXT, {"type": "text_delta", "text": "Hel"}, {"type": "text_delta", "text": "lo"}),
        usage={"input_tokens": 9, "output_tokens": 1},
    ),
}


def call_stream(kind: str, *pieces: str) -> bytes:
    """Return an answer that calls `add` with arguments in pieces."""
    if kind == "openai":
        first = {"index": 0, "id": "c9", "type": "function", "function": {"name": "add", "arguments": ""}}
        more = [delta(tool_calls=[{"index": 0, "function": {"arguments": piece}}]) for piece in pieces]
        return sse(delta(tool_calls=[first]), *more, delta("tool_calls"), b"[DONE]")
    deltas: list[dict[str, object]] = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return message("tool_use", block(0, {"type": "tool_use", "id": "c9", "name": "add", "input": {}}, *deltas))
