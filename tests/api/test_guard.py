"""Who may ask: the token, the host and the origin over TCP, the user over the Unix socket, JSON for what has a body."""

import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from loomd.daemon import System
from tests.api.talk import TOKEN, ask, remote, say, send, served

GOOD = {"Authorization": f"Bearer {TOKEN}"}
Address = tuple[str, int]


@pytest.fixture
async def address(tmp_path: Path) -> AsyncGenerator[Address, None]:
    """Yield the TCP address of a system that knows one more host and one page."""
    changes = {"allowed_hosts": ("loomd.example",), "allowed_origins": ("https://console.example",)}
    async with remote(tmp_path, **changes) as (_, where):
        yield where


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
        ({"Authorization": f"bearer {TOKEN}"}, 200),
        ({"Authorization": f"Bearer  {TOKEN} "}, 200),
        ({}, 401),
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": TOKEN}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": f"Bearer {TOKEN[:-1]}"}, 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"Authorization": f"Bearer {TOKEN.upper()}"}, 401),
        ({"Authorization": "Bearer \xff\xfe"}, 401),
        ({"Cookie": f"token={TOKEN}", "X-Token": TOKEN}, 401),
    ],
)
async def test_over_tcp_only_the_token_opens(address: Address, headers: dict[str, str], status: int) -> None:
    """Without the whole token nothing is answered, and how to give it is said without saying what it is."""
    answer = await say(address, "GET", "/version", headers=headers)
    assert answer.status == status
    if status == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.error["type"] == "Unauthorized"
        assert TOKEN not in answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/livez", 200),
        ("/readyz", 200),
        ("/readyz?verbose", 401),
        ("/livez?x", 401),
        ("/livez/", 401),
        ("//livez", 401),
        ("/livez/../version", 401),
        ("/version/../livez", 401),
        ("/%6Civez", 200),
        ("/metrics", 401),
        ("/version", 401),
        ("/v1/events", 401),
        ("/apis/loomd.dev/v1/all", 401),
        ("/no/such/path", 401),
    ],
)
async def test_only_two_words_need_no_token(address: Address, path: str, status: int) -> None:
    """Whether it lives and is ready is said to probes; whatever says more, or is spelt otherwise, needs the token."""
    answer = await say(address, "GET", path)
    assert answer.status == status
    if status == 200:
        assert answer.text == "ok\n"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:7600", 200),
        ("127.0.0.1", 200),
        ("[::1]:7600", 200),
        ("loomd.example:443", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("evil.example:127.0.0.1", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil@localhost.x", 403),
        ("0.0.0.0", 403),  # noqa: S104  # a name, nothing is bound to it
        ("", 403),
        ("[::1", 403),
    ],
)
async def test_a_foreign_host_is_refused(address: Address, host: str, status: int) -> None:
    """A page whose own name leads to this address gets nothing, even with the token."""
    answer = await say(address, "GET", "/version", headers={**GOOD, "Host": host})
    assert answer.status == status
    if status == 403:
        assert "allowedHosts" in answer.error["message"]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://console.example", 200),
        ("https://evil.example", 403),
        ("http://console.example", 403),
        ("https://console.example:8443", 403),
        ("null", 403),
        ("http://localhost", 403),
    ],
)
async def test_a_foreign_page_is_refused(address: Address, origin: str, status: int) -> None:
    """Requests of pages are taken from those that are listed, and no header invites others."""
    answer = await say(address, "GET", "/version", headers={**GOOD, "Origin": origin})
    assert answer.status == status
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    if status == 403:
        assert (await say(address, "GET", "/livez", headers={"Origin": origin})).status == 403
    preflight = await say(address, "OPTIONS", "/version", headers={"Origin": origin})
    assert preflight.status == (401 if status == 200 else 403)


async def test_without_a_host_nothing_is_answered(address: Address) -> None:
    """HTTP/1.0 needs no Host header, this daemon does; two of them are none."""
    head = f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
    assert b" 403 " in await ask(send, address, b"GET /version HTTP/1.0\r\n" + head)
    two = b"GET /version HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n" + head
    assert b" 400 " in await ask(send, address, two)
    absolute = b"GET http://evil.example/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    assert TOKEN.encode() not in await ask(send, address, absolute + head)


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", ""],
)
async def test_bodies_must_be_json(system: System, content_type: str) -> None:
    """A form or plain text is refused, so that no page can post to the daemon without asking."""
    answer = await say(system, "POST", "apply", "{}", {"Content-Type": content_type})
    assert answer.status == 415
    assert "application/json" in answer.error["message"]


async def test_a_charset_is_no_other_type(system: System) -> None:
    """JSON with parameters is JSON."""
    answer = await say(system, "POST", "plan", "{}", {"Content-Type": "application/json; charset=utf-8"})
    assert answer.status == 400


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "x"])
async def test_packed_bodies_are_refused(system: System, coding: str) -> None:
    """Nothing is unpacked, so that a small body stays a small one."""
    answer = await say(system, "POST", "apply", b"{}", {"Content-Encoding": coding})
    assert answer.status == 415
    assert coding in answer.error["message"]


async def test_a_method_that_is_not_there(system: System) -> None:
    """The answer is 405, names the methods that are, and is JSON as all are."""
    answer = await say(system, "PATCH", "/version", {})
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET,HEAD"
    assert answer.error["message"] == "PATCH /version: Method Not Allowed"
    missing = await say(system, "GET", "/nothing")
    assert (missing.status, missing.error["type"]) == (404, "Permanent")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
async def test_another_user_is_refused() -> None:
    """The kernel tells who asks over the Unix socket: with mode 0600 that must be the daemon's user or root."""
    code = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "s.sendall(b'GET /version HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n'); print(s.recv(4096).decode())"
    )
    for mode, expected in (("0600", "403"), ("0660", "200")):
        with tempfile.TemporaryDirectory() as home:
            os.chmod(home, 0o755)  # noqa: PTH101, S103  # quick; others must come near
            async with served(Path(home), socket_mode=mode) as system:
                system.settings.socket.chmod(0o666)  # as if somebody had opened it
                command = [sys.executable, "-c", code, str(system.settings.socket)]
                done = await ask(subprocess.run, command, capture_output=True, text=True, check=True)
                assert done.stdout.split()[1] == expected
                assert (expected == "200") or "user 65534 may not use this socket" in done.stdout
                assert (await say(system, "GET", "/version")).status == 200
