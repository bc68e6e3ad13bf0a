"""A canary in every place that may hold a secret: no answer, event, log line or stored byte ever shows it."""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from aiohttp import web

from loomd.api.changes import ChangeRoutes
from loomd.api.health import Health
from loomd.api.objects import ObjectRoutes
from loomd.api.path import PREFIX
from loomd.api.rollout import RolloutRoutes
from loomd.api.server import Routes
from loomd.api.sources import SourceRoutes
from loomd.api.tasks import TaskRoutes
from loomd.daemon import System
from tests.api.talk import TEAM, Answer, ask, connected, remote, say

CANARY = f"canary{secrets.token_hex(12)}"
FAMILIES = (Health, Routes, ChangeRoutes, RolloutRoutes, SourceRoutes, TaskRoutes, ObjectRoutes)
HOLDS = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: service, annotations: {note: "https://me:ANNOTATED@host.example/?token=ANNOTATED"}}
spec:
  type: openai
  model: some-model
  baseUrl: http://127.0.0.1:9/v1
  apiKey: {valueFrom: {env: LOOMD_TEST_CANARY}}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: look}
spec:
  type: http
  description: Looks something up.
  url: http://127.0.0.1:9/look
  headers: {Authorization: {valueFrom: {file: FILE}}}
  allowHosts: [127.0.0.1]
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: service, description: answers everything, tools: [look]}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: team}
spec: {agents: [ada]}
"""
SELECTS = """
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: chosen}
spec: {agentSelector: {matchExpressions: [{key: team, operator: Exists}]}}
"""
SHOWN = {
    "key": ("apiKey: {valueFrom: {env: LOOMD_TEST_CANARY}}", "apiKey: CANARY"),
    "value": ("apiKey: {valueFrom: {env: LOOMD_TEST_CANARY}}", "apiKey: {value: CANARY}"),
    "header": ("headers: {Authorization: {valueFrom: {file: FILE}}}", "headers: {Authorization: Bearer CANARY}"),
    "address": ("url: http://127.0.0.1:9/look", "url: http://me:CANARY@127.0.0.1:9/look"),
    "parameter": ("url: http://127.0.0.1:9/look", "url: http://127.0.0.1:9/look?token=CANARY"),
    "unknown-field": ("  model: some-model", "  model: some-model\n  password: CANARY"),
    "wrong-type": ("apiKey: {valueFrom: {env: LOOMD_TEST_CANARY}}", "apiKey: [CANARY]"),
    "half": ("apiKey: {valueFrom: {env: LOOMD_TEST_CANARY}}", 'apiKey: "CANARY'),
    "tag": ("apiKey: {valueFrom: {env: LOOMD_TEST_CANARY}}", "apiKey: !!python/name:os.CANARY x"),
}
"""Ways to write a secret into a manifest, each as what is replaced by what."""


@pytest.fixture
async def served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[tuple[System, tuple[str, int], str], None]:
    """Yield a system whose secrets hold the canary, its address, and its manifests."""
    monkeypatch.setenv("LOOMD_TEST_CANARY", CANARY)
    (tmp_path / "file").write_text(f"Bearer {CANARY}\n")
    async with remote(tmp_path) as (system, address):
        yield system, address, HOLDS.replace("FILE", str(tmp_path / "file"))


def readable() -> list[str]:
    """Return every path that can be read, with names of things that are there in the place of its variables."""
    app = web.Application()
    for family in FAMILIES:
        family(None).add_to(app)  # type: ignore[arg-type]  # nothing is asked of it
    paths = {route.resource.canonical for route in app.router.routes() if route.resource and route.method == "GET"}
    filled = [
        path.format(namespace="default", plural=plural, name=name, number="1")
        for path in sorted(paths)
        for plural, name in (("providers", "service"), ("tools", "look"), ("agents", "ada"), ("all", "%2Fm"))
    ]
    return sorted(set(filled))


async def test_nothing_shows_a_secret(
    served: tuple[System, tuple[str, int], str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything is exercised, every path is read, every error is made: the canary is nowhere."""
    caplog.set_level(logging.DEBUG)
    system, address, text = served
    said: list[Answer] = []

    async def tell(where: System | tuple[str, int], method: str, path: str, body: object = None) -> Answer:
        answer = await say(where, method, path, body, {"Authorization": f"Bearer {CANARY}"})
        said.append(answer)
        return answer

    def batch(manifests: str) -> dict[str, object]:
        return {"source": "/m", "root": "/m", "files": [{"path": "a.yaml", "text": manifests}], "full": True}

    assert (await tell(system, "POST", "apply", batch(text))).status == 200
    changed = text.replace("some-model", "other-model").replace("answers everything", "x")
    assert (await tell(system, "POST", "plan", batch(changed))).status == 200
    for old, new in SHOWN.values():
        assert old.replace("FILE", str(tmp_path / "file")) in text
        wrong = text.replace(old.replace("FILE", str(tmp_path / "file")), new.replace("CANARY", CANARY))
        for route in ("plan", "apply"):
            assert (await tell(system, "POST", route, batch(wrong))).status == 422, new
    task = (await tell(system, "POST", "namespaces/default/tasks", {"goal": "what is it?"})).json["id"]
    ended = await tell(system, "GET", f"namespaces/default/tasks/{task}?wait=1")
    assert ended.json["status"]["phase"] == "Failed"
    for path in readable():
        await tell(system, "GET", path)
        await tell(system, "GET", f"{path}?full=1&verbose")
        await tell(address, "GET", path)
    await tell(system, "GET", "/v1/events")
    await tell(system, "PUT", "namespaces/default/providers/service", {"spec": {"apiKey": CANARY}})
    await tell(system, "POST", "apply", {"source": {"token": CANARY}, "password": CANARY})
    streamed = await ask(watched, system, f"{PREFIX}/all?watch=1") + await ask(
        watched, system, f"{PREFIX}/sources?watch=1"
    )
    assert b"Provider" in streamed
    assert len(said) > 100
    assert [answer for answer in said if CANARY in answer.text + str(answer.headers)] == []
    assert CANARY.encode() not in streamed
    shown = (await tell(system, "GET", "namespaces/default/providers/service")).json
    assert shown["metadata"]["annotations"] == {"note": "https://***@host.example/?token=***"}
    assert CANARY not in caplog.text
    await asyncio.to_thread(nowhere_below, system.settings.state_dir)


def watched(system: System, path: str) -> bytes:
    """Return what a watcher is told at first."""
    got = b""
    with connected(system) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        while b"BOOKMARK" not in got:
            got += connection.recv(1 << 20)
    return got


def nowhere_below(folder: Path) -> None:
    """Look for the canary in every byte that was stored."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 2
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []


async def test_all_hide_the_same(served: tuple[System, tuple[str, int], str]) -> None:
    """What a plan hides of a field, its full sides and a reader hide too; the label of a selector is shown by all."""
    system, _, _ = served
    text = f"{TEAM}---\n{SELECTS}".replace("text: The answer is 42.", "json: {password: {current: hunter1}}")
    changed = text.replace("hunter1", "hunter2").replace("key: team", "key: tier")

    def batch(manifests: str) -> dict[str, object]:
        return {"source": "/m", "root": "/m", "files": [{"path": "a.yaml", "text": manifests}]}

    assert (await say(system, "POST", "apply", batch(text))).status == 200
    planned = await say(system, "POST", "plan", batch(changed) | {"full": True})
    read = await say(system, "GET", "namespaces/default/providers/script")
    assert "hunter" not in planned.text + read.text
    assert read.json["spec"]["replies"][1]["json"] == {"password": {"current": "(hidden)"}}
    script, choice = (one for one in planned.json["changes"] if one["action"] == "changed")
    assert script["before"]["spec"]["replies"][1]["json"] == {"password": {"current": "(hidden, before)"}}
    assert script["after"]["spec"]["replies"][1]["json"] == {"password": {"current": "(hidden, after)"}}
    (field,) = choice["fields"]
    assert (field["before"][0]["key"], field["after"][0]["key"]) == ("team", "tier")
    assert choice["after"]["spec"]["agentSelector"]["matchExpressions"][0]["key"] == "tier"
    selected = (await say(system, "GET", "namespaces/default/clusters/chosen")).json["spec"]
    assert selected["agentSelector"]["matchExpressions"] == [{"key": "team", "operator": "Exists"}]
