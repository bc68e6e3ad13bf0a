"""Where agents came from, and what was declared and believed before: by a daemon in this process, over a restart."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loomd.amoeba.blueprint import Blueprint
from loomd.amoeba.decision import Retirement, ScoreMove, Shaping
from loomd.api.server import open_server
from loomd.cluster.learn import Teaching, change_of, learn, tried
from loomd.daemon import Settings, System, open_system
from loomd.engine.intake import new_task
from loomd.events.bus import Scope
from loomd.reconcile.condition import rfc3339
from loomd.store.records import Learned
from tests.cli.test_people import loomd
from tests.engine.test_learning import team

TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: [{text: done, times: null}]}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada, labels: {team: desk}}
spec: {provider: script, description: DESCRIPTION, domains: {letters: 0.5}}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: default}
spec: {agents: [ada], scale: {type: never}, learning: {halfLife: 0s}}
"""
LAW = Blueprint("default", "ada", "You know the law.", "Knows the law.", {"law": 0.7})
LEARNED = Blueprint("default", "ada", "Be brief.")
Out = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with the socket of a daemon to be."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOOMD_SOCKET", str(tmp_path / "s.sock"))
    return tmp_path


@asynccontextmanager
async def serving(folder: Path) -> AsyncGenerator[System, None]:
    """Yield a system that serves its API, and what served last."""
    settings = Settings(folder / "state", folder / "models", folder / "s.sock")
    async with open_system(settings) as system, open_server(system):
        await system.reconciler.restore()
        system.ready = True
        yield system


async def apply(folder: Path, description: str) -> None:
    """Let the team serve."""
    (folder / "team.yaml").write_text(TEAM.replace("DESCRIPTION", description))
    assert await loomd("apply", "-f", "team.yaml") == 0


async def teach(system: System, at: float, *decisions: Shaping | ScoreMove | Retirement) -> str:
    """Carry decisions out as those of a task that ended, at wall-clock seconds; return its id."""
    task = await system.engine.submit(new_task("go", system.clock))
    await system.engine.result(task)
    cluster = team(system)
    of = cluster.teaching(task)
    msgspec.structs.force_setattr(of, "now", at)  # the clock of a daemon is that of the machine
    await learn(system.services, decisions, of, Scope(system.bus, task, namespace="default"), f"{task}#shape")
    return task


async def got(capsys: Out, *what: str) -> list[dict[str, Any]]:
    """Return what the daemon tells."""
    capsys.readouterr()
    assert await loomd("get", *what, "-o", "json") == 0
    found = json.loads(capsys.readouterr().out)
    items: list[dict[str, Any]] = found.get("items", [found])
    return items


async def test_lineage_is_told(folder: Path, capsys: Out) -> None:
    """What happened to whom, when, after which task, and why; also after a restart, and until a moment."""
    async with serving(folder) as system:
        await apply(folder, "writes")
        now = system.clock.now()
        ada = team(system).agents["ada"].digest
        first = await teach(system, now - 60, Shaping("ada-law", "forged", LAW, "nobody knows the law"))
        await teach(system, now - 40, Shaping("ada", "promoted", LEARNED, "it does better", spec=ada))
        back = Shaping("ada", "reverted", Blueprint("default", "ada"), "it does worse", 2, 1)
        await teach(system, now - 30, back, Retirement("ada", ada, now + 60, "it does badly"))
        of = Teaching(team(system).ref, "", now - 25, 60)
        again = [Shaping("ada", "promoted", LEARNED, "it helps", 3, 2, ada)]
        again += [Shaping("ada", "reverted", Blueprint("default", "ada"), f"reason {one}", one, 0) for one in (4, 5, 6)]
        for number, one in enumerate(again):  # of no task, as people and evolution decide
            change = change_of([one], msgspec.structs.replace(of, now=now - 20 + number))
            await system.store.learning.change(change)
        await system.store.learning.change(Learned(lineage=[tried("ada", ada, "mean: no better", of)]))
    async with serving(folder):
        items = await got(capsys, "lineage")
        told = [(one["spec"]["agent"], one["spec"]["how"], one["status"]["reason"]) for one in items]
        assert told == [
            ("ada-law", "forged", "nobody knows the law"),
            ("ada", "promoted", "it does better"),
            ("ada", "reverted", "it does worse"),
            ("ada", "retired", "it does badly"),
            ("ada", "tried", "mean: no better"),
            ("ada", "promoted", "it helps"),
            *(("ada", "reverted", f"reason {number}") for number in (4, 5, 6)),
        ]
        assert {one["spec"]["cluster"] for one in items} == {"default"}
        assert items[0]["spec"]["task"] == first
        assert items[0]["status"]["at"] == rfc3339(now - 60)
        assert [one["spec"].get("version") for one in items] == [1, 1, 2, None, None, 3, 4, 5, 6]
        assert [one["spec"]["how"] for one in await got(capsys, "lineage", "agent/ada-law")] == ["forged"]
        assert [one["spec"]["how"] for one in await got(capsys, "lineage", "--at", "35s ago")] == ["forged", "promoted"]
        assert await loomd("get", "lineage", "ada", "-o", "wide") == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == ["AGENT", "HOW", "FROM", "VERSION", "CLUSTER", "TASK", "AGE", "WHY", "BEHAVIOUR"]
        assert "as declared" in lines[1]
        assert "version 1" in lines[2]
        assert lines[3].split()[-4:] == ["it", "does", "badly", ada[:12]]
        assert await loomd("get", "lineage", "-o", "yaml") == 0
        assert "reason: nobody knows the law" in capsys.readouterr().out
        assert await loomd("get", "lineage", "-o", "name") == 0
        assert capsys.readouterr().out.startswith("Descent/ada-law.forged.")


async def test_denied_instructions_are_told(folder: Path, capsys: Out) -> None:
    """A promotion that a person denies stands in the lineage, and with the agent."""
    async with serving(folder) as system:
        await apply(folder, "writes")
        ada = team(system).agents["ada"].digest
        one = Shaping("ada", "promoted", LEARNED, "it does better", spec=ada, done="proposed")
        await teach(system, system.clock.now(), one)
        (record,) = await system.store.learning.proposals()
        assert await loomd("deny", f"proposal/{record.id}", "--reason", "too blunt") == 0
        (item,) = await got(capsys, "lineage")
        assert (item["spec"]["how"], item["spec"]["behaviour"], item["spec"].get("version")) == ("denied", ada, None)
        begins, ends = f"ada is given better instructions (proposal/{record.id}): denied by ", ": too blunt"
        assert item["status"]["reason"].startswith(begins)
        assert item["status"]["reason"].endswith(ends)
        assert await loomd("why-died", "ada") == 0
        assert begins in capsys.readouterr().out


async def test_the_past_is_told(folder: Path, capsys: Out) -> None:
    """Objects by revision and by time, scores as they were; what is not kept, or not over, is refused."""
    async with serving(folder) as system:
        began = rfc3339(system.clock.now() - 5)
        await apply(folder, "writes")
        assert await loomd("delete", "agent/ada", "cluster/default") == 0
        await apply(folder, "reads")
        (ada,) = await got(capsys, "agent/ada", "--at", "1")
        assert ada["spec"]["description"] == "writes"
        assert ada["status"]["past"] == 1
        assert ada["metadata"]["labels"] == {"team": "desk"}
        assert (await got(capsys, "agents", "--at", "2")) == []
        assert await loomd("get", "agent/ada", "--at", "2") == 2
        assert "no Agent 'ada' in namespace default at revision 2" in capsys.readouterr().err
        (ada,) = await got(capsys, "agent/ada", "--at", "0s ago")
        assert ada["spec"]["description"] == "reads"
        assert len(await got(capsys, "all", "--at", "1")) == 3
        assert await got(capsys, "agents", "-l", "team=law", "--at", "1") == []
        assert await loomd("get", "agents", "--at", "1") == 0
        assert capsys.readouterr().out.split() == ["NAME", "REVISION", "DESCRIPTION", "ada", "1", "writes"]
        for at, said in {
            "9": "no revision 9: kept are 1 to 3",
            "2100-01-01T00:00:00Z": "is not over yet",
            began: "is not kept: the oldest that is kept is revision 1",
            "2h ago": "is not kept: the oldest that is kept is revision 1",
            "yesterday": "expected a revision (7), a time",
            "2026-01-01T00:00:00": "expected a revision (7), a time",
        }.items():
            assert await loomd("get", "agents", "--at", at) > 0, at
            assert said in capsys.readouterr().err
        assert await loomd("get", "tasks", "--at", "1") == 2
        assert await loomd("get", "agents", "--at", "1", "-w") == 2
        await scores_of_then(system, capsys)


async def scores_of_then(system: System, capsys: Out) -> None:
    """Scores have a moment, too: revisions that came later change nothing."""
    ada, (revision, *_) = team(system).agents["ada"].digest, await system.reconciler.history()
    for at, (before, after) in enumerate([(0.5, 0.6), (0.6, 0.7)]):
        move = ScoreMove("ada", ada, "letters", before, after, 0.01, at + 1, "a reward", 0.9)
        await teach(system, revision.at + (1 + at) / 1000, move)
    records = await system.store.learning.movements("ada")
    assert len([one for one in records if one.domain == "letters"]) == 2

    async def score(at: str) -> float:
        items = await got(capsys, "capabilities", "--at", at)
        found = {one["metadata"]["name"]: one["status"] for one in items}
        return float(found["ada.letters"]["score"])

    assert await score(str(revision.number)) == 0.5
    assert await score("0s") == 0.7
    (now,) = [one for one in await got(capsys, "capabilities") if one["metadata"]["name"] == "ada.letters"]
    assert now["status"]["score"] == 0.7
    assert await loomd("get", "capabilities", "--at", "40d ago") == 2
    assert "how scores moved is kept for 30d" in capsys.readouterr().err


async def test_scores_of_then_are_those_that_the_cluster_went_by(folder: Path, capsys: Out) -> None:
    """An agent that comes back to how it behaved first begins anew, though it had learned in another way meanwhile."""

    async def scores(*at: str) -> dict[str, float]:
        items = await got(capsys, "capabilities", *at)
        return {one["metadata"]["name"]: float(one["status"]["score"]) for one in items}

    async with serving(folder) as system:
        await apply(folder, "Answers., prompt: Be kind.")
        await apply(folder, "Answers., prompt: Be brief.")
        for _ in range(5):
            await system.engine.result(await system.engine.submit(new_task("letters", system.clock)))
        assert (await scores())["ada.letters"] > 0.6
        assert await scores("--at", "0s") == await scores()
        await apply(folder, "Answers., prompt: Be kind.")
        assert await scores("--at", "0s") == await scores() == {"ada.letters": 0.5}
