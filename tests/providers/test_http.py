"""Our own client: connections that are kept, races, proxies, authorities, cancellation."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from loomd.errors import BadReply, LoomdError, Permanent, Unauthorized, Unreachable
from loomd.messages import Chunk, Message, Reply, Request, TextDelta, Usage
from loomd.providers.connection import _AHEAD, Connection
from loomd.providers.dial import Route, dial
from tests.providers.rough import Rough, Visit, answer, chunk, chunked_head, rough, until
from tests.providers.speech import GOOD, HELLO, KEY, delta, sse

BODY = GOOD["openai"]
ANSWER = Reply("Hello", usage=Usage(9, 7), model="it/m")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the environment says of proxies."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def spec(server: Rough, **fields: object) -> dict[str, object]:
    """Return a spec that leads to a server."""
    return {
        "type": "openai",
        "model": "m",
        "baseUrl": f"{server.url}/v1",
        "deadline": "30s",
        "retry": {"attempts": 1},
        **fields,
    }


async def ask(model: Any, request: Request = HELLO) -> Reply:
    """Return the reply of a call."""
    got: list[Chunk] = [found async for found in model.stream(request)]
    assert isinstance(got[-1], Reply)
    return got[-1]


async def good(visit: Visit) -> None:
    """Answer in chunks, all at once."""
    await visit.say(chunked_head() + chunk(BODY) + chunk(b""))


async def test_a_connection_is_used_again(provider: Any) -> None:
    """Calls one after another share a connection, calls at once have one each."""
    async with rough(good) as server, provider(spec(server)) as model:
        for _ in range(5):
            assert await ask(model) == ANSWER
        assert server.connections == 1
        await asyncio.gather(*(ask(model) for _ in range(10)))
        assert 1 < server.connections <= 10
        known = server.connections
        await asyncio.gather(*(ask(model) for _ in range(known)))
        assert server.connections == known


async def test_the_end_may_come_after_the_last_word(provider: Any) -> None:
    """A reply does not wait for the end of its body, and its connection is used again once that came."""
    ends = [asyncio.Event(), asyncio.Event()]

    async def late(visit: Visit) -> None:
        await visit.say(chunked_head() + chunk(BODY))
        await ends[0].wait()
        await visit.say(chunk(b": bye\n\n") + chunk(b""))
        ends[1].set()

    async with rough(late) as server, provider(spec(server)) as model:
        assert await ask(model) == ANSWER
        ends[0].set()
        await ends[1].wait()
        await until(lambda: model._transport._idle)
        assert await ask(model) == ANSWER
        assert server.connections == 1


async def test_a_reply_that_never_ends_is_given_up(provider: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body without an end does not hold its connection for long."""
    monkeypatch.setattr("loomd.providers.http.LINGER", 0.01)

    async def endless(visit: Visit) -> None:
        await visit.say(chunked_head() + chunk(BODY))
        await visit.hang()

    async with rough(endless) as server, provider(spec(server)) as model:
        assert await ask(model) == ANSWER
        await until(lambda: not model._transport._all)
        assert await ask(model) == ANSWER
        assert server.connections == 2


async def test_a_connection_that_is_not_read_any_more_is_not_used_again(provider: Any) -> None:
    """Who lets much follow the last word, while nobody reads, does not hold up the next call."""
    begun = asyncio.Event()

    async def chatty(visit: Visit) -> None:
        if visit.number or server.connections > 1:
            await good(visit)
            return
        await visit.say(chunked_head() + chunk(BODY))
        await begun.wait()
        await visit.say(chunk(b":" * (_AHEAD + 1)) + chunk(b""))

    async with rough(chatty) as server, provider(spec(server)) as model:
        stream = model.stream(HELLO)
        assert await anext(stream) == TextDelta("Hello")
        begun.set()
        await until(lambda: all(one.ended for one in model._transport._all))
        assert [found async for found in stream][-1] == ANSWER
        assert await ask(model) == ANSWER
        assert server.connections == 2


async def test_dials_that_hang_do_not_hold_up_others(provider: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that takes too long to make is given up long before its call ends, and its place is for the next."""
    begun = asyncio.Event()

    async def hang(route: Route, make: Callable[[], Connection]) -> Connection:
        del route, make
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr("loomd.providers.http._DIALS", 1)
    monkeypatch.setattr("loomd.providers.http._DIALLING", 0.05)
    monkeypatch.setattr("loomd.providers.http.dial", hang)
    async with (
        rough(good) as server,
        provider(spec(server, deadline="1h")) as model,
        asyncio.timeout(60),
        asyncio.TaskGroup() as group,
    ):
        lost = group.create_task(_failing(model))
        await begun.wait()
        monkeypatch.setattr("loomd.providers.http.dial", dial)
        monkeypatch.setattr("loomd.providers.http._DIALLING", 30.0)
        assert await ask(model) == ANSWER
        assert "no connection was made within" in await lost


async def test_who_waits_to_dial_takes_what_was_given_back(provider: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that wait for a place use the connection of a call that has ended meanwhile, and make none of their own."""
    first, going = asyncio.Event(), asyncio.Event()

    async def slow(route: Route, make: Callable[[], Connection]) -> Connection:
        first.set()
        await going.wait()
        return await dial(route, make)

    monkeypatch.setattr("loomd.providers.http._DIALS", 1)
    async with (
        rough(good) as server,
        provider(spec(server)) as model,
        asyncio.timeout(60),
        asyncio.TaskGroup() as group,
    ):
        stream = model.stream(HELLO)
        assert await anext(stream) == TextDelta("Hello")
        monkeypatch.setattr("loomd.providers.http.dial", slow)
        calls = [group.create_task(ask(model)) for _ in range(4)]
        await first.wait()
        assert [found async for found in stream][-1] == ANSWER
        await until(lambda: model._transport._idle)
        going.set()
        assert await asyncio.gather(*calls) == [ANSWER] * 4
        assert server.connections < 4


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_connection_that_is_closing_is_replaced(provider: Any, how: str) -> None:
    """A used connection that is lost before anything came is no failure: the request goes over a new one, once."""

    async def once(visit: Visit) -> None:
        if visit.number == 0:
            await good(visit)
        elif how == "close":
            visit.writer.close()
        else:
            visit.reset()

    async with rough(once) as server, provider(spec(server)) as model:
        assert await ask(model) == ANSWER
        assert await ask(model) == ANSWER
        assert (server.connections, len(server.visits)) == (2, 3)


async def test_what_the_service_may_have_taken_is_not_sent_again(provider: Any, monkeypatch: Any) -> None:
    """A new connection that is lost, one that said something, and one that is lost late are failures."""

    async def always(visit: Visit) -> None:
        visit.writer.close()

    async with rough(always) as server, provider(spec(server)) as model:
        with pytest.raises(Unreachable):
            await ask(model)
        assert len(server.visits) == 1

    async def something(visit: Visit) -> None:
        await (good(visit) if visit.number == 0 else visit.say(b"HTTP/1.1 2"))
        if visit.number:
            visit.writer.close()

    async with rough(something) as server, provider(spec(server)) as model:
        await ask(model)
        with pytest.raises(Unreachable):
            await ask(model)
        assert len(server.visits) == 2

    monkeypatch.setattr("loomd.providers.http._RACE", -1.0)

    async def late(visit: Visit) -> None:
        await (good(visit) if visit.number == 0 else asyncio.sleep(0))
        if visit.number:
            visit.writer.close()

    async with rough(late) as server, provider(spec(server)) as model:
        await ask(model)
        with pytest.raises(Unreachable):
            await ask(model)
        assert len(server.visits) == 2


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(answer(BODY, extra=["Connection: close"]), id="it-says-close"),
        pytest.param(answer(BODY).replace(b"HTTP/1.1", b"HTTP/1.0"), id="http-1-0"),
        pytest.param(answer(BODY) + b"and more", id="bytes-after-the-end"),
        pytest.param(answer(BODY).replace(b"Content-Length", b"X-Length"), id="until-it-closes"),
    ],
)
async def test_what_cannot_be_used_again_is_not(provider: Any, reply: bytes) -> None:
    """A connection whose state is not known is closed."""

    async def serve(visit: Visit) -> None:
        await visit.say(reply)
        visit.writer.close()

    async with rough(serve) as server, provider(spec(server)) as model:
        assert await ask(model) == ANSWER
        assert await ask(model) == ANSWER
        assert server.connections == 2


async def test_an_idle_connection_that_speaks_is_closed(provider: Any) -> None:
    """What nobody asked for is not taken for the answer to the next request."""
    said = asyncio.Event()

    async def chatty(visit: Visit) -> None:
        await good(visit)
        if not said.is_set():
            await visit.say(answer(b"data: [DONE]\n\n", status="408 Request Timeout"))
            said.set()

    async with rough(chatty) as server, provider(spec(server)) as model:
        await ask(model)
        await said.wait()
        assert await ask(model) == ANSWER
        assert server.connections == 2


async def test_idle_connections_are_closed(provider: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is not kept for ever."""
    monkeypatch.setattr("loomd.providers.http._KEEP", 0.02)
    async with rough(good) as server, provider(spec(server)) as model:
        await asyncio.gather(*(ask(model) for _ in range(3)))
        assert len(model._transport._idle) == 3
        await until(lambda: not model._transport._all)
        assert not model._transport._idle
        assert await ask(model) == ANSWER


@pytest.mark.parametrize("when", ["before-the-head", "in-the-body", "while-connecting"])
async def test_a_call_may_be_cancelled(provider: Any, when: str) -> None:
    """A call that is cancelled closes its connection, and the next one works."""
    asked = asyncio.Event()

    async def serve(visit: Visit) -> None:
        if len(server.visits) > 1:
            await good(visit)
            return
        if when == "in-the-body":
            await visit.say(chunked_head() + chunk(BODY[:300]))
        asked.set()
        await visit.hang()

    async with rough(serve) as server, provider(spec(server)) as model:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(ask(model))
            if when != "while-connecting":
                await asked.wait()
            await asyncio.sleep(0)
            call.cancel()
        assert call.cancelled()
        if when == "while-connecting":
            asked.set()
            server.visits.append(Visit(b"", b"", Any, 0))  # type: ignore[arg-type]  # a place holder
        assert await ask(model) == ANSWER
        assert len(model._transport._idle) == 1


async def test_closing_ends_what_is_open(provider: Any) -> None:
    """A provider that closes leaves no connection behind, also not one that is in use."""
    asked = asyncio.Event()

    async def serve(visit: Visit) -> None:
        asked.set()
        await visit.hang()

    async with rough(serve) as server, asyncio.TaskGroup() as group:
        async with provider(spec(server)) as model:
            call = group.create_task(_failing(model))
            await asked.wait()
        assert await call != "nothing"
        assert not model._transport._all


async def _failing(model: Any) -> str:
    try:
        await ask(model)
    except Unreachable as error:
        return str(error)
    return "nothing"


async def test_a_slow_reader_holds_the_service_back(provider: Any) -> None:
    """Only so much of an answer is taken ahead of its reader, and none of it is lost."""
    event = sse(delta(content="x" * 1000))
    sent = 0

    async def flood(visit: Visit) -> None:
        nonlocal sent
        await visit.say(chunked_head())
        for _ in range(20_000):
            await visit.say(chunk(event))
            sent += 1
        await visit.say(chunk(sse(delta("stop"), b"[DONE]")), chunk(b""))

    async with rough(flood) as server, provider(spec(server, maxReply="1Gi")) as model:
        stream = model.stream(HELLO)
        await anext(stream)
        seen = -1
        while sent != seen:
            seen = sent
            await asyncio.sleep(0.05)
        assert 0 < sent < 20_000
        rest = [found async for found in stream]
        assert len(rest[-1].text) == 20_000_000


async def test_a_large_request(provider: Any) -> None:
    """A request of many megabytes arrives whole."""
    async with rough(good) as server, provider(spec(server)) as model:
        await ask(model, Request((Message("user", "ä" * 4_000_000),)))
        assert len(server.visits[0].body) > 8_000_000


async def test_what_is_asked_for(provider: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Path and query of the address are kept, a user in it is told, and headers of the manifest win."""
    monkeypatch.setenv("CANARY", KEY)
    async with rough(good) as server:
        url = server.url.replace("://", "://me@") + "/a b/v1/?api-version=2"
        headers = {
            "user-agent": "mine",
            "Host": "elsewhere",
            "content-length": "3",
            "X-Key": {"valueFrom": {"env": "CANARY"}},
        }
        async with provider(spec(server, baseUrl=url, headers=headers)) as model:
            await ask(model)
    lines = server.visits[0].head.decode().split("\r\n")
    assert lines[0] == "POST /a%20b/v1/chat/completions?api-version=2 HTTP/1.1"
    assert sorted(lines[1:-2]) == [
        "Accept-Encoding: identity",
        "Accept: */*",
        "Authorization: Basic bWU6",
        f"Content-Length: {len(server.visits[0].body)}",
        "Content-Type: application/json",
        "Host: elsewhere",
        f"X-Key: {KEY}",
        "user-agent: mine",
    ]


@pytest.mark.parametrize(
    ("kind", "path", "asked"),
    [
        ("openai", "/v1", "/v1/chat/completions"),
        ("openai", "/openai/v1/", "/openai/v1/chat/completions"),
        ("openai", "", "/chat/completions"),
        ("anthropic", "", "/v1/messages"),
        ("anthropic", "/", "/v1/messages"),
        ("anthropic", "/v1", "/v1/messages"),
        ("anthropic", "/team/v1/", "/team/v1/messages"),
    ],
)
@pytest.mark.parametrize("client", ["http", "sdk"])
async def test_where_a_service_is_asked(kind: str, path: str, asked: str, client: str, provider: Any) -> None:
    """Chat completions are below the address as it is written; messages below `/v1`, written or not."""

    async def refuse(visit: Visit) -> None:
        await visit.say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async with rough(refuse) as server:
        there = spec(server, type=kind, baseUrl=f"{server.url}{path}", client=client)
        async with provider(there) as model:
            with pytest.raises(LoomdError):
                await ask(model)
    assert server.visits[0].head.decode().split(" ")[1] == asked


async def test_a_key_with_a_line_end(provider: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that would forge a header is refused and not shown."""
    monkeypatch.setenv("CANARY", f"{KEY}\r\nX-Evil: 1")
    with pytest.raises(Unauthorized, match=r"spec\.apiKey: it holds a character") as caught:
        async with rough(good) as server, provider(spec(server, apiKey={"valueFrom": {"env": "CANARY"}})):
            pass
    assert KEY not in str(caught.value)


async def test_compressed_answers_are_refused(provider: Any) -> None:
    """An answer in a coding that was not asked for is named as such."""

    async def zipped(visit: Visit) -> None:
        await visit.say(answer(b"\x1f\x8b", extra=["Content-Encoding: gzip"]))

    async with rough(zipped) as server, provider(spec(server)) as model:
        with pytest.raises(BadReply, match="compressed with gzip"):
            await ask(model)


@asynccontextmanager
async def relay(status: str = "200 OK") -> AsyncGenerator[Rough, None]:
    """Yield a proxy that builds tunnels, and passes on what is meant for plain services."""
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        with suppress(OSError, asyncio.IncompleteReadError), closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            seen.visits.append(Visit(head, b"", writer, 0))
            target = head.split(b" ")[1].decode().removeprefix("http://").partition("/")[0]
            host, _, port = target.rpartition(":")
            if head.startswith(b"CONNECT"):
                writer.write(f"HTTP/1.1 {status}\r\nX: y\r\n\r\n".encode())
                if not status.startswith("200"):
                    return
                head = b""
            to_reader, to_writer = await asyncio.open_connection(host, int(port))
            to_writer.write(head)
            await asyncio.gather(pump(reader, to_writer), pump(to_reader, writer))

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    seen = Rough()
    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    seen.url = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield seen
    finally:
        listener.close()
        await listener.wait_closed()
        await asyncio.gather(*running)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a certificate for 127.0.0.1 and its key."""
    folder = tmp_path_factory.mktemp("tls")
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    try:
        command += ["-keyout", "key.pem", "-out", "cert.pem"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)  # noqa: S603  # fixed words
    except FileNotFoundError:
        pytest.skip("openssl is not installed: apt-get install openssl")
    return folder


@pytest.fixture
def tls(authority: Path) -> ssl.SSLContext:
    """Return the server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "cert.pem", authority / "key.pem")
    return context


@pytest.fixture(params=["http", "sdk"])
def client(request: pytest.FixtureRequest) -> str:
    """Return each client."""
    return str(request.param)


async def test_an_authority_of_ones_own(
    provider: Any, tls: ssl.SSLContext, authority: Path, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate is trusted when SSL_CERT_FILE names its authority, and only then."""
    async with rough(good, tls) as server:
        async with provider(spec(server, client=client)) as model:
            with pytest.raises(Unreachable, match=r"certificate|ConnectError"):
                await ask(model)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority / "cert.pem"))
        async with provider(spec(server, client=client)) as model:
            assert await ask(model) == ANSWER
            assert await ask(model) == ANSWER
        assert len(server.visits) == 2


async def test_tls_where_none_is(provider: Any) -> None:
    """A plain service at an https address is unreachable."""
    async with rough(good) as server:
        url = server.url.replace("http:", "https:")
        async with provider(spec(server, baseUrl=url, deadline="200ms")) as model:
            with pytest.raises(Unreachable):
                await ask(model)


@pytest.mark.parametrize("secure", [True, False], ids=["https", "http"])
async def test_a_proxy(
    provider: Any,
    tls: ssl.SSLContext,
    authority: Path,
    client: str,
    secure: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Calls go through the proxy that the environment names, whose key goes to it alone."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "cert.pem"))
    async with rough(good, tls if secure else None) as server, relay() as proxy:
        monkeypatch.setenv("HTTPS_PROXY" if secure else "HTTP_PROXY", f"http://me:secret@{proxy.url}")
        async with provider(spec(server, client=client)) as model:
            assert await ask(model) == ANSWER
            assert await ask(model) == ANSWER
    head = proxy.visits[0].head.decode().lower()
    place = server.url.partition("://")[2]
    assert head.startswith(f"connect {place} " if secure else f"post http://{place}/v1/chat/completions ")
    assert "proxy-authorization: basic bwu6c2vjcmv0" in head
    assert len(proxy.visits) == 1
    if secure:
        assert b"roxy-" not in server.visits[0].head


async def test_a_proxy_that_refuses(provider: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tunnel that is not built is told with the proxy's answer."""
    async with rough(good) as server, relay("407 Who are you") as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        async with provider(spec(server, baseUrl=server.url.replace("http:", "https:"))) as model:
            with pytest.raises(Unreachable, match="the proxy answered with HTTP 407"):
                await ask(model)


async def test_hosts_without_a_proxy(provider: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host in NO_PROXY is asked directly; a proxy of another sort is refused when the provider opens."""
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:1")
    async with rough(good) as server:
        with pytest.raises(Permanent, match=r"no HTTP proxy: name 127\.0\.0\.1 in NO_PROXY"):
            async with provider(spec(server)):
                pass
        monkeypatch.setenv("HTTP_PROXY", "http://me:hidden@127.0.0.1:nowhere")
        with pytest.raises(Permanent, match="the proxy that the environment names for http cannot be read") as caught:
            async with provider(spec(server)):
                pass
        assert "hidden" not in str(caught.value)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with provider(spec(server)) as model:
            assert await ask(model) == ANSWER


async def test_pieces_come_as_they_are_sent(provider: Any) -> None:
    """A piece is handed on before the next one is sent."""
    heard = asyncio.Event()

    async def stepwise(visit: Visit) -> None:
        await visit.say(chunked_head(), chunk(sse(delta(content="a"))))
        await heard.wait()
        await visit.say(chunk(sse(delta(content="b"), delta("stop"), b"[DONE]")), chunk(b""))

    async with rough(stepwise) as server, provider(spec(server)) as model:
        stream = model.stream(HELLO)
        assert await anext(stream) == TextDelta("a")
        heard.set()
        assert await anext(stream) == TextDelta("b")
        assert (await anext(stream)).text == "ab"
        await stream.aclose()
