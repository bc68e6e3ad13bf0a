"""Answers in chat completions: the data of events become deltas and one reply. Called by `chat_completions`."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from loomd.encoded import NO_JSON
from loomd.messages import Chunk, ReasoningDelta, Reply, TextDelta, Thought, ToolCall
from loomd.providers.base import Counts
from loomd.providers.remote import Wire, distinct, tool_call

_DONE = b"[DONE]"
_STOPS: dict[str, Literal["stop", "length", "tool_calls", "refusal"]] = {
    "length": "length",
    "content_filter": "refusal",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


class _Google(msgspec.Struct, gc=False):
    thought_signature: str | None = None


class _Extra(msgspec.Struct, gc=False):
    google: _Google | None = None


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _CallDelta(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None
    extra_content: _Extra | None = None


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: Any = None
    tool_calls: list[_CallDelta] | None = None


class _Choice(msgspec.Struct, gc=False):
    """A piece of an answer, or a whole one as `message`."""

    index: int = 0
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _Event(msgspec.Struct, gc=False):
    """One event of a stream, or a whole answer; usage is read leniently because nothing depends on it."""

    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


_read = msgspec.json.Decoder(_Event).decode


def _numbered(whole: _Delta) -> _Delta:
    """Return a whole answer with its calls numbered, as those of a stream are."""
    for at, call in enumerate(whole.tool_calls or ()):
        call.index = at
    return whole


class ChatAnswer:
    """Puts the pieces of one answer together."""

    __slots__ = (
        "_calls",
        "_chosen",
        "_finish",
        "_reasoning",
        "_refused",
        "_signatures",
        "_text",
        "_usage",
        "_wire",
        "done",
    )

    def __init__(self, wire: Wire) -> None:
        """Take the way of the provider."""
        self.done = False
        self._wire = wire
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, tuple[list[str], list[str], list[str]]] = {}
        self._signatures: dict[int, str] = {}
        self._finish: str | None = None
        self._refused = False
        self._chosen = False
        self._usage: dict[str, Any] = {}

    def take(self, data: bytes) -> Sequence[Chunk]:
        """Add an event and return the deltas to hand on.

        Raises:
            LoomdError: the event is an error object, or cannot be read.
        """
        if data == _DONE:
            self.done = True
            return ()
        try:
            event = _read(data)
        except NO_JSON as error:
            raise self._wire.unreadable(error, data) from None
        if event.error:
            raise self._wire.error(event.error)
        if event.usage is not None and isinstance(event.usage, dict):
            self._usage = event.usage
        deltas: list[Chunk] = []
        for choice in event.choices or ():
            if choice.index == 0:
                self._chosen = True
                self._finish = choice.finish_reason or self._finish
                if (delta := choice.delta) is not None:
                    self._take_delta(delta, deltas)
                if choice.message is not None:
                    self._take_delta(_numbered(choice.message), deltas)
        return deltas

    def _take_delta(self, delta: _Delta, deltas: list[Chunk]) -> None:
        if (reasoning := delta.reasoning_content or delta.reasoning) and isinstance(reasoning, str):
            self._reasoning.append(reasoning)
            deltas.append(ReasoningDelta(reasoning))
        if text := delta.content or delta.refusal:
            self._refused = self._refused or bool(delta.refusal)
            self._text.append(text)
            deltas.append(TextDelta(text))
        if delta.tool_calls:
            for piece in delta.tool_calls:
                self._take_call(piece)

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
        if piece.extra_content is not None and piece.extra_content.google is not None:
            self._signatures[at] = piece.extra_content.google.thought_signature or ""

    def counts(self) -> Counts:
        """Return the tokens as the service reported them."""
        sent, made = self._usage.get("prompt_tokens_details"), self._usage.get("completion_tokens_details")
        return Counts(
            self._usage.get("prompt_tokens"),
            self._usage.get("completion_tokens"),
            sent.get("cached_tokens") if isinstance(sent, dict) else self._cached(),
            made.get("reasoning_tokens") if isinstance(made, dict) else None,
        )

    def _cached(self) -> object:
        """Return the cached tokens where DeepSeek or Moonshot tells them."""
        return self._usage.get("prompt_cache_hit_tokens", self._usage.get("cached_tokens"))

    def reply(self) -> Reply:
        """Return the whole answer.

        Raises:
            BadReply: there is no choice, no finish reason, no content, or a call without a name.
        """
        if not self._chosen:
            raise self._wire.bad("the answer has no choices")
        if self._finish is None:
            raise self._wire.bad("the answer ends without a finish reason: it was cut off")
        calls = self._tool_calls() if self._calls else ()
        text = "".join(self._text)
        stop = "refusal" if self._refused else _STOPS.get(self._finish, "stop")
        if calls and stop == "stop":
            stop = "tool_calls"
        if not text and not calls and stop in ("stop", "tool_calls"):
            raise self._wire.bad("the answer is empty")
        thoughts = tuple(self._thoughts()) if self._reasoning or self._signatures else ()
        return Reply(text, calls, stop=stop, thoughts=thoughts)

    def _tool_calls(self) -> tuple[ToolCall, ...]:
        """Return the calls in their order.

        Raises:
            BadReply: one has no name.
        """
        calls = distinct(
            tool_call("".join(idents[:1]) or f"call-{at}", "".join(names), "".join(arguments))
            for at, (idents, names, arguments) in sorted(self._calls.items())
        )
        if any(not call.name for call in calls):
            raise self._wire.bad("the answer calls a tool without a name")
        return calls

    def _thoughts(self) -> Iterator[Thought]:
        """Yield what was thought, and what the service knows its calls by."""
        by = self._wire.name
        if self._reasoning:
            yield Thought("".join(self._reasoning), by)
        for at, call in enumerate(sorted(self._calls)):
            if signature := self._signatures.get(call):
                yield Thought(by=by, signature=signature, after_calls=at)
