"""What people see of specialists and of tasks that wait, and decide about them: on a real daemon in this process."""

import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from pwd import getpwuid

import pytest

from loomd.api.server import open_server
from loomd.cluster.cluster import Cluster
from loomd.daemon import Settings, System, open_system
from loomd.engine.intake import new_task
from loomd.events.bus import Scope
from loomd.events.cluster import CapabilityUpdated, TaskQueued
from loomd.manifest.object import Ref
from tests.cli.test_people import loomd
from tests.clocks import skip
from tests.engine.world import until

TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec:
  type: scripted
  replies:
    - system: You design a specialist
      times: null
      json:
        name: lease-lawyer
        description: Knows the tenancy clause of every lease.
        prompt: You know the law.
        domains: [{name: tenancy-law, score: 0.9}]
        tools: []
    - {text: done, times: null}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: script, domains: {cooking: 0.8}}
---
apiVersion: loomd.dev/v1
kind: Blueprint
metadata: {name: notary}
spec: {provider: script, description: Seals and certifies documents.}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: team}
spec:
  agents: [ada]
  match: {type: auction, exploration: 0, noWinner: WAY}
  forge: {every: 0s, blueprints: [notary]}
  learning: {modes: {forge: MODE, score: SCORE}}
"""
GOAL = "check the tenancy clause of a lease"
Out = pytest.CaptureFixture[str]


@asynccontextmanager
async def serving(folder: Path, way: str, mode: str, score: str = "auto") -> AsyncGenerator[System, None]:
    """Yield a system that serves its API and the team."""
    settings = Settings(folder / "state", folder / "models", folder / "s.sock")
    text = TEAM.replace("WAY", way).replace("MODE", mode).replace("SCORE", score)
    (folder / "team.yaml").write_text(text)
    async with open_system(settings) as system, open_server(system):
        system.ready = True
        assert await loomd("apply", "-f", "team.yaml") == 0
        yield system


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with the socket of a daemon to be."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOOMD_SOCKET", str(tmp_path / "s.sock"))
    return tmp_path


async def said(capsys: Out, *words: str) -> str:
    """Return what a verb prints."""
    capsys.readouterr()
    assert await loomd(*words) == 0
    return " ".join(capsys.readouterr().out.split())


async def do(system: System, goal: str = GOAL) -> str:
    """Let a task be done; return its id."""
    task = await system.engine.submit(new_task(goal, system.clock))
    await system.engine.result(task)
    return task


async def test_specialists_are_shown(folder: Path, capsys: Out) -> None:
    """Who there is and could be, what is known of one in full, and why it was made."""
    async with serving(folder, "forge", "auto") as system:
        task = await do(system)
        listed = await said(capsys, "get", "blueprints")
        assert "lease-lawyer probation team ada 1 " in listed
        assert "notary dormant team 0 0" in listed
        shown = await said(capsys, "describe", "blueprint/lease-lawyer")
        for text in ("Creator: ada", "You know the law.", "tenancy-law: 0.70", "1 forged", f"Task/{task}"):
            assert text in shown, text
        assert "Seals and certifies" in await said(capsys, "describe", "blueprint", "notary")
        assert "Blueprint/notary" in await said(capsys, "get", "declaredblueprints", "-o", "name")
        why = await said(capsys, "explain", f"task/{task}")
        assert "lease-lawyer took it, it was made for this task." in why
        assert "At first nobody took it: nobody is believed to be 0.4 good in general: ada 0.30." in why
        assert "With that it is a task in tenancy-law." in why
        assert await loomd("describe", "blueprint", "lease-lawyr") == 2
        assert 'did you mean "lease-lawyer"' in capsys.readouterr().err
        assert await loomd("delete", "blueprint/lease-lawyer") == 2
        cluster = system.reconciler.topology.live[Ref("Cluster", "team", "default")]
        assert isinstance(cluster, Cluster)
        digest = cluster.agents["lease-lawyer"].digest
        for at in range(5):
            bad = CapabilityUpdated("lease-lawyer", digest, "tenancy-law", 0.5, 0.0, 0.0, at + 2, "bad", 0.0)
            system.bus.emit(bad, Scope(system.bus, f"t{at}"))
        last = await do(system, "cooking")
        assert "lease-lawyer" not in cluster.agents
        why = await said(capsys, "why-died", "lease-lawyer")
        assert "Agent/lease-lawyer was pruned in Cluster/team: " in why
        assert f"Task/{last}" in why
        assert "You know the law." in await said(capsys, "export", "blueprint/lease-lawyer")
        for name in (last, f"Task/{last}", f"task/Task/{last}"):  # as `loomd submit` and `-o name` print it
            assert last in await said(capsys, "export", name)


async def test_a_proposed_specialist_comes_to_life(folder: Path, capsys: Out) -> None:
    """The task takes the other way meanwhile, and nobody is asked twice."""
    async with serving(folder, "forge", "propose", "off") as system:
        task = await do(system)
        await do(system)
        why = await said(capsys, "explain", f"task/{task}")
        assert "no specialist: lease-lawyer is designed, and people are asked" in why
        assert "the best bid takes it, because" in why
        capsys.readouterr()
        assert await loomd("get", "proposals", "-o", "json") == 0
        (one,) = json.loads(capsys.readouterr().out)["items"]
        assert one["spec"]["what"] == "lease-lawyer is forged"
        assert await loomd("approve", f"proposal/{one['metadata']['name']}") == 0
        assert "lease-lawyer probation" in await said(capsys, "get", "blueprints")
        cluster = system.reconciler.topology.live[Ref("Cluster", "team", "default")]
        assert isinstance(cluster, Cluster)
        assert "lease-lawyer" in cluster.agents
        assert "lease-lawyer took it" in await said(capsys, "explain", f"task/{await do(system)}")


async def test_a_task_waits_until_its_specialist_is_approved(folder: Path, capsys: Out) -> None:
    """With `fallback: queue` it is not given to anybody else meanwhile."""
    async with serving(folder, "forge", "propose, health: off") as system:
        (folder / "team.yaml").write_text(
            (folder / "team.yaml").read_text().replace("forge: {e", "forge: {fallback: queue, e")
        )
        assert await loomd("apply", "-f", "team.yaml") == 0
        task = await system.engine.submit(new_task(GOAL, system.clock))
        await until(system, lambda event: isinstance(event.data, TaskQueued), task)
        (one,) = await system.store.learning.proposals()
        assert await loomd("approve", f"proposal/{one.id}") == 0
        result = await system.engine.result(task)
        assert result.matched is not None
        assert (result.matched.winner, result.matched.path) == ("lease-lawyer", "forge")
        assert "which came while the task waited" in await said(capsys, "explain", f"task/{task}")


async def test_a_denied_specialist_is_told_to_those_that_wanted_it(
    folder: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits says so and goes on waiting, later tasks say it, also after a restart, and so does the lineage."""
    why = f"was denied by {getpwuid(os.getuid()).pw_name}: we have a lawyer"
    async with serving(folder, "forge", "propose, health: off") as system:
        path = folder / "team.yaml"
        first = await do(system)
        (one,) = await system.store.learning.proposals()
        path.write_text(path.read_text().replace("forge: {e", "queue: {longest: 1m}\n  forge: {fallback: queue, e"))
        assert await loomd("apply", "-f", "team.yaml") == 0
        task = await system.engine.submit(new_task(GOAL, system.clock))
        await until(system, lambda event: isinstance(event.data, TaskQueued), task)
        assert await loomd("deny", f"proposal/{one.id}", "--reason", "we have a lawyer") == 0
        skip(60, monkeypatch)
        result = await system.engine.result(task)
        assert result.matched is not None
        assert result.matched.why.endswith(f"proposal/{one.id} {why}; it waited too long")
        assert f"it waits for somebody else, because lease-lawyer, which fits, is not to join: proposal/{one.id}" in (
            await said(capsys, "explain", f"task/{task}")
        )
        told = f"proposal/{one.id} (lease-lawyer is forged) {why}"
        assert f"{told}. ada had taken the task." in await said(capsys, "explain", f"task/{first}")
        assert f"Decided: {told}" in await said(capsys, "describe", f"task/{first}")
        assert "lease-lawyer denied" in (rows := await said(capsys, "get", "lineage"))
        assert rows.endswith(f"lease-lawyer is forged (proposal/{one.id}): {why.removeprefix('was ')}")
    async with serving(folder, "forge", "propose, health: off") as system:
        last = await do(system)
        assert f"is not to join: proposal/{one.id} {why}" in await said(capsys, "explain", f"task/{last}")
        assert len(await system.store.learning.proposals()) == 1, "nobody is asked again"


async def test_a_task_that_waits_is_seen_and_cancelled(folder: Path, capsys: Out) -> None:
    """Its phase says so everywhere, and explain says until when and why."""
    async with serving(folder, "queue, reserve: 0.99", "off") as system:
        task = await system.engine.submit(new_task(GOAL, system.clock))
        await until(system, lambda event: isinstance(event.data, TaskQueued), task)
        assert await loomd("wait", f"task/{task}", "--for", "phase=Queued", "--timeout", "20s") == 0
        assert "Queued" in await said(capsys, "get", "tasks")
        assert "Queued" in await said(capsys, "top", "--once")
        assert "Queued" in await said(capsys, "describe", f"task/{task}")
        why = await said(capsys, "explain", f"task/{task}")
        assert "queued at " in why
        assert "is below the reserve 0.99" in why
        assert await loomd("cancel", f"task/{task}") == 0
        assert "Cancelled" in await said(capsys, "get", "tasks")
