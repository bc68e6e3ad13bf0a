"""One MCP server, kept connected: started, asked for its tools, asked again when they may have changed, started anew.

It is never waited for without an end, and whatever it does ends in a text: for the model that called, for people in its
health. What it says of its tools is handed over as it is; whether that counts is decided elsewhere. Called by the type
`mcp`.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, cast

import msgspec

from loomd.clock import Clock
from loomd.errors import LoomdError, ToolFailed, Unreachable
from loomd.manifest.wording import visible, without_secrets
from loomd.messages import JsonObject
from loomd.tools.mcp_link import ENDED, FORGOTTEN, Caps, Link
from loomd.topology import Health

if TYPE_CHECKING:
    from mcp import Client

_log = logging.getLogger("loomd.tools.mcp")

_REST = 1.0
"""Seconds between two times that a server is asked for its tools, however often it says that they changed."""
_ECHO = 0.1
"""Seconds in which calls that are under way hear that they were refused, too, because the session is over."""
_SHOWN = 500
"""Characters of what a server says that stand in an error."""
_UNPARSED = "Failed to parse "
"""How the SDK begins to say that an answer is no message; what follows are lines of its types."""
_NO_MESSAGE = "its answer is no message of the protocol"
_PIN = 32
"""Hex digits of the hash of a tool: 128 bits, which nobody meets by trying."""


class Said(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a server says of one tool.

    Attributes:
        name: its own name.
        description: what it does, for a model.
        parameters: JSON Schema of its arguments.
        hints: what the server says of its effects, `readOnlyHint` and its like, as far as it says anything.
    """

    name: str
    description: str
    parameters: JsonObject
    hints: dict[str, bool] = {}  # msgspec copies it

    @property
    def told(self) -> JsonObject:
        """Return what is said of it, for people."""
        return {"description": self.description, "parameters": self.parameters, "hints": dict(self.hints)}

    @property
    def pin(self) -> str:
        """Return what tells it from anything else that may be said of a tool."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:_PIN]


class UnknownMethod(ToolFailed):
    """A server does not know what was asked of it."""


class _Forgotten(ToolFailed):
    """A server does not know the session any more, and did not take what was asked."""


class Patience(msgspec.Struct, frozen=True):
    """Seconds: until it is asked again for its tools, and between attempts to connect, at first and at most."""

    refresh: float
    retry: float
    max_retry: float


class Server:
    """One server.

    Attributes:
        health: how the connection is.
        has_resources: whether it says that it has resources; None as long as it was not reached.
    """

    def __init__(
        self,
        owner: str,
        link: Link,
        caps: Caps,
        patience: Patience,
        clock: Clock,
        heard: Callable[[Sequence[Said]], Awaitable[None]],
        mask: Callable[[str], str],
    ) -> None:
        """Take how it is reached.

        Args:
            owner: the object that declares it, `Tool/wiki`.
            link: opens a link to it.
            caps: what it may do.
            patience: how often it is asked and started.
            clock: the time.
            heard: is told what it says of its tools, whenever it was asked.
            mask: hides secrets in what people are told: a server may say them on its last words.
        """
        self._owner = owner
        self._link = link
        self._caps = caps
        self._patience = patience
        self._clock = clock
        self._heard = heard
        self._mask = mask
        self.has_resources: bool | None = None
        self._client: Client | None = None
        self._wake = asyncio.Event()
        self._broken = ""
        self._closing = False
        self._settled = asyncio.Event()
        self.health = Health("Degraded", "Unknown", "NotCalled", "it was not reached yet", clock.now())

    async def settled(self) -> None:
        """Return when the attempt to connect that is under way has ended, one way or the other."""
        await self._settled.wait()

    async def run(self) -> None:
        """Keep it connected until it is closed."""
        pause = self._patience.retry
        while not self._closing:
            began = self._clock.monotonic()
            self._settled.clear()
            try:
                await self._serve()
            except Exception as error:  # whatever it is: the daemon goes on, and people are told
                if self._broken == FORGOTTEN and self._clock.monotonic() - began > self._patience.retry:
                    continue  # who called waits for the new session
                self._down(_reason(error) or self._late)
            if self._clock.monotonic() - began > self._patience.max_retry:
                pause = self._patience.retry
            if not self._closing:
                await asyncio.sleep(pause)
            pause = min(self._patience.max_retry, 2 * pause)

    async def close(self, running: "asyncio.Task[None]") -> None:
        """End `run`, which runs as a task. One cancellation is not enough: on its way out the SDK may swallow it."""
        self._closing = True
        while not running.done():
            running.cancel()
            await asyncio.wait([running], timeout=4 * self._caps.stop)  # a process gets three times that to end

    async def call(self, tool: str, arguments: JsonObject) -> str:
        """Return what a tool answers, as text.

        Raises:
            ToolFailed: the server is not there, refuses the call, or its tool failed; the text is for the model.
        """
        from mcp_types import CallToolRequest, CallToolRequestParams, CallToolResult  # noqa: PLC0415  # heavy, as below

        # `Client.call_tool` would check the result by a schema of the server, with patterns that may take forever
        request = CallToolRequest(params=CallToolRequestParams(name=tool, arguments=arguments))
        result = await self.ask(request, CallToolResult, "result of a tool")
        text = self._mask(_text(result))
        if result.is_error:
            raise ToolFailed(text or "it failed and said nothing")
        return text

    async def ask(self, request: Any, result: Any, what: str) -> Any:
        """Return what the server answers to a request of the SDK.

        Args:
            request: what is asked.
            result: the type of the answer.
            what: what the answer should be, in words.

        Raises:
            UnknownMethod: the server does not know what is asked.
            ToolFailed: the server is not there, refuses, or answers something else; the text is for the model.
        """
        try:
            request.model_dump_json()
        except ValueError as error:
            raise ToolFailed("the arguments hold characters that are no text: leave them out") from error
        try:
            return await self._send(request, result, what)
        except _Forgotten:
            return await self._send(request, result, what)  # nobody took it

    async def _send(self, request: Any, result: Any, what: str) -> Any:
        """Return what the server answers, once; see `ask`.

        Raises:
            _Forgotten: the session ended before, and the request was not taken.
        """
        from mcp import MCPError  # noqa: PLC0415  # heavy, only a live server needs it
        from mcp_types import METHOD_NOT_FOUND  # noqa: PLC0415  # see above

        await self.settled()
        client = self._client
        if client is None:
            raise ToolFailed(f"its server is not there: {self.health.message}")
        try:
            return await client.session.send_request(request, result)
        except asyncio.CancelledError:
            self._wake.set()  # it took too long: is it still there?
            raise
        except MCPError as error:
            self._wake.set()
            if error.error.message == FORGOTTEN:
                self._break(FORGOTTEN)
                raise _Forgotten(f"its server is not there: {FORGOTTEN}") from error
            if self._broken or client is not self._client:
                text = (
                    f"the connection to its server broke, and the call may have had its effect: {self._broken or ENDED}"
                )
                raise ToolFailed(self._mask(text)) from error
            text = self._mask(f"its server refused the call: {_refused(error)}")[:_SHOWN]
            raise (UnknownMethod if error.error.code == METHOD_NOT_FOUND else ToolFailed)(text) from error
        except ValueError as error:
            raise ToolFailed(f"its server answered with something that is no {what}") from error

    async def _serve(self) -> None:
        """Connect, and stay connected for as long as that goes well.

        Raises:
            Exception: it cannot be reached, or not any more.
        """
        from mcp import Client  # noqa: PLC0415  # heavy, only a live server needs it

        self._broken = ""
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._caps.start):
                    client = Client(cast("Any", self._link(self._break)), cache=None, message_handler=self._notice)
                    await stack.enter_async_context(client)
                    self.has_resources = client.server_capabilities.resources is not None
                    count = await self._list(client)
                self._client = client
                self._turn("False", "Answered", self._offer(count))
                self._settled.set()
                try:
                    await self._watch(client)
                finally:
                    self._client = None  # before its process is waited for
                    self._turn("True", "Unreachable", self._broken or "it is being ended")
        except TimeoutError as error:
            raise Unreachable(self._cause or self._late) from error

    @property
    def _cause(self) -> str:
        """Return why the link broke, as far as anybody said more of it than that it did."""
        return "" if self._broken == ENDED else self._broken

    @property
    def _late(self) -> str:
        """Return why a server is given up that does not answer."""
        return f"no answer within {self._caps.start:g} s (spec.startTimeout)"

    async def _watch(self, client: "Client") -> None:
        """Ask for the tools whenever they may have changed, and from time to time.

        Raises:
            Unreachable: the link broke.
        """
        from mcp import MCPError  # noqa: PLC0415  # heavy, only a live server needs it

        while True:
            await self._wait(self._patience.refresh)
            try:
                async with asyncio.timeout(self._caps.start):
                    count = await self._list(client)
            except TimeoutError as error:
                self._break(self._late)
                raise Unreachable(self._late) from error
            except MCPError as error:
                if error.error.message != FORGOTTEN:
                    raise
                self._break(FORGOTTEN)
                continue
            self._turn("False", "Answered", self._offer(count))
            await self._wait(min(_REST, self._patience.refresh), rest=True)

    async def _wait(self, seconds: float, *, rest: bool = False) -> None:
        """Return after so many seconds, or as soon as something happened, unless it is to rest.

        Raises:
            Unreachable: the link broke.
        """
        happened = False
        until = asyncio.get_running_loop().time() + seconds
        while not self._broken and (rest or not happened):
            try:
                async with asyncio.timeout_at(until):
                    await self._wake.wait()
            except TimeoutError:
                break
            self._wake.clear()
            happened = True
        if self._broken == FORGOTTEN:
            await asyncio.sleep(_ECHO)
        if self._broken:
            raise Unreachable(self._broken)
        if rest and happened:
            self._wake.set()

    async def _list(self, client: "Client") -> int:
        """Hand over what it says of its tools, and return how many that are, at least."""
        from mcp_types import PaginatedRequestParams  # noqa: PLC0415  # heavy, only a live server needs it

        found: dict[str, Said] = {}
        cursor: str | None = None
        offers = client.server_capabilities
        none = offers.tools is None and offers.resources is not None  # a server that has nothing but resources
        for _ in range(0 if none else self._caps.tools):
            page = await client.session.list_tools(params=PaginatedRequestParams(cursor=cursor))
            for tool in page.tools:
                hints = tool.annotations.model_dump(by_alias=True, exclude_none=True) if tool.annotations else {}
                told = {name: value for name, value in hints.items() if isinstance(value, bool)}
                said = Said(tool.name, tool.description or tool.title or tool.name, dict(tool.input_schema), told)
                found.setdefault(tool.name, said)
            cursor = page.next_cursor
            if not cursor or len(found) >= self._caps.tools:
                break
        await self._heard(list(found.values())[: self._caps.tools])
        return len(found) + bool(cursor)

    def _offer(self, count: int) -> str:
        """Return in words how many tools it offers, and that some are not taken when it offers more than may be."""
        most = self._caps.tools
        if count <= most:
            return f"it offers {count} tool{'' if count == 1 else 's'}"
        return f"it offers more than {most} tools, of which the first {most} are taken (spec.maxTools)"

    async def _notice(self, message: Any) -> None:
        """Ask for the tools again when the server says that they changed; of anything else nothing comes."""
        if getattr(message, "method", "") == "notifications/tools/list_changed":
            self._wake.set()

    def _break(self, reason: str) -> None:
        self._broken = self._broken or reason
        if self._broken == FORGOTTEN:
            self._settled.clear()
        self._wake.set()

    def _down(self, reason: str) -> None:
        reason = self._plain(self._cause or reason)
        if self.health.message != reason:
            _log.warning("the MCP server of %s is not there: %s", self._owner, reason)
        self._turn("True", "Unreachable", reason)
        self._settled.set()

    def _turn(self, status: Any, reason: Any, message: str) -> None:
        self.health = self.health.turn(status, reason, self._plain(message), self._clock.now())

    def _plain(self, text: str) -> str:
        """Return a text for people: without secrets, and on one line."""
        return visible(without_secrets(self._mask(text)))


def _reason(error: BaseException) -> str:
    """Return why a connection failed, in words: the first cause in a group of errors; nothing when it took too long."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return ""
    if refused := _refused(error):
        return refused if refused == _NO_MESSAGE else f"it refused: {refused}"
    text = str(error).partition("\n")[0][:_SHOWN]
    if isinstance(error, LoomdError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else ENDED


def _refused(error: BaseException) -> str:
    """Return what the SDK raised for a server that refuses, or answers with what is no message; else an empty text."""
    from mcp import MCPError  # noqa: PLC0415  # heavy, only a live server needs it

    if not isinstance(error, MCPError):
        return ""
    text = error.error.message
    return _NO_MESSAGE if text.startswith(_UNPARSED) else text[:_SHOWN]


def _text(result: Any) -> str:
    """Return the content of a result as text; what is no text is said to be left out."""
    parts = [_part(one) for one in result.content]
    if not parts and result.structured_content is not None:
        return msgspec.json.encode(result.structured_content).decode()
    return "\n".join(parts)


def _part(one: Any) -> str:
    match one.type:
        case "text":
            return str(one.text)
        case "resource_link":
            return f"[{one.name}: {one.uri}]"
        case "resource" if hasattr(one.resource, "text"):
            return str(one.resource.text)
        case "resource":
            return f"[left out: {one.resource.uri}, no text]"
        case _:
            return f"[left out: {one.type} {one.mime_type}]"
