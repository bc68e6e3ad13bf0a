"""How the tests of the API talk to it: the client of the command line in a thread, and bytes on a socket."""

import asyncio
import http.client
import json
import select
import socket
from collections.abc import AsyncGenerator, Callable, Container, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from loomd.amoeba.task import Result, Task
from loomd.api.client import Client
from loomd.api.path import PREFIX
from loomd.api.server import open_server
from loomd.daemon import Settings, System, open_system
from loomd.manifest.secret import Secret, SecretSource
from loomd.settings import ApiLimits
from loomd.store.records import TaskRecord
from tests.ports import free_port

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
metadata: {name: ada, labels: {team: red, tier: web}}
spec: {provider: script, description: answers everything}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: team}
spec: {agents: [ada]}
"""
AGENT = "/apis/loomd.dev/v1/namespaces/default/agents/ada"
_THREADS = ThreadPoolExecutor(100, "client")
TOKEN = "a token of this daemon"


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.text)

    @property
    def error(self) -> dict[str, Any]:
        """Return what is wrong, when the body says so."""
        found: dict[str, Any] = self.json["error"]
        return found


def limits(**changes: Any) -> ApiLimits:
    """Return limits in seconds, bytes and connections."""
    return ApiLimits.model_construct(**changes)


@asynccontextmanager
async def served(home: Path, **changes: Any) -> AsyncGenerator[System, None]:
    """Yield a system in a folder that serves its API and takes work."""
    settings = Settings(home / "state", home / "models", home / "s.sock", **changes)
    async with open_system(settings) as system, open_server(system):
        system.ready = True
        yield system


@asynccontextmanager
async def remote(home: Path, **changes: Any) -> AsyncGenerator[tuple[System, tuple[str, int]], None]:
    """Yield a system that serves its API over TCP too, and its address; `TOKEN` is its token."""
    (home / "token").write_text(TOKEN)
    address = ("127.0.0.1", free_port())
    token = Secret(value_from=SecretSource(file=str(home / "token")))
    async with served(home, listen=f"127.0.0.1:{address[1]}", token=token, **changes) as system:
        yield system, address


async def ask(call: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Run a blocking call beside the server, on threads that the server does not use."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, partial(call, *arguments, **named))


async def apply(client: Client, text: str, **named: Any) -> dict[str, Any]:
    """Apply one file and return the plan."""
    body = {"source": "/m", "root": "/m", "files": [{"path": "a.yaml", "text": text}], **named}
    return await ask(client.post, "apply", body=body)


async def say(
    where: System | tuple[str, int],
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send a request and return the answer.

    Args:
        where: the system whose Unix socket is asked, or a TCP address.
        method: the method.
        path: the path; below the prefix of the API when it does not begin with a slash.
        body: bytes or text as they are, anything else as JSON.
        headers: headers; the content type is JSON when there is a body.
    """
    data = body if isinstance(body, bytes | str | None) else json.dumps(body)
    sent = {"Content-Type": "application/json"} if data is not None else {}
    return await ask(_say, where, method, path, data, {**sent, **(headers or {})})


def _say(
    where: System | tuple[str, int], method: str, path: str, body: bytes | str | None, headers: Mapping[str, str]
) -> Answer:
    connection = http.client.HTTPConnection("localhost", timeout=20)
    connection.sock = connected(where)
    try:
        connection.request(method, path if path.startswith("/") else f"{PREFIX}/{path}", body, dict(headers))
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read().decode())
    finally:
        connection.close()


def connected(where: System | tuple[str, int]) -> socket.socket:
    """Return a socket that is connected to a listener."""
    if isinstance(where, tuple):
        return socket.create_connection(where, timeout=20)
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(20)
    made.connect(str(where.settings.socket))
    return made


def send(where: System | tuple[str, int], data: bytes) -> bytes:
    """Send bytes and return all that comes back until the server closes the connection."""
    with connected(where) as connection:
        connection.sendall(data)
        return drain(connection)


def drain(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes the connection."""
    got = b""
    try:
        while piece := connection.recv(65536):
            got += piece
    except ConnectionResetError:
        pass
    return got


def hung_up(connection: socket.socket) -> bool:
    """Wait until the other side ends a connection, without reading what it sent."""
    waiting = select.poll()
    waiting.register(connection, 0)
    return bool(waiting.poll(20_000))


@contextmanager
def hoarded(where: System | tuple[str, int], count: int) -> Generator[list[socket.socket]]:
    """Hold connections that say nothing."""
    held = [connected(where) for _ in range(count)]
    try:
        yield held
    finally:
        for one in held:
            one.close()


async def keep_tasks(system: System, count: int, *, running: Container[int] = ()) -> None:
    """Keep tasks `k0`, `k1`, ... of namespace `default`, each newer than the one before; most have been cancelled."""
    for number in range(count):
        task = Task(f"k{number}", "old", created=float(number))
        ended = number not in running
        result = msgspec.json.encode(Result(task, "Cancelled", error="cancelled")) if ended else b""
        phase, body = "Cancelled" if ended else "Running", msgspec.json.encode(task)
        await system.store.put_task(TaskRecord(task.id, "default", "team", phase, body, result, task.created))
