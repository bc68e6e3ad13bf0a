"""Documents of the web: what is named and allowed is read, kept and asked for again; nothing else is reached."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from loomd.errors import LoomdError
from loomd.knowledge.kind import KIND
from loomd.knowledge.sources.fetch import normal
from loomd.knowledge.sources.http import HttpPages, Pages
from tests.knowledge.documents import pdf
from tests.knowledge.sites import Site, page, source

if TYPE_CHECKING:
    from tests.knowledge.conftest import Lab


def only(base: Any) -> Pages:
    """Return the only source of a knowledge base."""
    (found,) = base._library._sources
    assert isinstance(found, Pages)
    return found


async def test_pages_are_found_by_their_addresses(lab: "Lab", site: Site) -> None:
    """What a server says that a page is decides how it is read; nothing but what is named is asked for."""
    lab.root.mkdir()
    site.pages |= {"/a": page("Cats purr.", "/other"), "/b": (pdf(["Dogs bark."]), "application/pdf")}
    site.pages |= {"/c": ("Größe".encode("latin-1"), "text/plain; charset=iso-8859-1")}
    spec = source(site, "/a", "/b", "/c#part")
    async with lab.open(sources=[spec], retrieval={"mode": "keyword"}) as base:
        found = [(await base.search(word))[0] for word in ("purr", "bark", "größe")]
    assert [one.source for one in found] == [f"{site.url}/a:4-4", f"{site.url}/b#page=1", f"{site.url}/c:1-1"]
    assert found[0].title == "Page"
    assert site.paths() == ["/a", "/b", "/c"]


async def test_links_are_followed_within_bounds(lab: "Lab", site: Site) -> None:
    """As far as `depth`, below `allow`, as `robots.txt` asks; each page once."""
    lab.root.mkdir()
    links = (
        "b",
        "/guide/c#x",
        "../secret",
        "%2e%2e/secret",
        "http://elsewhere.example/",
        "mailto:a@b",
        "/guidebook",
        "p.png",
    )
    site.pages |= {
        "/guide/": page("one", *links),
        "/guide/b": page("two", "/guide/", "deeper", "private/x"),
        "/guide/c": page("three"),
        "/guide/deeper": page("four", "deepest"),
        "/guide/deepest": page("five"),
        "/guide/private/x": page("six"),
        "/guide/p.png": (b"\x89PNG", "image/png"),
        "/robots.txt": (b"User-agent: *\nDisallow: /guide/private/\n", "text/plain"),
    }
    async with lab.open(sources=[source(site, "/guide/", depth=2)]) as base:
        assert sorted(only(base).find()) == [f"{site.url}/guide/{name}" for name in ("", "b", "c", "deeper")]
        assert base.unreadable == ()
    assert site.paths() == ["/guide/", "/robots.txt", "/guide/b", "/guide/c", "/guide/p.png", "/guide/deeper"]
    async with lab.open(sources=[source(site, "/guide/", depth=2, robots=False, maxPages=4)]) as base:
        assert len(only(base).find()) == 4
        assert "is one page too many" in base.unreadable[0].reason


async def test_no_more_than_max_pages_are_kept(lab: "Lab", site: Site) -> None:
    """However often the links change, and whatever fails meanwhile: the pages of before fill up what is free."""
    lab.root.mkdir()
    for number in range(30):
        site.pages[f"/g/{number}"] = page(f"Page {number}.")
    site.pages["/g/"] = page("Top.", *map(str, range(10)))
    async with lab.open(sources=[source(site, "/g/", depth=1, maxPages=5)]) as base:
        pages = only(base)
        for first in (10, 20):
            site.pages["/g/"] = page(f"Top {first}.", *map(str, range(first, first + 10)))
            await pages.refresh()
            assert sorted(pages.find()) == [f"{site.url}/g/{name}" for name in ("", *range(first, first + 4))]
            (missed,) = pages.missed()
            assert missed.reason == "is one page too many: raise maxPages, or narrow allow"
        site.pages |= {"/g/": page("Top.", "1", "2", "3"), "/g/1": 503}
        await pages.refresh()
        assert sorted(pages.find()) == [f"{site.url}/g/{name}" for name in ("", "2", "20", "21", "3")]
        site.pages["/g/"] = 404
        pages._spec = pages._spec.model_copy(update={"max_pages": 3})
        await pages.refresh()
        assert len(pages.find()) == 3


async def test_when_the_time_is_over(lab: "Lab", site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest stays as it was, and the reason is not that of too many pages."""
    lab.root.mkdir()
    site.pages |= {"/a": page("Cats purr.", "b"), "/b": page("Dogs bark.")}
    async with lab.open(sources=[source(site, "/a", depth=1)]) as base:
        pages = only(base)
        monkeypatch.setattr("loomd.knowledge.sources.http.LONGEST", -1.0)
        await pages.refresh()
        assert sorted(pages.find()) == [f"{site.url}/a", f"{site.url}/b"]
        assert [one.reason for one in pages.missed()] == [
            "is not asked for after -1 s: narrow allow, lower depth, or wait"
        ]


@pytest.mark.parametrize(
    ("robots", "read", "reason"),
    [
        (500, "a", "answers HTTP 500"),
        (503, "a", "answers HTTP 503"),
        ("http://localhost:1/robots.txt", "a", "leads to http://localhost:1/robots.txt"),
        (404, "abc", ""),
        (403, "abc", ""),
        ("/moved/robots.txt", "ab", ""),
    ],
)
async def test_robots_that_cannot_be_read(lab: "Lab", site: Site, robots: Any, read: str, reason: str) -> None:
    """A host that fails lets no link be followed; one without rules lets all be; rules may have moved on the host."""
    lab.root.mkdir()
    site.pages |= {"/g/a": page("one", "b", "c"), "/g/b": page("two"), "/g/c": page("three"), "/robots.txt": robots}
    site.pages["/moved/robots.txt"] = (b"User-agent: *\nDisallow: /g/c\n", "text/plain")
    async with lab.open(sources=[source(site, "/g/a", depth=1)]) as base:
        assert sorted(only(base).find()) == [f"{site.url}/g/{name}" for name in read]
        assert [one.path for one in base.unreadable] == ([f"{site.url}/robots.txt"] if reason else [])
        assert all(reason in one.reason for one in base.unreadable)


async def test_robots_that_fail_for_a_while_take_nothing(lab: "Lab", site: Site) -> None:
    """What was read by links before stays as long as nobody says whether they may be followed."""
    lab.root.mkdir()
    site.pages |= {"/a": page("one", "b"), "/b": page("two")}
    async with lab.open(sources=[source(site, "/a", depth=1)]) as base:
        site.pages["/robots.txt"] = 503
        site.paths()
        await only(base).refresh()
        assert site.paths() == ["/a", "/robots.txt"]
        assert sorted(only(base).find()) == [f"{site.url}/a", f"{site.url}/b"]


async def test_what_did_not_change_is_not_sent_again(lab: "Lab", site: Site) -> None:
    """The version that is kept is named, also after a restart; only what changed is embedded."""
    lab.root.mkdir()
    site.pages |= {"/a": page("Cats purr.", "b"), "/b": page("Dogs bark.")}
    spec = source(site, "/a", depth=1)
    async with lab.open(sources=[spec]):
        pass
    site.pages["/b"] = page("Dogs howl.")
    site.asked.clear()
    async with lab.open(sources=[spec], retrieval={"mode": "keyword"}) as base:
        assert all("If-None-Match" in headers for path, headers in site.asked if path != "/robots.txt")
        assert lab.embedder.texts == ["Page\nDogs howl."]
        assert len(await base.search("purr")) == 1
        assert len(list(only(base)._kept.folder.iterdir())) == 3


async def test_a_page_that_fails_stays_and_one_that_is_gone_goes(lab: "Lab", site: Site) -> None:
    """Both are said; when all is gone at once, all stays."""
    lab.root.mkdir()
    site.pages |= {"/a": page("Cats purr.", "c", "d"), "/b": page("Dogs bark."), "/c": page("Owls fly.")}
    async with lab.open(sources=[source(site, "/a", "/b", depth=1)], retrieval={"mode": "keyword"}) as base:
        (linked,) = base.unreadable
        site.pages["/d"] = page("Bees hum.")
        assert linked.path == f"{site.url}/d"
        assert linked.reason == "is gone (HTTP 404): a page still links to it"
        site.pages |= {"/a": 503, "/b": 404}
        await only(base).refresh()
        await base.refresh()
        assert [len(await base.search(word)) for word in ("purr", "bark", "fly")] == [1, 0, 1]
        assert [one.reason.partition(":")[0] for one in base.unreadable] == ["answers HTTP 503", "is gone (HTTP 404)"]
        site.pages["/a"] = page("Cats purr.")
        await only(base).refresh()
        await base.refresh()
        assert [len(await base.search(word)) for word in ("purr", "bark", "fly")] == [1, 0, 0]
        site.pages["/a"] = 404
        await only(base).refresh()
        await base.refresh()
        assert len(await base.search("purr")) == 1


async def test_a_server_that_is_away_takes_nothing(lab: "Lab", site: Site) -> None:
    """What was read stays, also after a restart; pages that were never there are an error."""
    lab.root.mkdir()
    site.pages["/a"] = page("Cats purr.")
    spec = source(site, "/a")
    async with lab.open(sources=[spec]):
        pass
    site.pages["/a"] = 500
    async with lab.open(sources=[spec], retrieval={"mode": "keyword"}) as base:
        assert len(await base.search("purr")) == 1
        assert base.unreadable[0].path == f"{site.url}/a"
    for path, said in (("/b", "answers HTTP 500"), ("/nothing", "is gone")):
        site.pages["/b"] = 500
        with pytest.raises(LoomdError, match=rf"KnowledgeBase/kb spec\.sources\[0\]: http.*{path} {said}"):
            async with lab.open(sources=[source(site, path)]):
                pass


@pytest.mark.parametrize(
    ("pages", "fields", "reason"),
    [
        ({"/a": "/elsewhere/x"}, {"allow": ["/a"]}, r"leads to .*/elsewhere/x, which is not below allow"),
        ({"/a": "/a"}, {}, "leads on and on"),
        ({"/a": "http://169.254.169.254/"}, {"allow": ["/", "http://169.254.169.254/"]}, "is not asked for: the host"),
        ({"/a": "http://[::1]:1/"}, {"allow": ["/", "http://[::1]:1/"]}, "is not asked for: the host"),
        ({"/a": "file:///etc/passwd"}, {}, "cannot be reached"),
        ({"/a": "http://u:p@127.0.0.1/"}, {}, "cannot be reached"),
        ({"/a": (b"x" * 2000, "text/plain")}, {"maxFile": "1Ki"}, "has more than 1024 bytes"),
        ({"/a": (b"x", "image/png")}, {}, "is image/png, which is no document"),
    ],
)
async def test_what_may_not_be_read_is_not(
    lab: "Lab", site: Site, pages: dict[str, Any], fields: dict[str, Any], reason: str
) -> None:
    """Redirects to elsewhere, private addresses, other protocols, and what is too large or no document."""
    lab.root.mkdir()
    site.pages |= pages
    allow = [one if one.startswith("http") else f"{site.url}{one}" for one in fields.pop("allow", [])]
    spec = source(site, "/a", **fields, **({"allow": allow} if allow else {}))
    with pytest.raises(LoomdError, match=reason):
        async with lab.open(sources=[spec]):
            pass


async def test_loopback_is_reached_only_when_it_is_listed(lab: "Lab", site: Site) -> None:
    """An address that is private is refused, whatever name leads to it."""
    lab.root.mkdir()
    site.pages["/a"] = page("Cats purr.")
    for host in ("127.0.0.1", "localhost"):
        url = f"{site.url.replace('127.0.0.1', host)}/a"
        with pytest.raises(LoomdError, match=r"is not asked for: the host .* spec\.sources\[0\]\.allowHosts"):
            async with lab.open(sources=[{"type": "http", "urls": [url]}]):
                pass
    assert site.paths() == []


@pytest.mark.parametrize(
    ("fields", "pointer", "message"),
    [
        ({"urls": ["http://127.0.0.1/a"]}, "/urls/0", "expected a public address"),
        ({"urls": ["http://localhost/a"]}, "/urls/0", "list the host in allowHosts"),
        ({"urls": ["https://h/a"], "allow": ["https://h/b/"]}, "/urls/0", "expected an address below one of allow"),
        ({"urls": ["https://h/a"], "allow": ["https://h/", "http://[::1]/"]}, "/allow/1", "expected a public address"),
        ({"urls": ["https://h:x/a"]}, "/urls/0", "expected an address such as"),
    ],
)
def test_addresses_are_checked_at_validation(
    tmp_path: Path, fields: dict[str, Any], pointer: str, message: str
) -> None:
    """What could never be read is told with its place."""
    (spec,) = KIND.adapter.validate_python({"embedder": "e", "sources": [{"type": "http", **fields}]}).sources
    ((place, text, _),) = spec.check(tmp_path)
    assert place == pointer
    assert message in text


@pytest.mark.parametrize("url", ["ftp://h/a", "https://", "https://u:p@h/a", "https://h/a b", "h/a"])
def test_what_is_no_address_is_refused(url: str) -> None:
    """By its type."""
    with pytest.raises(ValidationError, match="urls"):
        HttpPages.model_validate({"urls": [url]})


def test_equal_addresses_are_equal() -> None:
    """Case of the host, the usual port and what stands behind `#` make no difference."""
    assert normal("HTTPS://Example.com:443#x") == "https://example.com/"
    assert normal("http://h:8080/A?b=C") == "http://h:8080/A?b=C"
