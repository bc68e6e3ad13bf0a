"""Scripted: the manifest holds the answers. For tests, examples and rehearsals without a model.

A reply is chosen by what the conversation holds, never by the order in which calls arrive, so that a run with many
tasks at once gives every task the same answers: of the replies whose `when` and `system` fit, in the order written,
the one for the n-th assistant turn is taken. It never opens a connection.
"""

import asyncio
import math
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Self

import msgspec
from pydantic import ConfigDict, Field, model_validator

from loomd.errors import Permanent, Temporary
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Duration
from loomd.manifest.rule import never
from loomd.messages import Chunk, JsonObject, Reply, Request, TextDelta, ToolCall, Usage
from loomd.providers.base import ProviderSpec, estimate_tokens, refuse_withdrawn, request_characters
from loomd.topology import Parts


class ScriptedCall(Spec):
    """A tool call that a scripted reply makes."""

    name: str = Field(examples=["search"])
    """Name of the tool."""
    arguments: JsonObject = Field(default_factory=dict, examples=[{"query": "opening hours"}])
    """Arguments of the call."""


class ScriptedUsage(Spec):
    """What a scripted reply pretends to have used."""

    input: int | None = Field(default=None, ge=0, examples=[120])
    """Input tokens; estimated from the request when not set."""
    output: int | None = Field(default=None, ge=0, examples=[40])
    """Output tokens; estimated from the reply when not set."""


class ScriptedReply(Spec):
    """One answer and the requests that it answers."""

    model_config = ConfigDict(
        json_schema_extra=never(
            "expected one of text and json, got both",
            text={"type": "string", "minLength": 1},
            json={"not": {"type": "null"}},
        )
    )

    when: str = Field(default="", examples=["opening*hours"])
    """Text that a user turn must hold, in any case of letters; `*` stands for any text. Empty fits always. What a
    part of a split is told of the whole and of the other parts is not looked at."""
    system: str = Field(default="", examples=["librarian"])
    """Text that the system turn must hold, in any case of letters; `*` stands for any text. Empty fits always."""
    times: int | None = Field(default=1, ge=1)
    """How many assistant turns of one conversation it answers before the next fitting reply; null is without end."""
    text: str = Field(default="", examples=["It opens at nine."])
    """The answer."""
    data: Any = Field(default=None, alias="json", examples=[{"answer": "nine"}])
    """The answer as a JSON value; such a reply is passed over when the request asks for free text."""
    tool_calls: list[ScriptedCall] = Field(default_factory=list)
    """Tool calls to make; such a reply is passed over when the request offers no tools."""
    usage: ScriptedUsage = Field(default_factory=ScriptedUsage)
    """Tokens to report."""
    delay: Duration = Field(default=0.0, ge=0)
    """How long to wait before the answer begins."""
    chunks: int = Field(default=1, ge=1, le=100_000)
    """In how many pieces of about equal length the text is streamed."""
    error: Literal["permanent", "temporary"] | None = None
    """Fail with this class of error instead of answering; `text` is the message."""

    @model_validator(mode="after")
    def _one_answer(self) -> Self:
        if self.data is not None and self.text:
            raise ValueError("expected one of text and json, got both")
        return self


_PLACE = re.compile(
    r"a larger request is done in \d+ parts: .*?(?=do only part \d+, which is your own part:)", re.DOTALL
)
"""What a part of a split is told of the whole and of the other parts, see `amoeba.execute`: no reply is chosen by it,
because every part is told of every other."""


class Scripted(ProviderSpec):
    """Answers from the manifest, offline."""

    type: Literal["scripted"] = "scripted"
    model: str = "scripted"
    """Name to report as the model."""
    replies: list[ScriptedReply] = Field(examples=[[{"text": "It opens at nine."}]])
    """The answers, in the order in which they are tried."""

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["ScriptedModel", None]:
        """Yield the live model."""
        yield ScriptedModel(f"{parts.name}/{self.model}", self.replies, partial(refuse_withdrawn, parts))


class ScriptedModel:
    """A model that says what it was told to say."""

    def __init__(self, name: str, replies: list[ScriptedReply], admit: Callable[[], None] = lambda: None) -> None:
        """Take name and answers; `admit` raises when it may not be called any more."""
        self.name = name
        self._admit = admit
        self._lines = [_Line.of(reply) for reply in replies]

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Answer with the reply for this turn of the conversation.

        Raises:
            Permanent: no reply fits, the reply says so, or it was withdrawn.
            Temporary: the reply says so.
        """
        self._admit()
        line, turn = self._choose(request)
        if line.delay:
            await asyncio.sleep(line.delay)
        if line.error == "temporary":
            raise Temporary(f"{self.name}: {line.text}")
        if line.error == "permanent":
            raise Permanent(f"{self.name}: {line.text}")
        for piece in line.pieces:
            yield TextDelta(piece)
        yield line.reply(self.name, request, turn)

    def _choose(self, request: Request) -> "tuple[_Line, int]":
        """Return the reply for a request and the number of assistant turns before it."""
        users, system, turn = _look_at(request)
        passed: float = 0
        for line in self._lines:
            if not _holds(system, line.system) or not any(_holds(user, line.when) for user in users):
                continue
            passed += line.times
            if turn < passed and line.suits(request):
                return line, turn
        goal = users[-1]
        raise Permanent(
            f'{self.name}: no reply for turn {turn + 1} of "{goal if len(goal) <= 80 else goal[:80] + "..."}":'
            " add one to spec.replies with `when`, or raise `times`"
        )


@dataclass(frozen=True, slots=True)
class _Line:
    """A reply, made ready once."""

    when: tuple[str, ...]
    system: tuple[str, ...]
    times: float
    structured: bool
    text: str
    pieces: tuple[str, ...]
    calls: tuple[tuple[str, JsonObject], ...]
    tokens: tuple[int | None, int]
    delay: float
    error: str | None

    @staticmethod
    def of(reply: ScriptedReply) -> "_Line":
        structured = reply.data is not None
        text = msgspec.json.encode(reply.data).decode() if structured else reply.text
        calls = tuple((call.name, call.arguments) for call in reply.tool_calls)
        size = -(-len(text) // reply.chunks) or 1
        output = reply.usage.output
        if output is None:
            output = estimate_tokens(len(text) + sum(len(name) + 16 * len(args) for name, args in calls))
        return _Line(
            when=tuple(reply.when.lower().split("*")),
            system=tuple(reply.system.lower().split("*")),
            times=math.inf if reply.times is None else reply.times,
            structured=structured,
            text=text,
            pieces=tuple(text[at : at + size] for at in range(0, len(text), size)),
            calls=calls,
            tokens=(reply.usage.input, output),
            delay=reply.delay,
            error=reply.error,
        )

    def suits(self, request: Request) -> bool:
        """Return whether the request can take such an answer."""
        return (not self.structured or request.output_schema is not None) and (not self.calls or bool(request.tools))

    def reply(self, model: str, request: Request, turn: int) -> Reply:
        sent, made = self.tokens
        if sent is None:
            sent = estimate_tokens(request_characters(request))
        calls = tuple(
            ToolCall(f"call-{turn}-{at}", name, dict(arguments)) for at, (name, arguments) in enumerate(self.calls)
        )
        return Reply(self.text, calls, Usage(sent, made), "tool_calls" if calls else "stop", model)


def _look_at(request: Request) -> tuple[list[str], str, int]:
    """Return the user texts and the system text in small letters, and how many assistant turns there were."""
    users: list[str] = []
    system = ""
    turn = 0
    for message in request.messages:
        if message.role == "assistant":
            turn += 1
        elif message.role == "user":
            users.append(_PLACE.sub("", message.text.lower()))
        elif message.role == "system":
            system = message.text.lower()
    return users or [""], system, turn


def _holds(text: str, parts: tuple[str, ...]) -> bool:
    """Return whether the parts occur in this order."""
    at = 0
    for part in parts:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return True
