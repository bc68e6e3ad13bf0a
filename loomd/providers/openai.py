"""OpenAI: a provider for OpenAI and for every service that speaks chat completions.

The only module that imports `openai`, and only for `client: sdk`. What is said is the business of `chat_completions`.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from loomd.messages import JsonObject
from loomd.providers.base import ProviderSpec
from loomd.providers.calls import endpoint
from loomd.providers.chat_completions import ChatCompletions
from loomd.providers.dial import proxy_of
from loomd.providers.exchange import RemoteModel
from loomd.providers.http import open_http
from loomd.providers.prices import price_of
from loomd.providers.remote import RemoteFields, Wire
from loomd.providers.service import COMPATIBLE, SERVICES, LimitField, Name, ReasoningField, Service, Structured
from loomd.providers.transport import NO_KEY, Sdk, SdkTransport, Transport
from loomd.topology import Parts

_PATH = "/chat/completions"


class Compatible(RemoteFields):
    """What is set for every service that speaks chat completions."""

    max_tokens_field: LimitField | None = None
    """Field that limits the answer; by default what the service takes."""
    structured_output: Structured | None = None
    """How the service is told the schema of an answer: `json_schema`, by itself; `json_object`, where it promises JSON
    and the schema is in words; `prompt`, in words alone. By default what the service takes. Either way the answer is
    checked against the schema.
    """
    stream_usage: bool | None = None
    """Whether the service is asked to tell the usage of a stream; by default where it takes the question."""

    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = Field(
        default=None, examples=["medium"]
    )
    """How much the model thinks before it answers, in a word that it knows; by default what it does by itself."""
    reasoning_field: ReasoningField | None = None
    """Field in which the service gets back what it thought, with the turn that it led to; by default where it demands
    that or makes use of it.
    """
    images: bool | None = None
    """Whether the model takes images; by default unless none of the service's models does."""

    @property
    def known(self) -> Service:
        """Return what is known of the service."""
        return COMPATIBLE

    @property
    def usual_address(self) -> str:
        """Return the service's own address."""
        return self.known.url

    @property
    def key_variable(self) -> str:
        """Return the environment variable that usually holds the key."""
        return self.known.key

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[RemoteModel, None]:
        """Yield the live model.

        Raises:
            Unauthorized: the key is missing; the text says which variable to set.
        """
        wire = Wire(self, parts)
        wire.price = await price_of(self)
        transport: Transport
        if self.client == "sdk":
            transport = SdkTransport(await asyncio.to_thread(_connect, wire))
        else:
            transport = await open_http(wire.owner, wire.url, _PATH, _sign)
        known = self.known
        service = replace(
            known,
            limit=self.max_tokens_field or known.limit,
            structured=self.structured_output or known.structured,
            asks_usage=known.asks_usage if self.stream_usage is None else self.stream_usage,
            reasoning=self.reasoning_field or known.reasoning,
            images=known.images if self.images is None else self.images,
        )
        try:
            yield RemoteModel(
                wire, ChatCompletions(wire, service, self.reasoning_effort), transport, endpoint(wire.url, _PATH)
            )
        finally:
            await transport.close()


class OpenAI(Compatible, ProviderSpec):
    """A model behind the chat-completions protocol. The key is read at the start, and again when it changes."""

    type: Literal["openai"] = "openai"
    service: Name | None = None
    """Which service or local server it is: its address, its key variable, what it does otherwise than others. By
    default OpenAI itself, and with a `baseUrl` a server of which nothing is known.
    """

    @property
    def known(self) -> Service:
        """Return what is known of the service."""
        if self.service is not None:
            return SERVICES[self.service]
        return COMPATIBLE if self.base_url else SERVICES["openai"]


def _sign(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _connect(wire: Wire) -> Sdk:
    import openai  # noqa: PLC0415  # the SDK takes over a second to import

    client = openai.AsyncOpenAI(
        api_key=NO_KEY,
        base_url=wire.url,
        max_retries=0,
        timeout=wire.fields.deadline,
        http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
    )

    def call(body: JsonObject, key: str, headers: Mapping[str, str]) -> AbstractAsyncContextManager[Any]:
        client.api_key = key or NO_KEY
        return client.chat.completions.with_streaming_response.create(
            model=wire.fields.model, messages=[], extra_body=body, extra_headers=headers
        )

    return Sdk(call, client.close, openai.APIStatusError, openai.APIConnectionError, proxy_of(wire.url))
