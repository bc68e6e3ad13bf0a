import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from aiohttp import web

from loomd.errors import Permanent, ToolFailed, Unauthorized
from loomd.tools.http import HttpTool
from loomd.tools.kind import KIND
from tests.ports import free_port

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TOKEN = "token-canary-0123456789"


class Site:
    """A web service on this machine: what it was asked, and where it leads."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[tuple[str, str, Mapping[str, str], bytes]] = []
        self.handler: Handler | None = None
        self.redirects: dict[str, tuple[int, str]] = {}

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.port}"

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Record a call and answer it."""
        self.asked.append((request.method, request.raw_path, request.headers, await request.read()))
        if request.path in self.redirects:
            status, location = self.redirects[request.path]
            return web.Response(status=status, headers={"Location": location})
        if self.handler is not None:
            return await self.handler(request)
        return web.Response(text="fine")


@pytest.fixture
async def site() -> AsyncGenerator[Site, None]:
    """Yield the running service."""
    site = Site()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", site.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.port = runner.addresses[0][1]
    yield site
    await runner.cleanup()


def spec(url: str, *names: str, **more: object) -> dict[str, object]:
    """Return a spec with text parameters that may reach this machine."""
    properties: dict[str, object] = {name: {} for name in names}
    return {
        "type": "http",
        "url": url,
        "parameters": {"type": "object", "properties": properties, "additionalProperties": False},
        "allowHosts": ["127.0.0.1"],
        **more,
    }


async def test_a_request(tool: Any, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Path, query, headers and body are filled from the arguments."""
    monkeypatch.setenv("CANARY", TOKEN)
    declared = spec(
        f"{site.url}/v1/{{city}}?fixed=1",
        "city",
        "days",
        "tags",
        "note",
        method="POST",
        query={"days": "{days}", "tag": "{tags}", "note": "{note}"},
        headers={"Authorization": {"valueFrom": {"env": "CANARY"}}, "X-Plain": "yes"},
        body={"city": "{city}", "days": "{days}", "text": "for {city}", "note": "{note}", "list": ["{days}", 7]},
    )
    async with tool(declared) as live:
        assert await live.call({"city": "São/Paulo?x=1#y", "days": 3, "tags": ["a", "b c"]}) == "fine"
    method, path, headers, body = site.asked[0]
    assert (method, path) == ("POST", "/v1/S%C3%A3o%2FPaulo%3Fx%3D1%23y?fixed=1&days=3&tag=a&tag=b+c")
    assert (headers["Authorization"], headers["X-Plain"]) == (TOKEN, "yes")
    assert headers["Content-Type"] == "application/json"
    expected = '{"city":"São/Paulo?x=1#y","days":3,"text":"for São/Paulo?x=1#y","list":[3,7]}'
    assert body.decode() == expected


WEATHER = {"town": "Ghent", "items": [{"day": "Mon", "rain": 2}, {"day": "Tue"}]}


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("{{ json.town }} ({{ status }})", "Ghent (201)"),
        ("{% for one in json.items %}{{ one.day }}{{ ' wet' if one.rain is defined }} {% endfor %}", "Mon wet Tue "),
        ("{{ headers['x-source'] }} {{ headers.etag }}: {{ text|length }}", "a, b e1: 71"),
        ("{{ headers['x-key'] }}", "***"),
        ("nothing of it", "nothing of it"),
        ("{{ text }}", json.dumps(WEATHER)),
    ],
)
async def test_what_is_shown_of_an_answer(
    tool: Any, site: Site, template: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template makes it of status, headers and body; secrets stay hidden."""
    monkeypatch.setenv("CANARY", TOKEN)

    async def answer(_: web.Request) -> web.Response:
        more = [("X-Source", "a"), ("X-Source", "b"), ("ETag", "e1"), ("X-Key", TOKEN)]
        return web.Response(status=201, headers=more, text=json.dumps(WEATHER))

    site.handler = answer
    headers = {"Authorization": {"valueFrom": {"env": "CANARY"}}}
    async with tool(spec(site.url, headers=headers, response=template)) as live:
        assert await live.call({}) == shown


@pytest.mark.parametrize(
    ("template", "more", "told"),
    [
        ("{{ json.wind }}", {}, r"spec\.response: a template cannot be rendered: .*no attribute 'wind'"),
        ("{{ json.town.name.short }}", {}, r"spec\.response: a template cannot be rendered"),
        ("{{ json.town }}", {"text": "<html>"}, r"'json' is undefined"),
        ("{{ json.town }}", {"status": 404}, r"^HTTP 404"),
        (
            "{% for a in json.many %}{% for b in json.many %}" + "x" * 1000 + "{% endfor %}{% endfor %}",
            {},
            "grew beyond",
        ),
    ],
)
async def test_an_answer_of_which_nothing_can_be_made(
    tool: Any, site: Site, template: str, more: dict[str, Any], told: str
) -> None:
    """It is a failure of the call, told to the model; so is a refusal, whatever the template says."""

    async def answer(_: web.Request) -> web.Response:
        said: dict[str, Any] = {"text": json.dumps({**WEATHER, "many": [0] * 200}), **more}
        return web.Response(**said)

    site.handler = answer
    async with tool(spec(site.url, response=template)) as live:
        with pytest.raises(ToolFailed, match=told):
            await live.call({})


@pytest.mark.parametrize("value", ["..", ".", ""])
async def test_an_argument_cannot_change_the_path(tool: Any, site: Site, value: str) -> None:
    """A value stays one segment of the path."""
    async with tool(spec(f"{site.url}/users/{{name}}/public", "name")) as live:
        with pytest.raises(ToolFailed, match='the argument "name" may not be'):
            await live.call({"name": value})
    assert site.asked == []


async def test_arguments_are_checked(tool: Any, site: Site) -> None:
    """What does not fit the schema is refused with a text for the model."""
    async with tool(spec(f"{site.url}/{{a}}", "a")) as live:
        with pytest.raises(ToolFailed, match="the arguments are refused"):
            await live.call({"b": 1})
        with pytest.raises(ToolFailed, match='the argument "a" is missing'):
            await live.call({})


SPELLINGS = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "0",
    "0.0.0.0",  # noqa: S104  # an address to refuse
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "①②⑦.0.0.1",
    "127。0。0。1",
    "169.254.169.254",
    "2852039166",
    "10.0.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "192.0.0.192",
]


@pytest.mark.parametrize("host", SPELLINGS)
async def test_this_machine_in_every_spelling(tool: Any, site: Site, host: str) -> None:
    """However a private address is written, nothing reaches it."""
    async with tool(spec(f"http://{host}:{site.port}/", allowHosts=[])) as live:
        with pytest.raises(ToolFailed, match=r"not on the public internet|cannot be"):
            await live.call({})
    assert site.asked == []


@pytest.mark.parametrize("host", SPELLINGS)
async def test_redirects_are_checked(tool: Any, site: Site, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect to a private address that is not allowed leads nowhere, although the first host may be private."""
    real = socket.getaddrinfo

    def look(name: Any, *rest: Any, **more: Any) -> Any:
        return real("127.0.0.1" if name == "entry.example" else name, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look)
    site.redirects["/"] = (302, f"http://{host}:{site.port}/secret")
    async with tool(spec(f"http://entry.example:{site.port}/", allowHosts=["entry.example"])) as live:
        with pytest.raises(ToolFailed, match=r"not on the public internet|cannot be"):
            await live.call({})
    assert [path for _, path, _, _ in site.asked] == ["/"]


async def test_a_name_with_one_private_address(tool: Any, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is refused when any of its addresses is private, whatever the others are."""
    monkeypatch.setattr(socket, "getaddrinfo", _resolver("1.1.1.1", "127.0.0.1"))
    async with tool(spec(f"http://rebind.example:{site.port}/", allowHosts=[])) as live:
        with pytest.raises(ToolFailed, match=r'"rebind\.example" is not on the public internet'):
            await live.call({})
    assert site.asked == []


async def test_a_name_that_may_be_private(tool: Any, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listed host is reached at the address that was checked, with one look-up."""
    looked: list[str] = []
    monkeypatch.setattr(socket, "getaddrinfo", _resolver("127.0.0.1", seen=looked))
    async with tool(spec(f"http://intra.example:{site.port}/x", allowHosts=["intra.example"])) as live:
        assert await live.call({}) == "fine"
    assert looked == ["intra.example"]


def _resolver(*addresses: str, seen: list[str] | None = None) -> Any:
    def look(host: Any, port: Any, *_: object, **__: object) -> list[Any]:
        if seen is not None:
            seen.append(str(host))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return look


async def test_proxies_of_the_environment_are_ignored(tool: Any, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy variable does not open a way around the check."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, site.url)
    async with tool(spec("http://10.1.2.3/", allowHosts=[])) as live:
        with pytest.raises(ToolFailed, match="not on the public internet"):
            await live.call({})
    assert site.asked == []


async def test_credentials_stay_with_their_host(tool: Any, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers follow a redirect on the same host and no other, not even back again."""
    monkeypatch.setenv("CANARY", TOKEN)
    site.redirects["/a"] = (302, "/b")
    site.redirects["/b"] = (307, f"http://localhost:{site.port}/c")
    site.redirects["/c"] = (302, f"{site.url}/d")
    headers = {"X-Key": {"valueFrom": {"env": "CANARY"}}}
    async with tool(spec(f"{site.url}/a", headers=headers, allowHosts=["127.0.0.1", "localhost"])) as live:
        assert await live.call({}) == "fine"
    assert [asked[2].get("X-Key") for asked in site.asked] == [TOKEN, TOKEN, None, None]


@pytest.mark.parametrize(("status", "method"), [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")])
async def test_the_method_after_a_redirect(tool: Any, site: Site, status: int, method: str) -> None:
    """A redirect keeps or drops method and body as the standard says."""
    site.redirects["/a"] = (status, "/b")
    async with tool(spec(f"{site.url}/a", method="POST", body={"n": 1})) as live:
        await live.call({})
    assert site.asked[1][0] == method
    assert bool(site.asked[1][3]) == (method == "POST")


async def test_redirects_end(tool: Any, site: Site) -> None:
    """At most three redirects are followed."""
    site.redirects["/"] = (302, "/")
    async with tool(spec(f"{site.url}/")) as live:
        with pytest.raises(ToolFailed, match="more than 3 redirects"):
            await live.call({})
    assert len(site.asked) == 4


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[", "ftp://127.0.0.1/", "http://u:p@127.0.0.1/"])
async def test_odd_redirects(tool: Any, site: Site, location: str) -> None:
    """A redirect to anything but http and https leads nowhere."""
    site.redirects["/"] = (302, location)
    async with tool(spec(f"{site.url}/")) as live:
        with pytest.raises(ToolFailed, match="a redirect leads to an address"):
            await live.call({})


async def test_an_answer_that_never_ends(tool: Any, site: Site) -> None:
    """An answer is read up to its limit, not to its end."""

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    site.handler = endless
    async with tool(spec(f"{site.url}/", maxResponse="200Ki")) as live:
        with pytest.raises(ToolFailed, match="the answer is larger than 204800 bytes"):
            await live.call({})


async def test_a_compressed_bomb(tool: Any, site: Site) -> None:
    """The limit counts what comes out of decompression."""

    async def bomb(_: web.Request) -> web.StreamResponse:
        response = web.Response(body=b"\0" * (4 << 20))
        response.enable_compression(web.ContentCoding.gzip)
        return response

    site.handler = bomb
    async with tool(spec(f"{site.url}/", maxResponse="1Mi")) as live:
        with pytest.raises(ToolFailed, match="larger than"):
            await live.call({})


async def test_a_refusal_hides_secrets(tool: Any, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error body is for the model; a secret that it echoes is not."""
    monkeypatch.setenv("CANARY", TOKEN)

    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.Response(status=403, text=f"bad token {TOKEN}")

    site.handler = refuse
    headers = {"X-Key": {"valueFrom": {"env": "CANARY"}}}
    async with tool(spec(f"{site.url}/", headers=headers)) as live:
        with pytest.raises(ToolFailed) as caught:
            await live.call({})
    assert str(caught.value) == "HTTP 403: bad token ***"


@pytest.mark.parametrize("status", [200, 400])
async def test_a_service_that_echoes_everything(
    tool: Any, site: Site, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Whatever comes back is without the tool's secrets, however the service spells them, also where it is cut."""
    key = TOKEN + '/"é+'
    monkeypatch.setenv("CANARY", f"Bearer {key}")

    async def echo(request: web.Request) -> web.Response:
        sent = request.headers["Authorization"]
        spelled = [sent, key, quote(key, safe=""), quote_plus(sent), json.dumps(sent), json.dumps(key)]
        return web.Response(status=status, text="x" * 480 + " ".join(spelled))

    site.handler = echo
    headers = {"Authorization": {"valueFrom": {"env": "CANARY"}}}
    async with tool(spec(f"{site.url}/", headers=headers)) as live:
        try:
            said = await live.call({})
        except ToolFailed as error:
            said = str(error)
    assert "***" in said
    assert TOKEN[:8] not in said


async def test_a_slow_service(tool: Any, site: Site) -> None:
    """A service that does not answer ends with the tool's timeout."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        assert request.protocol is not None
        while request.transport is not None and not request.transport.is_closing():
            await response.write(b".")
        return response

    site.handler = drip
    async with tool(spec(f"{site.url}/", timeout="100ms", maxResponse="1Gi")) as live:
        with pytest.raises(ToolFailed, match=r"no result within 0\.1 s"):
            await live.call({})


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_busy_service_is_asked_again(tool: Any, site: Site, status: int) -> None:
    """An answer that may be another one later is asked for again, in the time that the service wants."""

    async def busy(_: web.Request) -> web.Response:
        done = len(site.asked) == 3
        return web.Response(text="fine") if done else web.Response(status=status, headers={"Retry-After": "0"})

    site.handler = busy
    more: dict[str, object] = {"effects": "read", "retries": {"count": 2, "wait": "1ms"}}
    async with tool(spec(f"{site.url}/", **more)) as live:
        assert await live.call({}) == "fine"
    site.asked.clear()
    async with tool(spec(f"{site.url}/", **{**more, "retries": {"count": 1, "wait": "1ms"}})) as live:
        with pytest.raises(ToolFailed, match=rf"^HTTP {status}: .*\(after 2 attempts\)$"):
            await live.call({})


async def test_what_is_not_asked_again(tool: Any, site: Site) -> None:
    """A refusal is not asked for again, nor a service that wants more time than is given."""
    more: dict[str, object] = {"effects": "read", "retries": {"count": 2, "wait": "1ms", "longestWait": "1s"}}

    async def refuse(request: web.Request) -> web.Response:
        later = request.path == "/later"
        return web.Response(status=503 if later else 500, headers={"Retry-After": "30"} if later else {})

    site.handler = refuse
    for path in ("/never", "/later"):
        async with tool(spec(f"{site.url}{path}", **more)) as live:
            with pytest.raises(ToolFailed, match="HTTP 50"):
                await live.call({})
    assert len(site.asked) == 2


async def test_nobody_there(tool: Any) -> None:
    """A refused connection is a text for the model."""
    async with tool(spec(f"http://127.0.0.1:{free_port()}/")) as live:
        with pytest.raises(ToolFailed, match=r"127\.0\.0\.1 cannot be reached"):
            await live.call({})


async def test_what_cannot_open(tool: Any) -> None:
    """A missing secret and a schema that is none are found when the tool opens."""
    with pytest.raises(Unauthorized, match=r"Tool/it spec\.headers\.X: environment variable GONE is not set"):
        async with tool(spec("https://x.example/", headers={"X": {"valueFrom": {"env": "GONE"}}})):
            pass
    with pytest.raises(Permanent, match=r"Tool/it spec\.parameters: no valid JSON Schema"):
        async with tool(spec("https://x.example/", parameters={"type": "object", "properties": {"a": {"type": 3}}})):
            pass


@pytest.mark.parametrize(
    "url", ["https://{host}/", "https://u:p@x.example/", "ftp://x.example", "x.example", "https://x:{port}/"]
)
def test_the_host_is_fixed(url: str) -> None:
    """A model does not choose the host, and a URL holds no password."""
    with pytest.raises(ValueError, match=r"expected an address|expected a host without placeholder"):
        KIND.adapter.validate_python({"type": "http", "url": url})


def test_check(tmp_path: Any) -> None:
    """Validation finds placeholders that are no parameter, and a schema that is not of an object."""
    tool = HttpTool(url="https://x.example/{a}", query={"q": "{b}"}, body={"c": ["{d}"]})
    assert [pointer for pointer, *_ in tool.check(tmp_path)] == ["/url", "/query", "/body"]
    tool = HttpTool(url="https://x.example/", parameters={"type": "string"})
    assert [pointer for pointer, *_ in tool.check(tmp_path)] == ["/parameters"]


async def test_a_query_may_hold_a_secret(tool: Any, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parameter named with valueFrom is sent as it is, braces and all, and masked in what comes back."""
    monkeypatch.setenv("CANARY", "{q} " + TOKEN)

    async def echo(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.query['q']} {request.query['key']}")

    site.handler = echo
    query = {"q": "{q}", "key": {"valueFrom": {"env": "CANARY"}}}
    async with tool(spec(f"{site.url}/", "q", query=query)) as live:
        assert await live.call({"q": "books"}) == "books ***"


@pytest.mark.parametrize(
    ("more", "pointers"),
    [
        pytest.param({"headers": {"authorization": "Bearer x"}}, ["/headers/authorization"], id="authorization"),
        pytest.param(
            {"headers": {"Cookie": "a=b", "X-Api-Key": "x"}}, ["/headers/Cookie", "/headers/X-Api-Key"], id="two"
        ),
        pytest.param({"headers": {"Proxy-Authorization": "x"}}, ["/headers/Proxy-Authorization"], id="proxy"),
        pytest.param({"headers": {"apikey": {"valueFrom": {"env": "X"}}, "Accept": "text/plain"}}, [], id="fine"),
        pytest.param({"query": {"apikey": "x", "pageToken": "{q}", "q": "x"}}, ["/query/apikey"], id="query"),
        pytest.param({"url": "https://x.example/{q}?token=x"}, ["/url"], id="url"),
        pytest.param({"url": "https://x.example/{q}?token={q}&a=b"}, [], id="url-with-placeholder"),
    ],
)
def test_secrets_in_the_manifest_are_found(more: dict[str, object], pointers: list[str], tmp_path: Path) -> None:
    """Text where a secret belongs is a problem that says valueFrom and not the text."""
    found = list(KIND.adapter.validate_python(spec("https://x.example/{q}", "q") | more).check(tmp_path))
    assert [place for place, *_ in found] == pointers
    assert all(code == "literal-secret" and "valueFrom" in message for _, message, code in found)
