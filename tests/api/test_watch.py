"""Watching over the API: all that is there, a bookmark, then every change; slow readers cost nobody anything."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loomd.api.client import Client
from loomd.api.path import PREFIX
from loomd.api.watch import Lookout, Shown
from loomd.daemon import System
from loomd.events.event import ConfigLoaded
from loomd.manifest.delivery import Delivery
from loomd.manifest.source import SourceFile
from tests.api.talk import TEAM, apply, ask, connected, hung_up, keep_tasks, limits, say, served
from tests.clocks import skip

MORE = """---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: bob, labels: {team: blue}}
spec: {provider: script, description: answers less}
"""
Told = dict[str, Any]
Next = Callable[[], Awaitable[Told]]


@asynccontextmanager
async def watching(system: System, path: str, headers: str = "") -> AsyncGenerator[Next, None]:
    """Yield what returns the next thing that a watcher is told."""
    reader, writer = await asyncio.open_unix_connection(str(system.settings.socket), limit=1 << 24)
    writer.write(f"GET {PREFIX}/{path} HTTP/1.0\r\nHost: localhost\r\n{headers}\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.split()[1] == b"200", head
    assert b"text/event-stream" in head

    async def tell() -> Told:
        async with asyncio.timeout(60):
            while not (line := await reader.readline()).startswith(b"data: "):
                assert line, "the stream ended"
        told: Told = json.loads(line[6:])
        return told

    try:
        yield tell
    finally:
        writer.close()


def short(told: Told) -> str:
    """Return what was told in two words."""
    return f"{told['type']} {told['object'].get('metadata', {}).get('name', '')}".strip()


async def until_bookmark(tell: Next) -> list[str]:
    """Return what is told up to the bookmark."""
    found = []
    while (told := await tell())["type"] != "BOOKMARK":
        found.append(short(told))
    return found


async def test_objects_are_watched(client: Client, system: System) -> None:
    """First what is there, then ADDED, MODIFIED and DELETED, each with the whole object, and nothing for the others."""
    await apply(client, TEAM)
    async with watching(system, "agents?watch=1") as tell:
        assert await until_bookmark(tell) == ["ADDED ada"]
        await apply(client, TEAM + MORE)
        assert short(await tell()) == "ADDED bob"
        await apply(client, TEAM.replace("everything", "all") + MORE)
        told = await tell()
        assert short(told) == "MODIFIED ada"
        assert told["object"]["spec"]["description"] == "answers all"
        assert told["object"]["metadata"]["resourceVersion"] == "3"
        await ask(client.delete, "namespaces", "default", "agents", "bob")
        gone = await tell()
        assert short(gone) == "DELETED bob"
        assert gone["object"]["spec"]["description"] == "answers less"


async def test_the_bookmark_names_the_revision(client: Client, system: System) -> None:
    """Once all is told the reader knows which revision it has seen."""
    await apply(client, TEAM)
    async with watching(system, "all?watch=1") as tell:
        told = [await tell() for _ in range(4)]
        assert [one["type"] for one in told] == ["ADDED", "ADDED", "ADDED", "BOOKMARK"]
        assert told[-1]["object"] == {"metadata": {"resourceVersion": "1"}}


async def test_a_watch_begins_with_all_that_is_there(client: Client, system: System) -> None:
    """There is nothing to take up again: a reader that comes back with `Last-Event-ID` is told everything anew."""
    await apply(client, TEAM)
    async with watching(system, "agents?watch=1", "Last-Event-ID: 99\r\n") as tell:
        assert await until_bookmark(tell) == ["ADDED ada"]


async def test_what_no_longer_fits_is_deleted_for_the_watcher(client: Client, system: System) -> None:
    """An object whose labels stop to match leaves the selection, one that begins to match comes into it."""
    await apply(client, TEAM + MORE)
    async with watching(system, "agents?watch=1&labelSelector=team=red") as tell:
        assert await until_bookmark(tell) == ["ADDED ada"]
        await apply(client, (TEAM + MORE).replace("team: red", "team: x").replace("team: blue", "team: red"))
        assert sorted([short(await tell()), short(await tell())]) == ["ADDED bob", "DELETED ada"]


async def test_conditions_are_told_without_an_event(client: Client, system: System, tmp_path: Path) -> None:
    """A refused candidate of its source shows on an object within seconds."""
    for text in (TEAM, TEAM.replace("description: answers everything", "descripton: x")):
        delivery = Delivery("/f", (SourceFile(tmp_path, "a.yaml", text.encode()),), "directory")
        if text is TEAM:
            await system.reconciler.apply(delivery)
    async with watching(system, "agents?watch=1") as tell:
        await until_bookmark(tell)
        with pytest.raises(Exception, match="descripton"):
            await system.reconciler.apply(delivery)
        told = await tell()
        assert short(told) == "MODIFIED ada"
        valid = next(one for one in told["object"]["status"]["conditions"] if one["type"] == "SchemaValid")
        assert valid["status"] == "False"
    del client


async def test_sources_are_watched(client: Client, system: System, tmp_path: Path) -> None:
    """What a source tries, and that it is suspended, is told."""
    async with watching(system, "sources?watch=1") as tell:
        assert await until_bookmark(tell) == []
        await system.reconciler.apply(Delivery("/f", (SourceFile(tmp_path, "a.yaml", TEAM.encode()),), "directory"))
        assert short(await tell()) == "ADDED /f"
        await ask(client.post, "sources", "/f", "suspend", body={})
        while not (told := await tell())["object"]["spec"]["suspended"]:
            pass
        assert short(told) == "MODIFIED /f"


async def test_tasks_are_watched(client: Client, system: System) -> None:
    """A task is told when it is accepted and when it has ended, with its answer."""
    await apply(client, TEAM)
    done = (await ask(client.post, "namespaces", "default", "tasks", body={"goal": "before"}))["id"]
    await ask(client.get, "namespaces", "default", "tasks", done, wait="1")
    async with watching(system, "namespaces/default/tasks?watch=1") as tell:
        assert await until_bookmark(tell) == [f"ADDED {done}"]
        task = (await ask(client.post, "namespaces", "default", "tasks", body={"goal": "what is it?"}))["id"]
        told = await tell()
        assert short(told) == f"ADDED {task}"
        while told["object"]["status"]["phase"] == "Running":
            told = await tell()
        assert (told["type"], told["object"]["status"]["phase"]) in {("MODIFIED", "Succeeded"), ("ADDED", "Succeeded")}
        assert told["object"]["status"]["output"] == "The answer is 42."


async def test_only_some_tasks_are_watched(client: Client, system: System) -> None:
    """By name, by namespace, or those that have not ended."""
    await apply(client, TEAM)
    bodies = ({"goal": "one"}, {"goal": "slow"})
    ids = [(await ask(client.post, "namespaces", "default", "tasks", body=body))["id"] for body in bodies]
    await ask(client.get, "namespaces", "default", "tasks", ids[0], wait="1")
    for query, expected in (
        (f"tasks?watch=1&name={ids[0]}", ids[:1]),
        ("namespaces/other/tasks?watch=1", []),
        ("tasks?watch=1&unfinished=1", ids[1:]),
    ):
        async with watching(system, query) as tell:
            assert await until_bookmark(tell) == [f"ADDED {one}" for one in expected]
    async with watching(system, "tasks?watch=1&unfinished=1") as tell:
        await until_bookmark(tell)
        await ask(client.delete, "namespaces", "default", "tasks", ids[1])
        assert (await tell())["object"]["status"]["phase"] == "Cancelled"


async def test_a_watch_begins_with_the_newest_tasks(system: System) -> None:
    """Not with all that ever ended; what has not ended is told however old it is, and so is one that is named."""
    await keep_tasks(system, 510, running={3, 505})
    async with watching(system, "tasks?watch=1") as tell:
        told = await until_bookmark(tell)
    assert told == [f"ADDED k{number}" for number in (*reversed(range(10, 510)), 3)]
    async with watching(system, "tasks?watch=1&name=k1") as tell:
        assert await until_bookmark(tell) == ["ADDED k1"]
    async with watching(system, "namespaces/lab/tasks?watch=1") as tell:
        assert await until_bookmark(tell) == []


async def test_the_client_watches(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client of the command line yields what is told, and gives up at its deadline."""
    await apply(client, TEAM)

    def watched() -> tuple[list[str], bool]:
        found: list[str] = []
        try:
            for told in client.watch("agents", until=time.monotonic() + 1000):
                found.append(told["type"])
                if told["type"] == "BOOKMARK":
                    later = SimpleNamespace(monotonic=lambda: time.monotonic() + 999.8)
                    monkeypatch.setattr("loomd.api.client.time", later)
        except TimeoutError:
            return found, True
        return found, False

    assert await ask(watched) == (["ADDED", "BOOKMARK"], True)


async def test_many_watchers_look_once(client: Client, system: System) -> None:
    """Fifty watchers of one kind cost about as many looks as one, and all are told the same."""
    await apply(client, TEAM)
    looked = 0
    original = system.reconciler.status

    def counted(ref: Any) -> Any:
        nonlocal looked
        looked += 1
        return original(ref)

    async with AsyncExitStack() as stack:
        tells = [await stack.enter_async_context(watching(system, "agents?watch=1")) for _ in range(50)]
        await asyncio.gather(*(until_bookmark(tell) for tell in tells))
        system.reconciler.status = counted  # type: ignore[method-assign]  # counts, and is the real one
        began = time.monotonic()
        for text in ("one", "two", "three"):
            before = asyncio.gather(*(tell() for tell in tells))
            await apply(client, TEAM.replace("everything", text))
            assert {one["object"]["spec"]["description"] for one in await before} == {f"answers {text}"}
        lasted = time.monotonic() - began
    # three objects for each look; a body is shown once for each watcher, and that asks for the status too
    assert looked <= 3 * (3 + 3 * lasted) * 2 + 3 * 50


async def test_a_slow_watcher_slows_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher that reads nothing is cut off after a while; emitting stays as quick, and others are told."""
    async with served(tmp_path, limits=limits(body_time=60.0)) as system:
        client = Client(system.settings.socket)
        big = TEAM.replace("answers everything", "x" * 300_000)
        await apply(client, big)
        with connected(system) as stuck:
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stuck.sendall(f"GET {PREFIX}/agents?watch=1 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            async with watching(system, "agents?watch=1") as tell:
                await until_bookmark(tell)
                for number in range(10):
                    began = time.thread_time()
                    system.bus.emit(ConfigLoaded("s", ()))
                    assert time.thread_time() - began < 0.05
                    await apply(
                        client, big.replace("kind: Agent", f"kind: Agent # {number}").replace("xx", f"x{number}", 1)
                    )
                    assert short(await tell()) == "MODIFIED ada"
            skip(60.0, monkeypatch)
            assert await ask(hung_up, stuck)
        assert (await say(system, "GET", "/livez")).status == 200


async def test_a_lookout_looks_again_only_when_it_must() -> None:
    """A look that began after the moment that somebody asks about is good for everybody who asks about it."""
    looks = 0

    async def look() -> dict[str, Shown]:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)
        return {str(looks): Shown(looks, dict)}

    lookout = Lookout(look)
    loop = asyncio.get_running_loop()
    moment = loop.time()
    seen = await asyncio.gather(*(lookout.since(moment) for _ in range(10)))
    assert [list(one) for one in seen] == [["1"]] * 10
    assert list(await lookout.since(loop.time())) == ["2"]
    assert list(await lookout.since(moment)) == ["2"]
