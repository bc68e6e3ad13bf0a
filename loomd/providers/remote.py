"""What the remote providers share: their fields, their key, and one guarded exchange with the service.

The official SDKs let through dripping servers, HTML pages, huge bodies and answers that just stop. Here a deadline
spans the whole call, the body is capped, and the events are handed on as bytes, so that the translation checks each.
No SDK is imported here and nothing is retried.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec
from pydantic import Field, field_validator

from loomd.clock import Clock
from loomd.errors import BadReply, LoomdError, Unreachable
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Bytes, Duration
from loomd.manifest.secret import Secret, SecretSource, literal_secrets, secrets_in_url
from loomd.messages import UNREADABLE, JsonObject, Message, Reply, Request, ToolCall, Usage, render_passages
from loomd.providers.base import Pricing, sane_usage
from loomd.providers.fault import from_error_object, from_status
from loomd.topology import Parts


class RemoteFields(Spec):
    """What is set for every remote service."""

    model: str = Field(min_length=1)
    """Name of the model, as the service spells it."""
    base_url: str | None = None
    """Address of a compatible service, with its path, for example `http://127.0.0.1:8080/v1`."""
    api_key: Secret | None = None
    """Where the key is kept; by default the service's usual environment variable. Loopback addresses need none."""
    headers: dict[str, str | Secret] = Field(default_factory=dict)
    """Further headers of every call; what may be a secret is named with valueFrom."""
    deadline: Duration = Field(default=120.0, gt=0)
    """Longest time for one whole call, from the connection to the last piece of the answer."""
    max_reply: Bytes = Field(default=16 << 20, ge=1024)
    """Largest answer on the wire; a longer one is refused."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Sampling temperature where the agent sets none; the service's own default when not set."""
    parameters: JsonObject = Field(default_factory=dict)
    """Further fields of the request body, sent as written."""
    pricing: Pricing = Field(default_factory=Pricing)
    """What tokens cost, to account for money; nothing by default."""

    @field_validator("base_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
            raise ValueError("expected an address such as https://host/v1")
        return value

    def check(self, root: Path) -> Iterator[tuple[str, str, str]]:
        """Yield secrets that stand in the manifest."""
        del root
        yield from literal_secrets(self.headers, "/headers")
        yield from secrets_in_url(self.base_url or "", "/baseUrl", "spec.apiKey or spec.headers")


class Answer(Protocol):
    """A streaming response of either SDK."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the response headers; names in any case."""
        ...

    def iter_bytes(self) -> AsyncIterator[bytes]:
        """Iterate over the decoded body."""
        ...


@dataclass(frozen=True)
class Sdk:
    """The two exceptions of an SDK that matter."""

    status_error: type[Exception]
    connection_error: type[Exception]


class Wire:
    """The guarded way to one remote service."""

    def __init__(self, fields: RemoteFields, parts: Parts, url: str, key_variable: str) -> None:
        """Read the key and the headers.

        Args:
            fields: the spec.
            parts: what the spec opens with.
            url: the service's own address, used where the spec names none.
            key_variable: the service's usual environment variable.

        Raises:
            Unauthorized: a secret is missing; the text says what to do.
        """
        self.owner = str(parts.declared.ref)
        self.name = f"{parts.name}/{fields.model}"
        self.fields = fields
        self.url = fields.base_url or url
        self._clock: Clock = parts.services.clock
        self.key = _read_key(fields, self.owner, self.url, key_variable)
        self.headers = {
            name: value if isinstance(value, str) else value.read(self.owner, f"spec.headers.{name}")
            for name, value in fields.headers.items()
        }
        secrets = [self.headers[name] for name, value in fields.headers.items() if isinstance(value, Secret)]
        self._secrets = [text for text in (self.key, *secrets) if len(text) > 3]

    async def exchange(self, call: AbstractAsyncContextManager[Any], sdk: Sdk) -> AsyncGenerator[bytes, None]:
        """Make a call and yield the data of each server-sent event.

        Raises:
            Unreachable: no connection, it broke, or the deadline passed.
            LoomdError: the service refused; see `fault`.
            BadReply: the body is no event stream, or larger than allowed.
        """
        end = asyncio.get_running_loop().time() + self.fields.deadline
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout_at(end):
                    answer: Answer = await stack.enter_async_context(call)
            except TimeoutError:
                raise self._too_late() from None
            except (sdk.status_error, sdk.connection_error) as error:
                raise self._translate(error) from None
            body = await stack.enter_async_context(aclosing(self._body(answer, end)))
            if "event-stream" not in answer.headers.get("content-type", ""):
                raise await self._no_stream(answer, body)
            async for data in _events(body):
                yield data

    def error(self, found: object) -> LoomdError:
        """Return the error for an error object inside a stream."""
        return self._masked(from_error_object(self.owner, found, self._clock.now()))

    def bad(self, message: str) -> BadReply:
        """Return the error for an answer that cannot be used."""
        return BadReply(f"{self.owner}: {message}")

    def decode(self, data: bytes, shape: type[Any]) -> Any:
        """Return an event as a struct.

        Raises:
            BadReply: it is not JSON, or of another shape.
        """
        try:
            return msgspec.json.decode(data, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self.bad(f"an event of the stream cannot be read: {error}") from None

    def reply(self, request: Request, counts: tuple[object, object, object, object], reply: Reply) -> Reply:
        """Return the reply with model, usage and cost filled in from what the service reported."""
        produced = len(reply.text) + len(reply.reasoning) + sum(len(str(c.arguments)) for c in reply.tool_calls)
        usage: Usage = sane_usage(counts, request, produced)
        return msgspec.structs.replace(reply, model=self.name, usage=usage, cost=self.fields.pricing.cost(usage))

    async def _body(self, answer: Answer, end: float) -> AsyncGenerator[bytes, None]:
        """Yield the body; anything that the transport raises is a broken connection."""
        size = 0
        chunks = answer.iter_bytes()
        while True:
            try:
                async with asyncio.timeout_at(end):
                    chunk = await anext(chunks, None)
            except TimeoutError:
                raise self._too_late() from None
            except Exception as error:
                raise Unreachable(f"{self.owner}: the connection broke: {type(error).__name__}") from None
            if chunk is None:
                return
            size += len(chunk)
            if size > self.fields.max_reply:
                raise self.bad(f"the answer is larger than spec.maxReply ({self.fields.max_reply} bytes)")
            yield chunk

    async def _no_stream(self, answer: Answer, body: AsyncGenerator[bytes, None]) -> LoomdError:
        text = b"".join([chunk async for chunk in body])
        try:
            found = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            found = None
        if isinstance(found, dict) and found.get("error"):
            return self.error(found["error"])
        kind = answer.headers.get("content-type", "") or "nothing"
        return self.bad(f"expected an event stream, got {kind}: check that spec.baseUrl is the address of the API")

    def _translate(self, error: Exception) -> LoomdError:
        status = getattr(error, "status_code", None)
        if not isinstance(status, int):
            cause = type(error.__cause__ or error).__name__
            return Unreachable(f"{self.owner}: cannot reach {_place(self.url)} ({cause}): is it running?")
        headers: Mapping[str, str] = getattr(getattr(error, "response", None), "headers", {})
        return self._masked(from_status(self.owner, status, headers, getattr(error, "body", None), self._clock.now()))

    def _too_late(self) -> Unreachable:
        return Unreachable(f"{self.owner}: no whole answer within spec.deadline ({self.fields.deadline:g} s)")

    def _masked(self, error: LoomdError) -> LoomdError:
        text = str(error)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        error.args = (text,)
        return error


def user_text(message: Message) -> str:
    """Return a user turn as one text, its passages before the question."""
    if not message.passages:
        return message.text
    return f"{render_passages(message.passages)}\n\n{message.text}"


def tool_call(ident: str, name: str, arguments: str) -> ToolCall:
    """Return a call from its parts; arguments that are no JSON object are kept under `UNREADABLE` for the model."""
    try:
        decoded = msgspec.json.decode(arguments or "{}")
    except (msgspec.DecodeError, UnicodeDecodeError):
        decoded = None
    return ToolCall(ident, name, decoded if isinstance(decoded, dict) else {UNREADABLE: arguments})


async def _events(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the data of each server-sent event; one that is cut off at the end is dropped."""
    rest = b""
    data: list[bytes] = []
    async for chunk in body:
        lines = (rest + chunk).split(b"\n") if rest else chunk.split(b"\n")
        rest = lines.pop()
        for raw in lines:
            line = raw.rstrip(b"\r")
            if line.startswith(b"data:"):
                data.append(line[5:].strip())
            elif not line and data:
                yield b"\n".join(data)
                data = []


def _read_key(fields: RemoteFields, owner: str, url: str, variable: str) -> str:
    if fields.api_key is not None:
        return fields.api_key.read(owner, "spec.apiKey")
    if fields.base_url is not None and is_loopback(url):
        return ""
    return Secret(value_from=SecretSource(env=variable)).read(owner, "spec.apiKey")


def is_loopback(url: str) -> bool:
    """Return whether an address is on this machine."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
