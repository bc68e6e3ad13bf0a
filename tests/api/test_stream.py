"""Streams of events over a real socket, to readers that come and go, are slow, vanish, or want only some of them."""

import asyncio
import random
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from loomd.api import stream
from loomd.api.client import Asked, Client, Json
from loomd.cli.listening import listen
from loomd.daemon import System
from loomd.errors import Conflict, Unreachable
from loomd.events.bus import Scope, Stream
from loomd.events.event import ConfigLoaded, Event, Fallback, ModelDelta, PhaseCompleted, PhaseStarted, TaskStarted
from loomd.store.directory import DATABASE
from loomd.store.extent import trim
from loomd.store.records import Row, TaskRecord
from loomd.testing import VirtualClock
from tests.api.talk import ask, connected, limits, say, served


def emit(system: System, count: int, size: int = 0) -> None:
    """Let things happen."""
    for number in range(count):
        system.bus.emit(ConfigLoaded("s", (str(number), "x" * size)))


def take(client: Client, asked: Asked, until: Callable[[Json], bool]) -> list[Json]:
    """Follow until an event, which is the last one, and leave."""
    taken: list[Json] = []
    for event in client.events(asked=asked, follow=True):
        taken.append(event)
        if until(event):
            break
    return taken


def at(number: int) -> Callable[[Json], bool]:
    """Return whether an event has a number."""
    return lambda event: event["seq"] == number


def _is_last(event: Json) -> bool:
    return bool(event["data"]["goal"] == "end")


def numbers(events: list[Json]) -> list[int]:
    """Return the numbers of events that have one."""
    return [event["seq"] for event in events if event["seq"]]


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(60):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break a silence after a twentieth of a second."""
    monkeypatch.setattr(stream, "KEEPALIVE", 0.05)


async def test_a_reader_that_comes_and_goes(system: System, client: Client) -> None:
    """Whenever it leaves, it goes on after the last event that it has: none is missing, none comes twice."""
    draw = random.Random(7)
    asked, got = Asked(), list[int]()

    def read() -> None:
        while not got or got[-1] < 3000:
            end = (got[-1] if got else 0) + draw.randint(1, 400)
            got.extend(numbers(take(client, asked, at(end))))

    reading = asyncio.ensure_future(ask(read))
    for _ in range(60):
        emit(system, 50)
        await asyncio.sleep(0.002)
    emit(system, 401)  # for the last one to leave
    await reading
    assert got == list(range(1, len(got) + 1))


async def test_a_reader_goes_on_after_a_restart(tmp_path: Path) -> None:
    """The numbers are those of the journal: the next process takes them up, and gives none twice."""
    asked, got = Asked(), list[int]()
    for part in (1, 2, 3):
        async with served(tmp_path) as system:
            client = Client(system.settings.socket)
            scope = Scope(system.bus, f"t{part}")
            emit(system, 10)
            last = scope.emit(TaskStarted("g", "c"), key="started").seq
            got += numbers(await ask(take, client, asked, at(last)))
            for _ in range(3):  # what has a key is stored once; these have numbers all the same
                scope.emit(TaskStarted("g", "c"), key="started")
    assert got == [*range(1, 12), *range(15, 26), *range(29, 40)]


@pytest.mark.parametrize("header", ["Last-Event-ID", "after"])
async def test_both_ways_to_say_where(header: str, system: System) -> None:
    """The header of a browser and the parameter mean the same; the header, which is newer, wins."""
    emit(system, 5)
    query, sent = ("?after=3", {}) if header == "after" else ("?after=1", {header: "3"})
    body = (await say(system, "GET", f"/v1/events{query}", headers=sent)).text
    assert [line for line in body.splitlines() if line.startswith("id:")] == ["id: 4", "id: 5"]


FILTERS = [
    pytest.param(Asked(task="t1"), [1, 2, 3], id="tree"),
    pytest.param(Asked(task="t1.1"), [2], id="part"),
    pytest.param(Asked(types=("fallback.used",)), [3, 5], id="type"),
    pytest.param(Asked(types=("task.*", "config.loaded")), [1, 2, 4, 6], id="types"),
    pytest.param(Asked(namespace="lab"), [4, 5], id="namespace"),
    pytest.param(Asked(namespace="lab", types=("task.*",)), [4], id="both"),
    pytest.param(Asked(since=4.0), [4, 5, 6], id="since"),
    pytest.param(Asked(task="t2"), [], id="nothing"),
]


def happen(system: System, clock: VirtualClock) -> None:
    """Let six things happen, one a second from second 1 on."""
    one, part, other = Scope(system.bus, "t1"), Scope(system.bus, "t1.1", "t1"), Scope(system.bus, "t12", "", "lab")
    started, fallback = TaskStarted("g", "c"), Fallback("scale", "r", "f")
    acts: list[Callable[[], object]] = [
        lambda: one.emit(started),
        lambda: part.emit(started),
        lambda: one.emit(fallback),
        lambda: other.emit(started),
        lambda: other.emit(fallback),
        lambda: system.bus.emit(ConfigLoaded("s", ())),
    ]
    for act in acts:
        clock.advance(1)
        act()


@pytest.mark.parametrize(("asked", "wanted"), FILTERS)
async def test_some_events_of_the_journal(asked: Asked, wanted: list[int], system: System, client: Client) -> None:
    """What is read from the journal is what was asked for, in order."""
    system.bus._clock = clock = VirtualClock(0)  # time for `since`
    happen(system, clock)
    assert numbers(await ask(lambda: list(client.events(asked=replace(asked))))) == wanted


@pytest.mark.parametrize(("asked", "wanted"), FILTERS)
@pytest.mark.usefixtures("quick")
async def test_some_events_as_they_happen(asked: Asked, wanted: list[int], system: System) -> None:
    """What happens is chosen as what is read; at the end the reader knows how far it has come."""
    system.bus._clock = clock = VirtualClock(0)  # time for `since`
    with connected(system) as reader:
        query = urlencode([*asked.query(), ("follow", "1")])
        reader.sendall(f"GET /v1/events?{query} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        got = b""
        while b": \n" not in got:
            got += await ask(reader.recv, 65536)
        happen(system, clock)
        while b"id: 6\n" not in got:
            got += await ask(reader.recv, 65536)
    seen = [int(line[4:]) for line in got.decode().splitlines() if line.startswith("id: ")]
    assert [number for number in seen if number in wanted] == wanted
    events = [frame for frame in got.decode().split("\n\n") if "\nevent: " in frame]
    assert [int(frame.partition("\n")[0].rpartition(" ")[2]) for frame in events] == wanted


async def test_a_beginning_is_not_told_after_what_followed_it(
    system: System, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happens while a reader is on its way through the journal: an end from there, then what is going on."""
    scope, read, reads = Scope(system.bus, "t1"), system.store.read, 0

    async def meanwhile(**asked: Any) -> list[Row]:
        nonlocal reads
        reads += 1
        if reads == 2:  # the reader hears what happens, and reads once more what happened
            scope.emit(PhaseStarted("sense"))
            scope.emit(PhaseCompleted("sense", "so it is"), key="phase/sense")
            scope.emit(PhaseStarted("match"))
        return await read(**asked)

    monkeypatch.setattr(system.store, "read", meanwhile)
    asked = Asked(types=("phase.*",))

    def begins(event: Json) -> bool:
        return bool(event["data"]["type"] == "phase.started")

    told = await ask(take, client, asked, begins)
    assert [(event["data"]["type"], event["data"]["phase"], event["seq"]) for event in told] == [
        ("phase.completed", "sense", 1),
        ("phase.started", "match", 0),
    ]
    assert [event["data"]["type"] for event in await ask(lambda: list(client.events()))] == ["phase.completed"]


@pytest.mark.parametrize(
    ("query", "status", "told"),
    [
        pytest.param("type=task.faild", 404, "no type of events 'task.faild': did you mean", id="type"),
        pytest.param("since=yesterday", 400, "since: expected seconds since 1970-01-01 UTC, got", id="since"),
        pytest.param("after=soon", 400, "after: expected a whole number", id="after"),
    ],
)
async def test_a_wrong_question(query: str, status: int, told: str, system: System) -> None:
    """What cannot be asked is refused with what can."""
    answer = await say(system, "GET", f"/v1/events?{query}")
    assert answer.status == status
    assert told in answer.text


async def test_only_from_now_on(system: System, client: Client) -> None:
    """`after=now` leaves out what was there, and tells the number from which the reader can go on."""
    emit(system, 20)
    asked = Asked(-1)
    reading = asyncio.ensure_future(ask(take, client, asked, at(22)))
    await until(lambda: asked.after >= 0)
    assert asked.after == 20
    emit(system, 2)
    assert numbers(await reading) == [21, 22]


async def test_what_comes_as_a_silence_is_broken(
    system: System, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events that come in the moment in which a comment is due are told, not gone past."""
    batch, asked = Stream.batch, Asked(-1)

    async def late(_: Stream) -> list[Event]:
        monkeypatch.setattr(Stream, "batch", batch)
        emit(system, 3)
        raise TimeoutError

    monkeypatch.setattr(Stream, "batch", late)
    reading = asyncio.ensure_future(ask(take, client, asked, at(4)))
    await until(lambda: asked.after == 3)
    emit(system, 1)
    assert numbers(await reading) == [1, 2, 3, 4]


async def test_a_slow_reader_is_dropped(system: System, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets what waited and a typed last event; nobody waited for it; the journal has the rest for it."""
    monkeypatch.setattr(stream, "_WAITING", 50)
    with connected(system) as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.sendall(b"GET /v1/events?follow=1 HTTP/1.0\r\nHost: localhost\r\n\r\n")
        got = b""
        while b": \n" not in got:
            got += await ask(reader.recv, 65536)
        slowest = 0.0
        for _ in range(100):
            began = time.thread_time()
            emit(system, 20, size=2000)
            slowest = max(slowest, time.thread_time() - began)
            await asyncio.sleep(0.001)
        assert slowest < 0.1
        while piece := await ask(reader.recv, 1 << 20):
            got += piece
    assert got.endswith(b"\n\n")
    frames = got.decode().split("\n\n")
    assert frames[-2].startswith('event: error\ndata: {"error":{"type":"Overloaded","message":"this reader fell behind')
    ids = [int(line[4:]) for line in got.decode().splitlines() if line.startswith("id: ")]
    assert ids == list(range(1, len(ids) + 1))
    assert 50 <= len(ids) < 2000
    rest = numbers(await ask(lambda: list(client.events(after=ids[-1]))))
    assert ids + rest == list(range(1, 2001))


async def test_a_verb_whose_output_is_not_taken(tmp_path: Path) -> None:
    """A follower that is stuck is cut off; when it goes on it comes again, and has every event once."""
    async with served(tmp_path, limits=limits(body_time=0.3)) as system:
        release = threading.Event()
        before = len(system.bus._listeners)  # who listens is nobody else's business
        got: list[int] = []

        def follow() -> None:
            for event in listen(Client(system.settings.socket), Asked()):
                got.append(event["seq"])
                if len(got) == 5:
                    release.wait(20)
                if event["seq"] == 3000:
                    return

        following = asyncio.ensure_future(ask(follow))
        for _ in range(100):
            emit(system, 30, size=2000)
            await asyncio.sleep(0.01)
        await until(lambda: len(system.bus._listeners) == before)  # the reader was cut off
        release.set()
        await following
    assert got == list(range(1, 3001))


async def test_a_slow_reader_of_few_events_is_not_dropped(
    system: System, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events that it does not want take none of its places."""
    monkeypatch.setattr(stream, "_WAITING", 5)
    asked = Asked(-1, task="t1")
    reading = asyncio.ensure_future(ask(take, client, asked, _is_last))
    while asked.after < 0 and not reading.done():
        emit(system, 1)
        await asyncio.sleep(0.01)
    emit(system, 500)
    Scope(system.bus, "t1").emit(TaskStarted("end", "c"))
    assert len(await reading) == 1


async def test_a_long_way_to_go_does_not_drop_a_reader(
    system: System, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a reader is far behind in the journal nothing waits for it, whatever happens meanwhile."""
    monkeypatch.setattr(stream, "_WAITING", 200)
    monkeypatch.setattr(stream, "_PAGE", 20)
    emit(system, 2000)
    reading = asyncio.ensure_future(ask(take, client, Asked(), at(4000)))
    for _ in range(100):
        emit(system, 20)
        await asyncio.sleep(0.001)
    assert numbers(await reading) == list(range(1, 4001))


@pytest.mark.usefixtures("quick")
async def test_a_vanished_reader_is_noticed(tmp_path: Path) -> None:
    """In the silence a comment finds out that nobody reads any more; the place is free again."""
    async with served(tmp_path, limits=limits(connections=1)) as system:
        before = len(system.bus._listeners)  # who listens is nobody else's business
        with connected(system) as gone:
            gone.sendall(b"GET /v1/events?follow=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await until(lambda: len(system.bus._listeners) > before)
            assert (await say(system, "GET", "/version")).status == 503
        await until(lambda: len(system.bus._listeners) == before)
        async with asyncio.timeout(60):  # the place is free a moment after nobody listens any more
            status = 503
            while status != 200:
                await asyncio.sleep(0.01)
                status = (await say(system, "GET", "/version")).status


@pytest.mark.usefixtures("quick")
async def test_comments_break_the_silence(system: System, client: Client) -> None:
    """They carry the number past what the reader does not want, so that it need not read that again."""
    asked = Asked(types=("task.*",))
    reading = asyncio.ensure_future(ask(take, client, asked, bool))
    await until(lambda: asked.opened)
    emit(system, 7)
    system.bus.emit(ModelDelta("piece"))
    await until(lambda: asked.after == 7)
    Scope(system.bus, "t1").emit(TaskStarted("g", "c"))
    assert numbers(await reading) == [8]
    with connected(system) as reader:
        reader.sendall(b"GET /v1/events?follow=1&after=now HTTP/1.0\r\nHost: localhost\r\n\r\n")
        got = b""
        while got.count(b": \n") < 4:
            got += await ask(reader.recv, 65536)
    assert b": \nid: 8\n\n: \n\n: \n\n: \n\n" in got  # a busy machine reads several at once


async def test_what_retention_removed_is_said(tmp_path: Path) -> None:
    """Whoever goes on before a removed event is told up to where some are missing; who is past them is not."""
    async with served(tmp_path) as system:
        emit(system, 30)
    with closing(sqlite3.connect(tmp_path / "state" / DATABASE)) as db, db:
        db.execute("DELETE FROM journal WHERE seq <= 10 OR seq = 30")
        trim(db, 30)
        db.execute("UPDATE meta SET value = '10' WHERE key = 'journal-trimmed'")
    async with served(tmp_path) as system:
        client = Client(system.settings.socket)
        first, *rest = await ask(lambda: list(client.events(after=4)))
        assert first["data"] == {"type": "events.missing", "after": 4, "until": 10}
        assert first["seq"] == 0
        assert numbers(rest) == list(range(11, 30))
        assert numbers(await ask(lambda: list(client.events(after=10)))) == list(range(11, 30))
        emit(system, 1)
        assert numbers(await ask(lambda: list(client.events(after=29)))) == [31], "no number is given twice"
        gone = await ask(lambda: list(client.events(task="t1")))
        assert [event["data"]["type"] for event in gone] == ["events.missing"]
        await system.store.put_task(TaskRecord("t1", "default", "c", "Running", b"{}"))
        assert await ask(lambda: list(client.events(task="t1"))) == [], "what is still there is there as a whole"


async def test_another_journal_is_noticed(system: System, client: Client) -> None:
    """A number that was never given out belongs to another journal: reading on would hide what happened."""
    emit(system, 3)
    assert await ask(lambda: list(client.events(after=3))) == []
    with pytest.raises(Conflict, match="the journal ends at 3, not at 4 or later: it is another one"):
        await ask(lambda: list(client.events(after=4, follow=True)))


async def test_events_that_are_not_on_disk_are_not_told(system: System, client: Client) -> None:
    """What a reader was told survives a crash: the number that it goes on from is on disk."""
    asked = Asked()
    reading = asyncio.ensure_future(ask(take, client, asked, at(100)))
    await until(lambda: asked.opened)
    emit(system, 100)
    await reading
    with closing(sqlite3.connect(system.settings.state_dir / DATABASE)) as db:
        assert db.execute("SELECT max(seq) FROM journal").fetchone() == (100,)


async def test_a_line_that_is_cut_off_is_no_event(tmp_path: Path) -> None:
    """A daemon that dies in the middle of a line is away; half an event is never taken for one."""
    path = tmp_path / "s.sock"
    head = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + b'id: 1\nevent: a\ndata: {"data":{}}\n\nid: 2\nevent: a\ndata: {"data":{}')
        writer.close()

    asked = Asked()
    async with await asyncio.start_unix_server(die, path):
        with pytest.raises(Unreachable, match="broke off"):
            await ask(lambda: list(Client(path).events(asked=asked)))
    assert asked.after == 1
