"""MCP: tools and resources of a Model Context Protocol server, which runs as a process here or answers at an address.

The server is not trusted. It gets no variable of the daemon that the manifest does not name, its tools are pinned at
first sight, what it says of their effects never loosens a rule unless the manifest says so, and whatever it does wrong
ends in a text. Prompts, sampling and elicitation are not used.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import msgspec
from pydantic import ConfigDict, Field, JsonValue, field_validator, model_validator

from loomd.errors import Permanent, ToolFailed, Unauthorized, Unreachable
from loomd.manifest.inline_schema import validator_of
from loomd.manifest.inside import below, inside, named
from loomd.manifest.kind import Reload
from loomd.manifest.program import program_faults
from loomd.manifest.quantity import Bytes, Duration
from loomd.manifest.rule import PATTERN_MESSAGE, exactly_one, spelled
from loomd.manifest.secret import Secret, literal_secrets, secrets_in_url
from loomd.messages import JsonObject, ToolSchema
from loomd.tools.access import Access
from loomd.tools.base import LiveTool
from loomd.tools.context import ToolContext
from loomd.tools.mcp_link import Broken, Caps, Command, Link, Streams, reach, run_process
from loomd.tools.mcp_pins import Pins, size_of, unusable
from loomd.tools.mcp_resources import OWN, READ, list_resources, read_resource, resource_tools
from loomd.tools.mcp_server import Patience, Said, Server
from loomd.tools.parameters import refuse_misfits
from loomd.tools.toolset import Listed, Override, ToolSetSpec, barred, name_of
from loomd.tools.web import ADDRESS, FIXED_HOST, open_web
from loomd.topology import Health, Parts

_PIN_RULE: dict[str, JsonValue] = {
    PATTERN_MESSAGE: "expected a pin, 32 hexadecimal digits as `loomd describe` shows them"
}
Pin = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", json_schema_extra=_PIN_RULE)]


class McpTool(ToolSetSpec):
    """The tools of an MCP server, and its resources as tools."""

    model_config = ConfigDict(json_schema_extra=exactly_one("command", "url"))

    type: Literal["mcp"] = "mcp"
    command: str | None = Field(default=None, min_length=1, examples=["npx"])
    """Program that is the server and speaks on its standard streams: a name that is looked up in `PATH`, an absolute
    path, or a path with a slash below the manifest's root."""
    args: list[str] = Field(
        default_factory=list, examples=[["-y", "@modelcontextprotocol/server-everything@2026.8.31"]]
    )
    """Arguments of the program."""
    env: dict[str, str | Secret] = Field(
        default_factory=dict, examples=[{"TOKEN": {"valueFrom": {"env": "WIKI_TOKEN"}}}]
    )
    """Variables of the program; of the daemon's own it gets `PATH`, `HOME` and `LANG` only. What may be a secret is
    named with valueFrom."""
    cwd: str = Field(default=".", examples=["data"])
    """Folder in which the program runs, from the manifest's root and below it; by default the root."""
    url: str | None = Field(
        default=None, json_schema_extra=spelled(ADDRESS, FIXED_HOST), examples=["https://mcp.example.com/mcp"]
    )
    """Address of a server that speaks streamable HTTP, instead of a program."""
    headers: Annotated[dict[str, str | Secret], Reload("immediate")] = Field(
        default={}, examples=[{"Authorization": {"valueFrom": {"env": "WIKI_TOKEN"}}}]
    )
    """Headers of every request to `url`; what may be a secret is named with valueFrom."""
    allow_hosts: list[str] = Field(default_factory=list, examples=[["intranet.example.com"]])
    """Hosts that may be reached although they are private or on this machine, as written in the URL."""
    pins: Annotated[dict[str, Pin], Reload("immediate")] = Field(
        default={}, examples=[{"read_file": "3f2a9c0d5b7e41866a0f1c2d3e4f5061"}]
    )
    """What a person accepted of single tools: the hash of name, description, schema and hints, which `loomd describe`
    shows. A tool that is not named here is pinned at first sight. One that is not as pinned is not offered."""
    resources: Annotated[bool, Reload("immediate")] = False
    """Whether the resources of the server can be used: by the tools `list_resources` and `read_resource`, which are
    offered as long as the server says that it has resources. They count as `effects: read` unless `overrides` says
    otherwise, `include` need not name them, and they have no pins: what they say of themselves is not the server's."""
    max_resources: int = Field(default=1000, ge=1, le=100_000)
    """Most resources and templates that are listed; a list ends at the size `keep`, too."""
    trust_hints: bool = False
    """Whether the server is believed when it says that a tool only reads or may be called twice. Otherwise its hints
    only tighten: what it says is not read-only is never taken for `read`."""
    start_timeout: Duration = Field(default=30.0, gt=0)
    """Longest time until the server has started, or answered to a question that is not a call."""
    stop_timeout: Duration = Field(default=2.0, gt=0)
    """Time that the program gets to end by itself, and again after it was asked to; then its group is killed."""
    refresh: Duration = Field(default=300.0, gt=0)
    """Time after which the server is asked again for its tools, beside whenever it says that they changed."""
    retry: Duration = Field(default=1.0, gt=0)
    """Pause before a server that failed is started or reached again; each further one is twice as long."""
    max_retry: Duration = Field(default=60.0, gt=0)
    """Longest such pause."""
    max_tools: int = Field(default=128, ge=1, le=1000)
    """Most tools that are taken from the server; more are not listened to."""
    max_tool: Bytes = Field(default=16 << 10, ge=1)
    """Largest description and schema of one tool, together; a larger one is not offered, it would fill the prompt."""
    max_message: Bytes = Field(default=4 << 20, ge=1)
    """Largest message of the server; a larger one ends the connection."""
    max_rate: int = Field(default=500, ge=1)
    """Most messages of the server in a second; more end the connection."""

    @field_validator("url")
    @classmethod
    def _fixed_host(cls, value: str | None) -> str | None:
        for pattern, message in (ADDRESS, FIXED_HOST):
            if value is not None and (not re.search(pattern, value) or not urlsplit(value).hostname):
                raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("expected exactly one of command, url")
        return self

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield a program or folder that is missing, and secrets that stand in the manifest."""
        for name in OWN if self.resources else ():
            if name in self.pins:
                text = (
                    f'expected the name of a tool of the server, got "{name}": a tool of loomd has no pin, leave it out'
                )
                yield f"/pins/{name}", text, "invalid-value"
        yield from literal_secrets(self.env, "/env")
        yield from literal_secrets(self.headers, "/headers")
        yield from secrets_in_url(self.url or "", "/url", "spec.headers")
        try:
            if not below(root, self.cwd, "a folder").is_dir():
                yield "/cwd", f'expected a folder below {root}, got the file "{self.cwd}"'
        except Permanent as error:
            yield "/cwd", str(error)
        if self._own_program is not None:
            try:
                inside(root, self._own_program)
            except Permanent as error:
                yield "/command", str(error)
        elif self.command is not None:
            yield from program_faults(self.command, "/command")

    def reads(self, root: Path) -> Iterator[Path]:
        """Yield the program, when it is one below the root."""
        if self._own_program is not None:
            yield named(root, self._own_program)

    def chosen(self, *names: str) -> bool:
        """Return whether a tool is offered."""
        if self.resources and names[0] in OWN:
            return names[0] not in self.exclude
        return super().chosen(*names)

    @property
    def _own_program(self) -> str | None:
        """Return the path of a program below the root."""
        own = self.command is not None and "/" in self.command and not Path(self.command).is_absolute()
        return self.command if own else None

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["McpTools", None]:
        """Yield the live tools.

        When nothing is known of the server yet this waits for its first answer, or for its first failure.

        Raises:
            Unauthorized: a secret is missing.
            Permanent: the program is not there any more.
        """
        access = Access(self, parts, _address)
        caps = Caps(self.max_message, self.max_rate, self.max_tools, self.start_timeout, self.stop_timeout)
        patience = Patience(self.refresh, self.retry, self.max_retry)
        pins = await asyncio.to_thread(
            Pins, parts.state_dir / "pins.json", [self.command, self.args, self.cwd, self.url]
        )
        async with self._linked(parts, access, caps) as link:
            tools = McpTools(self, parts, pins, access)
            server = tools.server = Server(
                str(parts.declared.ref), link, caps, patience, parts.services.clock, tools.hear, access.mask
            )
            running = asyncio.create_task(server.run(), name=f"mcp {parts.name}")  # noqa: TID251  # kept until it ends
            try:
                if not pins.pinned:
                    await server.settled()
                yield tools
            finally:
                await server.close(running)

    @asynccontextmanager
    async def _linked(self, parts: Parts, access: Access["McpTool"], caps: Caps) -> AsyncGenerator[Link, None]:
        """Yield what opens a link to the server."""
        if self.url is None:
            _variables(access)
            words = [
                str(inside(parts.root, self._own_program)) if self._own_program else self.command or "",
                *self.args,
            ]
            folder = below(parts.root, self.cwd, "a folder")
            yield lambda broken: _started(words, folder, access, caps, broken)
            return
        url = self.url
        _headers(access)
        async with open_web(str(parts.declared.ref), self.allow_hosts, self.max_message, 0) as web:
            yield lambda broken: reach(web, url, partial(_headers, access), caps, broken)


def _address(spec: McpTool) -> str:
    """Return what secrets are meant for: the host, or the program."""
    if spec.url is not None:
        return spec.url
    words = msgspec.json.encode([spec.command, spec.args, spec.cwd])
    return f"process://{hashlib.sha256(words).hexdigest()}"


def _headers(access: Access[McpTool]) -> dict[str, str]:
    return access.texts("spec.headers", access.declared().headers)


def _variables(access: Access[McpTool]) -> dict[str, str]:
    return access.texts("spec.env", access.declared().env)


@asynccontextmanager
async def _started(
    words: Sequence[str], folder: Path, access: Access[McpTool], caps: Caps, broken: Broken
) -> AsyncGenerator[Streams, None]:
    """Start the program with its variables as they are now."""
    try:
        variables = _variables(access)
    except Unauthorized as error:
        raise Unreachable(str(error)) from error
    async with run_process(Command(words, variables, folder), caps, broken) as streams:
        yield streams


class McpTools:
    """The live tools of one server; fits `loomd.agents.base.ToolSet`.

    Attributes:
        tools: what agents may be offered: all that was pinned, whether the server is there or not.
        server: the server.
    """

    server: Server

    def __init__(self, spec: McpTool, parts: Parts, pins: Pins, access: Access[McpTool]) -> None:
        self._spec = spec
        self._parts = parts
        self._pins = pins
        self._access = access
        self._own = resource_tools(self._name) if spec.resources else ()
        self._made: dict[str, LiveTool] = {}
        self._bad: dict[str, str] = {}
        self.tools: tuple[LiveTool, ...] = ()
        self._arrange()

    def health(self) -> tuple[Health, ...]:
        """Return how the connection is, and whether tools are withdrawn."""
        one = self.server.health
        drifted = [row.tool for row in self.listed() if row.state == "Drifted"]
        if drifted and one.status == "False":
            text = f"changed since they were accepted, and withdrawn: {', '.join(drifted)}"
            return (Health("Degraded", "True", "ToolsDrifted", text, one.since),)
        return (one,)

    async def hear(self, said: Sequence[Said]) -> None:
        """Take over what the server says of its tools."""
        if await self._pins.hear(said, self._now().pins):
            self._arrange()

    def listed(self) -> Sequence[Listed]:
        """Return every tool that is known, in order of their own names."""
        said = self._pins.said or {}
        rows = [self._row(name, said.get(name)) for name in sorted({*said, *self._pins.pinned})]
        return sorted([*rows, *(self._own_row(known) for known in self._own)], key=lambda row: row.tool)

    def _own_row(self, known: Said) -> Listed:
        spec = self._now()
        state: Any
        if not (spec.resources and spec.chosen(known.name)):
            state, why = "Excluded", ""
        elif self.server.has_resources is False:
            state, why = "Gone", "its server has no resources"
        else:
            state, why = "Offered", ""
        rules = _reading(spec, known.name)
        approval = rules.approval.required
        return Listed(self._name(known.name), known.name, state, rules.effects, approval, message=why)

    def _row(self, name: str, said: Said | None) -> Listed:
        spec = self._now()
        known = self._pins.pinned.get(name) or said
        rules = hinted(self._spec, known) if known is not None else self._spec
        state: Any
        if not spec.chosen(name):
            state, why = "Excluded", ""
        elif name in self._bad:
            state, why = "Unusable", self._bad[name]
        else:
            state, why = self._pins.state(name, spec.pins.get(name))
        pin = (said or known or Said(name, "", {})).pin
        row = Listed(self._name(name), name, state, rules.effects, spec.one(name).approval.required, pin, why)
        if state != "Drifted" or said is None or size_of(said) > self._spec.max_tool:
            return row
        before = None if known is None or known == said else known.told
        return msgspec.structs.replace(row, before=before, after=said.told)

    def _arrange(self) -> None:
        """Make the live tools of what is pinned; one that did not change stays the same."""
        made: dict[str, LiveTool] = {}
        taken: set[str] = set()
        self._bad = {}
        for known in self._own:
            if self._spec.chosen(known.name):
                taken.add(self._name(known.name))
                made[known.pin] = self._made.get(known.pin) or self._live_own(known)
        for name, known in self._pins.pinned.items():
            if not self._spec.chosen(name):
                continue
            visible = self._name(name)
            if why := unusable(known, self._spec.max_tool, taken, visible):
                self._bad[name] = why
                continue
            taken.add(visible)
            made[known.pin] = self._made.get(known.pin) or self._live(known, visible)
        if list(made) != list(self._made):
            self._made = made
            self.tools = tuple(made.values())

    def _live(self, known: Said, visible: str) -> LiveTool:
        spec = self._spec
        validator = validator_of(known.parameters)
        barred = partial(self._barred, known, visible)

        async def run(arguments: JsonObject, context: ToolContext | None) -> str:
            del context
            refuse_misfits(validator, arguments)
            await self.server.settled()  # before that nobody knows what it says of its tools now
            if why := barred():
                raise ToolFailed(why)
            return await self.server.call(known.name, arguments)

        schema = ToolSchema(visible, spec.described(known.name, known.description), known.parameters)
        return LiveTool(schema, hinted(spec, known), run, self._parts, own=known.name, barred=barred)

    def _live_own(self, known: Said) -> LiveTool:
        """Return a tool that is made here of the server's resources."""
        spec = self._spec
        validator = validator_of(known.parameters)

        async def run(arguments: JsonObject, context: ToolContext | None) -> str:
            del context
            refuse_misfits(validator, arguments)
            if known.name == READ:
                text = await read_resource(self.server, str(arguments["uri"]))
            else:
                text = await list_resources(self.server, spec.max_resources, spec.keep)
            return self._access.mask(text)

        schema = ToolSchema(self._name(known.name), spec.described(known.name, known.description), known.parameters)
        barred = partial(self._barred_own, known.name)
        return LiveTool(schema, _reading(spec, known.name), run, self._parts, own=known.name, barred=barred)

    def _barred_own(self, name: str) -> str:
        """Return why a tool of the resources may not be called now, for the model."""
        if not self._now().resources or not self._now().chosen(name):
            revision = self._parts.services.serving.snapshot.revision
            return f'the tool "{name}" was withdrawn at revision {revision}: go on without it'
        if self.server.has_resources is False:
            return f'the tool "{name}" is not there: its server has no resources, go on without it'
        return ""

    def _barred(self, known: Said, visible: str) -> str:
        """Return why a tool may not be called now, for the model."""
        if withdrawn := barred(self._parts, known.name):
            return withdrawn
        spec = self._now()
        state, _ = self._pins.state(known.name, spec.pins.get(known.name))
        if state == "Gone":
            return f'the tool "{visible}" is not there any more: go on without it'
        if state == "Drifted":
            return f'the tool "{visible}" changed and is withdrawn until a person accepts it: go on without it'
        return ""

    def _now(self) -> McpTool:
        """Return what is declared now, when that is a server still."""
        item = self._parts.latest()
        return item.spec if item is not None and isinstance(item.spec, McpTool) else self._spec

    def _name(self, tool: str) -> str:
        return name_of(self._parts.name, self._spec.prefix, tool)


def _reading(spec: McpTool, tool: str) -> McpTool:
    """Return what is declared of a tool of the resources: it reads, unless the manifest says something else of it."""
    one = spec.one(tool)
    said = spec.overrides.get(tool, Override()).effects
    return one if said is not None else one.model_copy(update={"effects": "read"})


def hinted(spec: McpTool, said: Said) -> McpTool:
    """Return what is declared of one tool, with the server's hints as far as they count.

    What the manifest says of the tool itself counts always; of what it says of all tools the server may tighten.
    """
    one, hints, own = spec.one(said.name), said.hints, spec.overrides.get(said.name, Override())
    only_reads = hints.get("readOnlyHint")
    update: dict[str, Any] = {}
    if own.effects is None:
        if one.effects == "read" and (only_reads is False or (hints.get("destructiveHint") and not only_reads)):
            update["effects"] = "external"
        elif only_reads and spec.trust_hints:
            update["effects"] = "read"
    if own.idempotent is None:
        if one.idempotent and hints.get("idempotentHint") is False and not only_reads:
            update["idempotent"] = False
        elif hints.get("idempotentHint") and spec.trust_hints:
            update["idempotent"] = True
    return one.model_copy(update=update) if update else one
