"""Whole answers as the services of OpenAI and Anthropic give them, every field included: streamed, and in one piece."""

from dataclasses import dataclass
from typing import Any

from loomd.messages import Chunk, JsonObject, ReasoningDelta, Reply, TextDelta, Thought, ToolCall, Usage


@dataclass(frozen=True)
class Traffic:
    """One answer.

    Attributes:
        kind: type of the provider.
        stream: the events of the streamed answer.
        whole: the same answer in one piece.
        deltas: what is handed on of the stream.
        reply: what both end in, for a provider `it/m`.
    """

    kind: str
    stream: tuple[JsonObject, ...]
    whole: JsonObject
    deltas: tuple[Chunk, ...]
    reply: Reply


def _chunk(delta: JsonObject | None, finish: str | None = None, usage: JsonObject | None = None) -> JsonObject:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {
        "id": "chatcmpl-B9",
        "object": "chat.completion.chunk",
        "created": 1741570283,
        "model": "gpt-4o-2024-08-06",
        "service_tier": "default",
        "system_fingerprint": "fp_fc9f1d7035",
        "choices": [] if delta is None else [choice],
        "usage": usage,
    }


def _completion(message: JsonObject, finish: str, usage: JsonObject) -> JsonObject:
    return {
        "id": "chatcmpl-B9",
        "object": "chat.completion",
        "created": 1741570283,
        "model": "gpt-4o-2024-08-06",
        "service_tier": "default",
        "system_fingerprint": "fp_fc9f1d7035",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "refusal": None, "annotations": [], **message},
                "logprobs": None,
                "finish_reason": finish,
            }
        ],
        "usage": usage,
    }


def _usage(sent: int, made: int, cached: int = 0, reasoning: int = 0) -> JsonObject:
    return {
        "prompt_tokens": sent,
        "completion_tokens": made,
        "total_tokens": sent + made,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _call(index: int, arguments: str, ident: str | None = None, name: str | None = None) -> JsonObject:
    function: JsonObject = {"arguments": arguments}
    if ident is None:
        return {"tool_calls": [{"index": index, "function": function}]}
    call = {"index": index, "id": ident, "type": "function", "function": {"name": name, **function}}
    return {"tool_calls": [call]}


def _tool(ident: str, name: str, arguments: str) -> JsonObject:
    return {"id": ident, "type": "function", "function": {"name": name, "arguments": arguments}}


def _begin(usage: JsonObject) -> JsonObject:
    message: JsonObject = {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    return {"type": "message_start", "message": message}


def _block(index: int, block: JsonObject, *deltas: JsonObject) -> tuple[JsonObject, ...]:
    return (
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    )


def _end(stop: str, output: int, thinking: int | None = None) -> tuple[JsonObject, ...]:
    delta = {"stop_reason": stop, "stop_sequence": None}
    usage: JsonObject = {"output_tokens": output}
    if thinking is not None:
        usage["output_tokens_details"] = {"thinking_tokens": thinking}
    return ({"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"})


def _message(stop: str, usage: JsonObject, *content: JsonObject) -> JsonObject:
    return {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": list(content),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": usage,
    }


_SIGNED: JsonObject = {"google": {"thought_signature": "CiQB"}}


def _signed(delta: JsonObject) -> JsonObject:
    calls: Any = delta["tool_calls"]
    return {"tool_calls": [calls[0] | {"extra_content": _SIGNED}]}


_CACHED = {"input_tokens": 12, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 80}
_CALLS = (ToolCall("call_a", "add", {"a": 1, "b": 2}), ToolCall("call_b", "clock", {}))
THOUGHTS = (
    Thought("Two calls.", "it/m", "EqQB"),
    Thought("", "it/m", sealed="Emwk"),
    Thought("", "it/m", "Gx8C", after_text=7, after_calls=2),
)
"""What was thought before the text, sealed beside it, and kept back after the calls."""

TRAFFIC = {
    "openai-text": Traffic(
        "openai",
        (
            _chunk({"role": "assistant", "content": "", "refusal": None}),
            _chunk({"content": "Größe"}),
            _chunk({"content": ": \n\n42"}),
            _chunk({}, "stop"),
            _chunk(None, usage=_usage(19, 10, 16, 4)),
        ),
        _completion({"content": "Größe: \n\n42"}, "stop", _usage(19, 10, 16, 4)),
        (TextDelta("Größe"), TextDelta(": \n\n42")),
        Reply("Größe: \n\n42", usage=Usage(19, 10, 16, 4), model="it/m"),
    ),
    "openai-tools": Traffic(
        "openai",
        (
            _chunk({"role": "assistant", "content": None}),
            _chunk(_call(0, "", "call_a", "add")),
            _chunk(_call(0, '{"a": 1,')),
            _chunk(_call(1, "", "call_b", "clock")),
            _chunk(_call(0, ' "b": 2}')),
            _chunk(_call(1, "{}")),
            _chunk({}, "tool_calls"),
            _chunk(None, usage=_usage(82, 17)),
        ),
        _completion(
            {
                "content": None,
                "tool_calls": [_tool("call_a", "add", '{"a": 1, "b": 2}'), _tool("call_b", "clock", "{}")],
            },
            "tool_calls",
            _usage(82, 17),
        ),
        (),
        Reply("", _CALLS, Usage(82, 17), "tool_calls", "it/m"),
    ),
    "openai-reasoning": Traffic(
        "openai",
        (
            _chunk({"role": "assistant", "content": None, "reasoning_content": "Let me "}),
            _chunk({"content": None, "reasoning_content": "see."}),
            _chunk({"content": "Yes.", "reasoning_content": None}),
            _chunk({}, "length", _usage(5, 9, 0, 6)),
        ),
        _completion({"content": "Yes.", "reasoning_content": "Let me see."}, "length", _usage(5, 9, 0, 6)),
        (ReasoningDelta("Let me "), ReasoningDelta("see."), TextDelta("Yes.")),
        Reply("Yes.", (), Usage(5, 9, 0, 6), "length", "it/m", (Thought("Let me see.", "it/m"),)),
    ),
    "openai-signed-calls": Traffic(
        "openai",
        (
            _chunk({"role": "assistant", "content": None}),
            _chunk(_signed(_call(0, '{"a": 1, "b": 2}', "call_a", "add"))),
            _chunk(_call(1, "{}", "call_b", "clock")),
            _chunk({}, "tool_calls", _usage(5, 9)),
        ),
        _completion(
            {
                "content": None,
                "tool_calls": [
                    _tool("call_a", "add", '{"a": 1, "b": 2}') | {"extra_content": _SIGNED},
                    _tool("call_b", "clock", "{}"),
                ],
            },
            "tool_calls",
            _usage(5, 9),
        ),
        (),
        Reply("", _CALLS, Usage(5, 9), "tool_calls", "it/m", (Thought(by="it/m", signature="CiQB"),)),
    ),
    "openai-refusal": Traffic(
        "openai",
        (
            _chunk({"role": "assistant", "content": None, "refusal": ""}),
            _chunk({"refusal": "I can't "}),
            _chunk({"refusal": "do that."}),
            _chunk({}, "stop", _usage(5, 9)),
        ),
        _completion({"content": None, "refusal": "I can't do that."}, "stop", _usage(5, 9)),
        (TextDelta("I can't "), TextDelta("do that.")),
        Reply("I can't do that.", (), Usage(5, 9), "refusal", "it/m"),
    ),
    "anthropic-text": Traffic(
        "anthropic",
        (
            _begin({**_CACHED, "output_tokens": 1}),
            *_block(
                0,
                {"type": "text", "text": "", "citations": None},
                {"type": "text_delta", "text": "Grö"},
                {"type": "text_delta", "text": "ße"},
            ),
            *_end("max_tokens", 10),
        ),
        _message("max_tokens", {**_CACHED, "output_tokens": 10}, {"type": "text", "text": "Größe", "citations": None}),
        (TextDelta("Grö"), TextDelta("ße")),
        Reply("Größe", usage=Usage(95, 10, 80, written=3), stop="length", model="it/m"),
    ),
    "anthropic-thinking-and-tools": Traffic(
        "anthropic",
        (
            _begin({"input_tokens": 30, "output_tokens": 2}),
            {"type": "ping"},
            *_block(
                0,
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": "Two "},
                {"type": "thinking_delta", "thinking": "calls."},
                {"type": "signature_delta", "signature": "EqQB"},
            ),
            *_block(1, {"type": "redacted_thinking", "data": "Emwk"}),
            *_block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Let me."}),
            *_block(
                3,
                {"type": "tool_use", "id": "call_a", "name": "add", "input": {}},
                {"type": "input_json_delta", "partial_json": ""},
                {"type": "input_json_delta", "partial_json": '{"a": 1, '},
                {"type": "input_json_delta", "partial_json": '"b": 2}'},
            ),
            *_block(4, {"type": "tool_use", "id": "call_b", "name": "clock", "input": {}}),
            *_block(5, {"type": "thinking", "thinking": "", "signature": "Gx8C"}),
            *_end("tool_use", 44, 21),
        ),
        _message(
            "tool_use",
            {"input_tokens": 30, "output_tokens": 44, "output_tokens_details": {"thinking_tokens": 21}},
            {"type": "thinking", "thinking": "Two calls.", "signature": "EqQB"},
            {"type": "redacted_thinking", "data": "Emwk"},
            {"type": "text", "text": "Let me."},
            {"type": "tool_use", "id": "call_a", "name": "add", "input": {"a": 1, "b": 2}},
            {"type": "tool_use", "id": "call_b", "name": "clock", "input": {}},
            {"type": "thinking", "thinking": "", "signature": "Gx8C"},
        ),
        (ReasoningDelta("Two "), ReasoningDelta("calls."), TextDelta("Let me.")),
        Reply("Let me.", _CALLS, Usage(30, 44, reasoning=21), "tool_calls", "it/m", THOUGHTS),
    ),
}
