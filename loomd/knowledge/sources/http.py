"""Http: pages of the web, those that are named and those that they lead to within bounds.

Copies of the pages are kept below the state directory. A page that cannot be fetched stays what it was; one that is
gone is gone. Links are followed only as far, as many and to where the manifest allows.
"""

import asyncio
import hashlib
import json
import os
import re
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import unquote, urljoin, urlsplit

import msgspec
from pydantic import AfterValidator, Field

from loomd.errors import NotFound, Unreachable
from loomd.knowledge.formats.base import BadDocument
from loomd.knowledge.formats.isolated import Reader
from loomd.knowledge.formats.known import find_formats
from loomd.knowledge.ingest import Document, Load, Unreadable
from loomd.knowledge.sources.base import DocumentSource
from loomd.knowledge.sources.copies import Copies, copies
from loomd.knowledge.sources.fetch import AGENT, Answer, Fetcher, Stamp, fetching, normal
from loomd.manifest.quantity import NO_NEWLINE, Duration
from loomd.manifest.rule import spelled
from loomd.topology import Parts
from loomd.web.address import is_public

if TYPE_CHECKING:
    from urllib.robotparser import RobotFileParser

LONGEST = 600.0
"""Seconds after which no more pages are asked for until the next time."""
_NONE, _FAILS = 400, 500
"""The HTTP statuses that say that there is no such file, and those above which the server fails, begin here."""
_ADDRESS = (
    rf"^https?://[^/?#@\s]+(/[^\s]*)?${NO_NEWLINE}",
    "expected an address such as https://host/path, without a password",
)


def _address(value: str) -> str:
    if not re.search(_ADDRESS[0], value):
        raise ValueError(_ADDRESS[1])
    return value


_Address = Annotated[str, AfterValidator(_address), Field(max_length=2000, json_schema_extra=spelled(_ADDRESS))]


class HttpPages(DocumentSource):
    """Pages of the web."""

    type: Literal["http"] = "http"
    urls: list[_Address] = Field(min_length=1, max_length=1000, examples=[["https://docs.example.com/guide/"]])
    """Addresses of the pages."""
    allow: list[_Address] = Field(default_factory=list, examples=[["https://docs.example.com/guide/"]])
    """What may be read: addresses, with all that is below them. Links and redirects that lead elsewhere are not
    followed. By default the folders of `urls`."""
    depth: int = Field(default=0, ge=0, le=10)
    """How many links away from `urls` pages are read; 0 reads only what is named."""
    max_pages: int = Field(default=200, ge=1, le=10_000)
    """Most pages that are read."""
    robots: bool = True
    """Do not follow links that the `robots.txt` of their host asks programs not to follow; `urls` are read anyway."""
    allow_hosts: list[str] = Field(default_factory=list, examples=[["wiki.internal"]])
    """Hosts that may be reached although their address is private, as they are written in the addresses."""
    refresh: Duration = Field(default=3600.0, gt=0)
    """Time after which the pages are asked for again; what did not change is not sent again."""
    timeout: Duration = Field(default=30.0, gt=0)
    """Longest time of fetching one page."""
    max_redirects: int = Field(default=5, ge=0, le=20)
    """How many redirects of one page are followed."""

    @property
    def label(self) -> str:
        """Return the first address, and how many more there are."""
        return self.urls[0] + (f" and {len(self.urls) - 1} more" if self.urls[1:] else "")

    def check(self, root: Path) -> Iterator[tuple[str, str, str]]:
        """Yield addresses that cannot be read: private ones, and those that `allow` does not hold."""
        del root
        for name, addresses in (("urls", self.urls), ("allow", self.allow)):
            for at, url in enumerate(addresses):
                if reason := self._refusal(url):
                    yield f"/{name}/{at}", reason, "invalid-value"
        for at, url in enumerate(self.urls):
            if self.allow and not self._refusal(url) and not self.allows(normal(url)):
                yield (
                    f"/urls/{at}",
                    f'expected an address below one of allow, got "{url}": add it there',
                    "invalid-value",
                )

    def _refusal(self, url: str) -> str:
        try:
            host = urlsplit(normal(url)).hostname or ""
        except ValueError:
            return f'expected an address such as https://host/path, got "{url}"'
        literal = ":" in host or host.replace(".", "").isdigit()
        if host not in self.allow_hosts and (host == "localhost" or (literal and not is_public(host))):
            return f'expected a public address, got "{url}": list the host in allowHosts, or name another'
        return ""

    def allows(self, url: str) -> bool:
        """Return whether an address, in its normal form, may be read."""
        return any(_is_below(url, top) for top in self.allow or [_folder(one) for one in self.urls])

    @asynccontextmanager
    async def open(self, parts: Parts, owner: str) -> AsyncGenerator["Pages", None]:
        """Yield the pages, none of which may have been fetched yet."""
        with copies(parts, "http", *self.urls, *self.allow, str(self.depth)) as kept:
            yield Pages(self, owner, kept)


@dataclass(frozen=True)
class _Kept:
    """A page of which there is a copy: what was asked for, where it was found, what it is, and the file."""

    asked: str
    url: str
    media: str
    file: str
    stamp: Stamp


@dataclass
class _Round:
    """One look at all pages: what was kept before, what is now, what was missed, and the rules of the hosts."""

    before: Mapping[str, _Kept]
    now: dict[str, _Kept] = field(default_factory=dict[str, _Kept])
    missed: list[Unreadable] = field(default_factory=list[Unreadable])
    gone: set[str] = field(default_factory=set[str])
    failed: bool = False
    robots: "dict[str, RobotFileParser]" = field(default_factory=dict)


class Pages:
    """Pages whose copies are read.

    Args:
        spec: the source.
        owner: the source, for messages.
        kept: folder of the copies.
    """

    def __init__(self, spec: HttpPages, owner: str, kept: Copies) -> None:
        self._spec = spec
        self._owner = owner
        self._kept = kept
        self._list = kept.folder / "pages.json"
        self._missed: tuple[Unreadable, ...] = ()

    @property
    def interval(self) -> float | None:
        """Return the interval of the manifest."""
        return self._spec.refresh

    @property
    def is_kept(self) -> bool:
        """Return whether something was fetched before."""
        return bool(self._read_list())

    async def refresh(self) -> None:
        """Ask for all pages, and follow their links; what cannot be fetched stays what it was.

        Raises:
            Unreachable: no page can be fetched, and none is kept.
            NotFound: no page is there, and none is kept.
        """
        async with self._kept.lock:
            before = await asyncio.to_thread(self._read_list)
            found = _Round(before)
            spec = self._spec
            web = fetching(self._owner, spec.allow_hosts, spec.allows, spec.max_file, spec.timeout, spec.max_redirects)
            async with web as fetcher:
                await self._visit(fetcher, found)
            if not found.now:
                first = found.missed[0]
                text = f"{self._owner}: {first.path} {first.reason}"
                if not before:
                    raise Unreachable(text) if found.failed else NotFound(text)
                found.now = dict(islice(before.items(), spec.max_pages))  # all gone at once: something else is wrong
                found.missed = [msgspec.structs.replace(one, away=True) for one in found.missed]
            elif found.failed:
                rest = [asked for asked in before if asked not in found.now and asked not in found.gone]
                found.now |= {asked: before[asked] for asked in rest[: spec.max_pages - len(found.now)]}
            await asyncio.to_thread(self._write_list, list(found.now.values()))
            self._missed = tuple(found.missed)

    async def _visit(self, fetcher: Fetcher, found: _Round) -> None:
        """Ask for the pages that are named, then for those that they lead to, level by level."""
        level, seen = [normal(url) for url in self._spec.urls], set[str]()
        end = asyncio.get_running_loop().time() + LONGEST
        with Reader() as reader:
            for depth in range(self._spec.depth + 1):
                following: list[str] = []
                for url in dict.fromkeys(level):
                    if url in seen:
                        continue
                    seen.add(url)
                    if len(found.now) >= self._spec.max_pages:
                        found.missed.append(Unreadable(url, "is one page too many: raise maxPages, or narrow allow"))
                        return
                    if asyncio.get_running_loop().time() > end:
                        found.failed = True  # what is kept of the rest stays
                        reason = f"is not asked for after {LONGEST:g} s: narrow allow, lower depth, or wait"
                        found.missed.append(Unreadable(url, reason))
                        return
                    if depth and not await self._may_follow(fetcher, found, url):
                        continue
                    page = await self._ask(fetcher, found, url, named=depth == 0)
                    if page is not None and depth < self._spec.depth:
                        following += await asyncio.to_thread(self._links, reader, page)
                level = following

    async def _ask(self, fetcher: Fetcher, found: _Round, url: str, *, named: bool) -> _Kept | None:
        """Return the copy of a page as it is now, or None when there is none."""
        known = found.before.get(url)
        answer = await fetcher.get(url, known.stamp if known else Stamp())
        if answer.outcome == "same" and known is not None:
            found.now[url] = known
        elif answer.outcome == "page":
            if _is_document(answer):
                found.now[url] = await asyncio.to_thread(self._keep, url, answer)
            elif named:
                found.missed.append(Unreadable(url, f"is {answer.media}, which is no document: take it out"))
        else:
            linked = answer.outcome == "gone" and not named
            reason = f"is gone (HTTP {answer.status}): a page still links to it" if linked else answer.reason
            is_kept = answer.outcome == "failed" and known is not None
            found.missed.append(Unreadable(url, reason, away=is_kept))
            if answer.outcome == "gone":
                found.gone.add(url)
            else:
                found.failed = True
                found.now |= {url: known} if known is not None else {}
        return found.now.get(url)

    async def _may_follow(self, fetcher: Fetcher, found: _Round, url: str) -> bool:
        """Return whether the host of a link lets programs follow it.

        One that does not say, because it fails, lets nobody (RFC 9309, 2.3.1); one without such a file lets everybody.
        """
        if not self._spec.robots:
            return True
        from urllib.robotparser import RobotFileParser  # noqa: PLC0415  # brings all of urllib.request

        parts = urlsplit(url)
        host = f"{parts.scheme}://{parts.netloc}"
        if host not in found.robots:
            asked = f"{host}/robots.txt"
            answer = await fetcher.get(asked, allowed=lambda to: urlsplit(to).netloc == parts.netloc)
            lines = answer.data.decode("utf-8", "replace").splitlines() if answer.outcome == "page" else []
            if answer.outcome == "failed" and not _NONE <= answer.status < _FAILS:
                lines = ["User-agent: *", "Disallow: /"]
                found.failed = True  # what is kept of the host stays
                found.missed.append(Unreadable(asked, f"{answer.reason}; until then no links of its host are followed"))
            rules = RobotFileParser()
            rules.parse(lines)
            found.robots[host] = rules
        return found.robots[host].can_fetch(AGENT, url)

    def _links(self, reader: Reader, page: _Kept) -> list[str]:
        """Return the addresses on a page that may be read."""
        loaded = self._read(page)
        if not isinstance(loaded, Document) or loaded.format != "html":
            return []
        try:
            content = reader.read(loaded.format, loaded.path, loaded.data, loaded.limits)
        except BadDocument:
            return []  # it is told when the page is read for its text
        found: list[str] = []
        for link in content.links:
            try:
                url = normal(urljoin(page.url, link))
            except ValueError:
                continue  # a link to something else than a page
            if self._spec.allows(url):
                found.append(url)
        return found

    def find(self) -> Mapping[str, Load]:
        """Return what reads the copy of each page; it is cited by its address.

        Raises:
            NotFound: nothing was fetched.
        """
        pages = self._read_list()
        if not pages:
            raise NotFound(f"{self._owner}: none of its pages was fetched yet")
        return {page.url: partial(self._read, page) for page in pages.values()}

    def missed(self) -> Iterable[Unreadable]:
        """Return which pages could not be fetched the last time."""
        return self._missed

    def may_have(self, path: str) -> bool:
        """Return whether a path is an address."""
        return path.lower().startswith(("http://", "https://"))

    def _read(self, page: _Kept) -> Document | Unreadable:
        try:
            return self._spec.document(page.url, (self._kept.folder / page.file).read_bytes(), page.media)
        except OSError as error:
            return Unreadable(page.url, f"cannot be read ({error.strerror}): mend the state directory")

    def _keep(self, asked: str, answer: Answer) -> _Kept:
        name = hashlib.sha256(answer.data).hexdigest()
        self._write(self._kept.folder / name, answer.data)
        return _Kept(asked, answer.url, answer.media, name, answer.stamp)

    def _write(self, path: Path, data: bytes) -> None:
        """Write a file that is there whole or not at all."""
        self._kept.folder.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)

    def _read_list(self) -> dict[str, _Kept]:
        """Return the pages of which there are copies, by what was asked for."""
        try:
            said = json.loads(self._list.read_bytes())
            pages = [_kept(one) for one in said]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return {page.asked: page for page in pages if (self._kept.folder / page.file).is_file()}

    def _write_list(self, pages: list[_Kept]) -> None:
        """Write down which pages there are, then remove the files of all others."""
        self._write(self._list, json.dumps([asdict(page) for page in pages]).encode())
        kept = {page.file for page in pages} | {self._list.name}
        for path in self._kept.folder.iterdir():
            if path.name not in kept:
                path.unlink(missing_ok=True)


def _kept(said: Mapping[str, Any]) -> _Kept:
    """Return what was written down of a page."""
    stamp = Stamp(str(said["stamp"]["etag"]), str(said["stamp"]["modified"]))
    return _Kept(str(said["asked"]), str(said["url"]), str(said["media"]), str(said["file"]), stamp)


def _is_document(answer: Answer) -> bool:
    """Return whether there is a format for what was fetched; a server that names none is believed to have text."""
    known = {media for one in find_formats().values() for media in one.media}
    return not answer.media or answer.media.startswith("text/") or answer.media in known


def _folder(url: str) -> str:
    """Return the folder of an address."""
    parts = urlsplit(normal(url))
    return f"{parts.scheme}://{parts.netloc}{parts.path.rpartition('/')[0]}/"


def _is_below(url: str, top: str) -> bool:
    """Return whether an address is another one or below it; dots lead nowhere else."""
    found, above = urlsplit(url), urlsplit(normal(top))
    if (found.scheme, found.netloc) != (above.scheme, above.netloc) or ".." in unquote(found.path).split("/"):
        return False
    return found.path == above.path or found.path.startswith(f"{above.path.rstrip('/')}/")
