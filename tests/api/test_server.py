"""The API over a real Unix socket, asked by the client of the command line: tasks, events, and what is unknown."""

import asyncio
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from loomd.api.client import Client
from loomd.daemon import System
from loomd.errors import Conflict, NotFound, Overloaded, Permanent, Unreachable
from loomd.events.event import ConfigLoaded, ModelDelta
from tests.api.talk import TEAM, apply, ask, keep_tasks, say


async def test_unknown_things_are_not_found(client: Client) -> None:
    """A wrong kind, name or task is an error that says what there is."""
    with pytest.raises(NotFound, match="no kind 'gadgets': there are agents"):
        await ask(client.get, "namespaces", "default", "gadgets")
    with pytest.raises(NotFound, match="loomd get all"):
        await ask(client.get, "namespaces", "default", "agents", "bob")
    with pytest.raises(NotFound, match="no task"):
        await ask(client.get, "namespaces", "default", "tasks", "t1")


async def test_a_task_from_end_to_end(client: Client) -> None:
    """A task is accepted, answered, listed, and its events are streamed until its end."""
    await apply(client, TEAM)
    created = await ask(client.post, "namespaces", "default", "tasks", body={"goal": "what is it?", "seed": 7})
    task = created["id"]
    found = await ask(client.get, "namespaces", "default", "tasks", task, wait="1")
    assert found["status"]["phase"] == "Succeeded"
    assert found["status"]["output"] == "The answer is 42."
    assert found["status"]["agent"] == "ada"
    assert found["spec"]["seed"] == 7
    assert found["status"]["result"]["sensed"]
    listed = await ask(client.get, "namespaces", "default", "tasks")
    assert [item["metadata"]["name"] for item in listed["items"]] == [task]
    events = await ask(lambda: list(client.events(task=task)))
    assert events[0]["data"]["type"] == "task.started"
    assert events[-1]["data"]["type"] == "task.completed"
    assert all(event["task"] == task for event in events)
    phases = [event["data"]["phase"] for event in events if event["data"]["type"] == "phase.completed"]
    assert phases == ["sense", "match", "scale", "execute", "evaluate", "adapt"]


async def test_pictures_of_a_task(client: Client) -> None:
    """They are told by their digests; the same wish has the same ones, and what is no picture makes no task."""
    await apply(client, TEAM)
    place = ("namespaces", "default", "tasks")
    wish = {"goal": "what is it?", "key": "k", "images": ["R0lGODlh"]}
    task = (await ask(client.post, *place, body=wish))["id"]
    found = await ask(client.get, *place, task, wait="1")
    digest = hashlib.sha256(b"R0lGODlh").hexdigest()
    assert found["spec"]["images"] == [{"media": "image/gif", "data": f"sha256:{digest}"}]
    assert found["status"]["result"]["task"]["images"] == found["spec"]["images"]
    assert (await ask(client.post, *place, body=wish))["id"] == task
    with pytest.raises(Conflict, match="wants something else"):
        await ask(client.post, *place, body=wish | {"images": ["R0lGODdh"]})
    with pytest.raises(Permanent, match=r"images\[0\]: expected PNG"):
        await ask(client.post, *place, body={"goal": "x", "images": ["aGVsbG8="]})


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"seed": 2**63}, "seed: expected a whole number"),
        ({"seed": 10**40}, "seed"),
        ({"seed": "7"}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"durability": "forever"}, "durability"),
    ],
    ids=["large", "huge", "text", "fraction", "durability"],
)
async def test_a_seed_and_a_durability_that_are_none(client: Client, wish: dict[str, object], said: str) -> None:
    """They make no task, and the field is named."""
    await apply(client, TEAM)
    with pytest.raises(Permanent, match=said):
        await ask(client.post, "namespaces", "default", "tasks", body={"goal": "x", **wish})
    assert (await ask(client.get, "namespaces", "default", "tasks"))["items"] == []


async def test_a_task_can_be_cancelled(client: Client) -> None:
    """Deleting a running task ends it, and whoever waits for it is answered."""
    await apply(client, TEAM)
    task = (await ask(client.post, "namespaces", "default", "tasks", body={"goal": "slow"}))["id"]
    waiting = asyncio.ensure_future(ask(client.get, "namespaces", "default", "tasks", task, wait="1"))
    await ask(client.delete, "namespaces", "default", "tasks", task)
    assert (await waiting)["status"]["phase"] == "Cancelled"


async def test_no_task_is_taken_while_draining(client: Client, system: System) -> None:
    """A daemon that stops refuses new tasks and is not ready, but alive."""
    await apply(client, TEAM)
    assert (await say(system, "GET", "/readyz")).status == 200
    system.ready = False
    with pytest.raises(Overloaded, match="draining"):
        await ask(client.post, "namespaces", "default", "tasks", body={"goal": "x"})
    assert (await say(system, "GET", "/readyz")).status == 503
    assert (await say(system, "GET", "/livez")).status == 200


async def test_followers_see_every_event_once(client: Client, system: System) -> None:
    """A stream that starts in the middle of the journal goes over to live events without gap or duplicate."""

    def emit(count: int) -> None:
        for number in range(count):
            system.bus.emit(ConfigLoaded("s", (str(number),)))

    def follow() -> list[int]:
        seen: list[int] = []
        for event in client.events(after=500, follow=True):
            seen.append(event["seq"])
            if event["seq"] == 3000:
                break
        return seen

    emit(1000)
    following = asyncio.ensure_future(ask(follow))
    for _ in range(20):
        emit(100)
        await asyncio.sleep(0.001)
    assert await following == list(range(501, 3001))


async def test_pieces_of_text_are_followed_but_not_replayed(client: Client, system: System) -> None:
    """Transient facts reach who listens and are not in the journal."""
    replayed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def follow() -> list[str]:
        seen: list[str] = []
        for event in client.events(follow=True):
            seen.append(event["data"]["type"])
            loop.call_soon_threadsafe(replayed.set)
            if len(seen) == 3:
                break
        return seen

    system.bus.emit(ConfigLoaded("s", ()))
    following = asyncio.ensure_future(ask(follow))
    await replayed.wait()
    system.bus.emit(ModelDelta("he"))
    system.bus.emit(ConfigLoaded("s", ()))
    assert await following == ["config.loaded", "model.delta", "config.loaded"]
    assert [e["data"]["type"] for e in await ask(lambda: list(client.events()))] == ["config.loaded"] * 2


async def test_last_event_id_is_honoured(client: Client, system: System) -> None:
    """A browser's reconnect goes on after the last event that it has."""
    for number in range(5):
        system.bus.emit(ConfigLoaded("s", (str(number),)))
    body = (await say(system, "GET", "/v1/events", headers={"Last-Event-ID": "3"})).text
    assert [line for line in body.splitlines() if line.startswith("id:")] == ["id: 4", "id: 5"]
    assert len(await ask(lambda: list(client.events(after=4)))) == 1


def test_no_daemon_is_said_plainly(tmp_path: Path) -> None:
    """Without a daemon the client says where it looked and what to do."""
    with pytest.raises(Unreachable, match=r"no daemon at .*nobody\.sock: start one with `loomd serve`"):
        Client(tmp_path / "nobody.sock").get()


@pytest.mark.parametrize(
    ("ours", "theirs"), [("server", "client"), ("client", "server"), ("path", "client")], ids=lambda name: name
)
def test_server_and_client_do_not_need_each_other(ours: str, theirs: str) -> None:
    """What they share is the path of the API, and whoever reads it loads neither."""
    code = f"import sys, loomd.api.{ours}; sys.exit('loomd.api.{theirs}' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603  # our own interpreter


async def test_tasks_are_listed_in_pages(client: Client, system: System) -> None:
    """The newest come first, and each list says how to get the one after it; of many no list has them all."""
    await keep_tasks(system, 510, running={3})
    path = ("namespaces", "default", "tasks")
    seen: list[str] = []
    query = {"limit": "200"}
    while True:
        page = await ask(client.get, *path, **query)
        seen += [one["metadata"]["name"] for one in page["items"]]
        if "metadata" not in page:
            break
        query["continue"] = page["metadata"]["continue"]
    assert seen == [f"k{number}" for number in reversed(range(510))]
    for query in ({}, {"limit": "0"}, {"limit": "1000"}):
        assert len((await ask(client.get, *path, **query))["items"]) == 500
    assert [one["metadata"]["name"] for one in (await ask(client.get, *path, name="k1"))["items"]] == ["k1"]
    assert (await ask(client.get, "namespaces", "lab", "tasks", name="k1"))["items"] == []
    assert [one["metadata"]["name"] for one in (await ask(client.get, *path, unfinished="1"))["items"]] == ["k3"]
    assert (await ask(client.get, *path, unfinished="1", name="k1"))["items"] == []
    with pytest.raises(Permanent, match="continue: expected what the list before said, got 'k1'"):
        await ask(client.get, *path, **{"continue": "k1"})
    with pytest.raises(Permanent, match="limit: expected a whole number"):
        await ask(client.get, *path, limit="-1")
    items, more = await ask(client.items, path)
    assert (len(items), more) == (510, False)
    items, more = await ask(client.items, path, None, 505)
    assert (len(items), more) == (505, True)
