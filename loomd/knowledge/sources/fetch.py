"""Fetches single pages of the web: from public addresses only, redirects followed by hand, answers capped.

A page that is unchanged since it was fetched last is not sent again. Knows nothing of links. Called by the `http` type.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urljoin, urlsplit, urlunsplit

from loomd.errors import ToolFailed
from loomd.web.address import PublicResolver

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

AGENT = "loomd"
"""What servers are told of who asks."""
_REDIRECTS = (301, 302, 303, 307, 308)
_GONE = (404, 410)
_PART = 64 << 10


@dataclass(frozen=True)
class Stamp:
    """What a server said of the version of a page, to be asked with the next time."""

    etag: str = ""
    modified: str = ""


@dataclass(frozen=True)
class Answer:
    """What came of asking for a page.

    Attributes:
        outcome: a page, `same` as it was, no page any more, or a failure that may pass.
        url: where it was found in the end.
        data: its bytes; text is UTF-8 when the server said its encoding.
        media: its media type.
        stamp: its version.
        reason: why there is no page.
        status: what the server said, by HTTP's number; 0 when it said nothing, or nothing was asked.
    """

    outcome: Literal["page", "same", "gone", "failed"]
    url: str
    data: bytes = b""
    media: str = ""
    stamp: Stamp = Stamp()
    reason: str = ""
    status: int = 0


@dataclass(frozen=True)
class Fetcher:
    """Asks for pages.

    Attributes:
        session: where connections are made.
        resolver: says which addresses may be reached.
        allowed: says which addresses may be read.
        largest: most bytes of a page.
        seconds: longest time of one page.
        redirects: how many are followed.
    """

    session: "ClientSession"
    resolver: PublicResolver
    allowed: Callable[[str], bool]
    largest: int
    seconds: float
    redirects: int

    async def get(
        self, url: str, stamp: Stamp = Stamp(), allowed: Callable[[str], bool] | None = None
    ) -> Answer:  # it is frozen
        """Return what a server says of a page; what goes wrong is an answer, too.

        Args:
            url: its address, in its normal form.
            stamp: the version that is known.
            allowed: says to which addresses it may lead, when those are others than may be read.
        """
        from aiohttp import ClientError  # noqa: PLC0415  # costs 0.2 s

        try:
            async with asyncio.timeout(self.seconds):
                return await self._get(url, stamp, allowed or self.allowed)
        except TimeoutError:
            return Answer("failed", url, reason=f"did not answer within {self.seconds:g} s: raise timeout, or wait")
        except (ClientError, OSError, ValueError) as error:
            return Answer(
                "failed", url, reason=f"cannot be reached ({type(error).__name__}): mend the address, or wait"
            )
        except ToolFailed as error:
            return Answer("failed", url, reason=f"is not asked for: {error}")

    async def _get(self, url: str, stamp: Stamp, allowed: Callable[[str], bool]) -> Answer:
        headers = {"User-Agent": AGENT}
        headers |= {"If-None-Match": stamp.etag} if stamp.etag else {}
        headers |= {"If-Modified-Since": stamp.modified} if stamp.modified else {}
        for _ in range(self.redirects + 1):
            self.resolver.check_literal(urlsplit(url).hostname or "")
            async with self.session.get(url, headers=headers, allow_redirects=False) as answer:
                target = answer.headers.get("Location")
                if answer.status not in _REDIRECTS or target is None:
                    return await self._read(answer, url)
            url = normal(urljoin(url, target))
            if not allowed(url):
                return Answer("failed", url, reason=f"leads to {url}, which is not below allow: add it there")
        return Answer("failed", url, reason=f"leads on and on, over more than {self.redirects} redirects: mend it")

    async def _read(self, answer: "ClientResponse", url: str) -> Answer:
        if answer.status == 304:
            return Answer("same", url)
        if answer.status in _GONE:
            return Answer(
                "gone", url, reason=f"is gone (HTTP {answer.status}): take its address out", status=answer.status
            )
        if answer.status != 200:
            reason = f"answers HTTP {answer.status}: it is asked again later"
            return Answer("failed", url, reason=reason, status=answer.status)
        data = bytearray()
        async for part in answer.content.iter_chunked(_PART):
            data += part
            if len(data) > self.largest:
                return Answer("failed", url, reason=f"has more than {self.largest} bytes, which is maxFile: raise it")
        stamp = Stamp(answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", ""))
        media = answer.content_type if "Content-Type" in answer.headers else ""
        return Answer("page", url, _utf8(bytes(data), media, answer.charset), media, stamp, status=answer.status)


def _utf8(data: bytes, media: str, charset: str | None) -> bytes:
    """Return text in UTF-8 when a server says that it is in another encoding, and bytes as they are."""
    if not charset or charset.lower() in {"utf-8", "utf8"} or not media.startswith("text/"):
        return data
    try:
        return b"\xef\xbb\xbf" + data.decode(charset).encode()
    except (LookupError, UnicodeError):
        return data  # whoever reads it says what is wrong with it


def normal(url: str) -> str:
    """Return an address in the form in which equal ones are equal: lower-case host, a path, no fragment.

    Raises:
        ValueError: it is no address.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise ValueError(f"no address of a page: {url!r}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port in {None, 80 if parts.scheme == "http" else 443} else f":{parts.port}"
    return urlunsplit((parts.scheme, f"{host}{port}", parts.path or "/", parts.query, ""))


@asynccontextmanager
async def fetching(
    owner: str,
    allow_hosts: Collection[str],
    allowed: Callable[[str], bool],
    largest: int,
    seconds: float,
    redirects: int,
) -> AsyncGenerator[Fetcher, None]:
    """Open what asks for pages.

    Args:
        owner: what has the field `allowHosts`, for messages.
        allow_hosts: hosts that may be reached although they are private.
        allowed: says which addresses may be read.
        largest: most bytes of a page.
        seconds: longest time of one page.
        redirects: how many are followed.
    """
    from aiohttp import ClientSession, DummyCookieJar, TCPConnector  # noqa: PLC0415  # costs 0.2 s

    resolver: Any = PublicResolver(owner, allow_hosts)
    connector = TCPConnector(resolver=resolver, use_dns_cache=False)
    async with ClientSession(connector=connector, cookie_jar=DummyCookieJar(), trust_env=False) as session:
        yield Fetcher(session, resolver, allowed, largest, seconds, redirects)
