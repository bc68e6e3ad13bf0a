"""Redact: replaces what should not travel in requests, replies, tool calls and tool results.

It works on whole texts: an answer is redacted before it is used, shown, recorded or handed on as the result.
"""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

import msgspec
from pydantic import Field

from loomd.interceptors.base import InterceptorSpec, LiveInterceptor
from loomd.interceptors.detector import Detector, find
from loomd.manifest.secret import Secret
from loomd.messages import JsonObject, Message, Passage, Reply, Request, ToolCall
from loomd.topology import Parts

Place = Literal["requests", "replies", "toolCalls", "toolResults"]


class RedactInterceptor(InterceptorSpec):
    """Replaces secrets and personal data."""

    type: Literal["redact"] = "redact"
    detectors: list[Detector] = Field(default_factory=lambda: list[Detector](("email", "card", "apiKey", "privateKey")))
    """What to look for; a card or iban counts with a right check digit, a phone number with its leading +."""
    words: list[str] = Field(default_factory=list)
    """Texts to replace wherever they stand, in any case of letters."""
    secrets: list[Secret] = Field(default_factory=list)
    """Secrets whose values are replaced."""
    mask: str = "[redacted]"
    """What is put in place."""
    places: list[Place] = Field(
        default_factory=lambda: list[Place](("requests", "replies", "toolResults")), min_length=1
    )
    """Where to look: requests to the model, replies of the model, arguments of toolCalls, toolResults."""

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["Redactor", None]:
        """Yield the live interceptor.

        Raises:
            Unauthorized: a secret is missing.
        """
        owner = str(parts.declared.ref)
        values = [secret.read(owner, f"spec.secrets[{at}]") for at, secret in enumerate(self.secrets)]
        yield Redactor(self, [*self.words, *values])


class Redactor(LiveInterceptor):
    """Replaces what the detectors and the words find."""

    def __init__(self, spec: RedactInterceptor, words: list[str]) -> None:
        self._spec = spec
        self._places = frozenset(spec.places)
        longest_first = sorted({word for word in words if word}, key=len, reverse=True)
        literal = "|".join(re.escape(word) for word in longest_first)  # literals only: nothing in it can repeat
        self._words = re.compile(literal, re.IGNORECASE) if literal else None

    def redact(self, text: str) -> str:
        """Return a text with everything replaced that was found."""
        if not text:
            return text
        if self._words is not None:
            text = self._words.sub(lambda _: self._spec.mask, text)
        for name in self._spec.detectors:
            text = find(name, text, lambda: self._spec.mask)
        return text

    async def before_model(self, request: Request) -> Request:
        """Return the request with every text redacted."""
        if "requests" not in self._places:
            return request
        return msgspec.structs.replace(request, messages=tuple(self._message(m) for m in request.messages))

    async def after_model(self, reply: Reply) -> Reply:
        """Return the reply with its text and reasoning redacted, and the arguments of the calls that it makes."""
        if "replies" in self._places:
            reply = msgspec.structs.replace(reply, text=self.redact(reply.text), reasoning=self.redact(reply.reasoning))
        if "toolCalls" in self._places:
            reply = msgspec.structs.replace(reply, tool_calls=tuple(self._call(call) for call in reply.tool_calls))
        return reply

    async def before_tool(self, call: ToolCall) -> ToolCall:
        """Return the call with its arguments redacted."""
        return self._call(call) if "toolCalls" in self._places else call

    async def after_tool(self, call: ToolCall, result: str) -> str:
        """Return the result redacted."""
        del call
        return self.redact(result) if "toolResults" in self._places else result

    def _message(self, message: Message) -> Message:
        return msgspec.structs.replace(
            message,
            text=self.redact(message.text),
            tool_calls=tuple(self._call(call) for call in message.tool_calls),
            passages=tuple(self._passage(passage) for passage in message.passages),
        )

    def _passage(self, passage: Passage) -> Passage:
        return msgspec.structs.replace(passage, text=self.redact(passage.text), title=self.redact(passage.title))

    def _call(self, call: ToolCall) -> ToolCall:
        arguments: JsonObject = {key: self._value(value) for key, value in call.arguments.items()}
        return msgspec.structs.replace(call, arguments=arguments)

    def _value(self, value: object) -> object:
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, dict):
            return {key: self._value(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._value(item) for item in value]
        return value
