"""HTTP: one request to a web service, on the public internet only.

Every name is resolved once and every address checked, on each redirect too; proxies of the environment are ignored,
credentials stay with the host that they were declared for, and no answer is larger than allowed.
"""

import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from pydantic import Field, field_validator

from loomd.errors import Permanent, ToolFailed, Unauthorized
from loomd.manifest.inline_schema import BadSchema, schema_faults, validator_of
from loomd.manifest.keyring import Keyring, entitled
from loomd.manifest.kind import Reload
from loomd.manifest.quantity import Bytes
from loomd.manifest.rule import spelled
from loomd.manifest.secret import Secret, literal_secrets, secrets_in_url
from loomd.messages import JsonObject, ToolSchema
from loomd.tools.address import PublicResolver
from loomd.tools.base import LiveTool, ToolSpec
from loomd.tools.context import ToolContext
from loomd.tools.placeholder import fill_json, fill_path, fill_query, names_in
from loomd.topology import Parts

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession
    from yarl import URL

_ADDRESS = (r"^[hH][tT][tT][pP][sS]?://[^/?#:\s]", "expected an address such as https://host/path/{name}")
_FIXED_HOST = (
    r"^[^/]*//[^/?#{@]*([/?#]|$)",
    "expected a host without placeholder and password: use headers with valueFrom",
)
_KEY = "Idempotency-Key"
"""Header that tells a service that a call is made again (IETF draft-ietf-httpapi-idempotency-key-header)."""
_REDIRECTS = (301, 302, 303, 307, 308)


class HttpTool(ToolSpec):
    """Calls a web service; the body of the answer is the result."""

    type: Literal["http"] = "http"
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """HTTP method."""
    url: str = Field(json_schema_extra=spelled(_ADDRESS, _FIXED_HOST), examples=["https://api.example.com/books/{id}"])
    """Address; `{name}` in the path is filled with the percent-encoded argument. The host is fixed."""
    query: dict[str, str | Secret] = Field(default_factory=dict, examples=[{"q": "{query}"}])
    """Query parameters; `{name}` is filled with the argument, and a parameter without its argument is left out; what
    may be a secret is named with valueFrom."""
    headers: Annotated[dict[str, str | Secret], Reload("immediate")] = Field(
        default={}, examples=[{"accept": "text/plain"}]
    )
    """Headers; they are sent to the declared host only, never to where it redirects; what may be a secret is named
    with valueFrom."""
    body: Any = Field(default=None, examples=[{"query": "{query}"}])
    """JSON body; a string `"{name}"` is replaced by the argument with its type, inside other text by its text."""
    parameters: JsonObject = {"type": "object", "properties": {}}  # noqa: RUF012  # pydantic copies defaults
    """JSON Schema (of type object) of the arguments."""
    allow_hosts: list[str] = Field(default_factory=list, examples=[["intranet.example.com"]])
    """Hosts that may be reached although they are private or on this machine, as written in the URL."""
    max_response: Bytes = Field(default=1 << 20, ge=1)
    """Largest answer on the wire, decompressed; a longer one fails the call."""
    max_redirects: int = Field(default=3, ge=0, le=3)
    """How many redirects are followed; each is checked like the first address."""

    @field_validator("url")
    @classmethod
    def _fixed_host(cls, value: str) -> str:
        for pattern, message in (_ADDRESS, _FIXED_HOST):
            if not re.search(pattern, value) or not urlsplit(value).hostname:
                raise ValueError(message)
        return value

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield placeholders that are no parameter, and secrets that stand in the manifest."""
        del root
        fixed = {name: text for name, text in self.query.items() if not any(names_in(text))}
        yield from literal_secrets(self.headers, "/headers")
        yield from literal_secrets(fixed, "/query")
        yield from secrets_in_url(self.url, "/url", "spec.query or spec.headers")
        properties = self.parameters.get("properties")
        if self.parameters.get("type") != "object" or not isinstance(properties, dict):
            yield "/parameters", "expected a JSON Schema of type object with properties", "invalid-value"
            return
        yield from schema_faults(self.parameters, "/parameters")
        for pointer, template in (("/url", self.url), ("/query", self.query), ("/body", self.body)):
            for name in dict.fromkeys(names_in(template)):
                if name not in properties:
                    known = ", ".join(properties) or "none"
                    text = f"expected a property of spec.parameters, got {{{name}}}: the properties are {known}"
                    yield pointer, text, "invalid-value"

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[LiveTool, None]:
        """Yield the live tool.

        Raises:
            Unauthorized: a secret is missing.
            Permanent: `parameters` is no JSON Schema.
        """
        from aiohttp import ClientSession, DummyCookieJar, TCPConnector  # noqa: PLC0415  # costs 0.2 s

        owner = str(parts.declared.ref)
        try:
            validator = validator_of(self.parameters)
        except BadSchema as error:
            raise Permanent(f"{owner} spec.parameters: {error}") from error
        access = _Access(self, parts)
        access.headers()
        access.secret_query()
        resolver: Any = PublicResolver(owner, self.allow_hosts)
        connector = TCPConnector(resolver=resolver, use_dns_cache=False)
        description = self.description or f"{self.method} {self.url}"
        async with ClientSession(connector=connector, cookie_jar=DummyCookieJar(), trust_env=False) as session:
            request = _Request(self, session, resolver, validator, access)
            yield LiveTool(ToolSchema(parts.name, description, self.parameters), self, request, parts)


class _Access:
    """The headers and secrets of one tool, as they are declared and kept at the time of a call."""

    def __init__(self, spec: HttpTool, parts: Parts) -> None:
        self._spec = spec
        self._latest = parts.latest
        self._owner = str(parts.declared.ref)
        self._keyring = Keyring(self._owner)
        self.mask = self._keyring.mask

    def headers(self) -> dict[str, str]:
        """Return the headers to send.

        Raises:
            Unauthorized: a secret is missing, or meant for another host now.
        """
        return self._keyring.texts("spec.headers", self._declared().headers)

    def secret_query(self) -> list[tuple[str, str]]:
        """Return the query parameters that are secrets.

        Raises:
            Unauthorized: a secret is missing, or meant for another host now.
        """
        secrets = {name: value for name, value in self._declared().query.items() if isinstance(value, Secret)}
        return list(self._keyring.texts("spec.query", secrets).items())

    def _declared(self) -> HttpTool:
        item = self._latest()
        spec = self._spec if item is None else entitled(self._spec, item.spec, lambda spec: spec.url)
        if spec is None:
            raise Unauthorized(f"{self._owner} has other secrets now; the old ones are not used any more")
        return spec


class _Request:
    """Makes the request of one tool."""

    def __init__(
        self,
        spec: HttpTool,
        session: "ClientSession",
        resolver: PublicResolver,
        validator: Any,
        access: _Access,
    ) -> None:
        self._spec = spec
        self._session = session
        self._resolver = resolver
        self._validator = validator
        self._access = access
        self._query = {name: value for name, value in spec.query.items() if isinstance(value, str)}

    async def __call__(self, arguments: JsonObject, context: ToolContext | None = None) -> str:
        wrong = [
            f"{'.'.join(str(part) for part in error.instance_path) or 'arguments'}: {error.message}"
            for error in self._validator.iter_errors(arguments)
        ]
        if wrong:
            raise ToolFailed(f"the arguments are refused: {'; '.join(wrong[:10])}")
        key = context.key if context is not None and self._spec.idempotent else ""
        return self._access.mask(await self._send(arguments, key))

    async def _send(self, arguments: JsonObject, key: str) -> str:
        """Follow redirects by hand, so that every address is checked and no credential travels.

        A call that may be made twice says by its key that it is the same one.
        """
        from aiohttp import ClientError  # noqa: PLC0415  # see `open`
        from yarl import URL  # noqa: PLC0415  # comes with aiohttp

        spec = self._spec
        url = URL(fill_path(spec.url, arguments), encoded=True)
        pairs = fill_query(self._query, arguments) + self._access.secret_query()
        url = url.extend_query(pairs) if pairs else url
        method: str = spec.method
        body = None if spec.body is None else msgspec.json.encode(fill_json(spec.body, arguments))
        headers = self._access.headers()
        if key:
            headers = {_KEY: key, **headers}
        for _ in range(spec.max_redirects + 1):
            self._check(url)
            sent = {**headers, "Content-Type": "application/json"} if body is not None else headers
            try:
                async with self._session.request(method, url, data=body, headers=sent, allow_redirects=False) as answer:
                    if answer.status not in _REDIRECTS or "Location" not in answer.headers:
                        return await self._read(answer)
                    target = _target(url, answer.headers["Location"])
            except (ClientError, OSError) as error:
                if isinstance(error, TimeoutError):
                    raise
                raise ToolFailed(f"{url.host} cannot be reached: {type(error).__name__}") from error
            if target.origin() != url.origin():
                headers = {}
            if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
                method, body = "GET", None
            url = target
        raise ToolFailed(f"more than {spec.max_redirects} redirects")

    def _check(self, url: "URL") -> None:
        if url.scheme not in ("http", "https") or not url.host or url.user is not None:
            raise ToolFailed("a redirect leads to an address that is not http or https")
        self._resolver.check_literal(url.host)

    async def _read(self, answer: "ClientResponse") -> str:
        data = bytearray()
        async for chunk in answer.content.iter_chunked(64 << 10):
            data += chunk
            if len(data) > self._spec.max_response:
                raise ToolFailed(f"the answer is larger than {self._spec.max_response} bytes")
        try:
            text = data.decode(answer.charset or "utf-8", "replace")
        except LookupError:
            text = data.decode("utf-8", "replace")
        if answer.status >= 400:
            raise ToolFailed(f"HTTP {answer.status}: {self._access.mask(text)[:500]}")
        return text


def _target(url: "URL", location: str) -> "URL":
    """Return where a redirect leads.

    Raises:
        ToolFailed: the address cannot be read.
    """
    try:
        target = url.join(type(url)(location))
        target.origin()
    except ValueError as error:
        raise ToolFailed("a redirect leads to an address that cannot be read") from error
    return target
