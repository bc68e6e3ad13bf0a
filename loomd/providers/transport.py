"""What carries a request to a service and brings its answer: our own client (`http`), or an official SDK.

A transport moves bytes. What they mean is the business of `exchange` and of the translations, which are the same for
both. It never tries a request again that the service may have taken.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from loomd.messages import JsonObject

LINGER = 1.0
"""Seconds that a service has to end a body after its last word, for its connection to be used again."""
NO_KEY = "none"
"""What an SDK that insists on a key gets for a service that needs none."""


class Broken(Exception):
    """The connection was not made, or it broke; the text says how, for people."""


class Response(Protocol):
    """An answer that is being read."""

    @property
    def status(self) -> int:
        """Return the HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the headers; names are found in any case."""
        ...

    async def read(self) -> bytes:
        """Return the next piece of the decoded body, empty at its end.

        Raises:
            TimeoutError: the time given to `Transport.send` is over.
            Broken: the connection broke.
        """
        ...

    async def close(self, *, whole: bool) -> None:
        """End it. `whole`: all that matters was read, so that the connection may be used again."""
        ...


class Transport(Protocol):
    """The way to one service."""

    decodes: bool
    """Whether it undoes the content coding of an answer."""
    proxy: str
    """Address of what stands between it and the service, without a password; empty for nothing."""

    async def send(self, body: Callable[[], bytes], key: str, headers: Mapping[str, str], end: float) -> Response:
        """Send a request and return its answer as soon as the headers are there.

        Args:
            body: returns JSON; it is made when it is sent, so that nobody keeps it while the service thinks.
            key: the service's key, empty for none.
            headers: further headers.
            end: time of the event loop's clock at which the whole call is over.

        Raises:
            TimeoutError: it is over.
            Broken: no connection, or it broke.
        """
        ...

    async def close(self) -> None:
        """Release all connections."""
        ...


@dataclass(frozen=True)
class Sdk:
    """What a transport uses of an official SDK.

    Attributes:
        call: starts a call with the fields of the body, the key and further headers.
        close: releases the client.
        status_error: raised for a status of 300 and above.
        connection_error: raised when there is no connection.
        proxy: address of the proxy that the environment names for the service, without a password; empty for none.
    """

    call: Callable[[JsonObject, str, Mapping[str, str]], AbstractAsyncContextManager[Any]]
    close: Callable[[], Awaitable[None]]
    status_error: type[Exception]
    connection_error: type[Exception]
    proxy: str


class SdkTransport:
    """Carries requests through an official SDK."""

    decodes = True

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk
        self.proxy = sdk.proxy

    async def close(self) -> None:
        """Release all connections."""
        await self._sdk.close()

    async def send(self, body: Callable[[], bytes], key: str, headers: Mapping[str, str], end: float) -> Response:
        """Send a request; see `Transport`."""
        call = self._sdk.call(msgspec.json.decode(body()), key, headers)
        try:
            async with asyncio.timeout_at(end):
                answer = await call.__aenter__()
        except self._sdk.status_error as error:
            found: Any = getattr(error, "response", None)
            return _Refusal(found.status_code, found.headers, found.content)
        except self._sdk.connection_error as error:
            raise Broken(type(error.__cause__ or error).__name__) from None
        return _SdkResponse(call, answer, end)


class _SdkResponse:
    """A streamed response of an SDK."""

    def __init__(self, call: AbstractAsyncContextManager[Any], answer: Any, end: float) -> None:
        self.status: int = answer.status_code
        self.headers: Mapping[str, str] = answer.headers
        self._call = call
        self._pieces: AsyncIterator[bytes] = answer.iter_bytes()
        self._end = end

    async def read(self) -> bytes:
        try:
            async with asyncio.timeout_at(self._end):
                return await anext(self._pieces, b"")
        except TimeoutError:
            raise
        except Exception as error:
            raise Broken(type(error).__name__) from None

    async def close(self, *, whole: bool) -> None:
        if whole:  # the end of the body lets its connection be used again
            with suppress(TimeoutError, Broken):
                self._end = min(self._end, asyncio.get_running_loop().time() + LINGER)
                while await self.read():
                    pass
        await self._call.__aexit__(None, None, None)


@dataclass
class _Refusal:
    """An answer that the SDK raised instead of returning it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    async def read(self) -> bytes:
        body, self.body = self.body, b""
        return body

    async def close(self, *, whole: bool) -> None:
        del whole
