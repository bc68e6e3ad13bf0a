"""Skills as members of a cluster: they bid with their descriptions, and their host does what they win."""

import json
from pathlib import Path
from typing import Any

import pytest

from loomd.api.server import open_server
from loomd.cluster.cluster import Cluster
from loomd.daemon import Settings, System, open_system
from loomd.engine.intake import new_task
from loomd.errors import Permanent
from loomd.events.cluster import AuctionBid
from loomd.events.event import Event, ToolStarted
from loomd.events.skill import SkillActivated
from loomd.manifest.delivery import Delivery
from loomd.manifest.load import load
from loomd.manifest.object import Ref
from loomd.manifest.problem import Problems
from loomd.manifest.source import read_folder
from tests.cli.test_people import loomd
from tests.engine.world import World, outcome

DESK = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: REPLIES}
---
apiVersion: loomd.dev/v1
kind: Skill
metadata: {name: shared, labels: {team: desk}}
spec: {directory: skills}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: nap}
spec: {type: wait, effects: read}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: clerk}
spec:
  provider: script
  description: Does what comes up.
  tools: [nap]
  permissions: {deny: [nap]}
  budgets: {daily: {calls: 90}}
  AGENT
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: desk}
spec:
  agents: [clerk]
  skillNodes: NODES
  match: {type: auction, exploration: 0}
  scale: {type: never}
"""
MINUTES = "Write minutes of this meeting: Ann buys the shelf."
REPLIES: list[dict[str, Any]] = [
    {"system": "You are clerk*## Skill: minutes*Decisions first.", "text": "- Ann: shelf", "times": None},
    {"system": "You are clerk*## Skill: tides*High water", "text": "At nine.", "times": None},
    {"text": "Something else.", "times": None},
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with the manifests of a desk and two skills."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOOMD_SOCKET", str(tmp_path / "s.sock"))
    skill(tmp_path, "minutes", "Writes minutes of a meeting.", "Decisions first.")
    skill(tmp_path, "tides", "Tells the tides at the harbour.", "High water twice a day.")
    write(tmp_path)
    return tmp_path


def skill(folder: Path, name: str, description: str, body: str) -> None:
    """Write a published skill."""
    place = folder / "skills" / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "SKILL.md").write_text(f"---\nname: {name}\ndescription: {description}\n---\n{body}\n")


def write(folder: Path, nodes: str = "{host: clerk, skills: [shared]}", agent: str = "", replies: Any = None) -> None:
    """Write the manifests."""
    text = DESK.replace("NODES", nodes).replace("AGENT", agent or "maxTokens: 100")
    (folder / "desk.yaml").write_text(text.replace("REPLIES", json.dumps(replies or REPLIES)))


async def apply(system: System, folder: Path) -> Cluster:
    """Let the manifests serve as they are now; return the cluster."""
    files = [file for file in read_folder(folder) if file.path == "desk.yaml"]
    await system.reconciler.apply(Delivery("test", tuple(files)))
    live = system.reconciler.topology.live[Ref("Cluster", "desk", "default")]
    assert isinstance(live, Cluster)
    return live


async def do(system: System, goal: str) -> tuple[str, str]:
    """Run a task; return who won it and what was answered."""
    result = await system.engine.result(await system.engine.submit(new_task(goal, system.clock)))
    assert result.matched is not None
    assert result.executed is not None, result.error
    return result.matched.winner, result.executed.outcome.output


def settings(folder: Path) -> Settings:
    """Return where the system keeps its state."""
    return Settings(folder / "state", folder / "models", folder / "s.sock")


def count(cluster: Cluster) -> int:
    """Return how many tasks say how good the node of the minutes is."""
    return cluster.standing("clerk+minutes", ["minutes"]).scores["minutes"].count


async def test_a_skill_wins_what_it_is_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its description bids, its text stands in the prompt of the host alone, and people see who it was, and why."""
    events: list[Event] = []
    async with open_system(settings(folder)) as system, open_server(system):
        system.ready = True
        system.bus.subscribe(events.append)
        cluster = await apply(system, folder)
        assert await do(system, MINUTES) == ("clerk+minutes", "- Ann: shelf")
        assert await do(system, "When is high water at the harbour, by the tides?") == ("clerk+tides", "At nine.")
        assert {event.agent for event in events if isinstance(event.data, AuctionBid)} == {
            "clerk",
            "clerk+minutes",
            "clerk+tides",
        }
        taken = [event.data for event in events if isinstance(event.data, SkillActivated)]
        assert [(one.skill, one.trigger) for one in taken] == [("minutes", "node"), ("tides", "node")]
        used = system.services.accounts.standing(("default", "clerk"))[1]
        assert used["calls"] == 2
        assert not any(system.services.accounts.standing(("default", "clerk+minutes"))[1].values())
        assert (count(cluster), cluster.standing("clerk", ["minutes"]).scores["minutes"].count) == (1, 0)
        assert await loomd("get", "capabilities") == 0
        assert "clerk+tides" in capsys.readouterr().out
        assert await loomd("why-died", "clerk+minutes") == 0
        assert "clerk+minutes" in capsys.readouterr().out
        (task, *_) = [event.task for event in events if isinstance(event.data, SkillActivated)]
        assert await loomd("explain", f"task/{task}") == 0
        told = " ".join(capsys.readouterr().out.split())
        assert "clerk+minutes" in told
        assert "skill minutes by node" in told


async def test_scores_belong_to_what_a_skill_says(folder: Path) -> None:
    """Another text or file is another behaviour, with less of what was learned; the old one has it all, once back."""
    async with open_system(settings(folder)) as system:
        cluster = await apply(system, folder)
        first = cluster.agents["clerk+minutes"].digest
        tides = cluster.agents["clerk+tides"].digest
        for _ in range(10):
            await do(system, MINUTES)
        assert count(cluster) == 10
        skill(folder, "minutes", "Writes minutes of a meeting.", "Decisions first. Names in bold.")
        cluster = await apply(system, folder)
        assert count(cluster) == 3
        skill(folder, "minutes", "Writes minutes of any meeting.", "Decisions first.")
        cluster = await apply(system, folder)
        assert (cluster.agents["clerk+minutes"].digest, count(cluster)) == (first, 10)
        assert cluster.agents["clerk+minutes"].description == "Writes minutes of any meeting."
        (folder / "skills/minutes/form.md").write_text("Who, what.")
        cluster = await apply(system, folder)
        assert cluster.agents["clerk+minutes"].digest != first
        assert cluster.agents["clerk+tides"].digest == tides
        (folder / "skills/minutes/form.md").unlink()
        skill(folder, "lunch", "Says what there is for lunch.", "Soup.")
        assert "clerk+lunch" in (await apply(system, folder)).agents
    async with open_system(settings(folder)) as system:
        assert count(await apply(system, folder)) == 10


async def test_what_binds_the_host_binds_its_skills(folder: Path) -> None:
    """What it may not call, and its budget of a day; a skill of the host's own is the same one."""
    call = {"toolCalls": [{"name": "nap", "arguments": {"seconds": 0}}]}
    write(folder, agent="skills: [shared]", replies=[call, *REPLIES])
    events: list[Event] = []
    async with open_system(settings(folder)) as system:
        system.bus.subscribe(events.append)
        await apply(system, folder)
        assert await do(system, MINUTES) == ("clerk+minutes", "- Ann: shelf")
        assert not [event for event in events if isinstance(event.data, ToolStarted)]
        write(folder, "{host: clerk, selector: {matchLabels: {team: desk}}}")
        path = folder / "desk.yaml"
        path.write_text(path.read_text().replace("calls: 90", "calls: 2"))
        cluster = await apply(system, folder)
        assert [one.budget_left for one in cluster.standings(["minutes"])] == [0.0] * 3
        result = await system.engine.result(await system.engine.submit(new_task(MINUTES, system.clock)))
        assert result.executed is not None
        assert result.executed.outcome.stop_reason == "budget_calls"


@pytest.mark.parametrize(
    ("nodes", "agent", "said"),
    [
        ("{host: clerk, skills: [shard]}", "", 'no Skill "shard"'),
        ("{host: clark, skills: [shared]}", "", 'no Agent "clark"'),
        ("{host: clerk}", "", "expected skills, got none"),
        ("{skills: [shared]}", "", "host"),
    ],
)
def test_bad_references_are_found_in_the_manifests(folder: Path, nodes: str, agent: str, said: str) -> None:
    """With the place, before anything serves."""
    write(folder, nodes, agent)
    with pytest.raises(Problems) as caught:
        load([file for file in read_folder(folder) if file.path == "desk.yaml"])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("more", "agent", "said"),
    [
        ("{instructions: Be polite.}", "", 'expected a description of "more", got none'),
        ("{instructions: Hi., description: Greets.}", "skillBudget: {instructions: 5}", "at most 5 tokens"),
        ("{directory: skills/tides}", "", 'got two "tides"'),
    ],
)
async def test_skills_that_cannot_be_nodes_are_refused(folder: Path, more: str, agent: str, said: str) -> None:
    """By a message that says what to do; what served before goes on."""
    async with open_system(settings(folder)) as system:
        await apply(system, folder)
        write(folder, "{host: clerk, skills: [shared, more]}", agent)
        path = folder / "desk.yaml"
        path.write_text(
            f"{path.read_text()}---\napiVersion: loomd.dev/v1\nkind: Skill\nmetadata: {{name: more}}\nspec: {more}\n"
        )
        with pytest.raises(Permanent, match=said):
            await apply(system, folder)
        assert await do(system, MINUTES) == ("clerk+minutes", "- Ann: shelf")


async def test_killed_while_a_skill_works_it_goes_on_as_it_was(tmp_path: Path) -> None:
    """The same skill ends the task, the effect is had once, and it is learned once of the skill and not of its host."""
    world = World(tmp_path)
    replies: list[dict[str, Any]] = [
        {"system": "## Skill: minutes*Decisions first.", "toolCalls": [{"name": "mark"}]},
        {"system": "## Skill: minutes*Decisions first.", "text": "- Ann: shelf"},
        {"text": "Something else.", "times": None},
    ]
    nodes = "skillNodes: {host: ada, skills: [shared]}"
    world.write(replies, cluster=f"{nodes}, match: {{type: auction, exploration: 0}}, scale: {{type: never}}")
    skill(tmp_path, "minutes", "Writes minutes of a meeting.", "Decisions first.")
    path = world.folder / "manifests.yaml"
    path.write_text(f"{path.read_text()}---\napiVersion: loomd.dev/v1\nkind: Skill\nmetadata: {{name: shared}}\n")
    path.write_text(f"{path.read_text()}spec: {{directory: skills}}\n")
    world.kill_at("step.completed tool:mark", MINUTES)
    async with world.open(apply=False) as system:
        (task,) = await system.engine.resume()
        result = await system.engine.result(task)
        assert result.matched is not None
        assert result.matched.winner == "ada+minutes"
        assert outcome(result) == ("Succeeded", "completed", "- Ann: shelf")
        assert world.marks == ["x"]
        assert [(one.agent, one.count) for one in await system.store.capabilities()] == [("ada+minutes", 1)]


async def test_the_score_of_a_skill_can_be_locked(folder: Path) -> None:
    """It stays as the cluster declares it, and the others learn."""
    write(folder, "{host: clerk, skills: [shared], scores: {minutes: 0.9}}\n  locked: [skillNodes.scores.minutes]")
    async with open_system(settings(folder)) as system:
        cluster = await apply(system, folder)
        assert await do(system, MINUTES) == ("clerk+minutes", "- Ann: shelf")
        assert await do(system, "When is high water at the harbour, by the tides?") == ("clerk+tides", "At nine.")
        score = cluster.standing("clerk+minutes", ["minutes"]).scores["minutes"]
        assert (score.mean, score.count) == (0.9, 0)
        assert cluster.standing("clerk+tides", ["tides"]).scores["tides"].count == 1
