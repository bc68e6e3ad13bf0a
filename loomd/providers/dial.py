"""How a connection to a service is made: directly or through a proxy, plain or over TLS.

Proxies come from `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, trusted authorities from the system or from
`SSL_CERT_FILE` and `SSL_CERT_DIR`, both as they are when a provider opens. Called by `http`; sends no request.
"""

import asyncio
import base64
import ipaddress
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast
from urllib.parse import SplitResult, quote, unquote, urlsplit

from loomd.errors import Permanent
from loomd.providers.framing import HEAD_LIMIT, Garbled, read_head
from loomd.providers.transport import Broken

P = TypeVar("P", bound=asyncio.BaseProtocol)

_STAGGER = 0.25
"""Seconds after which the next address of a host is tried beside the one that does not answer."""


_SAFE = "/?%:@!$&'()*+,;=~"
"""What stays as it is in a path or a query, besides letters, digits and `_.-`."""


@dataclass(frozen=True)
class Place:
    """A host and a port, over TLS or not."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    single: bool
    """Whether the host is an address, so that there is no choice."""

    @property
    def name(self) -> str:
        """Return both, as a proxy and a `Host` header want them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Route:
    """The way to a service.

    Attributes:
        place: the service.
        proxy: what stands in between, or None.
        proxy_key: header line that the proxy wants, empty for none.
        target: what the first line of a request asks for.
        host: value of the `Host` header.
        key: header line for a user and a password in the address, empty for none.
        proxy_address: of the proxy, without a password; empty for none.
    """

    place: Place
    proxy: Place | None
    proxy_key: str
    target: str
    host: str
    key: str
    proxy_address: str


def plan_route(owner: str, url: str, path: str) -> Route:
    """Return the way to a service; reads the environment and the trusted authorities, so do it in a thread.

    Args:
        owner: `Provider/name`, for messages.
        url: address of the service; a path and a query of it are kept.
        path: what is asked for below it.

    Raises:
        Permanent: the environment names a proxy that cannot be used.
    """
    parts = urlsplit(url)
    place = _place(parts)
    asked = quote(parts.path.rstrip("/") + path, safe=_SAFE)
    if parts.query:
        asked += f"?{quote(parts.query, safe=_SAFE)}"
    host = place.name if parts.port else place.name.rpartition(":")[0]
    key = _basic("Authorization", parts)
    through = _proxy(owner, parts)
    if through is None:
        return Route(place, None, "", asked, host, key, "")
    target = asked if place.tls else f"http://{host}{asked}"
    return Route(place, *through, target, host, key, proxy_of(url))


async def dial(route: Route, make: Callable[[], P]) -> P:
    """Return a new connection to a service.

    Args:
        route: the way.
        make: returns the protocol of the connection.

    Raises:
        Broken: there is none; the text says why, for people.
    """
    try:
        if route.proxy is None:
            return await _connect(route.place, make)
        if route.place.tls is None:
            return await _connect(route.proxy, make)
        return await _tunnel(route, route.proxy, route.place.tls, make)
    except ssl.SSLCertVerificationError as error:
        raise Broken(
            f"its certificate is not trusted, {error.verify_message}; SSL_CERT_FILE may name the authority's file"
        ) from None
    except OSError as error:
        raise Broken(f"{type(error).__name__}: {error.strerror or error}") from None


async def _connect(place: Place, make: Callable[[], P]) -> P:
    loop = asyncio.get_running_loop()
    name = place.host if place.tls else None
    stagger = None if place.single else _STAGGER
    _, protocol = await loop.create_connection(
        make, place.host, place.port, ssl=place.tls, server_hostname=name, happy_eyeballs_delay=stagger
    )
    return protocol


async def _tunnel(route: Route, proxy: Place, tls: ssl.SSLContext, make: Callable[[], P]) -> P:
    """Ask a proxy for a connection to the service, and speak TLS through it."""
    hello = await _connect(proxy, _Hello)
    raw = hello.transport
    try:
        await hello.ask(f"CONNECT {route.place.name} HTTP/1.1\r\nHost: {route.place.name}\r\n{route.proxy_key}\r\n")
        protocol = make()
        transport = await asyncio.get_running_loop().start_tls(raw, protocol, tls, server_hostname=route.place.host)
    except BaseException:
        raw.abort()
        raise
    if transport is None:
        raise Broken("the proxy closed the connection")
    protocol.connection_made(transport)
    return protocol


class _Hello(asyncio.Protocol):
    """Asks a proxy for a tunnel."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._block = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._block += data
        if not self._answer.done() and (b"\r\n\r\n" in self._block or len(self._block) > HEAD_LIMIT):
            self._answer.set_result(self._block.partition(b"\r\n\r\n")[0])

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self._answer.done():
            self._answer.set_result(b"")

    async def ask(self, request: str) -> None:
        self.transport.write(request.encode("latin-1"))
        try:
            head = read_head(await self._answer)
        except Garbled as error:
            raise Broken(f"the proxy's answer is no HTTP: {error}") from None
        if head.status != 200:
            raise Broken(f"the proxy answered with HTTP {head.status}")


def _place(parts: SplitResult) -> Place:
    secure = parts.scheme.lower() == "https"
    host = parts.hostname or ""
    if not host.isascii():
        host = host.encode("idna").decode("ascii")
    tls: ssl.SSLContext | None = None
    if secure:
        tls = ssl.create_default_context()
        tls.set_alpn_protocols(["http/1.1"])
    return Place(host, parts.port or (443 if secure else 80), tls, _is_address(host))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def proxy_of(url: str) -> str:
    """Return the proxy that the environment names for an address, without a user and a password; empty for none."""
    try:
        parts = urlsplit(_named(urlsplit(url)))
    except ValueError:
        return "an address that cannot be read"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _named(parts: SplitResult) -> str:
    """Return the address of the proxy that the environment names for an address; empty for none."""
    import urllib.request  # noqa: PLC0415  # 20 ms that validation need not pay

    named = urllib.request.getproxies()
    text = named.get(parts.scheme.lower()) or named.get("all") or ""
    if not text or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return ""
    return text if "://" in text else f"http://{text}"


def _proxy(owner: str, parts: SplitResult) -> tuple[Place, str] | None:
    """Return the proxy that the environment names for an address and the header line that it wants, or None."""
    text = _named(parts)
    if not text:
        return None
    try:
        return _read_proxy(owner, text, parts)
    except ValueError:  # it may hold a password, so it is not quoted
        raise Permanent(
            f"{owner}: the address of the proxy that the environment names for {parts.scheme} cannot be read: mend it"
        ) from None


def _read_proxy(owner: str, text: str, parts: SplitResult) -> tuple[Place, str]:
    proxy = urlsplit(text)
    if proxy.scheme.lower() not in ("http", "https") or not proxy.hostname:
        raise Permanent(
            f"{owner}: the environment names the proxy {proxy.scheme}://{proxy.hostname or ''}, which is no HTTP "
            f"proxy: name {parts.hostname} in NO_PROXY, or set spec.client: sdk"
        )
    return _place(proxy), _basic("Proxy-Authorization", proxy)


def _basic(header: str, parts: SplitResult) -> str:
    """Return the header line for a user and a password in an address."""
    if parts.username is None:
        return ""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"{header}: Basic {base64.b64encode(pair.encode()).decode()}\r\n"
