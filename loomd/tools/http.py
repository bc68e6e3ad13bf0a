"""HTTP: one request to a web service, on the public internet only.

The manifest says how the request is made from the arguments; `web` sees to where it may go.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from pydantic import Field, field_validator

from loomd.errors import Permanent, ToolFailed
from loomd.manifest.kind import Reload
from loomd.manifest.quantity import Bytes
from loomd.manifest.rule import spelled
from loomd.manifest.secret import Secret, literal_secrets, secrets_in_url
from loomd.manifest.template import Template, render
from loomd.messages import JsonObject, ToolSchema
from loomd.tools.access import Access
from loomd.tools.base import LiveTool, ToolSpec
from loomd.tools.context import ToolContext, with_context
from loomd.tools.parameters import arguments_validator, parameter_faults, refuse_misfits
from loomd.tools.placeholder import fill_json, fill_path, fill_query, names_in
from loomd.tools.web import ADDRESS, FIXED_HOST, KEY, Web, WebAnswer, WebRequest, open_web
from loomd.topology import Parts

_AS_IT_IS = "{{ text }}"


class HttpTool(ToolSpec):
    """Calls a web service; the body of the answer is the result, or what a template makes of it."""

    type: Literal["http"] = "http"
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """HTTP method."""
    url: str = Field(json_schema_extra=spelled(ADDRESS, FIXED_HOST), examples=["https://api.example.com/books/{id}"])
    """Address; `{name}` in the path is filled with the percent-encoded argument. The host is fixed. Here, in `query`
    and in `body` `{context.session}` and its like are filled with what is said of the call: `task`, `namespace`,
    `agent`, `session`, `tenant`, `user`, `key`, and the fields of the agent's `toolContext`; what is empty is
    missing."""
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
    response: Annotated[str, Template("status", "headers.*", "json.*", "text")] = Field(
        default=_AS_IT_IS, examples=["{{ json.title }}: {{ json.summary }}"]
    )
    """What the model is shown of an answer: a template over `status` (a number), `headers` (by their names in small
    letters), `json` (the body, if it is JSON) and `text` (the body as it is). One that cannot be rendered, because a
    field is missing for example, fails the call. An answer with a status from 400 on is a failure before that."""
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
        for pattern, message in (ADDRESS, FIXED_HOST):
            if not re.search(pattern, value) or not urlsplit(value).hostname:
                raise ValueError(message)
        return value

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield placeholders that are no parameter, and secrets that stand in the manifest."""
        yield from super().check(root)
        fixed = {name: text for name, text in self.query.items() if not any(names_in(text))}
        yield from literal_secrets(self.headers, "/headers")
        yield from literal_secrets(fixed, "/query")
        yield from secrets_in_url(self.url, "/url", "spec.query or spec.headers")
        yield from parameter_faults(self.parameters, ("/url", self.url), ("/query", self.query), ("/body", self.body))

    def declared(self, name: str) -> ToolSchema:
        """Return what a model is told."""
        return ToolSchema(name, self.description or f"{self.method} {self.url}", self.parameters)

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[LiveTool, None]:
        """Yield the live tool.

        Raises:
            Unauthorized: a secret is missing.
            Permanent: `parameters` is no JSON Schema.
        """
        owner = str(parts.declared.ref)
        validator = arguments_validator(owner, self.parameters)
        access = Access(self, parts, lambda spec: spec.url)
        _headers(access)
        _secret_query(access)
        async with open_web(owner, self.allow_hosts, self.max_response, self.max_redirects) as web:
            request = _Request(self, web, validator, access)
            yield LiveTool(self.declared(parts.name), self, request, parts)


class _Request:
    """Makes the request of one tool."""

    def __init__(self, spec: HttpTool, web: Web, validator: Any, access: Access[HttpTool]) -> None:
        self._spec = spec
        self._web = web
        self._validator = validator
        self._access = access
        self._query = {name: value for name, value in spec.query.items() if isinstance(value, str)}

    async def __call__(self, arguments: JsonObject, context: ToolContext | None = None) -> str:
        from yarl import URL  # noqa: PLC0415  # comes with aiohttp, which costs 0.2 s

        refuse_misfits(self._validator, arguments)
        spec = self._spec
        arguments = with_context(arguments, context)
        url = URL(fill_path(spec.url, arguments), encoded=True)
        pairs = fill_query(self._query, arguments) + _secret_query(self._access)
        url = url.extend_query(pairs) if pairs else url
        body = None if spec.body is None else msgspec.json.encode(fill_json(spec.body, arguments))
        headers = _headers(self._access)
        if context is not None and spec.idempotent:  # says by its key that it is the same call
            headers = {KEY: context.key, **headers}
        answer = await self._web.send(WebRequest(spec.method, url, headers, body, mask=self._access.mask))
        if spec.response == _AS_IT_IS:
            return answer.text
        try:
            return await asyncio.to_thread(_shaped, spec.response, answer)  # of a large answer it takes time
        except Permanent as error:
            raise ToolFailed(f"spec.response: {error}") from error


def _shaped(template: str, answer: WebAnswer) -> str:
    """Return what a template makes of an answer.

    Raises:
        Permanent: it cannot be rendered; the text says why.
    """
    values: dict[str, object] = {"status": answer.status, "headers": answer.headers, "text": answer.text}
    with suppress(msgspec.DecodeError, RecursionError):
        values["json"] = msgspec.json.decode(answer.text)
    return render(template, **values)


def _headers(access: Access[HttpTool]) -> dict[str, str]:
    """Return the headers to send."""
    return access.texts("spec.headers", access.declared().headers)


def _secret_query(access: Access[HttpTool]) -> list[tuple[str, str]]:
    """Return the query parameters that are secrets."""
    secrets = {name: value for name, value in access.declared().query.items() if isinstance(value, Secret)}
    return list(access.texts("spec.query", secrets).items())
