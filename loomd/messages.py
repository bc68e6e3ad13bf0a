"""What is said to and by a model: the only shape of talk; every provider translates to and from it.

The structs are frozen and JSON-encodable (`msgspec`), because what was said is also what is journaled.
"""

from typing import Literal

import msgspec

JsonObject = dict[str, object]
"""A decoded JSON object."""

UNREADABLE = "_unreadable"
"""Only key of a tool call's arguments when the model wrote no JSON object; its value is the text as written."""


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens of one or more model calls. `cached` is part of `input`, `reasoning` part of `output`."""

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        """Return input plus output tokens."""
        return self.input + self.output

    def __add__(self, other: "Usage") -> "Usage":
        """Return the sum, field by field."""
        return Usage(
            self.input + other.input,
            self.output + other.output,
            self.cached + other.cached,
            self.reasoning + other.reasoning,
        )


class Passage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A retrieved piece of a document, offered to a model under a number that it can cite as `[number]`.

    `source` is a path with lines (`docs/intro.md:10-24`), `score` is comparable within one search only.
    """

    number: int
    text: str
    source: str
    title: str = ""
    knowledge: str = ""
    score: float = 0.0


class ToolCall(msgspec.Struct, frozen=True):
    """A model's wish to call a tool. `arguments` is the decoded object."""

    id: str
    name: str
    arguments: JsonObject


class ToolSchema(msgspec.Struct, frozen=True):
    """What a model is told of a tool. `parameters` is a JSON Schema of type object."""

    name: str
    description: str
    parameters: JsonObject


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn of a conversation.

    An `assistant` turn may hold `tool_calls`; a `tool` turn answers the call named by `call_id`; a `user` turn may
    offer `passages`, which a provider renders in the form that its model understands best.
    """

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    call_id: str = ""
    passages: tuple[Passage, ...] = ()


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """One question to a model.

    Attributes:
        messages: the conversation, oldest first; at most one `system` turn, the first.
        tools: what may be called.
        output_schema: JSON Schema that the whole answer must satisfy as JSON text, or None for free text.
        temperature: sampling temperature, None for the provider's default.
        max_tokens: largest answer in tokens.
        examples: worked examples, as earlier user and assistant turns; shown to the model, no part of the conversation.
    """

    messages: tuple[Message, ...]
    tools: tuple[ToolSchema, ...] = ()
    output_schema: JsonObject | None = None
    temperature: float | None = None
    max_tokens: int = 1024
    examples: tuple[Message, ...] = ()

    @property
    def turns(self) -> tuple[Message, ...]:
        """Return all turns as a model sees them: the system turn, the examples, the conversation."""
        if not self.examples:
            return self.messages
        first = 1 if self.messages and self.messages[0].role == "system" else 0
        return (*self.messages[:first], *self.examples, *self.messages[first:])


class TextDelta(msgspec.Struct, frozen=True, tag="text"):
    """A piece of the answer, as it is produced."""

    text: str


class ReasoningDelta(msgspec.Struct, frozen=True, tag="reasoning"):
    """A piece of the model's own reasoning; never part of the answer."""

    text: str


class Reply(msgspec.Struct, frozen=True, omit_defaults=True, tag="reply"):
    """The whole answer of one model call; always the last chunk of a stream.

    `stop` says why the model ended; `cost` is in USD; `model` is `provider/model` that answered.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    stop: Literal["stop", "length", "tool_calls", "refusal"] = "stop"
    model: str = ""
    reasoning: str = ""
    cost: float = 0.0


Chunk = TextDelta | ReasoningDelta | Reply
"""What a provider's stream yields: any number of deltas, then exactly one `Reply`."""


def render_passages(passages: tuple[Passage, ...]) -> str:
    """Return passages as numbered text blocks, the form that general models cite as `[number]`."""
    blocks = [f"[{p.number}] {p.title or p.source} ({p.source})\n{p.text.strip()}" for p in passages]
    return "\n\n".join(blocks)
