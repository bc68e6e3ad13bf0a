"""What is said to and by a model: the only shape of talk; every provider translates to and from it.

The structs are frozen and JSON-encodable (`msgspec`), because what was said is also what is journaled.
"""

import hashlib
from typing import Literal

import msgspec

from loomd.encoded import Encoded, to_json

JsonObject = dict[str, object]
"""A decoded JSON object."""

UNREADABLE = "_unreadable"
"""Only key of a tool call's arguments when the model wrote no JSON object; its value is the text as written."""
NO_OBJECT = "the arguments are not a JSON object: call again with valid JSON"
"""What the model is told of such a call."""


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens of one or more model calls.

    Attributes:
        input: tokens sent, those of the service's cache included.
        output: tokens made, reasoning included.
        cached: part of `input` that the service had in its cache.
        reasoning: part of `output`.
        written: part of `input` that the service put into its cache.
        unpriced: tokens of which no price is known: in the accounts they cost nothing.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0
    written: int = 0
    unpriced: int = 0

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
            self.written + other.written,
            self.unpriced + other.unpriced,
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


class Thought(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of a model's reasoning. It goes back as it came with the turn that it led to, and only to who had it.

    Attributes:
        text: what there is to read; empty when the service keeps it to itself.
        by: `provider/model` that had it.
        signature: by which the service knows it again; opaque.
        sealed: the reasoning itself when it is encrypted; opaque.
        after_text: characters of the turn's text before it.
        after_calls: tool calls of the turn before it.
    """

    text: str = ""
    by: str = ""
    signature: str = ""
    sealed: str = ""
    after_text: int = 0
    after_calls: int = 0


MediaType = Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
"""The forms of pictures that models read."""


class Image(msgspec.Struct, frozen=True):
    """A picture; `data` is its content in base64."""

    media: MediaType
    data: str


class ToolSchema(msgspec.Struct, frozen=True, weakref=True):
    """What a model is told of a tool. `parameters` is a JSON Schema of type object."""

    name: str
    description: str
    parameters: JsonObject


class Message(msgspec.Struct, frozen=True, omit_defaults=True, weakref=True):
    """One turn of a conversation.

    An `assistant` turn may hold `tool_calls` and the `thoughts` that led to it; a `tool` turn answers the call named by
    `call_id`; a `user` turn may show `images` and offer `passages`, which a provider renders in the form that its model
    understands best.
    """

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    call_id: str = ""
    passages: tuple[Passage, ...] = ()
    thoughts: tuple[Thought, ...] = ()
    images: tuple[Image, ...] = ()


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


class TextDelta(msgspec.Struct, frozen=True, tag="text", gc=False):
    """A piece of the answer, as it is produced."""

    text: str


class ReasoningDelta(msgspec.Struct, frozen=True, tag="reasoning", gc=False):
    """A piece of the model's own reasoning; never part of the answer."""

    text: str


class Retried(msgspec.Struct, frozen=True, tag="retried", gc=False):
    """An attempt failed and another follows: what came of the answer so far is void.

    `model` is the one that failed, `reason` why, `wait` the seconds until the next attempt; `after` is the model that
    is asked instead, empty for the same one.
    """

    model: str
    reason: str
    wait: float = 0.0
    after: str = ""


class Reply(msgspec.Struct, frozen=True, omit_defaults=True, tag="reply"):
    """The whole answer of one model call; always the last chunk of a stream.

    `stop` says why the model ended; `cost` is in USD; `model` is `provider/model` that answered; `asked` is the
    fingerprint of the request, set by whoever asked. `refused` says which interceptor did not let the call pass, and
    why: then there is no text.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    stop: Literal["stop", "length", "tool_calls", "refusal"] = "stop"
    model: str = ""
    thoughts: tuple[Thought, ...] = ()
    cost: float = 0.0
    asked: str = ""
    refused: str = ""

    @property
    def reasoning(self) -> str:
        """Return what there is to read of the model's reasoning; never part of the answer."""
        return "".join(thought.text for thought in self.thoughts)


Chunk = TextDelta | ReasoningDelta | Retried | Reply
"""What a provider's stream yields: any number of deltas, then exactly one `Reply`."""


def fingerprint(request: Request) -> str:
    """Return what tells a request from every other one: 16 hex digits.

    It is a hash of hashes, so that what was said in earlier turns is not hashed again.
    """
    limits = (request.output_schema, request.temperature, request.max_tokens)  # whether they are the defaults or not
    counts = (len(request.messages), len(request.tools), len(request.examples))
    whole = hashlib.sha256(to_json((limits, counts)))
    whole.update(b"".join(_digests.all((*request.messages, *request.tools, *request.examples))))
    return whole.hexdigest()[:16]


def gist(request: Request) -> str:
    """Return what a task asks of a model, as it is told from anything else: `prompt=... messages=... form=...`.

    These are the system turn; the other turns; examples, output schema and temperature. Left out is what may be lowered
    or taken away while a task runs: the longest answer, and the tools. Each message is hashed once in its life.
    """
    turns = _digests.all(request.messages)
    first = 1 if request.messages and request.messages[0].role == "system" else 0
    if request.output_schema is None and request.temperature is None and not request.examples:
        form = _NO_FORM
    else:
        form = _short([to_json((request.output_schema, request.temperature)), *_digests.all(request.examples)])
    return f"prompt={_short(turns[:first])} messages={_short(turns[first:])} form={form}"


def _short(parts: list[bytes]) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def _digest(thing: Message | ToolSchema) -> bytes:
    return hashlib.sha256(to_json(thing)).digest()


_NO_FORM = _short([to_json((None, None))])
"""The form of a request that asks for none."""

_digests: Encoded[Message | ToolSchema] = Encoded(_digest)


def render_passages(passages: tuple[Passage, ...]) -> str:
    """Return passages as numbered text blocks, the form that general models cite as `[number]`."""
    blocks = [f"[{p.number}] {p.title or p.source} ({p.source})\n{p.text.strip()}" for p in passages]
    return "\n\n".join(blocks)
