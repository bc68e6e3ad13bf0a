"""Every text of a request, a tool call or a JSON value, changed alike. Called by the types that look at texts."""

from collections.abc import Callable

import msgspec

from loomd.messages import JsonObject, Message, Passage, Thought, ToolCall

Change = Callable[[str], str]
"""Returns a text as it is to be; raises to refuse it."""


def in_message(message: Message, change: Change) -> Message:
    """Return a message with all its texts changed, those of calls and passages included."""
    return msgspec.structs.replace(
        message,
        text=change(message.text),
        tool_calls=tuple(in_call(call, change) for call in message.tool_calls),
        passages=tuple(in_passage(passage, change) for passage in message.passages),
        thoughts=tuple(in_thought(thought, change) for thought in message.thoughts),
    )


def in_thought(thought: Thought, change: Change) -> Thought:
    """Return a thought with its text changed; one that is not what it was has no signature any more, and stays here."""
    text = change(thought.text)
    return thought if text == thought.text else msgspec.structs.replace(thought, text=text, signature="")


def in_passage(passage: Passage, change: Change) -> Passage:
    """Return a passage with text and title changed."""
    return msgspec.structs.replace(passage, text=change(passage.text), title=change(passage.title))


def in_call(call: ToolCall, change: Change) -> ToolCall:
    """Return a tool call with the texts in its arguments changed."""
    arguments: JsonObject = {key: in_value(value, change) for key, value in call.arguments.items()}
    return msgspec.structs.replace(call, arguments=arguments)


def in_value(value: object, change: Change) -> object:
    """Return a JSON value with its texts changed; the names in mappings stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: in_value(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [in_value(item, change) for item in value]
    return value
