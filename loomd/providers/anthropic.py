"""Anthropic: a provider for Anthropic and for every service that speaks the Messages API.

The only module that imports `anthropic`, and only for `client: sdk`. What is said is the business of `messages_api`.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

from loomd.messages import JsonObject
from loomd.providers.base import ProviderSpec
from loomd.providers.calls import endpoint
from loomd.providers.dial import proxy_of
from loomd.providers.exchange import RemoteModel
from loomd.providers.http import open_http
from loomd.providers.messages_api import MessagesApi, MessagesFields
from loomd.providers.prices import price_of
from loomd.providers.remote import Wire
from loomd.providers.transport import NO_KEY, Sdk, SdkTransport, Transport
from loomd.topology import Parts

_PATH = "/v1/messages"
_VERSION = "2023-06-01"
"""Version of the protocol that `messages_api` speaks; Anthropic wants it with every request."""


class Anthropic(MessagesFields, ProviderSpec):
    """A model behind the Messages protocol. The key is read at the start, and again when it changes."""

    type: Literal["anthropic"] = "anthropic"

    @property
    def usual_address(self) -> str:
        """Return the service's own address."""
        return "https://api.anthropic.com"

    @property
    def key_variable(self) -> str:
        """Return the environment variable that usually holds the key."""
        return "ANTHROPIC_API_KEY"

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[RemoteModel, None]:
        """Yield the live model.

        Raises:
            Unauthorized: the key is missing; the text says which variable to set.
        """
        wire = Wire(self, parts)
        wire.price = await price_of(self, kept=self.cache)
        transport: Transport
        if self.client == "sdk":
            transport = SdkTransport(await asyncio.to_thread(_connect, wire))
        else:
            transport = await open_http(wire.owner, _root(wire.url), _PATH, _sign)
        try:
            yield RemoteModel(wire, MessagesApi(wire, self), transport, endpoint(_root(wire.url), _PATH))
        finally:
            await transport.close()


def _root(url: str) -> str:
    """Return what stands before the version in the path of an address, which may be written with it or without."""
    parts = urlsplit(url)
    return parts._replace(path=parts.path.rstrip("/").removesuffix("/v1")).geturl()


def _sign(key: str) -> dict[str, str]:
    version = {"anthropic-version": _VERSION}
    return version | {"x-api-key": key} if key else version


def _connect(wire: Wire) -> Sdk:
    import anthropic  # noqa: PLC0415  # the SDK takes seconds to import

    client = anthropic.AsyncAnthropic(
        api_key=NO_KEY,
        base_url=_root(wire.url),
        max_retries=0,
        timeout=wire.fields.deadline,
        http_client=anthropic.DefaultAsyncHttpxClient(follow_redirects=False),
    )

    def call(body: JsonObject, key: str, headers: Mapping[str, str]) -> AbstractAsyncContextManager[Any]:
        client.api_key = key or NO_KEY
        return client.messages.with_streaming_response.create(
            model=wire.fields.model, max_tokens=1, messages=[], extra_body=body, extra_headers=headers
        )

    return Sdk(call, client.close, anthropic.APIStatusError, anthropic.APIConnectionError, proxy_of(wire.url))
