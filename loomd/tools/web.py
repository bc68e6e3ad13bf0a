"""Web requests of tools: to public addresses only, redirects followed by hand, answers capped.

Every name is resolved once and every address checked, on each redirect too; proxies of the environment are ignored,
credentials stay with the host that they were declared for, and no answer is larger than allowed. Called by the types
that reach web services.
"""

from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loomd.errors import Overloaded, ToolFailed, Unreachable
from loomd.web.address import PublicResolver

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession
    from yarl import URL

ADDRESS = (r"^[hH][tT][tT][pP][sS]?://[^/?#:\s]", "expected an address such as https://host/path/{name}")
"""Rule for the address of a web service."""
FIXED_HOST = (
    r"^[^/]*//[^/?#{@]*([/?#]|$)",
    "expected a host without placeholder and password: use headers with valueFrom",
)
"""Rule for an address whose host nobody can choose by an argument."""
KEY = "Idempotency-Key"
"""Header that tells a service that a call is made again (IETF draft-ietf-httpapi-idempotency-key-header)."""
_REDIRECTS = (301, 302, 303, 307, 308)
_BUSY = (429, 502, 503, 504)
"""What may be answered otherwise later."""


@dataclass(frozen=True)
class WebRequest:
    """What is sent: method, address, headers for this host only, and a body that may be sent again.

    `mask` hides secrets in what comes back, before anything of it is cut.
    """

    method: str
    url: "URL"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = "application/json"
    mask: Callable[[str], str] = str


@dataclass(frozen=True)
class WebAnswer:
    """What came back: status, headers by their names in small letters, and the text; secrets are hidden in both."""

    status: int
    headers: dict[str, str]
    text: str


class Web:
    """Sends the requests of one tool object."""

    def __init__(
        self, session: "ClientSession", resolver: PublicResolver, max_response: int, max_redirects: int
    ) -> None:
        self.session = session
        self._resolver = resolver
        self._max_response = max_response
        self._max_redirects = max_redirects

    async def send(self, request: WebRequest) -> WebAnswer:
        """Return the answer.

        Redirects are followed by hand, so that every address is checked and no credential travels.

        Raises:
            ToolFailed: the address may not be reached, or the answer is an error or too large; the text may hold what
                the service said.
            Temporary: nothing answers there, or it may answer otherwise later.
        """
        from aiohttp import ClientError  # noqa: PLC0415  # costs 0.2 s

        method, url, headers, body = request.method, request.url, request.headers, request.body
        for _ in range(self._max_redirects + 1):
            self.check(url)
            sent = {**headers, "Content-Type": request.content_type} if body is not None else headers
            try:
                async with self.session.request(method, url, data=body, headers=sent, allow_redirects=False) as answer:
                    if answer.status not in _REDIRECTS or "Location" not in answer.headers:
                        return await self._read(answer, request.mask)
                    target = _target(url, answer.headers["Location"])
            except (ClientError, OSError) as error:
                if isinstance(error, TimeoutError):
                    raise
                raise Unreachable(f"{url.host} cannot be reached: {type(error).__name__}") from error
            if target.origin() != url.origin():
                headers = {}
            if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
                method, body = "GET", None
            url = target
        raise ToolFailed(f"more than {self._max_redirects} redirects")

    def check(self, url: "URL") -> None:
        """Refuse an address that no tool may reach; a name in it is checked when it is resolved.

        Raises:
            ToolFailed: it is none of http or https, holds a password, or is an address that is not public.
        """
        if url.scheme not in ("http", "https") or not url.host or url.user is not None:
            raise ToolFailed("a redirect leads to an address that is not http or https")
        self._resolver.check_literal(url.host)

    async def _read(self, answer: "ClientResponse", mask: Callable[[str], str]) -> WebAnswer:
        data = bytearray()
        async for chunk in answer.content.iter_chunked(64 << 10):
            data += chunk
            if len(data) > self._max_response:
                raise ToolFailed(f"the answer is larger than {self._max_response} bytes")
        try:
            text = data.decode(answer.charset or "utf-8", "replace")
        except LookupError:
            text = data.decode("utf-8", "replace")
        if answer.status >= 400:
            told = f"HTTP {answer.status}: {mask(text)[:500]}"
            if answer.status in _BUSY:
                raise Overloaded(told, _seconds(answer.headers.get("Retry-After", "")))
            raise ToolFailed(told)
        headers: dict[str, str] = {}
        for name, value in answer.headers.items():
            headers[name.lower()] = (
                f"{headers[name.lower()]}, {mask(value)}" if name.lower() in headers else mask(value)
            )
        return WebAnswer(answer.status, headers, mask(text))


@asynccontextmanager
async def open_web(
    owner: str, allow_hosts: Collection[str], max_response: int, max_redirects: int
) -> AsyncGenerator[Web, None]:
    """Open what sends requests.

    Args:
        owner: `Tool/name`, for messages.
        allow_hosts: hosts that may be reached although they are private.
        max_response: largest answer in bytes, decompressed.
        max_redirects: how many redirects are followed.
    """
    from aiohttp import ClientSession, DummyCookieJar, TCPConnector  # noqa: PLC0415  # costs 0.2 s

    resolver: Any = PublicResolver(f"{owner} spec", allow_hosts)
    connector = TCPConnector(resolver=resolver, use_dns_cache=False)
    async with ClientSession(connector=connector, cookie_jar=DummyCookieJar(), trust_env=False) as session:
        yield Web(session, resolver, max_response, max_redirects)


def _seconds(retry_after: str) -> float | None:
    """Return the seconds for which a service wants to be left alone; None when it names none, or a date."""
    return float(retry_after) if retry_after.isdecimal() and retry_after.isascii() else None


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
