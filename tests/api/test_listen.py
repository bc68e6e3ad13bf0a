"""What one client may cost: slow heads, slow and huge bodies, readers that take nothing, too many connections."""

import asyncio
import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from loomd.api.listen import SPARE
from loomd.daemon import System
from loomd.events.event import ConfigLoaded
from tests.api.talk import (
    TEAM,
    TOKEN,
    Answer,
    ask,
    connected,
    drain,
    hoarded,
    hung_up,
    limits,
    remote,
    say,
    send,
    served,
)

HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
POST = (
    b"POST /apis/loomd.dev/v1/apply HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    + f"Authorization: Bearer {TOKEN}\r\n".encode()
)
Address = tuple[str, int]
LONG = 20.0
"""Seconds that no limit of a test is near, however busy the machine is."""


def dripped(where: System | Address, piece: bytes, pause: float) -> tuple[float, bytes]:
    """Send a piece again and again; return how long the server bore it, and what it said."""
    began = time.monotonic()
    got = b""
    with connected(where) as connection:
        connection.sendall(HEAD)
        connection.settimeout(pause)
        while time.monotonic() - began < LONG:
            try:
                connection.sendall(piece)
                got += (more := connection.recv(65536))
                if not more:
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    return time.monotonic() - began, got


async def test_slow_heads_are_cut_off(tmp_path: Path) -> None:
    """A head must arrive within its time however steadily it trickles, and so must the first byte."""
    async with remote(tmp_path, limits=limits(header_time=0.5)) as (system, address):
        for where in (system, address):
            lasted, got = await ask(dripped, where, b"X-A: b\r\n", 0.05)
            assert lasted < LONG
            assert got == b""
            began = time.monotonic()
            with connected(where) as silent:
                assert await ask(drain, silent) == b""
            assert 0.3 < time.monotonic() - began < LONG


async def test_slow_bodies_are_cut_off(tmp_path: Path) -> None:
    """A body must arrive within its time; the answer is 408 and the connection ends."""
    async with served(tmp_path, limits=limits(body_time=0.5)) as system:
        with connected(system) as connection:
            connection.sendall(POST + b"Content-Length: 1000000\r\n\r\n{")
            began = time.monotonic()
            got = await ask(connection.recv, 65536)
            assert got.startswith(b"HTTP/1.1 408 ")
            assert b"the body did not arrive within 0.5 s" in got
            assert b"Connection: close" in got
            assert time.monotonic() - began < LONG
        assert (await say(system, "GET", "/livez")).status == 200


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_huge_bodies_are_refused(tmp_path: Path, chunked: bool) -> None:
    """A body beyond the limit is status 413, whether its length was told or not; one that fits is read."""
    async with served(tmp_path, limits=limits(body=100_000)) as system:
        body = json.dumps({"source": "/m", "root": "/m", "files": [{"path": "a", "text": "#" * 200_000}]}).encode()

        def post(data: bytes) -> bytes:
            with connected(system) as connection:
                kind = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(data)
                sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if chunked else data
                with suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendall(POST + b"Connection: close\r\n" + kind + b"\r\n\r\n" + sent)
                return drain(connection)

        got = await ask(post, body)
        assert got.startswith(b"HTTP/1.1 413 ")
        assert b'"type":"Permanent"' in got
        assert (await ask(post, b'{"source": "/m", "root": "/m", "files": []}')).startswith(b"HTTP/1.1 200 ")


async def test_a_huge_body_is_not_kept(tmp_path: Path) -> None:
    """Without the token nothing of a body is taken in: an endless one ends the connection, not the memory."""
    async with remote(tmp_path) as (_, address):

        def flood() -> bytes:
            with connected(address) as connection:
                connection.sendall(POST.replace(TOKEN.encode(), b"wrong") + b"Content-Length: 100000000000\r\n\r\n")
                got = connection.recv(65536)
                with suppress(BrokenPipeError, ConnectionResetError):
                    while True:
                        connection.sendall(b"x" * 65536)
            return got

        began = time.monotonic()
        assert (await ask(flood)).startswith(b"HTTP/1.1 401 ")
        assert time.monotonic() - began < LONG


@pytest.mark.parametrize("over_tcp", [False, True], ids=["unix", "tcp"])
async def test_too_many_connections(tmp_path: Path, over_tcp: bool) -> None:
    """Beyond the limit only the health is answered, those that came before go on, and beyond that nothing is."""
    async with remote(tmp_path, limits=limits(connections=10, header_time=60)) as (system, address):
        where: System | Address = address if over_tcp else system
        told = {"Authorization": f"Bearer {TOKEN}"}
        with connected(where) as early, hoarded(where, 9):
            refused = await say(where, "GET", "/version", headers=told)
            assert refused.status == 503
            assert refused.headers["Retry-After"] == "1"
            assert "too many connections" in refused.error["message"]
            for path in ("/livez", "/readyz", "/metrics"):
                assert (await say(where, "GET", path, headers=told)).status == 200
            early.sendall(f"GET /version HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
            assert (await ask(early.recv, 4096)).startswith(b"HTTP/1.1 200 ")
            with hoarded(where, SPARE), connected(where) as late:
                assert await ask(drain, late) == b""
                other: System | Address = system if over_tcp else address
                assert (await say(other, "GET", "/version", headers=told)).status == 200
        assert await until(partial(say, where, "GET", "/version", headers=told), 200)


async def until(call: Callable[[], Any], status: int) -> bool:
    """Wait until a request is answered with a status; connections end a moment after they were closed."""
    async with asyncio.timeout(60):
        while True:
            with suppress(ConnectionError):
                answer: Answer = await call()
                if answer.status == status:
                    return True


async def test_a_reader_that_takes_no_events_is_dropped(tmp_path: Path) -> None:
    """Nobody waits for a stuck reader of events: emitting stays as quick, and its connection ends."""
    async with served(tmp_path, limits=limits(body_time=0.5)) as system:
        with connected(system) as stuck:
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stuck.sendall(b"GET /v1/events?follow=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await ask(stuck.recv, 100)).startswith(b"HTTP/1.1 200 ")
            slowest = 0.0
            for _ in range(300):
                began = time.thread_time()
                for _ in range(10):
                    system.bus.emit(ConfigLoaded("s", ("x" * 1000,)))
                slowest = max(slowest, time.thread_time() - began)
                await asyncio.sleep(0.005)
            assert slowest < 0.1
            assert await ask(hung_up, stuck)
        assert (await say(system, "GET", "/livez")).status == 200


async def test_an_answer_that_nobody_takes_ends(tmp_path: Path) -> None:
    """A client that asks for much and reads nothing holds its place for a while only."""
    async with served(tmp_path, limits=limits(body_time=0.5, connections=1)) as system:
        text = TEAM.replace("answers everything", "x" * 900_000)
        await say(system, "POST", "apply", {"source": "/m", "root": "/m", "files": [{"path": "a", "text": text}]})
        with connected(system) as stuck:
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stuck.sendall(b"GET /apis/loomd.dev/v1/rollout/history/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert await until(partial(say, system, "GET", "/version"), 200)


async def test_streams_end_with_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open streams are told that the server stops, and end at once and in order."""
    monkeypatch.setattr("loomd.api.listen.CLOSING", 2 * LONG)
    async with served(tmp_path) as system:
        streams = [connected(system) for _ in range(20)]
        for number, one in enumerate(streams):
            path = ["/v1/events?follow=1", "/apis/loomd.dev/v1/all?watch=1"][number % 2]
            one.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert (await ask(one.recv, 10)).startswith(b"HTTP/1.1 2")
        began = time.monotonic()
    assert time.monotonic() - began < LONG
    for one in streams:
        got = await ask(drain, one)
        assert b"event: error\ndata: " in got
        assert b"the daemon stops" in got
        assert got.endswith(b"0\r\n\r\n")
        one.close()


async def test_pipelined_requests_are_answered_in_order(system: System) -> None:
    """Several requests on one connection get their answers one after the other."""
    data = HEAD + b"\r\n" + b"GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    got = await ask(send, system, data)
    assert got.count(b"HTTP/1.1 200 OK") == 2
    assert got.index(b"ok\n") < got.index(b'"loomd"')
