"""What people see of what is learned, and decide about it: on a real daemon in this process, over a restart."""

import asyncio
import json
import os
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from pwd import getpwuid

import msgspec
import pytest

from loomd.amoeba.blueprint import Blueprint
from loomd.amoeba.decision import ScoreMove, Shaping
from loomd.amoeba.trial import Pair, Trial
from loomd.api.server import open_server
from loomd.cluster.cluster import Cluster
from loomd.cluster.learn import learn
from loomd.daemon import Settings, System, open_system
from loomd.engine.intake import new_task
from loomd.events.bus import Scope
from loomd.events.cluster import CapabilityUpdated, ProposalDecided, ProposalMade
from loomd.events.event import Event
from loomd.manifest.object import Ref
from tests.cli.test_people import loomd

TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: fine}
spec: {type: scripted, replies: [{text: done, times: null}]}
---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: broken}
spec: {type: scripted, replies: [{error: permanent, text: no such model, times: null}]}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: broken, description: answers everything}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: bob}
spec: {provider: fine, description: answers everything, domains: {maths: 0.4}}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: team}
spec:
  agents: [ada, bob]
  learning: LEARNING
"""
Out = pytest.CaptureFixture[str]
HERE = Ref("Cluster", "team", "default")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with the socket of a daemon to be."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOOMD_SOCKET", str(tmp_path / "s.sock"))
    return tmp_path


@asynccontextmanager
async def serving(folder: Path, learning: str = "{}") -> AsyncGenerator[System, None]:
    """Yield a system that serves its API and the team."""
    settings = Settings(folder / "state", folder / "models", folder / "s.sock")
    (folder / "team.yaml").write_text(TEAM.replace("LEARNING", learning))
    async with open_system(settings) as system, open_server(system):
        system.ready = True
        assert await loomd("apply", "-f", "team.yaml") == 0
        yield system


async def do(system: System, agent: str, count: int = 1) -> str:
    """Let an agent do tasks; return the id of the last."""
    task = ""
    for _ in range(count):
        task = await system.engine.submit(new_task("go", system.clock, agent=agent))
        await system.engine.result(task)
    return task


def heard(system: System) -> list[Event]:
    """Return what is told of proposals and scores from now on."""
    events: list[Event] = []
    system.bus.subscribe(events.append, ProposalMade, ProposalDecided, CapabilityUpdated)
    return events


async def proposals(capsys: Out) -> list[dict[str, dict[str, object]]]:
    """Return what waits for people."""
    capsys.readouterr()
    assert await loomd("get", "proposals", "-o", "json") == 0
    items: list[dict[str, dict[str, object]]] = json.loads(capsys.readouterr().out)["items"]
    return items


async def test_capabilities_are_shown(folder: Path, capsys: Out) -> None:
    """What is declared, what was learned with its uncertainty, and how each agent does."""
    async with serving(folder) as system:
        await do(system, "ada", 3)
        await do(system, "bob", 3)
        capsys.readouterr()
        assert await loomd("get", "capabilities") == 0
        table = capsys.readouterr().out
        assert table.splitlines()[0].split()[:5] == ["AGENT", "DOMAIN", "SCORE", "+-", "TASKS"]
        assert await loomd("get", "capabilities", "agent/bob", "--at", "0s") == 0
        assert [one.split()[:2] for one in capsys.readouterr().out.splitlines()[1:]] == [
            ["bob", "general"],
            ["bob", "maths"],
        ]
        assert await loomd("get", "capabilities", "bob.maths", "-o", "name") == 0
        assert capsys.readouterr().out.split() == ["Capability/bob.maths"]
        assert await loomd("get", "capabilities", "bo") == 2
        assert "no capabilities of 'bo' in namespace default: did you mean \"bob\"?" in capsys.readouterr().err
        assert await loomd("get", "capabilities", "-o", "json") == 0
        found = {one["metadata"]["name"]: one["status"] for one in json.loads(capsys.readouterr().out)["items"]}
        assert set(found) == {"ada.ada", "ada.general", "bob.general", "bob.maths"}
        assert found["bob.maths"]["score"] == 0.4
        assert "learned" not in found["bob.maths"]
        assert found["bob.general"]["count"] == 3
        assert found["bob.general"]["uncertainty"] < found["bob.maths"]["uncertainty"]
        assert (found["ada.general"]["health"], found["bob.general"]["health"]) == ("dying", "good")
        assert await loomd("get", "agents") == 0
        rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
        assert "dying" in rows["ada"]
        assert "good" in rows["bob"]
        assert await loomd("describe", "agent/ada") == 0
        page = capsys.readouterr().out
        assert "Degraded" in page
        assert "Last movements:" in page
        assert "Last rewards:" in page


async def test_corrections_are_shown(folder: Path, capsys: Out) -> None:
    """By what complexity is corrected in a domain, how many tasks say so, and whether they are enough."""
    async with serving(folder, "{calibrate: {first: 3}}") as system:
        for count, applied in ((2, "no"), (1, "yes")):
            await do(system, "bob", count)
            capsys.readouterr()
            assert await loomd("describe", "cluster/team") == 0
            _, _, rest = capsys.readouterr().out.partition("Corrections of complexity:\n")
            head, row, *_ = rest.splitlines()
            assert head.split() == ["DOMAIN", "CORRECTION", "TASKS", "APPLIED"]
            domain, correction, tasks, goes = row.split()
            assert (domain, tasks, goes) == ("general", "3" if applied == "yes" else "2", applied)
            assert -0.3 < float(correction) < 0  # a word is taken for more than it is


@pytest.mark.parametrize(
    ("learning", "why"),
    [
        ("{}", "a person declared it"),
        ("{retire: {declared: true}}", "3 tasks say too little"),
        ("{retire: {declared: true, samples: 3, minAgents: 2}}", "the cluster keeps 2 agents"),
        ("{modes: {retire: 'off'}}", "`learning.modes.retire` is off"),
    ],
)
async def test_who_does_badly_and_stays_is_told_why(folder: Path, capsys: Out, learning: str, why: str) -> None:
    """What keeps it from being retired stands beside how it does."""
    async with serving(folder, learning) as system:
        await do(system, "ada", 3)
        capsys.readouterr()
        assert await loomd("why-died", "ada") == 0
        assert f"It is not retired: {why}." in capsys.readouterr().out


async def test_why_died(folder: Path, capsys: Out) -> None:
    """In a sentence, with the rewards that led to it; what is no agent is refused."""
    async with serving(folder, "{retire: {declared: true, samples: 3, every: 0s}}") as system:
        await do(system, "ada", 3)
        await do(system, "bob")
        capsys.readouterr()
        assert await loomd("why-died", "ada") == 0
        text = capsys.readouterr().out
        assert "Agent/ada gets no new tasks in Cluster/team: mean reward 0.00 over the last 3 tasks, below 0.3." in text
        assert "gets tasks again from" in text
        assert "retired from team" in text
        assert await loomd("why-died", "agent/bob", "-o", "json") == 0
        assert json.loads(capsys.readouterr().out)["clusters"][0]["health"] == "unknown"
        assert await loomd("why-died", "eve") == 2
        assert await loomd("why-died", "cluster/team") == 2


async def test_who_was_retired_gets_tasks_as_soon_as_that_is_over(folder: Path, capsys: Out) -> None:
    """Also when no other task ends in the meantime that would tell of it, and where health is looked at no more."""
    rules = "{retire: {declared: true, samples: 3, every: 0s, coolDown: 100ms}MORE}"
    async with serving(folder, rules.replace("MORE", "")) as system:
        await do(system, "ada", 3)
        await do(system, "bob")
        await asyncio.sleep(0.1)
        capsys.readouterr()
        assert await loomd("why-died", "ada") == 0
        assert "Agent/ada gets tasks again in Cluster/team" in capsys.readouterr().out
    async with serving(folder, rules.replace("MORE", ", modes: {health: off}")) as system:
        await do(system, "ada")
        hows = [one.how for one in await system.store.learning.lineage("default", "ada")]
        assert hows == ["retired from team"]
        assert await loomd("get", "tasks", "-o", "jsonpath={.items[0].status.agent}") == 0
        assert "ada" in capsys.readouterr().out
    async with serving(folder, rules.replace("MORE", "")) as system:
        await do(system, "ada")
        hows = [one.how for one in await system.store.learning.lineage("default", "ada")]
        assert hows == ["retired from team", "revived in team"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{provider: broken,", "{provider: broken, locked: [health],"),
        ("agents: [ada, bob]", "agents: [ada, bob]\n  locked: [agents.ada]"),
    ],
)
async def test_a_locked_health_is_told_and_keeps_its_agent(folder: Path, capsys: Out, old: str, new: str) -> None:
    """It is dying and bids all the same, and why-died names the lock; a lock that there is not is refused."""
    async with serving(folder) as system:
        text = (folder / "team.yaml").read_text()
        (folder / "team.yaml").write_text(text.replace(old, new))
        assert await loomd("apply", "-f", "team.yaml") == 0
        await do(system, "ada", 4)
        cluster = system.reconciler.topology.live[HERE]
        assert isinstance(cluster, Cluster)
        assert cluster.conditions.vitals(cluster.agents["ada"]).health == "dying"
        assert {one.agent: one.health for one in cluster.standings(["general"])}["ada"] == "warning"
        capsys.readouterr()
        assert await loomd("why-died", "ada") == 0
        assert "as `locked` of it or of its cluster says" in capsys.readouterr().out
        (folder / "team.yaml").write_text(text.replace("{provider: broken,", "{provider: broken, locked: [tools],"))
        assert await loomd("apply", "-f", "team.yaml") == 1
        error = capsys.readouterr().err
        assert "domains" in error, error


async def test_going_back_brings_scores_back_that_no_task_moved(folder: Path) -> None:
    """A way to behave that did no task of its own begins again with what it had taken over."""
    async with serving(folder) as system:

        def believed() -> tuple[float, int]:
            cluster = system.reconciler.topology.live[HERE]
            assert isinstance(cluster, Cluster)
            score = cluster.standing("bob", ["general"]).scores["general"]
            return round(score.mean, 6), score.count

        async def edit(prompt: str, provider: str = "fine") -> None:
            new = f"{{provider: {provider}, prompt: {prompt}, description: answers everything, domains"
            old = "{provider: fine, description: answers everything, domains"
            (folder / "team.yaml").write_text(text.replace(old, new))
            assert await loomd("apply", "-f", "team.yaml") == 0

        text = (folder / "team.yaml").read_text()
        await do(system, "bob", 8)
        await edit("One.")
        before = believed()
        assert before[1] == 2
        await edit("Two.", "broken")
        await do(system, "bob")
        assert believed()[0] < before[0]
        await edit("One.")
        assert believed() == before


async def test_people_decide_on_scores(folder: Path, capsys: Out) -> None:
    """Nothing moves before somebody agrees; then it moves once, on what is believed then, and who decided is kept."""
    async with serving(folder, "{mode: propose}") as system:
        events = heard(system)
        await do(system, "bob", 2)
        assert await system.store.capabilities() == []
        found = await proposals(capsys)
        assert sorted(str(one["spec"]["mechanism"]) for one in found) == ["calibrate", "score"], "one for both tasks"
        (first,) = (str(one["metadata"]["name"]) for one in found if one["spec"]["mechanism"] == "score")
        assert await loomd("approve", f"proposal/{first}", "--reason", "fair") == 0
        assert "approved: bob in general" in capsys.readouterr().out
        (score,) = await system.store.capabilities()
        assert score.count == 2
        assert await loomd("approve", f"proposal/{first}") == 0, "to say it again changes nothing"
        assert [one.count for one in await system.store.capabilities()] == [2]
        assert await loomd("deny", f"proposal/{first}") == 1, "the first decision counts"
        assert "decided already" in capsys.readouterr().err
        await do(system, "bob")
        second = next(
            str(one["metadata"]["name"])
            for one in await proposals(capsys)
            if one["spec"]["mechanism"] == "score" and one["status"]["phase"] == "Pending"
        )
        assert await loomd("deny", f"proposal/{second}") == 0
        assert [one.count for one in await system.store.capabilities()] == [2]
        decided = [one.data for one in events if isinstance(one.data, ProposalDecided)]
        assert [(one.verdict, one.reason) for one in decided] == [("approved", "fair"), ("denied", "")]
        assert all(one.by for one in decided)
        assert len({one.data.proposal for one in events if isinstance(one.data, ProposalMade)}) == 3
        assert await loomd("describe", f"proposal/{first}") == 0
        page = capsys.readouterr().out
        assert "Approved" in page
        assert "fair" in page
        assert await loomd("approve", "proposal/p-none") == 2
        assert await loomd("approve", "p-none") == 2
        assert "that a cluster proposes: proposal/p-none" in capsys.readouterr().err, "as it stands in the table"
    async with serving(folder, "{mode: propose}") as system:
        assert [one.count for one in await system.store.capabilities()] == [2], "a restart carries nothing out again"
        third = next(one for one in await proposals(capsys) if one["status"]["phase"] == "Pending")
        assert await loomd("approve", f"proposal/{third['metadata']['name']}") == 0, "what waits survives a restart"
        assert [one.count for one in await system.store.averages() if one.subject.startswith("complexity")] == [3]


async def test_a_person_decides_once_on_all_that_came(folder: Path, capsys: Out) -> None:
    """The rule is applied to what was seen, on what is believed at that moment, also over a restart.

    That an agent is to be retired is proposed by itself, though no score moved.
    """
    rules = "{mode: propose, retire: {declared: true, samples: 3, every: 0s}}"

    async def scores(system: System) -> list[tuple[float, int]]:
        return [(one.score, one.count) for one in await system.store.capabilities()]

    async with serving(folder, rules) as system:
        await do(system, "bob", 2)
    async with serving(folder, rules) as system:
        await do(system, "bob", 2)
        (one,) = [one for one in await proposals(capsys) if one["spec"]["mechanism"] == "score"]
        cluster = system.reconciler.topology.live[HERE]
        assert isinstance(cluster, Cluster)
        lessons = await system.store.learning.lessons("default", "bob", cluster.agents["bob"].digest)
        mean = 0.3
        for step, lesson in zip((1 / 2, 1 / 3, 1 / 4, 1 / 5), reversed(lessons), strict=True):
            mean += step * (lesson.reward - mean)
        assert f"bob in general 0.300 -> {mean:.3f}" == one["spec"]["what"]
        assert "with 3 before that nobody decided about" in str(one["spec"]["why"])
        assert await loomd("approve", f"proposal/{one['metadata']['name']}") == 0
        ((score, count),) = await scores(system)
        assert score == pytest.approx(mean)
        assert count == 4
        await do(system, "ada", 4)
        assert "ada is retired" in [one["spec"]["what"] for one in await proposals(capsys)]


async def test_who_was_asked_about_is_retired_once_the_cluster_may(folder: Path, capsys: Out) -> None:
    """A proposal that nobody decided holds nothing back where nobody is asked any more; one that was denied does."""
    rules = "{modes: {retire: propose}, retire: {declared: true, samples: 3, every: 0s}}"
    for denied in (False, True):
        async with serving(folder, rules) as system:
            text = (folder / "team.yaml").read_text()
            edited = text.replace("{provider: broken,", f"{{provider: broken, prompt: Try {denied}.,")
            (folder / "team.yaml").write_text(edited)
            assert await loomd("apply", "-f", "team.yaml") == 0
            await do(system, "ada", 3)
            await do(system, "bob")
            one = (await proposals(capsys))[0]
            assert one["status"]["phase"] == "Pending"
            assert not denied or await loomd("deny", f"proposal/{one['metadata']['name']}") == 0
            (folder / "team.yaml").write_text(edited.replace("modes: {retire: propose}, ", ""))
            assert await loomd("apply", "-f", "team.yaml") == 0
            await do(system, "bob")
            cluster = system.reconciler.topology.live[HERE]
            assert isinstance(cluster, Cluster)
            assert cluster.conditions.record(cluster.agents["ada"]).active is not denied


async def test_people_are_asked_again_about_who_flaps(folder: Path, capsys: Out) -> None:
    """What they agreed to is done; when the agent does badly on probation, too, there is another proposal."""
    rules = "{modes: {retire: propose}, retire: {declared: true, samples: 3, every: 0s, coolDown: 100ms}}"
    async with serving(folder, rules) as system:
        for count in (1, 2):
            await do(system, "ada", 3)
            await do(system, "bob")
            waits = [one for one in await proposals(capsys) if one["status"]["phase"] == "Pending"]
            assert [one["spec"]["what"] for one in waits] == ["ada is retired"], f"the {count}. time"
            assert await loomd("approve", f"proposal/{waits[0]['metadata']['name']}") == 0
            await asyncio.sleep(0.2 * count)
            await do(system, "bob")
        hows = [one.how for one in await system.store.learning.lineage("default", "ada")]
        assert hows == ["retired from team", "revived in team"] * 2


async def test_a_retirement_is_not_approved_of_who_does_better_by_now(folder: Path, capsys: Out) -> None:
    """What led to the proposal does not hold any more, however long it has been waiting."""
    rules = "{modes: {retire: propose}, retire: {declared: true, samples: 3, every: 0s}}"
    async with serving(folder, rules) as system:
        await do(system, "ada", 3)
        await do(system, "bob")
        (one,) = await proposals(capsys)
        cluster = system.reconciler.topology.live[HERE]
        assert isinstance(cluster, Cluster)
        for number in range(3):
            task = f"t{number}"
            move = ScoreMove("ada", cluster.agents["ada"].digest, "general", 0.1, 0.9, 0.1, 9, "it learned", 1.0)
            await learn(system.services, [move], cluster.teaching(task), Scope(system.bus, task))
        assert await loomd("approve", f"proposal/{one['metadata']['name']}") == 1
        assert "it does better by now: mean reward" in capsys.readouterr().err
        assert not cluster.conditions.until(cluster.agents["ada"])


async def test_people_decide_on_a_retirement(folder: Path, capsys: Out) -> None:
    """Asked once for as long as it waits; after an edit there is nothing to retire any more."""
    rules = "{modes: {retire: propose}, retire: {declared: true, samples: 3, every: 0s}}"
    async with serving(folder, rules) as system:
        await do(system, "ada", 3)
        await do(system, "bob", 3)
        found = await proposals(capsys)
        assert [one["spec"]["what"] for one in found] == ["ada is retired"]
        name = str(found[0]["metadata"]["name"])
        text = (folder / "team.yaml").read_text()
        (folder / "team.yaml").write_text(text.replace("{provider: broken,", "{provider: broken, prompt: Try.,"))
        assert await loomd("apply", "-f", "team.yaml") == 0
        assert await loomd("approve", f"proposal/{name}") == 1
        assert "is another one now" in capsys.readouterr().err
        (folder / "team.yaml").write_text(text)
        assert await loomd("apply", "-f", "team.yaml") == 0
        assert await loomd("approve", f"proposal/{name}") == 0
        for verb in (("get", "agents"), ("get", "capabilities"), ("top", "--once")):
            assert await loomd(*verb) == 0
            rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ada ")]
            assert rows
            assert all("retired" in row for row in rows)
        assert len(await proposals(capsys)) == 1, "nobody is asked again"
    async with serving(folder, rules):
        assert await loomd("why-died", "ada") == 0
        assert "gets no new tasks" in capsys.readouterr().out


async def test_a_denied_retirement_is_told(folder: Path, capsys: Out) -> None:
    """In the lineage of the agent, by why-died and by the task that led to it; the agent goes on."""
    rules = "{modes: {retire: propose}, retire: {declared: true, samples: 3, every: 0s}}"
    async with serving(folder, rules) as system:
        await do(system, "ada", 3)
        await do(system, "bob", 3)
        (one,) = await proposals(capsys)
        name, by = str(one["metadata"]["name"]), getpwuid(os.getuid()).pw_name
        assert await loomd("deny", f"proposal/{name}", "--reason", "too early") == 0
        told = f"ada is retired (proposal/{name}): denied by {by}: too early"
        for words in (["get", "lineage"], ["why-died", "ada"], ["describe", "agent/ada"]):
            capsys.readouterr()
            assert await loomd(*words) == 0
            assert told in " ".join(capsys.readouterr().out.split()), words
        assert await loomd("explain", f"task/{one['spec']['task']}") == 0
        text = " ".join(capsys.readouterr().out.split())
        assert f"proposal/{name} (ada is retired) was denied by {by}: too early. Nothing was changed." in text
        live = system.reconciler.topology.live[Ref("Cluster", "team", "default")]
        assert isinstance(live, Cluster)
        assert [one.name for one in live.roster.open] == ["ada", "bob"]


async def test_an_expired_proposal_cannot_be_decided(folder: Path, capsys: Out) -> None:
    """It counts as denied, and says so."""
    async with serving(folder, "{mode: propose, proposals: 1ms}") as system:
        await do(system, "bob")
        found = await proposals(capsys)
        assert {one["status"]["phase"] for one in found} == {"Expired"}
        assert await loomd("approve", f"proposal/{found[0]['metadata']['name']}") == 1
        assert "has expired" in capsys.readouterr().err
        assert await system.store.capabilities() == []


async def test_a_decision_is_carried_out_with_what_it_changes(folder: Path, capsys: Out) -> None:
    """Decision and change are one transaction: of a store that holds one without the other nothing is made."""
    async with serving(folder, "{mode: propose}") as system:
        await do(system, "bob")
        found = await proposals(capsys)
        name = next(str(one["metadata"]["name"]) for one in found if one["spec"]["mechanism"] == "score")
        record = await system.store.learning.proposal(name)
        assert record is not None
        await system.store.learning.decide(name, msgspec.json.encode({"verdict": "approved", "by": "eve"}))
        assert await loomd("approve", f"proposal/{name}") == 1, "somebody else decided meanwhile"
        assert await system.store.capabilities() == []


async def test_an_explanation_tells_observed_from_done(folder: Path, capsys: Out) -> None:
    """`loomd explain` says what was only observed, and what was learned of complexity."""
    async with serving(folder, "{modes: {score: observe}}") as system:
        task = await do(system, "bob")
        assert await loomd("explain", f"task/{task}") == 0
        text = " ".join(capsys.readouterr().out.split())
        assert "(only observed: spec.learning.mode)" in text
        assert re.search(r"complexity in general is estimated 0\.\d+ too (low|high), before 0\.\d+ too", text)


@pytest.mark.parametrize("lock", ["", "locked: [agents.ada]"])
async def test_an_agent_is_shown_as_it_behaves_now(folder: Path, capsys: Out, lock: str) -> None:
    """With the health, the condition and the scores that it has with what its cluster gave it, or locks of it."""
    async with serving(folder, f"{{}}\n  {lock}") as system:
        await do(system, "ada")
        cluster = system.reconciler.topology.live[HERE]
        assert isinstance(cluster, Cluster)
        shape = Blueprint("team", "ada", "Answer in one word.")
        learned = Shaping("ada", "promoted", shape, "x", spec=cluster.agents["ada"].digest)
        await learn(system.services, [learned], cluster.teaching("t9"), Scope(system.bus, ""), "ada#1")
        await do(system, "ada", 3)
        capsys.readouterr()
        assert await loomd("get", "agent/ada", "-o", "json") == 0
        status = json.loads(capsys.readouterr().out)["status"]
        assert status["health"] == "dying"
        assert [one["count"] for one in status["capabilities"]] == [3]
        assert await loomd("wait", "agent/ada", "--for", "condition=Degraded", "--timeout", "1s") == 0
        assert await loomd("revert", "agent/ada") == 0
        capsys.readouterr()
        assert await loomd("get", "agent/ada", "-o", "json") == 0
        status = json.loads(capsys.readouterr().out)["status"]
        assert status["health"] == "unknown"
        assert [one["count"] for one in status["capabilities"]] == [1]
        assert {one["type"]: one["status"] for one in status["conditions"]}.get("Degraded", "False") == "False"


async def test_a_plan_knows_what_was_learned_with_instructions(folder: Path, capsys: Out) -> None:
    """The scores that it tells of are those that go on, or that come back, with what the cluster gave the agent."""
    async with serving(folder) as system:
        await do(system, "bob", 2)
        cluster = system.reconciler.topology.live[HERE]
        assert isinstance(cluster, Cluster)
        shape = Blueprint("team", "bob", "Answer in one word.")
        learned = Shaping("bob", "promoted", shape, "x", spec=cluster.agents["bob"].digest)
        await learn(system.services, [learned], cluster.teaching("t9"), Scope(system.bus, ""), "bob#1")
        await do(system, "bob", 4)
        count = cluster.standing("bob", ["general"]).scores["general"].count
        assert count == 4
        text = (folder / "team.yaml").read_text()
        (folder / "team.yaml").write_text(
            text.replace("{provider: fine,", "{provider: fine, prompt: Answer in one word.,")
        )
        capsys.readouterr()
        assert await loomd("plan", "-f", "team.yaml") == 1
        assert re.search(
            rf"goes on from what it had learned, .*: general 0\.\d\d \({count} tasks\)", capsys.readouterr().out
        )
        assert await loomd("apply", "-f", "team.yaml") == 0
        (folder / "team.yaml").write_text(text)
        capsys.readouterr()
        assert await loomd("plan", "-f", "team.yaml") == 1
        assert f"({count} tasks)" in capsys.readouterr().out, "and not those of what the manifest alone says"


async def test_versions_are_shown_and_taken_back(folder: Path, capsys: Out) -> None:
    """What was learned and tried stands with the agent; `loomd revert` goes back, and says what cannot be."""
    async with serving(folder) as system:
        cluster = system.reconciler.topology.live[HERE]
        assert isinstance(cluster, Cluster)
        trial = Trial((Pair("t1", 0.2, 0.8, 0.5, 0.5),), ("t0",), 100)
        learned = Shaping(
            "bob",
            "promoted",
            Blueprint("team", "bob", "Answer in one word."),
            trial.said(),
            spec=cluster.agents["bob"].digest,
            trial=trial,
        )
        await learn(system.services, [learned], cluster.teaching("t9"), Scope(system.bus, ""), "bob#1")
        capsys.readouterr()
        assert await loomd("describe", "agent/bob") == 0
        page = capsys.readouterr().out
        assert re.search(r"1 \(present\) +\S+ +promoted +as declared", page), page
        assert "Answer in one word." in page
        assert "mean reward 0.200 before, 0.800 after, over 1 held-out task" in page
        assert await loomd("why-died", "bob", "-o", "json") == 0
        assert json.loads(capsys.readouterr().out)["versions"][0]["current"] is True
        assert await loomd("revert", "bob", "--reason", "too terse") == 0
        assert "bob is as its manifest says" in capsys.readouterr().out
        assert [one.instructions for one in cluster.agents.values()] == ["", ""]
        assert await loomd("revert", "agent/bob", "--to", "1") == 0
        assert "has the instructions of version 1" in capsys.readouterr().out
        assert [one.instructions for one in cluster.agents.values()] == ["", "Answer in one word."]
        for words, wrong in (
            (("bob", "--to", "1"), "has these instructions already"),
            (("bob", "--to", "9"), "no version 9"),
            (("ada",), "it learned no instructions"),
            (("eve",), "no member of any cluster"),
            (("bob", "--cluster", "other"), "no member of Cluster/other"),
            (("cluster/team",), "expected an agent"),
        ):
            assert await loomd("revert", *words) != 0
            assert wrong in capsys.readouterr().err
