"""The Messages protocol of Anthropic and of every service that speaks the same: requests become JSON bytes.

Structured output is a tool that the model calls: its arguments become the answer's text. Nothing here knows how the
bytes travel; answers are read by `messages_answer`.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

from pydantic import Field

from loomd.encoded import Encoded, to_json
from loomd.errors import Permanent
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Tokens
from loomd.messages import JsonObject, Message, Request, Thought, ToolSchema
from loomd.providers.base import refuse_images
from loomd.providers.encoding import Envelope, array
from loomd.providers.messages_answer import ANSWER, MessagesAnswer
from loomd.providers.remote import RemoteFields, Wire, user_text

_MARKED = 2
"""How many of the latest user turns are marked for the cache: the one that is new, and the one that was before."""


class Thinking(Spec):
    """How a model thinks before it answers."""

    mode: Literal["adaptive", "budget", "off"] = "adaptive"
    """Who decides how much: with `adaptive` the model itself (models since 4.6), with `budget` the field of that name
    (models up to 4.6); `off` tells a model that would think by itself not to.
    """
    budget: Tokens = Field(default=8192, ge=1024)
    """Tokens of one call for thinking, on top of the agent's `maxTokens`."""
    display: Literal["summarized", "omitted"] | None = Field(default=None, examples=["summarized"])
    """Whether the service shows what was thought; by default what it does for the model."""

    @property
    def sent(self) -> JsonObject:
        """Return what the service is told."""
        if self.mode == "off":
            return {"type": "disabled"}
        kind: JsonObject = {"type": "adaptive"}
        if self.mode == "budget":
            kind = {"type": "enabled", "budget_tokens": self.budget}
        return kind | {"display": self.display} if self.display else kind


class MessagesFields(RemoteFields):
    """What is set for every service that speaks Messages."""

    thinking: Thinking | None = None
    """How the model thinks before it answers; by default what it does by itself. It takes no `temperature` then."""
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = Field(default=None, examples=["medium"])
    """How much effort the model puts into thinking and answering; by default what it does by itself."""
    cache: Literal["5m", "1h", "off"] = "5m"
    """How long the service keeps what a conversation begins with (tools, prompt, earlier turns), so that it costs a
    tenth when it is sent again. To keep it costs a quarter more than to send it, for `1h` as much again.
    """
    images: bool = True
    """Whether the model takes images."""

    @property
    def thinks(self) -> bool:
        """Return whether thinking is asked for."""
        return self.thinking is not None and self.thinking.mode != "off"

    def check(self, root: Path) -> Iterator[tuple[str, str, str]]:
        """Yield secrets that stand in the manifest, and a temperature for a model that thinks."""
        yield from super().check(root)
        if self.thinks and self.temperature is not None:
            text = f"expected none beside thinking, which the service refuses with it, got {self.temperature:g}"
            yield "/temperature", text, "invalid-value"


class MessagesApi:
    """Speaks the Messages protocol for one provider."""

    protocol = "messages"

    def __init__(self, wire: Wire, fields: MessagesFields) -> None:
        """Take the way of the provider, and its fields."""
        fixed: JsonObject = {"model": fields.model}
        if fields.stream:
            fixed["stream"] = True
        if fields.temperature is not None:
            fixed["temperature"] = fields.temperature
        if fields.effort is not None:
            fixed["output_config"] = {"effort": fields.effort}
        self._wire = wire
        self._fields = fields
        self._thinking = None if fields.thinking is None else to_json(fields.thinking.sent)
        self._room = fields.thinking.budget if fields.thinks and fields.thinking is not None else 0
        self._mark = b"" if fields.cache == "off" else b',"cache_control":%b}' % to_json(_kept(fields.cache))
        self._envelope = Envelope(fixed, fields.parameters)
        self._messages = Encoded[Message](self._blocks)
        self._tools = Encoded[ToolSchema](_tool)

    def refuse(self, request: Request) -> None:
        """Refuse what the service would.

        Raises:
            Permanent: it shows images to a model that takes none, or sets a temperature for one that thinks.
        """
        if not self._fields.images:
            refuse_images(self._wire.owner, request)
        if self._fields.thinks and request.temperature is not None:
            raise Permanent(
                f"{self._wire.owner} takes no temperature while it thinks (spec.thinking), got "
                f"{request.temperature:g}: remove spec.temperature of the agent"
            )

    def body(self, request: Request) -> bytes:
        """Return a request as JSON."""
        fields = {"max_tokens": to_json(request.max_tokens), "messages": self._turns(request)}
        system = "\n\n".join(message.text for message in request.messages if message.role == "system")
        if system:
            text = to_json({"type": "text", "text": system})
            fields["system"] = array([self._marked(text)]) if self._mark else to_json(system)
        if request.temperature is not None:
            fields["temperature"] = to_json(request.temperature)
        if self._thinking is not None and self._may_think(request):
            fields |= {"thinking": self._thinking, "max_tokens": to_json(request.max_tokens + self._room)}
        return self._envelope.seal(fields | self._offer(request))

    def answer(self, request: Request) -> MessagesAnswer:
        """Return what reads the answer to a request."""
        return MessagesAnswer(self._wire, structured=request.output_schema is not None)

    def _may_think(self, request: Request) -> bool:
        """Return whether the model may think: within a budget not where tools are called without a thought of its own.

        That is where another model answered before, and the protocol does not let one begin in the middle.
        """
        thinking = self._fields.thinking
        if thinking is None or thinking.mode != "budget":
            return True
        calling = [message for message in request.messages if message.tool_calls]
        return not calling or any(self._own(message) for message in calling)

    def _turns(self, request: Request) -> bytes:
        """Return the turns, neighbours of one role merged: tool results are part of a user turn here."""
        turns: list[tuple[bytes, list[bytes]]] = []
        for message, blocks in zip(request.turns, self._messages.all(request.turns), strict=True):
            if not blocks:
                continue
            role = b"assistant" if message.role == "assistant" else b"user"
            if turns and turns[-1][0] == role:
                turns[-1][1].append(blocks)
            else:
                turns.append((role, [blocks]))
        if self._mark and (request.tools or len(turns) > 1):  # what is asked once only is not worth being kept
            asked = (blocks for role, blocks in reversed(turns) if role == b"user")
            for ended in islice(asked, _MARKED):
                ended[-1] = self._marked(ended[-1])
        return array([b'{"role":"%b","content":%b}' % (role, array(blocks)) for role, blocks in turns])

    def _marked(self, blocks: bytes) -> bytes:
        """Return blocks of which the last one is where the cache ends."""
        return blocks[:-1] + self._mark

    def _offer(self, request: Request) -> dict[str, bytes]:
        """Return what may be called, and what must. Tools of earlier turns have to be declared when none is left."""
        tools = self._tools.all(request.tools)
        choice: JsonObject = {"type": "auto"}
        if not tools:
            used = dict.fromkeys(call.name for message in request.messages for call in message.tool_calls)
            tools = [to_json({"name": name, "input_schema": {"type": "object"}}) for name in used]
            choice = {"type": "none"}
        if request.output_schema is not None:
            said = "Give the final answer; it is given by this tool and in no other way."
            tools.append(to_json({"name": ANSWER, "description": said, "input_schema": request.output_schema}))
            choice = {"type": "any"} if request.tools else {"type": "tool", "name": ANSWER}
            if self._room:  # a model that thinks cannot be made to call a tool
                choice = {"type": "auto"}
        if not tools:
            return {}
        if self._mark and request.tools:
            tools[-1] = self._marked(tools[-1])
        return {"tools": array(tools), "tool_choice": to_json(choice)}

    def _own(self, message: Message) -> Sequence[Thought]:
        """Return the thoughts of a turn that this service knows again: those of others it refuses."""
        mine = [thought for thought in message.thoughts if thought.by == self._wire.name]
        return [thought for thought in mine if thought.signature or thought.sealed]

    def _blocks(self, message: Message) -> bytes:
        """Return the content blocks of a message, divided by commas; the system turn has none here."""
        if message.role == "system":
            return b""
        if message.role == "tool":
            return to_json({"type": "tool_result", "tool_use_id": message.call_id, "content": message.text})
        found = _said(message, self._own(message)) if message.role == "assistant" else _asked(message)
        return b",".join([to_json(block) for block in found])


def _kept(cache: str) -> JsonObject:
    return {"type": "ephemeral"} if cache == "5m" else {"type": "ephemeral", "ttl": cache}


def _tool(tool: ToolSchema) -> bytes:
    return to_json({"name": tool.name, "description": tool.description, "input_schema": tool.parameters})


def _asked(message: Message) -> Iterator[JsonObject]:
    """Yield the blocks of a user turn: pictures first, as the models like it."""
    for image in message.images:
        yield {"type": "image", "source": {"type": "base64", "media_type": image.media, "data": image.data}}
    text = user_text(message)
    if text.strip():
        yield {"type": "text", "text": text}


def _said(message: Message, thoughts: Sequence[Thought]) -> Iterator[JsonObject]:
    """Yield the blocks of an assistant turn, each thought at the place where it was."""
    text, calls = message.text, message.tool_calls
    written = called = 0
    for thought in (*thoughts, None):
        upto, until = (len(text), len(calls)) if thought is None else (thought.after_text, thought.after_calls)
        if text[written:upto].strip():
            yield {"type": "text", "text": text[written:upto]}
        for call in calls[called:until]:
            yield {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
        written, called = max(written, upto), max(called, until)
        if thought is not None:
            yield _thought(thought)


def _thought(thought: Thought) -> JsonObject:
    if thought.sealed:
        return {"type": "redacted_thinking", "data": thought.sealed}
    return {"type": "thinking", "thinking": thought.text, "signature": thought.signature}
