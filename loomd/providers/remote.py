"""What the remote providers share: their fields, their key, and the words for all that a service does wrong.

Nothing is sent here (`exchange`, `transport`).
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
from pydantic import Field, field_validator

from loomd.clock import Clock
from loomd.encoded import ANYTHING, read_json, why_not
from loomd.errors import BadReply, LoomdError, Temporary, Unauthorized, Unreachable
from loomd.manifest.keyring import Keyring, entitled
from loomd.manifest.kind import Reload, Spec
from loomd.manifest.quantity import Bytes, Duration, Tokens
from loomd.manifest.rule import spelled
from loomd.manifest.secret import Secret, SecretSource, literal_secrets, secrets_in_url
from loomd.messages import UNREADABLE, JsonObject, Message, Reply, Request, ToolCall, Usage, render_passages
from loomd.providers.base import Counts, Price, Pricing, refuse_withdrawn, sane_usage
from loomd.providers.breaker import Breaker, BreakerFields
from loomd.providers.calls import place_of
from loomd.providers.fault import first, from_error_object, from_status
from loomd.providers.rate import Rate, RateFields
from loomd.providers.reach import Reach
from loomd.providers.retry import Retry
from loomd.topology import Parts
from loomd.web.service import ADDRESS, UNSENDABLE, checked_url

E = TypeVar("E", bound=LoomdError)
D = TypeVar("D")

_FILLED = {
    "messages": "a conversation comes from its task",
    "model": "spec.model says it",
    "stream": "spec.stream says it",
    "tools": "spec.tools of an agent says it",
}
"""Fields of a request body that `parameters` may not set, and what does."""


class RemoteFields(Spec):
    """What is set for every remote service."""

    model: str = Field(min_length=1, examples=["qwen2.5-7b-instruct"])
    """Name of the model, as the service spells it."""
    client: Literal["http", "sdk"] = "http"
    """What carries the requests: `http`, our own client, or `sdk`, the service's official package.

    Both say and understand the same. Take the package for an endpoint that only it reaches; it costs about ten times
    the processor time.
    """
    stream: bool = True
    """Whether answers are asked for in pieces; false for a service that cannot stream, or not with tools."""
    base_url: str | None = Field(
        default=None, json_schema_extra=spelled(ADDRESS), examples=["http://127.0.0.1:8080/v1"]
    )
    """Address of a compatible service, with its path, for example `http://127.0.0.1:8080/v1`. Chat completions are
    asked for at `/chat/completions` below it, so that it ends with `/v1` where the service's own path has it; messages
    of `type: anthropic` at `/v1/messages`, whether it ends with `/v1` or not.
    """
    api_key: Annotated[Secret | None, Reload("immediate")] = None
    """Where the key is kept; by default the service's usual environment variable. A `baseUrl` on a
    loopback address needs no key, and is sent none but one that is named here.
    """
    headers: Annotated[dict[str, str | Secret], Reload("immediate")] = Field({}, examples=[{"x-team": "docs"}])
    """Further headers of every call; what may be a secret is named with valueFrom."""
    deadline: Duration = Field(default=120.0, gt=0)
    """Longest time for one answer, from the first attempt to its last piece, waits and further attempts included."""
    retry: Retry = Field(default_factory=Retry)
    """When a failed call is made again."""
    breaker: BreakerFields = Field(default_factory=BreakerFields)
    """When a service that fails again and again is left alone."""
    rate: RateFields = Field(default_factory=RateFields)
    """How much may go to the service."""
    max_reply: Bytes = Field(default=16 << 20, ge=1)
    """Largest answer on the wire; a longer one is refused."""
    temperature: float | None = Field(default=None, ge=0, le=2, examples=[0.2])
    """Sampling temperature where the agent sets none; the service's own default when not set."""
    parameters: JsonObject = Field(default_factory=dict, examples=[{"top_p": 0.9}])
    """Further fields of the request body, sent as written; not `model`, `messages`, `tools` or `stream`."""
    context_window: Tokens | None = Field(default=None, examples=[128_000])
    """Tokens that the model reads and writes at once; agents fit their prompts into it. Not known when not set."""
    pricing: Pricing | None = None
    """What tokens cost, to account for money. By default what a list that comes with loomd has for the model, and
    nothing on this machine; tokens of a model that is not listed are counted as `unpriced`, and cost nothing.
    """

    @property
    def address(self) -> str:
        """Return where the service is: as declared, or where it usually is."""
        return self.base_url or self.usual_address

    @property
    @abstractmethod
    def usual_address(self) -> str:
        """Return the service's own address."""

    @property
    @abstractmethod
    def key_variable(self) -> str:
        """Return the environment variable that usually holds the key; empty for a service that needs none."""

    @field_validator("base_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        return None if value is None else checked_url(value)

    def check(self, root: Path) -> Iterator[tuple[str, str, str]]:
        """Yield secrets that stand in the manifest."""
        del root
        yield from literal_secrets(self.headers, "/headers")
        yield from secrets_in_url(self.base_url or "", "/baseUrl", "spec.apiKey or spec.headers")
        for name in sorted(_FILLED.keys() & self.parameters.keys()):
            yield f"/parameters/{name}", f"expected no field that loomd fills: {_FILLED[name]}", "invalid-value"
        if not _is_reachable(self.base_url or ""):
            yield "/baseUrl", "expected the name of a host, and a port up to 65535 if there is one", "invalid-value"


class Wire:
    """The guarded way to one remote service."""

    def __init__(self, fields: RemoteFields, parts: Parts) -> None:
        """Read the key and the headers of a spec, with what it opens with.

        Raises:
            Unauthorized: a secret is missing; the text says what to do.
        """
        self.owner = str(parts.declared.ref)
        self.name = f"{parts.name}/{fields.model}"
        self.fields = fields
        self.url = fields.address
        self.price: Price | None = None
        """What a call costs; None when that is not known."""
        self.breaker = Breaker(self.owner, fields.breaker, parts.services.clock)
        self.reach = Reach(parts.services.clock, rest=lambda: self.breaker.rest)
        self.rate = Rate(self.owner, fields.rate, parts.services.clock)
        self._clock: Clock = parts.services.clock
        self._parts = parts
        self._near = is_loopback(self.url)
        self._keyring = Keyring(self.owner)
        self._secret: tuple[RemoteFields, Secret | None] | None = None
        """Where the key of the fields that hold now is."""
        self._sent: str | None = None
        """A key that may be sent in a header."""
        self._read(fields)

    def credentials(self) -> tuple[str, dict[str, str]]:
        """Return the key and the headers that a call is sent with now, also when it belongs to an older revision.

        Raises:
            Unauthorized: a secret is missing, was withdrawn, or is meant for another service now.
        """
        return self._read(self._declared())

    def _declared(self) -> RemoteFields:
        """Return the fields that say which secrets may be sent to this service.

        Raises:
            Unauthorized: there are none any more.
        """
        refuse_withdrawn(self._parts)
        item = self._parts.latest() or self._parts.declared
        if item.spec is self.fields:
            fields: RemoteFields | None = self.fields
        else:
            fields = entitled(self.fields, item.spec, lambda spec: spec.address)
        if fields is None:
            raise Unauthorized(
                f"{self.owner} is another service with other secrets now; those of {_place(self.url)} are not used any "
                "more: submit the task again"
            )
        return fields

    def _read(self, fields: RemoteFields) -> tuple[str, dict[str, str]]:
        if self._secret is None or self._secret[0] is not fields:
            secret = fields.api_key
            if secret is None and fields.key_variable and not (fields.base_url is not None and self._near):
                secret = Secret(value_from=SecretSource(env=fields.key_variable))
            self._secret = (fields, secret)
        secret = self._secret[1]
        key = "" if secret is None else self._keyring.read("spec.apiKey", secret)
        headers = self._keyring.texts("spec.headers", fields.headers) if fields.headers else _NO_HEADERS
        if key == self._sent and not headers:
            return key, headers
        for place, text in (("spec.apiKey", key), *((f"spec.headers.{name}", headers[name]) for name in headers)):
            if UNSENDABLE.search(text):
                raise Unauthorized(f"{self.owner} {place}: it holds a character that no HTTP header may have")
        self._sent = key
        return key, headers

    @property
    def key_place(self) -> str:
        """Return where the key is kept that is sent now, in words; nothing when none is."""
        return "" if self._secret is None else place_of(self._secret[1])

    def error(self, found: object) -> LoomdError:
        """Return the error for an error object inside a stream."""
        return self._masked(from_error_object(self.owner, found, self._clock.now()))

    def bad(self, message: str) -> BadReply:
        """Return the error for an answer that cannot be used."""
        return BadReply(f"{self.owner}: {message}")

    def unreadable(self, error: BaseException, data: bytes) -> LoomdError:
        """Return the error for an event that is not JSON, or of another shape, from what its decoder raised.

        A list of errors, as Google sends one in the place of an event, is what it tells.
        """
        if (told := _listed(data)) is not None:
            return self.error(told)
        return self.bad(f"an event of the stream cannot be read: {why_not(error)}")

    def cost(self, usage: Usage) -> float:
        """Return what a call costs now in USD; nothing when that is not known."""
        return 0.0 if self.price is None else self.price.cost(usage, self._clock.now())

    def reply(self, request: Request, counts: Counts, reply: Reply) -> Reply:
        """Return the reply with model, usage and cost filled in from what the service reported."""
        produced = len(reply.text)
        if reply.thoughts or reply.tool_calls:
            produced += len(reply.reasoning) + sum(len(str(c.arguments)) for c in reply.tool_calls)
        usage = sane_usage(counts, request, produced)
        if self.price is None:
            usage, cost = msgspec.structs.replace(usage, unpriced=usage.total), 0.0
        else:
            cost = self.price.cost(usage, self._clock.now())
        return msgspec.structs.replace(reply, model=self.name, usage=usage, cost=cost)

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> LoomdError:
        """Return the error for a status that is none of success."""
        try:
            found: object = read_json(body, ANYTHING)
        except ValueError:
            found = body.decode("utf-8", "replace")
        return self._masked(from_status(self.owner, status, headers, found, self._clock.now()))

    def no_answer(self, headers: Mapping[str, str], body: bytes, why: str) -> LoomdError:
        """Return the error for a body of success that is neither an event stream nor a JSON object, and `why`."""
        if (told := _listed(body)) is not None:
            return self.error(told)
        kind = headers.get("content-type", "") or "nothing"
        if "json" in kind:
            return self.bad(f"the answer cannot be read: {why}")
        expected = "an event stream" if self.fields.stream else "JSON"
        return self.bad(f"expected {expected}, got {kind}: check that spec.baseUrl is the address of the API")

    def no_way(self, cause: str) -> Unreachable:
        """Return the error for a connection that was not made, or broke before the answer began."""
        return self._masked(Unreachable(f"{self.owner}: cannot reach {_place(self.url)} ({cause})"))

    def broken(self, cause: str) -> Unreachable:
        """Return the error for a connection that broke in the middle of an answer."""
        return self._masked(Unreachable(f"{self.owner}: the connection broke: {cause}"))

    def too_late(self) -> Unreachable:
        """Return the error for a call that took longer than it may."""
        return Unreachable(f"{self.owner}: no whole answer within spec.deadline ({self.fields.deadline:g} s)")

    def amend(self, error: Temporary, wait: float | None, left: float) -> None:
        """Say of a failure that the service asks for a longer wait than there are seconds left, when that is so."""
        if wait is not None and wait >= left and error.retry_after is not None:
            asked, most = f"{error.retry_after:.10g} s", f"{self.fields.deadline:.10g} s"
            error.args = (f"{error}: it asks to be left alone for {asked}, which is beyond spec.deadline ({most})",)

    def _masked(self, error: E) -> E:
        error.args = (self._keyring.mask(str(error)),)
        return error


def user_text(message: Message) -> str:
    """Return a user turn as one text, its passages before the question."""
    if not message.passages:
        return message.text
    return f"{render_passages(message.passages)}\n\n{message.text}"


def tool_call(ident: str, name: str, arguments: str) -> ToolCall:
    """Return a call from its parts; arguments that are no JSON object are kept under `UNREADABLE` for the model."""
    try:
        decoded = read_json(arguments or "{}", ANYTHING)
    except ValueError:
        decoded = None
    return ToolCall(ident, name, decoded if isinstance(decoded, dict) else {UNREADABLE: arguments})


def distinct(calls: Iterable[ToolCall]) -> tuple[ToolCall, ...]:
    """Return calls with an id of their own each: a service that repeats one could not tell their results apart."""
    found: dict[str, ToolCall] = {}
    for call in calls:
        ident, again = call.id, 2
        while ident in found:
            ident, again = f"{call.id}-{again}", again + 1
        found[ident] = call if ident == call.id else msgspec.structs.replace(call, id=ident)
    return tuple(found.values())


def _listed(data: bytes) -> object:
    """Return the first error of a list of errors in JSON; None of anything else."""
    try:
        found: object = read_json(data, ANYTHING)
    except ValueError:
        return None
    return None if (one := first(found)) is found else one


def is_loopback(url: str) -> bool:
    """Return whether an address is on this machine."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


_NO_HEADERS: dict[str, str] = {}


def _is_reachable(url: str) -> bool:
    """Return whether an address has a port that there may be, and a host that may have a name."""
    parts = urlsplit(url)
    try:
        port, _ = parts.port, (parts.hostname or "").encode("idna")
    except ValueError:
        return False
    return port != 0


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
