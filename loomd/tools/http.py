"""HTTP: one request to a web service, on the public internet only.

Every name is resolved once and every address checked, on each redirect too; proxies of the environment are ignored,
credentials stay with the host that they were declared for, and no answer is larger than allowed.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import msgspec
from pydantic import Field, field_validator

from loomd.errors import Permanent, ToolFailed
from loomd.manifest.quantity import Bytes
from loomd.manifest.secret import Secret, literal_secrets, secrets_in_url
from loomd.messages import JsonObject, ToolSchema
from loomd.tools.address import PublicResolver
from loomd.tools.base import LiveTool, ToolSpec
from loomd.tools.placeholder import fill_json, fill_path, fill_query, names_in
from loomd.topology import Parts

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession
    from yarl import URL

_REDIRECTS = (301, 302, 303, 307, 308)


class HttpTool(ToolSpec):
    """Calls a web service; the body of the answer is the result."""

    type: Literal["http"] = "http"
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """HTTP method."""
    url: str
    """Address; `{name}` in the path is filled with the percent-encoded argument. The host is fixed."""
    query: dict[str, str | Secret] = Field(default_factory=dict)
    """Query parameters; `{name}` is filled with the argument, and a parameter without its argument is left out; what
    may be a secret is named with valueFrom."""
    headers: dict[str, str | Secret] = Field(default_factory=dict)
    """Headers; they are sent to the declared host only, never to where it redirects; what may be a secret is named
    with valueFrom."""
    body: Any = None
    """JSON body; a string `"{name}"` is replaced by the argument with its type, inside other text by its text."""
    parameters: JsonObject = {"type": "object", "properties": {}}  # noqa: RUF012  # pydantic copies defaults
    """JSON Schema (of type object) of the arguments."""
    allow_hosts: list[str] = Field(default_factory=list)
    """Hosts that may be reached although they are private or on this machine, as written in the URL."""
    max_response: Bytes = Field(default=1 << 20, ge=1)
    """Largest answer on the wire, decompressed; a longer one fails the call."""
    max_redirects: int = Field(default=3, ge=0, le=3)
    """How many redirects are followed; each is checked like the first address."""

    @field_validator("url")
    @classmethod
    def _fixed_host(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected an address such as https://host/path/{name}")
        if "{" in parts.netloc or "@" in parts.netloc:
            raise ValueError("the host holds no placeholder and no password: use headers with valueFrom")
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
            yield "/parameters", "expected a JSON Schema of type object with properties"
            return
        for pointer, template in (("/url", self.url), ("/query", self.query), ("/body", self.body)):
            for name in dict.fromkeys(names_in(template)):
                if name not in properties:
                    known = ", ".join(properties) or "none"
                    yield pointer, f"placeholder {{{name}}} is no property of spec.parameters (found: {known})"

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[LiveTool, None]:
        """Yield the live tool.

        Raises:
            Unauthorized: a header's secret is missing.
            Permanent: `parameters` is no JSON Schema.
        """
        from aiohttp import ClientSession, DummyCookieJar, TCPConnector  # noqa: PLC0415  # costs 0.2 s

        owner = str(parts.declared.ref)
        validator = _validator(owner, self.parameters)
        secrets = {
            field: {
                name: value.read(owner, f"spec.{field}.{name}")
                for name, value in values.items()
                if isinstance(value, Secret)
            }
            for field, values in (("headers", self.headers), ("query", self.query))
        }
        resolver: Any = PublicResolver(owner, self.allow_hosts)
        connector = TCPConnector(resolver=resolver, use_dns_cache=False)
        description = self.description or f"{self.method} {self.url}"
        async with ClientSession(connector=connector, cookie_jar=DummyCookieJar(), trust_env=False) as session:
            request = _Request(self, session, resolver, validator, secrets)
            yield LiveTool(ToolSchema(parts.name, description, self.parameters), self, request)


def _validator(owner: str, schema: JsonObject) -> Any:
    import jsonschema_rs  # noqa: PLC0415  # a compiled library that validation need not load

    try:
        return jsonschema_rs.validator_for(schema)
    except ValueError as error:
        raise Permanent(f"{owner} spec.parameters: no valid JSON Schema: {str(error).splitlines()[0]}") from error


class _Request:
    """Makes the request of one tool."""

    def __init__(
        self,
        spec: HttpTool,
        session: "ClientSession",
        resolver: PublicResolver,
        validator: Any,
        secrets: dict[str, dict[str, str]],
    ) -> None:
        self._spec = spec
        self._session = session
        self._resolver = resolver
        self._validator = validator
        self._headers = _texts(spec.headers) | secrets["headers"]
        self._query = _texts(spec.query)
        self._secret_query = list(secrets["query"].items())
        self._secrets = [text for found in secrets.values() for text in found.values() if len(text) > 3]

    async def __call__(self, arguments: JsonObject) -> str:
        wrong = [
            f"{'.'.join(str(part) for part in error.instance_path) or 'arguments'}: {error.message}"
            for error in self._validator.iter_errors(arguments)
        ]
        if wrong:
            raise ToolFailed(f"the arguments are refused: {'; '.join(wrong[:10])}")
        return self._mask(await self._send(arguments))

    async def _send(self, arguments: JsonObject) -> str:
        """Follow redirects by hand, so that every address is checked and no credential travels."""
        from aiohttp import ClientError  # noqa: PLC0415  # see `open`
        from yarl import URL  # noqa: PLC0415  # comes with aiohttp

        spec = self._spec
        url = URL(fill_path(spec.url, arguments), encoded=True)
        pairs = fill_query(self._query, arguments) + self._secret_query
        url = url.extend_query(pairs) if pairs else url
        method: str = spec.method
        body = None if spec.body is None else msgspec.json.encode(fill_json(spec.body, arguments))
        headers = dict(self._headers)
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
            raise ToolFailed(self._mask(f"HTTP {answer.status}: {text[:500]}"))
        return text

    def _mask(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _texts(values: Mapping[str, str | Secret]) -> dict[str, str]:
    return {name: value for name, value in values.items() if isinstance(value, str)}


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
