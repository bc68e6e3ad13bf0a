"""Guard: refuses, masks or reports texts: by patterns that may not or must occur, length, form, or signs of injection.

It says which rule a text broke and never quotes the text, which may be what is to be kept away.
"""

import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import ClassVar, Literal, Self

import msgspec
from pydantic import ConfigDict, Field, model_validator

from loomd.errors import Refused
from loomd.interceptors import injection
from loomd.interceptors.base import InterceptorSpec, LiveInterceptor
from loomd.interceptors.context import InterceptorContext, Moment
from loomd.interceptors.text import in_call, in_passage, in_thought
from loomd.manifest.regexp import Regexp, compiled, found, replaced
from loomd.manifest.rule import some_of
from loomd.messages import Message, Reply, Request, ToolCall
from loomd.topology import Parts

Place = Literal["input", "context", "output", "toolArguments", "toolResults"]

_PLACES: tuple[Place, ...] = ("input", "context", "output", "toolArguments", "toolResults")
_MOMENTS: dict[Place, tuple[Moment, ...]] = {
    "input": ("beforeRun",),
    "context": ("beforeModel",),
    "output": ("afterModel", "afterRun"),
    "toolArguments": ("beforeTool",),
    "toolResults": ("afterTool",),
}
_OUTSIDE: frozenset[Place] = frozenset({"context", "toolResults"})
"""Where texts come from outside, so that they may hold an injection."""
_FORMED: frozenset[Place] = frozenset({"output", "toolResults"})
_NOTHING = "expected something to look for, got nothing: set one of deny, allow, maxLength, jsonOnly, injection"


class GuardInterceptor(InterceptorSpec):
    """Looks for what may not, or must, stand in a text."""

    model_config = ConfigDict(
        json_schema_extra=some_of(
            _NOTHING,
            deny={"minItems": 1},
            allow={"minItems": 1},
            maxLength={},
            jsonOnly={"const": True},
            injection={"const": True},
        )
    )

    pure: ClassVar[bool] = True
    type: Literal["guard"] = "guard"
    places: list[Place] = Field(default_factory=lambda: list(_PLACES), min_length=1, examples=[["input", "output"]])
    """Where to look: the request to the agent (input); the user turns of requests to the model, with passages, memories
    and results of parts (context); the model's answers (output); arguments of tool calls; results of tools."""
    deny: list[Regexp] = Field(default_factory=list, examples=[["(?i)project falcon"]])
    """Regular expressions of RE2 that may occur nowhere in a text."""
    allow: list[Regexp] = Field(default_factory=list, examples=[["(?i)order|invoice|delivery"]])
    """Regular expressions of which at least one must occur in input, final output, arguments (as JSON) or results."""
    max_length: int | None = Field(default=None, ge=1, examples=[20000])
    """Longest input, final output, arguments (as JSON) or result, in characters."""
    json_only: bool = False
    """Whether the final output and results of tools must be JSON."""
    injection: bool = False
    """Whether to look for signs of a prompt injection in context and results of tools, by a small set of rules for
    English text."""
    action: Literal["refuse", "mask", "warn"] = "refuse"
    """What is done: refuse the call; replace what was found, and cut what is too long (what is not allowed or no JSON
    is refused all the same); or let it pass with an event."""
    mask: str = "[removed]"
    """What is put in place."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.deny or self.allow or self.max_length or self.json_only or self.injection):
            raise ValueError(_NOTHING)
        return self

    @property
    def moments(self) -> frozenset[Moment]:
        """Return when it is asked."""
        return frozenset(moment for place in self.places for moment in _MOMENTS[place])

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["Guard", None]:
        """Yield the live interceptor."""
        yield Guard(self, parts)


class Guard(LiveInterceptor):
    """Looks at texts."""

    def __init__(self, spec: GuardInterceptor, parts: Parts) -> None:
        super().__init__(spec, parts)
        self._spec = spec
        self._places = frozenset(spec.places)
        self._deny = [(f"spec.deny[{at}]", compiled(pattern)) for at, pattern in enumerate(spec.deny)]
        self._allow = [compiled(pattern) for pattern in spec.allow]

    async def before_run(self, goal: str, context: InterceptorContext) -> str:
        """Return the goal, looked at as a whole."""
        return self._whole("input", goal, context)

    async def before_model(self, request: Request, context: InterceptorContext) -> Request:
        """Return the request with its user turns looked at; what was warned of before is not warned of again."""
        last = max((at for at, one in enumerate(request.messages) if one.role == "assistant"), default=-1)
        messages = [
            self._turn(message, context, fresh=at > last) if message.role == "user" else message
            for at, message in enumerate(request.messages)
        ]
        return msgspec.structs.replace(request, messages=tuple(messages))

    def _turn(self, message: Message, context: InterceptorContext, *, fresh: bool) -> Message:
        if self._spec.action == "warn" and not fresh:
            return message
        look = self._looking("context", context)
        text, passages = look(message.text), tuple(in_passage(passage, look) for passage in message.passages)
        if text == message.text and passages == message.passages:
            return message  # the same object: what was made of it before is known
        return msgspec.structs.replace(message, text=text, passages=passages)

    async def after_model(self, request: Request, reply: Reply, context: InterceptorContext) -> Reply:
        """Return the reply, looked at for what may not occur."""
        del request
        if "output" not in self._places:
            return reply
        look = self._looking("output", context)
        thoughts = tuple(in_thought(one, look) for one in reply.thoughts)
        return msgspec.structs.replace(reply, text=look(reply.text), thoughts=thoughts)

    async def after_run(self, output: str, context: InterceptorContext) -> str:
        """Return the answer, looked at as a whole; what may not occur was looked for before."""
        return self._formed("output", output, context)

    async def before_tool(self, call: ToolCall, context: InterceptorContext) -> ToolCall:
        """Return the call with its arguments looked at."""
        call = in_call(call, self._looking("toolArguments", context))
        text = json.dumps(call.arguments, ensure_ascii=False)
        if self._formed("toolArguments", text, context) != text:
            raise Refused(f"the arguments are longer than {self._spec.max_length} characters")  # JSON cannot be cut
        return call

    async def after_tool(self, call: ToolCall, result: str, context: InterceptorContext) -> str:
        """Return the result, looked at as a whole."""
        del call
        return self._whole("toolResults", result, context)

    def _whole(self, place: Place, text: str, context: InterceptorContext) -> str:
        return self._formed(place, self._looking(place, context)(text), context)

    def _looking(self, place: Place, context: InterceptorContext) -> Callable[[str], str]:
        """Return what looks at a piece of text for what may not occur in it."""

        def look(text: str) -> str:
            found = list(self._found(place, text))
            if not found:
                return text
            self._act(f"{_SAID[place]} breaks {', '.join(found)}", context)
            return self._masked(place, text) if self._spec.action == "mask" else text

        return look

    def _found(self, place: Place, text: str) -> Iterator[str]:
        yield from (name for name, pattern in self._deny if found(pattern, text) is not None)
        if self._spec.injection and place in _OUTSIDE:
            yield from (f"the rule {name} against injection" for name in injection.signs(text))

    def _masked(self, place: Place, text: str) -> str:
        for _, pattern in self._deny:
            text = replaced(pattern, text, self._spec.mask)
        if self._spec.injection and place in _OUTSIDE:
            text = injection.without(text, self._spec.mask)
        return text

    def _formed(self, place: Place, text: str, context: InterceptorContext) -> str:
        """Return a whole text that is what it must be, cut if it may be."""
        spec = self._spec
        if self._allow and not any(found(pattern, text) is not None for pattern in self._allow):
            self._act(f"{_SAID[place]} fits none of spec.allow", context, refuse=True)
        if spec.json_only and place in _FORMED and not _is_json(text):
            self._act(f"{_SAID[place]} is not JSON", context, refuse=True)
        if spec.max_length is not None and len(text) > spec.max_length:
            said = f"{_SAID[place]} has {len(text)} characters, more than the {spec.max_length} of spec.maxLength"
            self._act(said, context)
            return text[: spec.max_length] + spec.mask if spec.action == "mask" else text
        return text

    def _act(self, said: str, context: InterceptorContext, *, refuse: bool = False) -> None:
        """Refuse a text, or note what was found in it.

        Raises:
            Refused: the action is to refuse, or nothing else can be done.
        """
        action = self._spec.action
        if action == "refuse" or (refuse and action == "mask"):
            raise Refused(said)
        context.note("changed" if action == "mask" else "warned", said)


_SAID: dict[Place, str] = {
    "input": "the request",
    "context": "a text for the model",
    "output": "the answer",
    "toolArguments": "an argument",
    "toolResults": "the result",
}


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
