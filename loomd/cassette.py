"""A cassette: what a task did, as one JSON text that people can read, git can compare and a replay can follow.

Redacted and self-contained: the checkpoints of the task and its parts, what was asked of each model, and the objects
that it ran on. Written by `replay.export`, read by `replay`, by the provider type `replay` and by tests of agents.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from loomd.errors import Permanent
from loomd.events.event import AnyFact
from loomd.manifest.wording import escape, is_secret, without_secrets
from loomd.messages import JsonObject, Message, Request, ToolSchema

T = TypeVar("T")

VERSION = "loomd.dev/v1"
MAX_BYTES = 64 << 20
"""Largest cassette that is read."""
MODEL = frozenset(("model", "plan"))
"""Names of steps in which a model is asked."""
HIDDEN = "***"
"""Stands for what was hidden."""
_SHORT = 3
"""A secret of so few characters is not looked for: it would hide ordinary words."""
_PLAIN = ("/key", "/keys")
"""Names of arguments that say nothing: what is looked up by a key is rarely a secret."""


class Asked(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A request to a model; its first `kept` messages are those of the request before it in the same task."""

    messages: tuple[Message, ...]
    kept: int = 0
    tools: tuple[str, ...] = ()
    output_schema: JsonObject | None = None
    temperature: float | None = None
    max_tokens: int = 1024
    examples: tuple[Message, ...] = ()


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """A checkpoint of a task.

    Attributes:
        key: its key in the journal, `step/execute/model/0`; `failed/...` when it brought no result.
        fact: what was recorded.
        at: seconds since the task was accepted.
        agent: who did it, or empty.
        request: what a model was asked, after all interceptors; None when that is not known, or for other steps.
        arguments: what a tool was called with, after all interceptors; None for other steps.
    """

    key: str
    fact: AnyFact
    at: float = 0.0
    agent: str = ""
    request: Asked | None = None
    arguments: JsonObject | None = None


class Taped(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task: as it was accepted, how it ended, and its checkpoints in the order in which they were recorded."""

    task: msgspec.Raw
    phase: str
    error: str = ""
    steps: tuple[Step, ...] = ()


class Declared(msgspec.Struct, frozen=True):
    """An object that the task ran on.

    Attributes:
        kind: its kind.
        name: its name.
        digest: its digest.
        refs: JSON pointers and targets `Kind/name`.
        spec: as written.
        files: what is in the files of a skill, by their paths below the root; nothing of those that are no text.
    """

    kind: str
    name: str
    digest: str
    refs: tuple[tuple[str, str], ...]
    spec: JsonObject
    files: dict[str, str] = {}


class TapedTool(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a model was told of a tool, and what the loop has to know of it.

    `on_denied` says that people are asked before a call, and what a denial does; None that they are not. `of` is the
    name of the Tool object that brings it, unless that has the name of the tool. `max_output` is how many bytes of a
    result the model is shown.
    """

    tool: ToolSchema
    effects: Literal["read", "write", "external"] = "external"
    idempotent: bool = False
    on_uncertain: Literal["fail", "ask", "retry"] = "fail"
    on_denied: Literal["stop", "continue"] | None = None
    of: str = ""
    max_output: int = 64 << 10


class Cassette(msgspec.Struct, frozen=True, rename="camel"):
    """A recorded task with its parts.

    Attributes:
        api_version: form of the text.
        kind: always `Cassette`.
        task: id of the task.
        goal: what was wanted.
        seed: start of its random draws.
        namespace: where its cluster lives.
        cluster: the cluster that ran it.
        revision: digest of the snapshot that it was pinned to.
        phase: how it ended.
        answer: what it answered.
        objects: what it ran on, each after what it refers to; empty when that is no longer known.
        tools: the tools that models were told of, by name.
        tasks: the task and its parts, in the order of their ids.
    """

    api_version: str
    kind: Literal["Cassette"]
    task: str
    goal: str
    seed: int
    namespace: str
    cluster: str
    revision: str
    phase: str
    answer: str
    objects: tuple[Declared, ...]
    tools: dict[str, TapedTool]
    tasks: tuple[Taped, ...]


def write(cassette: Cassette) -> bytes:
    """Return the text of a cassette: equal cassettes have equal texts."""
    plain_json = msgspec.json.encode(msgspec.json.decode(msgspec.json.encode(cassette)))  # one spelling of numbers
    return msgspec.json.format(plain_json, indent=2) + b"\n"


def read(path: Path) -> Cassette:
    """Return the cassette in a file.

    Raises:
        OSError: it cannot be read.
        Permanent: it is no cassette, too large, or of another version; the text names the file.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise Permanent(f"{path}: expected a cassette of at most {MAX_BYTES >> 20} MiB, got a larger file")
    return parse(data, str(path))


def parse(data: bytes, name: str) -> Cassette:
    """Return the cassette that a text holds.

    Raises:
        Permanent: it is none, or of another version; the text begins with `name`.
    """
    try:
        head = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        version, kind = (_text(head.get(field)) for field in ("apiVersion", "kind"))
        if (version, kind) != (VERSION, "Cassette"):
            raise Permanent(
                f"{name}: expected apiVersion {VERSION} and kind Cassette, got {version or 'none'} and "
                f"{kind or 'none'}: `loomd export task/T -o FILE` writes one"
            )
        cassette = msgspec.json.decode(data, type=Cassette)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Permanent(f"{name} is no cassette ({error}): `loomd export task/T -o FILE` writes one") from error
    if not cassette.tasks:
        raise Permanent(f"{name}: tasks: expected a task and its parts, got none")
    return cassette


def _text(raw: msgspec.Raw | None) -> str:
    return "" if raw is None else msgspec.json.decode(bytes(raw), type=str)


def fold(request: Request, before: Request | None) -> Asked:
    """Return a request as it is kept, given the one before it in the same task."""
    messages, kept = request.messages, 0
    if before is not None:
        for one, other in zip(messages, before.messages, strict=False):
            if one != other:
                break
            kept += 1
    names = tuple(tool.name for tool in request.tools)
    return Asked(
        messages[kept:],
        kept,
        names,
        request.output_schema,
        request.temperature,
        request.max_tokens,
        request.examples,
    )


def unfold(asked: Asked, before: Request | None, tools: Mapping[str, TapedTool]) -> Request:
    """Return the request that was kept, given the one before it in the same task and the tools of the cassette."""
    kept = before.messages[: asked.kept] if before is not None else ()
    schemas = tuple(tools[name].tool if name in tools else ToolSchema(name, "", {}) for name in asked.tools)
    return Request(
        (*kept, *asked.messages), schemas, asked.output_schema, asked.temperature, asked.max_tokens, asked.examples
    )


def requests(taped: Taped, tools: Mapping[str, TapedTool]) -> Iterator[tuple[Step, Request]]:
    """Yield the steps of a task in which a model was asked, each with the whole request, where it is known."""
    before: Request | None = None
    for step in taped.steps:
        if step.request is not None:
            before = unfold(step.request, before, tools)
            yield step, before


def plain(request: Request) -> Request:
    """Return a request as requests are compared: without secrets, and without scores, which no model sees."""
    hidden = redacted(request, Request)
    messages = tuple(_unscored(message) for message in hidden.messages)
    return msgspec.structs.replace(hidden, messages=messages)


def _unscored(message: Message) -> Message:
    if not message.passages:
        return message
    passages = tuple(msgspec.structs.replace(passage, score=0.0) for passage in message.passages)
    return msgspec.structs.replace(message, passages=passages)


def redacted(value: Any, shape: type[T], secrets: Iterable[str] = ()) -> T:
    """Return a value of a JSON shape in which no text holds a secret. Doing it again changes nothing.

    Hidden are what has the form of a well-known token, arguments of tool calls whose names say that they are secret,
    and the given secrets wherever they stand.

    Args:
        value: what is redacted.
        shape: the type of it, and of what is returned.
        secrets: texts that are known to be secret.
    """
    known = sorted((text for text in set(secrets) if len(text) > _SHORT), key=len, reverse=True)
    clean = _clean(msgspec.json.decode(msgspec.json.encode(value)), known, "")
    return msgspec.json.decode(msgspec.json.encode(clean), type=shape)


def named_secrets(value: Any) -> Iterator[str]:
    """Yield the arguments of tool calls whose names say that they are secret, unless they are ordinary words."""
    yield from _named(msgspec.json.decode(msgspec.json.encode(value)), "")


def _named(value: Any, named: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _named(one, _below(named, str(key)))
    elif isinstance(value, list):
        for one in value:
            yield from _named(one, named)
    elif isinstance(value, str) and _is_named(named) and not value.isalpha():
        yield value


def _is_named(pointer: str) -> bool:
    return bool(pointer) and not pointer.endswith(_PLAIN) and is_secret(pointer)


def _clean(value: Any, known: list[str], named: str) -> Any:
    """Return a JSON value without secrets; `named` is the pointer below the arguments of a call, else empty."""
    if isinstance(value, dict):
        return {key: _clean(one, known, _below(named, str(key))) for key, one in value.items()}
    if isinstance(value, list):
        return [_clean(one, known, named) for one in value]
    if not isinstance(value, str):
        return value
    if _is_named(named):
        return HIDDEN
    for secret in known:
        value = value.replace(secret, HIDDEN)
    return without_secrets(value)


def _below(named: str, key: str) -> str:
    return f"{named}/{escape(key)}" if named or key == "arguments" else ""
