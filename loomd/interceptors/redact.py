"""Redact: replaces what should not travel in requests, replies, tool calls and tool results.

It works on whole texts: an answer is redacted before it is used, shown, recorded or handed on as the result.
"""

import re
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Annotated, ClassVar, Literal

import msgspec
from pydantic import Field

from loomd.errors import Unauthorized
from loomd.interceptors.base import InterceptorSpec, LiveInterceptor
from loomd.interceptors.context import InterceptorContext, Moment
from loomd.interceptors.detector import Detector, find
from loomd.interceptors.text import in_call, in_message, in_thought
from loomd.manifest.keyring import Keyring
from loomd.manifest.kind import Reload
from loomd.manifest.secret import Secret
from loomd.messages import Reply, Request, ToolCall
from loomd.topology import Parts

Place = Literal["requests", "replies", "toolCalls", "toolResults"]

_MOMENTS: Mapping[Place, tuple[Moment, ...]] = {
    "requests": ("beforeModel",),
    "replies": ("afterModel",),
    "toolCalls": ("afterModel", "beforeTool"),
    "toolResults": ("afterTool",),
}


class RedactInterceptor(InterceptorSpec):
    """Replaces secrets and personal data."""

    pure: ClassVar[bool] = True
    type: Literal["redact"] = "redact"
    detectors: list[Detector] = Field(default_factory=lambda: list[Detector](("email", "card", "apiKey", "privateKey")))
    """What to look for; a card or iban counts with a right check digit, a phone number with its leading +, an ssn (of
    the United States) with its hyphens."""
    words: list[str] = Field(default_factory=list, examples=[["Project Falcon"]])
    """Texts to replace wherever they stand, in any case of letters."""
    secrets: Annotated[list[Secret], Reload("immediate")] = Field(default_factory=list)
    """Secrets whose values are replaced; what was one when a task began is replaced until it ends."""
    mask: str = "[redacted]"
    """What is put in place."""
    places: list[Place] = Field(
        default_factory=lambda: list[Place](("requests", "replies", "toolResults")), min_length=1
    )
    """Where to look: requests to the model, replies of the model, arguments of toolCalls, toolResults."""

    @property
    def moments(self) -> frozenset[Moment]:
        """Return when it is asked."""
        return frozenset(moment for place in self.places for moment in _MOMENTS[place])

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["Redactor", None]:
        """Yield the live interceptor.

        Raises:
            Unauthorized: a secret is missing.
        """
        keyring = Keyring(str(parts.declared.ref))
        words = [keyring.read(f"spec.secrets[{at}]", secret) for at, secret in enumerate(self.secrets)]

        def later() -> Iterator[str]:
            item = parts.latest()
            latest = item.spec.secrets if item is not None and isinstance(item.spec, RedactInterceptor) else []
            for at, secret in enumerate(dict.fromkeys((*self.secrets, *latest))):
                with suppress(Unauthorized):  # what cannot be read any more stays hidden as it was
                    yield keyring.read(f"spec.secrets[{at}]", secret)

        yield Redactor(self, parts, [*self.words, *words], later)


class Redactor(LiveInterceptor):
    """Replaces what the detectors and the words find."""

    def __init__(
        self, spec: RedactInterceptor, parts: Parts, words: list[str], later: Callable[[], Iterator[str]]
    ) -> None:
        """Take the texts to replace, and what returns those that became secrets since."""
        super().__init__(spec, parts)
        self._spec = spec
        self._places = frozenset(spec.places)
        self._later = later
        self._hidden = dict.fromkeys(words)
        self._words = _pattern(self._hidden)

    def _heed(self) -> None:
        """Replace what became a secret since; what was one before is still replaced."""
        fresh = [text for text in self._later() if text not in self._hidden]
        if fresh:
            self._hidden |= dict.fromkeys(fresh)
            self._words = _pattern(self._hidden)

    def redact(self, text: str) -> str:
        """Return a text with everything replaced that was found."""
        if not text:
            return text
        if self._words is not None:
            text = self._words.sub(lambda _: self._spec.mask, text)
        for name in self._spec.detectors:
            text = find(name, text, lambda: self._spec.mask)
        return text

    def conceal(self, text: str) -> str:
        """Return a text that is to be kept, wherever it is from, as above with what became a secret since."""
        self._heed()
        return self.redact(text)

    async def before_model(self, request: Request, context: InterceptorContext) -> Request:
        """Return the request with every text redacted."""
        del context
        if "requests" not in self._places:
            return request
        self._heed()
        return msgspec.structs.replace(request, messages=tuple(in_message(m, self.redact) for m in request.messages))

    async def after_model(self, request: Request, reply: Reply, context: InterceptorContext) -> Reply:
        """Return the reply with its text and reasoning redacted, and the arguments of the calls that it makes."""
        del request, context
        self._heed()
        if "replies" in self._places:
            thoughts = tuple(in_thought(one, self.redact) for one in reply.thoughts)
            reply = msgspec.structs.replace(reply, text=self.redact(reply.text), thoughts=thoughts)
        if "toolCalls" in self._places:
            reply = msgspec.structs.replace(
                reply, tool_calls=tuple(in_call(call, self.redact) for call in reply.tool_calls)
            )
        return reply

    async def before_tool(self, call: ToolCall, context: InterceptorContext) -> ToolCall:
        """Return the call with its arguments redacted."""
        del context
        self._heed()
        return in_call(call, self.redact) if "toolCalls" in self._places else call

    async def after_tool(self, call: ToolCall, result: str, context: InterceptorContext) -> str:
        """Return the result redacted."""
        del call, context
        self._heed()
        return self.redact(result) if "toolResults" in self._places else result


def _pattern(texts: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern that finds any of the texts, the longest first; None when there are none."""
    longest_first = sorted({text for text in texts if text}, key=len, reverse=True)
    literal = "|".join(re.escape(text) for text in longest_first)  # literals only: nothing in it can repeat
    return re.compile(literal, re.IGNORECASE) if literal else None
