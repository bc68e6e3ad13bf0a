"""OpenAPI: the operations of a web service, taken from the document that describes it.

Each operation is a tool with a schema of its own. Requests go where those of the type `http` may go, and by the same
code. The document is read when manifests are validated, from a file below the root or from the manifest itself; nothing
is fetched.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import msgspec
from pydantic import ConfigDict, Field, field_validator, model_validator

from loomd.errors import Permanent
from loomd.manifest.document import read_documents
from loomd.manifest.inline_schema import validator_of
from loomd.manifest.inside import inside, named
from loomd.manifest.kind import Reload
from loomd.manifest.places import Document
from loomd.manifest.quantity import Bytes
from loomd.manifest.rule import exactly_one, spelled
from loomd.manifest.secret import Secret, literal_secrets, secrets_in_url
from loomd.manifest.source import MAX_BYTES
from loomd.messages import JsonObject, ToolSchema
from loomd.tools.access import Access
from loomd.tools.base import Effects, LiveTool
from loomd.tools.context import ToolContext
from loomd.tools.openapi_document import OpenApi, Operation, Parameter, Place
from loomd.tools.parameters import refuse_misfits
from loomd.tools.placeholder import as_segment, as_text
from loomd.tools.toolset import Declared, Listed, ToolSetSpec, barred, name_of
from loomd.tools.web import ADDRESS, FIXED_HOST, KEY, Web, WebRequest, open_web
from loomd.topology import Parts

_READS = frozenset(("GET", "HEAD", "OPTIONS"))
_REPEATABLE = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))
"""Methods of which HTTP says that a second request like the first changes nothing more (RFC 9110)."""
_SPACED = {"spaceDelimited": " ", "pipeDelimited": "|"}


class OpenApiTool(ToolSetSpec):
    """The operations of a web service that an OpenAPI document describes."""

    model_config = ConfigDict(json_schema_extra=exactly_one("file", "document"))

    type: Literal["openapi"] = "openapi"
    file: str | None = Field(default=None, examples=["apis/library.json"])
    """Path of the document, OpenAPI 3.0 or 3.1 as YAML or JSON, from the manifest's root and below it."""
    document: JsonObject | None = Field(default=None, examples=[{"openapi": "3.1.0", "paths": {}}])
    """The document itself, instead of a file."""
    url: str | None = Field(
        default=None, json_schema_extra=spelled(ADDRESS, FIXED_HOST), examples=["https://api.example.com/v1"]
    )
    """Address that the document's paths are put behind; by default that of its first server."""
    headers: Annotated[dict[str, str | Secret], Reload("immediate")] = Field(
        default={}, examples=[{"Authorization": {"valueFrom": {"env": "LIBRARY_TOKEN"}}}]
    )
    """Headers of every request, to the declared host only; what may be a secret is named with valueFrom. A parameter of
    the document with such a name is no argument."""
    query: dict[str, str | Secret] = Field(default_factory=dict, examples=[{"units": "metric"}])
    """Query parameters of every request, likewise."""
    effects: Effects = "external"
    """What a call by POST, PUT, PATCH or DELETE does to the world; one by GET or HEAD only reads. `overrides` says it
    of single operations."""
    idempotent: bool = False
    """Whether the same call by POST or PATCH may be made twice without harm; one by GET, HEAD, PUT or DELETE may."""
    include: Annotated[list[str], Reload("immediate")] = Field(default=[], examples=[["findBooks", "loans"]])
    """The operations that are offered, by `operationId` or by tag; none means all that `exclude` does not name. An
    operation without an id is named by method and path, such as `get_books_isbn`."""
    exclude: Annotated[list[str], Reload("immediate")] = Field(default=[], examples=[["deleteBook"]])
    """Operations that are not offered, by `operationId` or by tag."""
    allow_hosts: list[str] = Field(default_factory=list, examples=[["intranet.example.com"]])
    """Hosts that may be reached although they are private or on this machine, as written in the URL."""
    max_response: Bytes = Field(default=1 << 20, ge=1)
    """Largest answer on the wire, decompressed; a longer one fails the call."""
    max_redirects: int = Field(default=3, ge=0, le=3)
    """How many redirects are followed; each is checked like the first address."""

    @field_validator("url")
    @classmethod
    def _fixed_host(cls, value: str | None) -> str | None:
        if value is not None and (wrong := _misspelled(value)):
            raise ValueError(wrong)
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.file is None) == (self.document is None):
            raise ValueError("expected exactly one of file, document")
        return self

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield what is wrong with the document, names that no operation has, and secrets in the manifest."""
        yield from literal_secrets(self.headers, "/headers")
        yield from literal_secrets(self.query, "/query")
        yield from secrets_in_url(self.url or "", "/url", "spec.query or spec.headers")
        try:
            found, written = self._document(root)
        except Permanent as error:
            yield "/file", str(error)
            return
        for pointer, message in found.faults:
            if written is None:
                yield f"/document{pointer}", message, "invalid-value"
            else:
                yield "/file", f"{written.where(pointer)}: {message}"
        if found.faults:
            return
        base = self.url or found.server()
        if wrong := _misspelled(base):
            place = "/file" if self.document is None else "/document"
            yield place, f'{wrong} as the first of its servers, got "{base}": set spec.url', "invalid-value"
        tags = {tag for one in found.operations for tag in one.tags}
        yield from self.unknown([one.name for one in found.operations], tags)
        yield from self._alike(found.operations)
        for at, word in enumerate(self.include):
            for one in found.operations:
                if one.name == word and one.unusable:
                    yield f"/include/{at}", f'expected an operation that can be called, got "{word}": {one.unusable}'

    def _alike(self, operations: Sequence[Operation]) -> Iterator[tuple[str, str]]:
        """Yield operations that are offered and that models could not tell apart."""
        seen: dict[str, str] = {}
        for one in operations:
            if not one.unusable and self.chosen(one.name, *one.tags):
                name = name_of("", "", one.name)
                if seen.setdefault(name, one.name) != one.name:
                    text = f'expected operations with names of their own, got "{seen[name]}" and "{one.name}"'
                    yield ("/file" if self.document is None else "/document"), f"{text}: leave one out with exclude"

    def reads(self, root: Path) -> Iterator[Path]:
        """Yield the document's file."""
        if self.file is not None:
            yield named(root, self.file)

    def declared_in(self, root: Path, owner: str) -> Sequence[Declared]:
        """Return the operations that are offered."""
        return [
            Declared(one.name, self._schema(owner, one), self._ruled(one))
            for one in self._document(root)[0].operations
            if not one.unusable and self.chosen(one.name, *one.tags)
        ]

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["Operations", None]:
        """Yield the live tools.

        Raises:
            Unauthorized: a secret is missing.
            Permanent: the document cannot be used.
        """
        owner = str(parts.declared.ref)
        found, _ = await asyncio.to_thread(self._document, parts.root)
        if found.faults:
            raise Permanent(f"{owner} spec.file: {found.faults[0][1]}")
        access = Access(self, parts, _address)
        _sent(access)
        base = (self.url or found.server()).rstrip("/")
        async with open_web(owner, self.allow_hosts, self.max_response, self.max_redirects) as web:
            tools: list[LiveTool] = []
            for one in found.operations:
                if not one.unusable and self.chosen(one.name, *one.tags):
                    rules = self._ruled(one)
                    run = _Run(one, f"{base}{one.path}", web, access, rules)
                    reason = partial(barred, parts, one.name, *one.tags)
                    schema = self._schema(parts.name, one)
                    tools.append(LiveTool(schema, rules, run, parts, own=one.name, barred=reason))
            yield Operations(self, parts, found.operations, tuple(tools))

    def _schema(self, owner: str, one: Operation) -> ToolSchema:
        """Return what a model is told of an operation."""
        return ToolSchema(name_of(owner, self.prefix, one.name), self.described(one.name, one.description), one.schema)

    def _ruled(self, one: Operation) -> Self:
        """Return what is declared of one operation, where its method says nothing else."""
        spec, own = self.one(one.name), self.overrides.get(one.name)
        update: dict[str, Any] = {}
        if one.method in _READS and (own is None or own.effects is None):
            update["effects"] = "read"
        if one.method in _REPEATABLE and (own is None or own.idempotent is None):
            update["idempotent"] = True
        return spec.model_copy(update=update) if update else spec

    def _document(self, root: Path) -> tuple[OpenApi, Document | None]:
        """Return the document, and where its values stand when it is a file.

        Raises:
            Permanent: the file cannot be read.
        """
        fixed: set[tuple[Place, str]] = {("header", name.lower()) for name in self.headers}
        fixed |= {("query", name.lower()) for name in self.query}
        if self.file is None:
            return OpenApi(self.document, frozenset(fixed)), None
        path = inside(root, self.file)
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise Permanent(f'"{path.name}" cannot be read: {error.strerror}') from error
        return _read(data, self.file, frozenset(fixed))


@lru_cache(maxsize=16)
def _read(data: bytes, name: str, fixed: frozenset[tuple[Place, str]]) -> tuple[OpenApi, Document]:
    """Return the document in a file; one that did not change is not read again.

    Raises:
        Permanent: it is no YAML or JSON, or holds several documents.
    """
    documents, problems = read_documents(data, name)
    if problems:
        raise Permanent(str(problems[0]))
    if len(documents) != 1:
        raise Permanent(f'expected one document in "{name}", got {len(documents)}')
    return OpenApi(documents[0].value, fixed), documents[0]


def _misspelled(address: str) -> str:
    """Return what is expected of an address, or an empty string when it is as expected."""
    for pattern, message in (ADDRESS, FIXED_HOST):
        if not re.search(pattern, address) or not urlsplit(address).hostname:
            return message
    return ""


def _address(spec: OpenApiTool) -> str:
    """Return what secrets are meant for: the host, or the document that names it."""
    if spec.url is not None:
        return spec.url
    inline = b"" if spec.document is None else msgspec.json.encode(spec.document, order="deterministic")
    return f"document://{hashlib.sha256(inline + (spec.file or '').encode()).hexdigest()}"


def _sent(access: Access[OpenApiTool]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return the headers that every request has now, and the query parameters that are secrets.

    Raises:
        Unauthorized: a secret is missing, or was taken away.
    """
    now = access.declared()
    secrets = {name: value for name, value in now.query.items() if isinstance(value, Secret)}
    return access.texts("spec.headers", now.headers), list(access.texts("spec.query", secrets).items())


class Operations:
    """The live tools of one document; fits `loomd.agents.base.ToolSet`.

    Attributes:
        tools: the operations that are offered.
    """

    def __init__(
        self, spec: OpenApiTool, parts: Parts, operations: Sequence[Operation], tools: tuple[LiveTool, ...]
    ) -> None:
        self.tools = tools
        self._spec = spec
        self._parts = parts
        self._operations = operations

    def listed(self) -> Sequence[Listed]:
        """Return every operation, in order of their names."""
        live = {tool.schema.name: tool for tool in self.tools}
        rows: list[Listed] = []
        for one in sorted(self._operations, key=lambda one: one.name):
            name = name_of(self._parts.name, self._spec.prefix, one.name)
            rules = self._spec.one(one.name)
            state: Any = "Unusable" if one.unusable else "Offered" if name in live else "Excluded"
            effects = live[name].effects if name in live else rules.effects
            asked = live[name].approval if name in live else None
            people: Literal["never", "always"] = "never" if asked is None else "always"
            rows.append(Listed(name, one.name, state, effects, people, message=one.unusable))
        return rows


class _Run:
    """Makes the requests of one operation."""

    def __init__(self, one: Operation, address: str, web: Web, access: Access[OpenApiTool], rules: OpenApiTool) -> None:
        self._one = one
        self._address = address
        self._web = web
        self._access = access
        self._repeatable = rules.idempotent
        self._query = [(name, value) for name, value in rules.query.items() if isinstance(value, str)]
        self._validator = validator_of(one.schema)

    async def __call__(self, arguments: JsonObject, context: ToolContext | None = None) -> str:
        from yarl import URL  # noqa: PLC0415  # comes with aiohttp, which costs 0.2 s

        refuse_misfits(self._validator, arguments)
        one = self._one
        headers, query = _sent(self._access)
        given = [(item, arguments[item.argument]) for item in one.parameters if item.argument in arguments]
        address = self._address
        for item, value in given:
            if item.place == "path":
                address = address.replace(f"{{{item.name}}}", as_segment(item.argument, _simple(item, value)))
        url = URL(address, encoded=True)
        pairs = [pair for item, value in given if item.place == "query" for pair in _pairs(item, value)]
        pairs += self._query + query
        url = url.extend_query(pairs) if pairs else url
        headers = {item.name: _simple(item, value) for item, value in given if item.place == "header"} | headers
        if context is not None and self._repeatable and one.method not in _READS:
            headers = {KEY: context.key, **headers}
        body = msgspec.json.encode(arguments["body"]) if one.body and "body" in arguments else None
        content = one.body or "application/json"
        return (await self._web.send(WebRequest(one.method, url, headers, body, content, self._access.mask))).text


def _simple(item: Parameter, value: object) -> str:
    """Return a value as OpenAPI writes it in a path or header: parts with commas between them."""
    if item.style == "json" or not isinstance(value, list | dict):
        return as_text(value)
    if isinstance(value, list):
        return ",".join(as_text(one) for one in value)
    between = "=" if item.explode else ","
    return ",".join(f"{key}{between}{as_text(one)}" for key, one in value.items())


def _pairs(item: Parameter, value: object) -> list[tuple[str, str]]:
    """Return the query parameters that a value is written as."""
    if item.style == "json" or not isinstance(value, list | dict):
        return [(item.name, as_text(value))]
    if isinstance(value, list):
        if item.explode:
            return [(item.name, as_text(one)) for one in value]
        return [(item.name, _SPACED.get(item.style, ",").join(as_text(one) for one in value))]
    if item.style == "deepObject":
        return [(f"{item.name}[{key}]", as_text(one)) for key, one in value.items()]
    if item.explode:
        return [(key, as_text(one)) for key, one in value.items()]
    return [(item.name, _simple(item, value))]
