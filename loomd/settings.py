"""What a daemon is told besides manifests: a YAML file, and flags that win over it. Opens neither store nor socket.

The file is read at the start and again at every reload. A field that is marked `restart` cannot change while the
daemon runs: `settle` refuses the whole reload then. Called by the command line and by `lifecycle`.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, TypeAdapter, ValidationError

from loomd.errors import Conflict, NotFound, Permanent, Unauthorized
from loomd.manifest.document import read_documents
from loomd.manifest.duration import format_duration
from loomd.manifest.kind import Reload, Spec
from loomd.manifest.places import Document
from loomd.manifest.problem import Position, Problem, Problems
from loomd.manifest.quantity import Bytes, Duration
from loomd.manifest.refusal import Refusal, explain
from loomd.manifest.rule import PATTERN_MESSAGE
from loomd.manifest.schema import JsonSchema, generate_model
from loomd.manifest.secret import Secret, SecretSource
from loomd.manifest.source import printable
from loomd.manifest.wording import dotted

SCHEMA = "daemon"
"""Name of the schema of the file, below `schemas/`."""
SHORTEST_TOKEN = 16
"""Least characters of a token."""
FLAGS = "(command line)"
"""File name in the position of a problem with a flag."""


PackageName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$",
        json_schema_extra={PATTERN_MESSAGE: "expected the name of a package such as acme_tools or acme.tools"},
    ),
]
"""Name of a Python package or module."""


class LogSettings(Spec):
    """What the daemon writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged."""
    format: Literal["text", "json"] = "text"
    """Lines for people, or one JSON object a line."""


class ApiLimits(Spec):
    """What one client may cost the API."""

    header_time: Duration = 10.0
    """Time in which a request's head must arrive; a connection without a request is closed after it too."""
    body_time: Duration = 30.0
    """Time in which a request's body must arrive, and in which what is sent to a client must be taken."""
    body: Bytes = 32 << 20
    """Largest body of a request."""
    connections: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Most connections of one listener that may ask for everything; a few more may ask for its health."""


class Retention(Spec):
    """How long ended tasks are kept, with their subtasks and everything that happened in them."""

    age: Duration = 30 * 86400.0
    """Time after its end for which a task is kept, and for which facts about the daemon itself are."""
    tasks: Annotated[int, Field(ge=0)] = 100_000
    """Most ended tasks that are kept, without their subtasks; the oldest of more are removed earlier."""


class DaemonSpec(Spec):
    """Settings of `loomd serve`. Relative paths start from the folder of the file; `~` is the user's home."""

    state_dir: Annotated[str, Field(examples=["/var/lib/loomd/state"]), Reload("restart")] = ""
    """Folder of the store; one daemon holds it. By default `LOOMD_STATE`, or else the user's data directory."""
    models_dir: Annotated[str, Field(examples=["/var/lib/loomd/models"]), Reload("restart")] = ""
    """Folder of the embedded models. By default `LOOMD_MODELS_DIR`, or else the user's data directory."""
    socket: Annotated[str, Field(examples=["/run/loomd/loomd.sock"]), Reload("restart")] = ""
    """Unix socket of the API. By default `LOOMD_SOCKET`, or else the user's runtime directory."""
    socket_mode: Annotated[Literal["0600", "0660"], Reload("restart")] = "0600"
    """Who may use the socket: the daemon's user and root, or its group as well."""
    listen: Annotated[str, Field(examples=["127.0.0.1:7600"]), Reload("restart")] = ""
    """Address of the API over TCP, `127.0.0.1:7600` or `[::1]:7600`. Off by default; it needs a token."""
    token: Annotated[Secret | None, Field(examples=[{"valueFrom": {"file": "token"}}]), Reload("restart")] = None
    """The bearer token of the API over TCP, at least 16 characters. Its file is read again at every reload."""
    allowed_hosts: Annotated[list[str], Reload("immediate")] = Field(default_factory=list, examples=[["loomd.example"]])
    """Names under which the API may be asked over TCP, besides the loopback names and the address of `listen`."""
    allowed_origins: Annotated[list[str], Reload("immediate")] = Field(
        default_factory=list, examples=[["https://console.example"]]
    )
    """Web pages that may ask the API over TCP, `https://console.example`; requests of all others are refused."""
    limits: Annotated[ApiLimits, Reload("restart")] = ApiLimits()
    """What one client may cost the API."""
    allow_packages: Annotated[list[PackageName], Reload("restart")] = Field(
        default_factory=list, examples=[["acme_tools"]]
    )
    """Installed Python packages whose functions tools of type `python` may name, with all that is in them. By default
    those of `LOOMD_ALLOW_PACKAGES`, separated by commas."""
    watch: Annotated[list[str], Reload("immediate")] = Field(default_factory=list, examples=[["/etc/loomd/manifests"]])
    """Folders of manifests to follow. What a folder declared stays when it is no longer followed."""
    grace: Annotated[Duration, Reload("immediate")] = 30.0
    """Time that running tasks get to end when the daemon stops; the rest goes on at the next start."""
    quiet_window: Annotated[Duration, Reload("restart")] = 0.3
    """Time without another file event after which a followed folder is read."""
    history: Annotated[int, Field(ge=1), Reload("restart")] = 100
    """Revisions that are kept for `loomd rollout undo`."""
    retention: Annotated[Retention, Reload("immediate")] = Retention()
    """How long ended tasks are kept. A task that has not ended is never removed."""
    live_snapshots: Annotated[int, Field(ge=1), Reload("restart")] = 8
    """Most earlier revisions that stay open at a time because tasks still run on them."""
    drain: Annotated[Duration, Reload("restart")] = 30.0
    """Time that the tasks on the oldest of too many open revisions get, before they go on with the one that serves."""
    log: Annotated[LogSettings, Reload("immediate")] = LogSettings()
    """What is logged."""


def allowed_packages() -> tuple[str, ...]:
    """Return the packages that `LOOMD_ALLOW_PACKAGES` names."""
    return tuple(name for part in os.environ.get("LOOMD_ALLOW_PACKAGES", "").split(",") if (name := part.strip()))


@dataclass(frozen=True)
class Settings:
    """What a daemon is told, with all paths absolute. The fields are those of `DaemonSpec`."""

    state_dir: Path
    models_dir: Path
    socket: Path
    watch: tuple[Path, ...] = ()
    grace: float = 30.0
    socket_mode: str = "0600"
    listen: str = ""
    token: Secret | None = None
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    limits: ApiLimits = field(default_factory=ApiLimits)
    allow_packages: tuple[str, ...] = field(default_factory=allowed_packages)
    quiet_window: float = DaemonSpec.model_fields["quiet_window"].default
    history: int = DaemonSpec.model_fields["history"].default
    retention: Retention = field(default_factory=Retention)
    live_snapshots: int = DaemonSpec.model_fields["live_snapshots"].default
    drain: float = DaemonSpec.model_fields["drain"].default
    log: LogSettings = field(default_factory=LogSettings)


def read_settings(path: Path | None, flags: Mapping[str, Any], defaults: Mapping[str, Any]) -> Settings:
    """Return what a file and the command line say.

    Args:
        path: the file, or None when there is none.
        flags: fields that the command line sets, in the names of the file; paths are absolute.
        defaults: fields for which neither says anything.

    Raises:
        NotFound: there is no such file.
        Problems: the file or a flag is not valid; all that is wrong.
    """
    document = _document(path) if path is not None else Document({}, Position(FLAGS), {}, {})
    given = document.value
    if isinstance(given, dict):
        given = {**defaults, **given, **{name: _over(given.get(name), value) for name, value in flags.items()}}
    refusals = list(_refusals(given))
    if refusals:
        raise Problems(_problem(document, one, flags) for one in refusals)
    return _settings(_ADAPTER.validate_python(given, by_alias=True, by_name=False), path)


def settle(old: Settings, new: Settings) -> None:
    """Refuse a reload that changes what cannot change while the daemon runs.

    Raises:
        Conflict: naming every such field, with its old and its new value.
    """
    moved = [
        f"{info.alias} is {_shown(getattr(old, name))}, the file says {_shown(getattr(new, name))}"
        for name, info in DaemonSpec.model_fields.items()
        if Reload("restart") in info.metadata and getattr(old, name) != getattr(new, name)
    ]
    if moved:
        raise Conflict(f"settings need a restart, nothing was changed: {'; '.join(moved)}: restart, or take it back")


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of `127.0.0.1:7600` or `[::1]:7600`; port 0 is any free one.

    Raises:
        ValueError: the text is not such an address.
    """
    host, port = None, None
    with suppress(ValueError):
        parts = urlsplit(f"//{text}")
        if parts.netloc == text and "@" not in text:
            host, port = parts.hostname, parts.port
    if not host or port is None:
        raise ValueError(f'expected host:port such as 127.0.0.1:7600, got "{text}"')
    return host, port


def token_digest(settings: Settings) -> bytes:
    """Return the SHA-256 of the token that the API over TCP wants, or nothing when it does not listen there.

    Raises:
        Unauthorized: the token cannot be read.
        Permanent: it is too short to be a secret.
    """
    if not settings.listen:
        return b""
    if settings.token is None:
        raise Unauthorized(f"listen: {settings.listen} needs a token, also on loopback: set token, or --token-file")
    token = settings.token.read("settings", "token")
    if len(token) < SHORTEST_TOKEN:
        raise Permanent(
            f"settings token: expected at least {SHORTEST_TOKEN} characters, got {len(token)}: make one anew"
        )
    return hashlib.sha256(token.encode()).digest()


@cache
def settings_schema() -> JsonSchema:
    """Return the JSON Schema of the file."""
    return generate_model(SCHEMA, DaemonSpec)


_ADAPTER: TypeAdapter[DaemonSpec] = TypeAdapter(DaemonSpec)


def _document(path: Path) -> Document:
    """Read the one document of a settings file; a file that says nothing has no fields."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file: give --config the settings of the daemon") from None
    except OSError as error:
        raise Permanent(f"{path}: cannot be read: {error.strerror}") from error
    documents, problems = read_documents(data, str(path))
    if len(documents) > 1:
        message = "expected one document, got several: settings have no kinds"
        problems.append(Problem(documents[1].position, "invalid-value", message, hint="manifests belong into watch"))
    if problems:
        raise Problems(problems)
    return documents[0] if documents else Document({}, Position(str(path)), {}, {})


def _over(given: Any, flag: Any) -> Any:
    """Return a flag's value; of a mapping it sets some fields only."""
    return {**given, **flag} if isinstance(given, dict) and isinstance(flag, dict) else flag


def _refusals(value: Any) -> Iterator[Refusal]:
    """Yield what is wrong with the fields: the schema says it best, the types know more."""
    try:
        spec = _ADAPTER.validate_python(value, by_alias=True, by_name=False)
    except ValidationError as error:
        told = list(explain(settings_schema(), value))
        yield from told
        if not told:
            for one in error.errors(include_url=False, include_input=False):
                pointer = "".join(f"/{part}" for part in one["loc"])
                yield Refusal(pointer, "invalid-value", str(one.get("ctx", {}).get("error", one["msg"])))
        return
    for at, folder in enumerate(spec.watch):
        if printable(folder) != folder:
            yield Refusal(f"/watch/{at}", "invalid-value", f'its name is not text on one line: "{printable(folder)}"')
    if spec.listen:
        try:
            parse_address(spec.listen)
        except ValueError as error:
            yield Refusal("/listen", "invalid-value", str(error))
        if spec.token is None:
            hint = "write token: {valueFrom: {file: PATH}}, or {env: NAME}; or give --token-file"
            yield Refusal("/listen", "missing-field", "an address needs a token, also on loopback", hint)


def _problem(document: Document, one: Refusal, flags: Mapping[str, Any]) -> Problem:
    top = one.pointer.split("/")[1] if "/" in one.pointer else ""
    where = document.where_key if one.code == "unknown-field" else document.where
    position = Position(FLAGS) if top in flags else where(one.pointer)
    text = f"{dotted(one.pointer)}: {one.message}" if one.pointer else one.message
    return Problem(position, one.code, text, one.pointer, one.hint, expected=one.expected, got=one.got)


def _settings(spec: DaemonSpec, path: Path | None) -> Settings:
    base = path.absolute().parent if path is not None else Path.cwd()

    def place(text: str) -> Path:
        return base / Path(text).expanduser()

    return Settings(
        state_dir=place(spec.state_dir),
        models_dir=place(spec.models_dir),
        socket=place(spec.socket),
        watch=tuple(dict.fromkeys(place(one) for one in spec.watch)),
        grace=spec.grace,
        socket_mode=spec.socket_mode,
        listen=spec.listen,
        token=_placed(spec.token, base),
        allowed_hosts=tuple(spec.allowed_hosts),
        allowed_origins=tuple(spec.allowed_origins),
        limits=spec.limits,
        allow_packages=tuple(spec.allow_packages),
        quiet_window=spec.quiet_window,
        history=spec.history,
        retention=spec.retention,
        live_snapshots=spec.live_snapshots,
        drain=spec.drain,
        log=spec.log,
    )


def _placed(token: Secret | None, base: Path) -> Secret | None:
    """Return a token whose file is named by its absolute path."""
    if token is None or token.value_from.file is None:
        return token
    return Secret(value_from=SecretSource(file=str(base / Path(token.value_from.file).expanduser())))


def _shown(value: Any) -> str:
    """Return a value as the file would say it; a token is a place, never the secret itself."""
    if isinstance(value, Spec):
        return json.dumps(value.model_dump(mode="json", by_alias=True, exclude_none=True))
    if isinstance(value, float):  # the only ones are durations
        return format_duration(value)
    if isinstance(value, tuple):
        value = ", ".join(value)
    return str(value) if value not in (None, "") else "not set"
