"""The API over a real Unix socket, asked by the client of the command line."""

import asyncio
import http.client
import json
import socket
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from loomd.api.client import Client
from loomd.api.server import open_server
from loomd.daemon import Settings, System, open_system
from loomd.errors import Conflict, NotFound, Overloaded, Permanent, Unreachable
from loomd.events.event import ConfigLoaded, ModelDelta
from loomd.manifest.problem import Problems

T = TypeVar("T")

TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec:
  type: scripted
  replies:
    - {when: slow, text: at last, delay: 30s, times: null}
    - {text: The answer is 42., times: null}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: script, description: answers everything}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: team}
spec: {agents: [ada]}
"""


@pytest.fixture
async def system(tmp_path: Path) -> AsyncGenerator[System, None]:
    """Yield a system that serves its API."""
    settings = Settings(tmp_path / "state", tmp_path / "models", tmp_path / "s.sock")
    async with open_system(settings) as opened, open_server(opened):
        opened.ready = True
        yield opened


@pytest.fixture
def client(system: System) -> Client:
    """Return a client of the system."""
    return Client(system.settings.socket)


async def ask(call: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Run a blocking call of the client beside the server."""
    return await asyncio.to_thread(call, *arguments, **named)


async def apply(client: Client, text: str, *, dry_run: bool = False) -> list[dict[str, Any]]:
    """Apply one file and return the changes."""
    body = {"source": "/m", "root": "/m", "files": [{"path": "a.yaml", "text": text}], "dryRun": dry_run}
    changes: list[dict[str, Any]] = (await ask(client.post, "apply", body=body))["changes"]
    return changes


async def test_apply_and_get(client: Client) -> None:
    """What was applied is listed with its spec as written and its condition; a dry run leaves nothing."""
    assert [c["action"] for c in await apply(client, TEAM, dry_run=True)] == ["created"] * 3
    assert (await ask(client.get, "namespaces", "default", "all"))["items"] == []
    assert [c["object"] for c in await apply(client, TEAM)] == ["Provider/script", "Agent/ada", "Cluster/team"]
    found = await ask(client.get, "namespaces", "default", "agents", "ada")
    assert found["spec"] == {"provider": "script", "description": "answers everything"}
    assert found["status"]["conditions"][0]["status"] == "True"
    names = [item["metadata"]["name"] for item in (await ask(client.get, "namespaces", "default", "all"))["items"]]
    assert names == ["ada", "team", "script"]
    assert (await ask(client.get, "namespaces", "other", "agents"))["items"] == []


async def test_problems_come_back_whole(client: Client, system: System) -> None:
    """Invalid manifests are raised at the client with all positions, and the old set serves on."""
    await apply(client, TEAM)
    with pytest.raises(Problems) as caught:
        await apply(client, TEAM.replace("provider: script", "provider: skript").replace("[ada]", "[adda]"))
    assert len(caught.value.problems) == 2
    assert caught.value.problems[0].position.line > 1
    assert caught.value.problems[0].hint
    assert len(system.reconciler.topology.live) == 3


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"source": "/m", "root": "m", "files": []}, "absolute"),
        ({"source": "/m", "root": "/m", "files": [{"path": "../x", "text": ""}]}, "leaves the root"),
        ({"source": "/m"}, "root"),
        ({"source": "/m", "root": "/m", "files": [], "extra": 1}, "extra"),
    ],
    ids=["relative-root", "outside", "missing", "unknown"],
)
async def test_bad_bodies_are_refused(client: Client, body: dict[str, Any], says: str) -> None:
    """A body that is not as documented is refused by name."""
    with pytest.raises(Permanent, match=says):
        await ask(client.post, "apply", body=body)


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
    assert (await ask(raw, system, "GET", "/readyz"))[0] == 200
    system.ready = False
    with pytest.raises(Overloaded, match="draining"):
        await ask(client.post, "namespaces", "default", "tasks", body={"goal": "x"})
    assert (await ask(raw, system, "GET", "/readyz"))[0] == 503
    assert (await ask(raw, system, "GET", "/livez"))[0] == 200


async def test_a_refused_configuration_does_not_flip_readiness(client: Client, system: System) -> None:
    """Ready stays ready; the verbose answer says what was refused."""
    await apply(client, TEAM)
    with pytest.raises(Problems):
        await apply(client, "kind: [")
    status, body = await ask(raw, system, "GET", "/readyz?verbose")
    assert status == 200
    assert "config stale" in body
    assert "a.yaml" in body


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
    _, body = await ask(raw, system, "GET", "/v1/events", {"Last-Event-ID": "3"})
    assert [line for line in body.splitlines() if line.startswith("id:")] == ["id: 4", "id: 5"]
    assert len(await ask(lambda: list(client.events(after=4)))) == 1


async def test_writes_must_be_json(system: System) -> None:
    """A form or plain text is refused, so that no web page can post to the daemon."""
    path = "/apis/loomd.dev/v1/apply"
    status, body = await ask(raw, system, "POST", path, {"Content-Type": "text/plain"}, "{}")
    assert status == 415
    assert "application/json" in json.loads(body)["error"]["message"]


async def test_the_socket_is_private_and_owned(system: System, tmp_path: Path) -> None:
    """Only the user may connect, and a live socket is not taken over."""
    assert system.settings.socket.stat().st_mode & 0o777 == 0o600
    other = Settings(tmp_path / "other", tmp_path / "models", system.settings.socket)
    async with open_system(other) as second:
        with pytest.raises(Conflict, match="is served by process"):
            async with open_server(second):
                pass


async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    """The socket of a killed daemon does not stand in the way; a file of another kind does."""
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    settings = Settings(tmp_path / "state", tmp_path / "models", path)
    async with open_system(settings) as system:
        async with open_server(system):
            assert (await ask(raw, system, "GET", "/livez"))[0] == 200
        assert not path.exists()
        path.write_text("mine")
        with pytest.raises(Conflict, match="another kind"):
            async with open_server(system):
                pass


def test_no_daemon_is_said_plainly(tmp_path: Path) -> None:
    """Without a daemon the client says where it looked and what to do."""
    with pytest.raises(Unreachable, match=r"no daemon at .*nobody\.sock: start one with `loomd serve`"):
        Client(tmp_path / "nobody.sock").get()


def raw(
    system: System, method: str, path: str, headers: dict[str, str] | None = None, body: str | None = None
) -> tuple[int, str]:
    """Send a request without the client and return status and text."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(system.settings.socket))
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()
