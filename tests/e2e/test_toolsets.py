"""Agents with tool sets, declared in YAML: calls, people, withdrawal, crashes, replay and tests of agents."""

import json
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from loomd.agents.approval import Decision
from loomd.api.view import Viewer
from loomd.cassette import parse, write
from loomd.errors import Permanent
from loomd.events.event import ApprovalRequested, ToolCompleted, ToolErred
from loomd.manifest.load import load
from loomd.manifest.object import Ref
from loomd.manifest.source import SourceFile
from loomd.models.place import models_dir
from loomd.replay.export import Serving, export
from loomd.replay.player import replay
from loomd.testing import run_manifests
from loomd.trials.trial import run_test
from tests.engine.world import World, outcome, task_of, until

HOSTILE = Path(__file__).parents[1] / "tools" / "hostile.py"
MANIFESTS = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec:
  type: scripted
  replies: REPLIES
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: desk}
spec: {type: mcp, command: PYTHON, args: [SERVER, MODE, FILE], stopTimeout: 300ms, retry: 10ms, MORE}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {description: Does things., provider: script, tools: [desk]}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: default}
spec: {agents: [ada]}
"""
CALL = {"toolCalls": [{"name": "desk_echo", "arguments": {"text": "hi"}}]}
DONE = {"text": "done"}


def manifests(folder: Path, more: str = "timeout: 20s", mode: str = "counts", *replies: dict[str, Any]) -> str:
    """Return the manifests of an agent with a server that counts its calls in a file."""
    text = MANIFESTS.replace("REPLIES", json.dumps(replies or (CALL, DONE))).replace(
        "PYTHON", json.dumps(sys.executable)
    )
    text = text.replace("SERVER", json.dumps(str(HOSTILE))).replace("FILE", json.dumps(str(folder / "marks")))
    return text.replace("MODE", mode).replace("MORE", more)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a folder with the manifests."""
    (tmp_path / "manifests.yaml").write_text(manifests(tmp_path), encoding="utf-8")
    return World(tmp_path)


async def test_an_agent_calls_a_tool_of_a_server(tmp_path: Path) -> None:
    """Its name is that of the object and its own."""
    ran = await run_manifests(manifests(tmp_path), "go", tmp_path)
    assert outcome(ran.result) == ("Succeeded", "completed", "done")
    (done,) = ran.facts(ToolCompleted)
    assert (done.tool, done.result) == ("desk_echo", "hi")


async def test_a_server_that_is_not_there_fails_the_call_only(tmp_path: Path) -> None:
    """The model is told, and the task goes on."""
    ran = await run_manifests(manifests(tmp_path, mode="die"), "go", tmp_path)
    assert outcome(ran.result) == ("Succeeded", "completed", "done")
    (failed,) = ran.facts(ToolErred)
    assert "broke, and the call may have had its effect" in failed.error


async def test_two_sets_of_one_name_do_not_open(tmp_path: Path) -> None:
    """A collision is told with both objects and the field."""
    again = manifests(tmp_path, 'prefix: ""').split("---")[1].replace("name: desk", "name: more")
    text = manifests(tmp_path, 'prefix: ""').replace("tools: [desk]", "tools: [desk, more]") + f"---{again}"
    with pytest.raises(Permanent, match=r'Agent/ada spec\.tools: .*"echo" from Tool/desk and from Tool/more'):
        await run_manifests(text, "go", tmp_path)


async def test_a_person_agrees_to_one_tool_of_a_set(world: World) -> None:
    """What is asked of single tools is asked, under the name that the model uses."""
    text = manifests(world.folder, "overrides: {echo: {approval: {required: always}}}")
    (world.folder / "manifests.yaml").write_text(text, encoding="utf-8")
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        asked = await until(system, lambda event: isinstance(event.data, ApprovalRequested), task)
        assert isinstance(asked.data, ApprovalRequested)
        assert (asked.data.tool, world.marks) == ("desk_echo", [])
        await system.engine.decide(asked.data.approval, Decision("approved", "ann"))
        assert outcome(await system.engine.result(task)) == ("Succeeded", "completed", "done")
    assert world.marks == ["x"]


async def test_what_is_excluded_is_withdrawn_from_running_tasks(world: World) -> None:
    """A question stands while a newer revision takes the tool out of the set: the call is not made."""
    text = manifests(world.folder, "overrides: {echo: {approval: {required: always}}}")
    (world.folder / "manifests.yaml").write_text(text, encoding="utf-8")
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        asked = await until(system, lambda event: isinstance(event.data, ApprovalRequested), task)
        assert isinstance(asked.data, ApprovalRequested)
        world.edit("overrides:", "exclude: [echo], overrides:")
        await system.reconciler.apply(world.delivery())
        await system.engine.decide(asked.data.approval, Decision("approved", "ann"))
        assert outcome(await system.engine.result(task))[0] == "Succeeded"
        failed = await until(system, lambda event: isinstance(event.data, ToolErred), task)
    assert isinstance(failed.data, ToolErred)
    assert 'the tool "echo" was withdrawn at revision' in failed.data.error
    assert world.marks == []


@pytest.mark.parametrize(
    ("at", "ends"),
    [
        ("step.completed tool:desk_echo", ("Succeeded", "completed", "done")),
        ("step.started tool:desk_echo", ("Failed", "uncertain", "")),
    ],
    ids=["recorded", "begun"],
)
async def test_a_killed_task_goes_on(world: World, at: str, ends: tuple[str, str, str]) -> None:
    """What a tool of a server answered is not asked again, and what may have had its effect is not repeated."""
    world.kill_at(at)
    before = len(world.marks)
    async with world.open() as system:
        (task,) = await system.engine.resume()
        result = await system.engine.result(task)
    assert outcome(result) == ends
    assert len(world.marks) == before


async def test_a_recorded_task_is_replayed_without_the_server(world: World) -> None:
    """A cassette holds what models were told of the tools, and its replay starts no server."""
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        await system.engine.result(task)
        topology = system.reconciler.topology
        cassette = parse(write(await export(system.store, task, Serving(topology.snapshot, topology.live))), "it")
    assert cassette.tools["desk_echo"].of == "desk"
    assert cassette.objects
    played = await replay(cassette)
    assert played.whole, played.difference
    assert world.marks == ["x"]
    against = load([SourceFile(world.folder, "manifests.yaml", manifests(world.folder).encode())])
    assert (await replay(cassette, against)).whole
    assert world.marks == ["x"]


async def test_how_tools_stand_is_shown(world: World) -> None:
    """The status of a set lists its tools."""
    async with world.open() as system:
        viewer = await Viewer.of(system)
        item = system.reconciler.topology.snapshot.objects[Ref("Tool", "desk")]
        (row,) = viewer.show(item)["status"]["tools"]
        degraded = next(one for one in viewer.show(item)["status"]["conditions"] if one["type"] == "Degraded")
    assert (row["name"], row["tool"], row["state"], row["effects"]) == ("desk_echo", "echo", "Offered", "external")
    assert len(row["pin"]) == 32
    assert (degraded["status"], degraded["message"]) == ("False", "it offers 1 tool")


TEST = """---
apiVersion: loomd.dev/v1
kind: Test
metadata: {name: it}
spec:
  goal: go
  RESULTS
  expect: {phase: Succeeded, output: {equals: done}}
"""


@pytest.mark.parametrize(
    ("results", "error"),
    [
        ("results: {desk: [{tool: echo, text: hello}]}", ""),
        ("results: {desk: [{tool: other, text: hello}]}", ""),
    ],
)
async def test_a_test_of_an_agent_starts_no_server(tmp_path: Path, results: str, error: str) -> None:
    """The answers of a set name its tools; a tool that gives none is not there."""
    text = manifests(tmp_path) + TEST.replace("RESULTS", results)
    snapshot = load([SourceFile(tmp_path, "it.yaml", text.encode())])
    (test,) = snapshot.of_kind("Test")
    verdict = await run_test(snapshot, test, models_dir())
    assert (verdict.error, verdict.misses) == (error, [])
    assert not (tmp_path / "marks").exists()


LIBRARY = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec:
  type: scripted
  replies:
    - toolCalls: [{name: library_getBook, arguments: {isbn: "12"}}]
    - {text: done}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: library}
spec:
  type: openapi
  allowHosts: ["127.0.0.1"]
  document:
    openapi: 3.1.0
    servers: [{url: "URL"}]
    paths:
      /books/{isbn}:
        get:
          operationId: getBook
          parameters: [{name: isbn, in: path, required: true, schema: {type: string}}]
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: script, tools: [library]}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: default}
spec: {agents: [ada]}
"""


@pytest.fixture
async def service() -> AsyncGenerator[str, None]:
    """Yield the address of a service that answers with the path."""

    async def take(request: web.Request) -> web.Response:
        return web.Response(text=request.path)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_an_agent_calls_an_operation(tmp_path: Path, service: str) -> None:
    """An operation of a document is a tool of the agent; a test of the agent knows it without asking anybody."""
    text = LIBRARY.replace("URL", service)
    ran = await run_manifests(text, "go", tmp_path)
    assert [done.result for done in ran.facts(ToolCompleted)] == ["/books/12"]
    for results, error in (
        ("results: {library: [{tool: getBook, text: Momo}]}", ""),
        ("seed: 1", 'Tool/library would be called: give spec.results for it, with tool: "getBook"'),
    ):
        snapshot = load([SourceFile(tmp_path, "it.yaml", (text + TEST.replace("RESULTS", results)).encode())])
        (test,) = snapshot.of_kind("Test")
        assert (await run_test(snapshot, test, models_dir())).error == error
