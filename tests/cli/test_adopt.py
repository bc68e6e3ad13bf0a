"""What was learned is exported as manifests and taken over into files: by a daemon in this process, with real git."""

import re
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from loomd.agents.agent import Agent
from loomd.amoeba.blueprint import Blueprint
from loomd.amoeba.decision import ScoreMove, Shaping
from loomd.api.server import open_server
from loomd.cli.adopted import _unsure, adopt, lock_of
from loomd.cluster.cluster import Cluster
from loomd.daemon import Settings, System, open_system
from loomd.engine.intake import new_task
from loomd.manifest.delivery import Delivery
from loomd.manifest.object import Ref
from loomd.manifest.source import read_path
from loomd.manifest.template import render
from tests.cli.test_people import loomd
from tests.engine.test_learning import team
from tests.engine.test_shaping import shape
from tests.sources.remotes import Repository
from tests.sources.remotes import run as run_git

ROOT = Path(__file__).parents[2]
PROVIDER = """\
# everybody's
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: [{text: done, times: null}]}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: nap}
spec: {type: wait}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: post}
spec: {type: signal, signal: post}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: loans}
spec:
  type: openapi
  url: https://library.example.com/v4
  document:
    openapi: 3.1.0
    paths:
      /loans:
        get: {operationId: list, summary: Lists loans.}
        post: {operationId: lend, summary: Lends a book.}
"""
AGENTS = """\
# the agents
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada, labels: {team: desk}}
spec:
  provider:   script  # cheap
  prompt: |-
    You are {{ agent }}.

  domains:
    letters: 0.5   # a guess
  tools: [nap, post, loans]
  permissions: {deny: [post], ask: [nap(seconds=5), loans_lend]}
  limits: {steps: 3}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: bob}
spec: {provider: script, description: 'writes'}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: default}
spec:
  agents:
  - ada   # first
  - bob
  scale: {type: never}
"""
ADOPTED = AGENTS.replace("    letters: 0.5   # a guess\n", "    letters: 0.81   # a guess\n").replace(
    "    You are {{ agent }}.\n", "    You are {{ agent }}.\n\n    Say {{ '{' }}{ no }} tags.\n"
)
SAID = "You know the law: {{ nothing }} {% is %} {# told #}."
LAW = Blueprint("default", "ada", SAID, "Knows the law.", {"law": 0.7}, ["nap", "loans_list"])
LEARNED = Blueprint("default", "ada", "Say {{ no }} tags.")
FOLLOW = """\
apiVersion: loomd.dev/v1
kind: GitSource
metadata: {name: team}
spec: {url: "git://127.0.0.1:1/team.git", path: team, suspend: true}
"""
Out = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, a repository with manifests in it, and with the socket of a daemon to be beside it."""
    work = Repository(tmp_path).work
    monkeypatch.chdir(work)
    monkeypatch.setenv("LOOMD_SOCKET", str(tmp_path / "s.sock"))
    (work / "team").mkdir()
    (work / "team" / "provider.yaml").write_text(PROVIDER)
    (work / "team" / "agents.yaml").write_text(AGENTS)
    return work


@asynccontextmanager
async def serving(folder: Path) -> AsyncGenerator[System, None]:
    """Yield a system that serves its API and the team."""
    settings = Settings(folder.parent / "state", folder / "models", folder.parent / "s.sock")
    async with open_system(settings) as system, open_server(system):
        system.ready = True
        assert await loomd("apply", "-f", "team") == 0
        yield system


async def teach(system: System, agent: str, domain: str, score: float, count: int) -> Cluster:
    """Let a score of an agent move, as a task would."""
    live = team(system).agents[agent]
    move = ScoreMove(agent, live.digest, domain, 0.5, score, 0.01, count, "a reward", 0.9)
    return await learn(system, move)


async def learn(system: System, *decisions: Shaping | ScoreMove) -> Cluster:
    """Carry decisions out, as a task's of its own."""
    number = len(await system.store.learning.movements()) + len(await system.store.learning.lineage())
    return await shape(system, *decisions, task=f"t{number}")  # type: ignore[arg-type]  # it takes any decision


def prompt(agent: Agent) -> str:
    """Return the system prompt of an agent."""
    said = render(agent.prompt, agent=agent.name, goal="go", namespace="default")
    return "\n\n".join(part for part in (said, agent.instructions) if part)


async def test_a_blueprint_is_exported_and_applied(folder: Path, capsys: Out) -> None:
    """Beside its cluster it is what it was, takes over from the agent that the cluster made, and has its scores."""
    async with serving(folder) as system:
        cluster = await learn(system, Shaping("ada-law", "forged", LAW, "nobody knows the law"))
        await teach(system, "ada-law", "law", 0.914, 10)
        made = cluster.agents["ada-law"]
        capsys.readouterr()
        assert await loomd("export", "blueprint/ada-law", "-o", "yaml") == 0
        text = capsys.readouterr().out
        assert "loomd.dev/blueprint: ada-law/1" in text
        assert "loomd.dev/task: t0" in text
        assert re.search(r"loomd.dev/made: '2\d{3}-", text)
        assert await loomd("export", "blueprint/ada-law", "-o", "team/law.yaml") == 0
        assert (folder / "team" / "law.yaml").read_text() == text
        agents = folder / "team" / "agents.yaml"
        agents.write_text(agents.read_text().replace("  - bob\n", "  - bob\n  - ada-law\n"))
        assert await loomd("apply", "-f", "team") == 0
        cluster = team(system)
        now = cluster.agents["ada-law"]
        assert now is cluster.blueprints.declared["ada-law"]
        assert prompt(now) == prompt(made) == SAID
        assert (now.description, now.domains) == ("Knows the law.", {"law": 0.91})
        assert [one.schema.name for one in now.offered()] == list(made.tools) == ["nap", "loans_list"]
        assert now.limits == made.limits
        assert now.permissions.deny == ["loans_lend"]
        assert now.permissions.ask == made.permissions.ask == ["nap(seconds=5)", "loans_lend"]
        score = cluster.standing("ada-law", ["law"]).scores["law"]
        assert score.mean == pytest.approx(0.914, abs=0.001)
        assert score.count == 3
        assert await loomd("export", "blueprint/ada-law") == 2
        assert "Agent/ada-law is declared by now" in capsys.readouterr().err
        assert await loomd("export", "blueprint/ada-lav") == 2
        assert "no blueprint 'ada-lav'" in capsys.readouterr().err


async def test_a_patch_is_what_git_takes(folder: Path, capsys: Out) -> None:
    """Scores, instructions, specialists; comments and quotes stay; applied, all is as it was, and nothing is left."""
    agents = folder / "team" / "agents.yaml"
    async with serving(folder) as system:
        await teach(system, "ada", "letters", 0.8114, 20)
        await teach(system, "bob", "general", 0.9, 20)
        await teach(system, "bob", "letters", 0.2, 20)
        ada = team(system).agents["ada"]
        await learn(system, Shaping("ada", "promoted", LEARNED, "it does better", spec=ada.digest))
        await teach(system, "ada", "letters", 0.8114, 20)
        cluster = await learn(system, Shaping("ada-law", "forged", LAW, "nobody knows the law"))
        before = prompt(cluster.agents["ada"])
        capsys.readouterr()
        assert await loomd("adopt") == 0
        said = capsys.readouterr()
        assert agents.read_text() == AGENTS
        assert "team/agents.yaml: Agent/ada spec.domains.letters: 0.81" in said.err
        run_git("git", "apply", "--check", "-", folder=folder, feed=said.out.encode())
        run_git("git", "apply", "-", folder=folder, feed=said.out.encode())
        text = agents.read_text()
        assert text.startswith(ADOPTED.replace("  - bob\n", "  - bob\n  - ada-law\n"))
        assert "name: ada-law" in text
        assert await loomd("adopt") == 0
        assert capsys.readouterr().err == "nothing to adopt\n"
        assert await loomd("apply", "-f", "team") == 0
        cluster = team(system)
        now = cluster.agents["ada"]
        assert prompt(now) == before
        assert now.instructions == ""
        assert cluster.standing("ada", ["letters"]).scores["letters"].count == 6
        assert cluster.standing("ada", ["letters"]).scores["letters"].mean == pytest.approx(0.8114, abs=1e-4)
        assert "ada-law" in cluster.blueprints.declared
        capsys.readouterr()
        assert await loomd("adopt") == 0
        assert capsys.readouterr().err == "nothing to adopt\n"


async def test_only_what_is_named_and_sure(folder: Path, capsys: Out) -> None:
    """By agent, blueprint or cluster; from so many tasks on; into the files, or into a folder."""
    agents = folder / "team" / "agents.yaml"
    async with serving(folder) as system:
        await teach(system, "ada", "letters", 0.8114, 4)
        await teach(system, "bob", "bob", 0.6666, 9)
        await learn(system, Shaping("ada-law", "forged", LAW, "nobody knows the law"))
        assert await loomd("adopt", "agent/ada") == 0
        assert "nothing to adopt" in capsys.readouterr().err
        assert await loomd("adopt", "agent/ada", "--tasks", "4", "--digits", "1", "--output", "out") == 0
        assert "letters: 0.8  " in (folder / "out" / "team" / "agents.yaml").read_text()
        assert "letters: 0.5  " in agents.read_text()
        capsys.readouterr()
        assert await loomd("adopt", "agent/ada", "--tasks", "4", "--output", "team/out") == 2
        assert "declared twice" in capsys.readouterr().err, "what is below a folder is read with it"
        assert not (folder / "team" / "out").exists()
        assert await loomd("adopt", "agent/ada", "--tasks", "4", "--output", "team/.out") == 0
        capsys.readouterr()
        assert await loomd("adopt", "blueprints/ada-law", "--write") == 0
        assert capsys.readouterr().out.splitlines() == [
            "team/agents.yaml: Cluster/default spec.agents: with ada-law",
            "team/agents.yaml: Agent/ada-law: declared",
        ]
        assert "bob: 0.67" not in agents.read_text()
        assert await loomd("adopt", "cluster/default", "--write") == 0
        assert "description: 'writes', domains: {bob: 0.67}}" in agents.read_text()
        select(agents)
        await members_by_label(system, capsys)
        assert await loomd("adopt", "agent/eve") == 2
        assert "no agent 'eve'" in capsys.readouterr().err
        assert await loomd("adopt", "tool/nap") == 2
        assert await loomd("adopt", "--patch", "--write") == 2


def select(agents: Path) -> None:
    """Let labels select the members of the cluster."""
    named, text = "  agents:\n  - ada   # first\n  - bob\n  - ada-law\n", agents.read_text()
    assert named in text
    agents.write_text(text.replace(named, "  agentSelector: {matchLabels: {team: desk}}\n"))


async def members_by_label(system: System, capsys: Out) -> None:
    """Who is made from a member that labels select is selected, too: the cluster stays as it is."""
    assert await loomd("apply", "-f", "team") == 0
    await learn(system, Shaping("ada-tax", "forged", LAW, "nobody knows taxes"))
    capsys.readouterr()
    assert await loomd("adopt", "blueprint/ada-tax", "--write") == 0
    assert capsys.readouterr().out == "team/agents.yaml: Agent/ada-tax: declared\n"
    assert await loomd("apply", "-f", "team") == 0
    assert set(team(system).blueprints.declared) == {"ada", "ada-law", "ada-tax"}


async def test_what_cannot_be_taken_over_is_told(folder: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is generated, gone, or behind an alias; paths start where all files are, when that is not here."""
    agents = folder / "team" / "agents.yaml"
    async with serving(folder) as system:
        await teach(system, "ada", "letters", 0.8114, 20)
        await teach(system, "bob", "bob", 0.7, 20)
        plain = agents.read_text()
        capsys.readouterr()
        agents.write_text(f"# Code generated by make. DO NOT EDIT.\n{plain}")
        assert await loomd("adopt") == 1
        assert "is generated" in capsys.readouterr().err
        agents.write_text(plain.replace("letters: 0.5", "letters: &half 0.5").replace("{steps: 3}", "{cost: *half}"))
        assert await loomd("adopt") == 1
        assert "cannot be edited in place" in capsys.readouterr().err
        agents.write_text(plain.replace("metadata: {name: ada,", "metadata: {name: eve,"))
        assert await loomd("adopt", "agent/ada") == 1
        assert "not declared there any more" in capsys.readouterr().err
        agents.unlink()
        assert await loomd("adopt") == 1
        assert "is no file" in capsys.readouterr().err
        agents.write_text(plain)
        monkeypatch.chdir(folder.parent / "served")
        assert await loomd("adopt", "agent/ada") == 0
        said = capsys.readouterr()
        assert said.err.splitlines()[-1] == f"paths start at {folder / 'team'}"
        run_git("git", "apply", "-", folder=folder / "team", feed=said.out.encode())
        assert agents.read_text() == plain.replace("letters: 0.5", "letters: 0.81")


async def test_edits_that_do_not_serve_yet_stay(folder: Path, capsys: Out) -> None:
    """Field by field: what was learned of others is taken over, and nothing is based on what does not serve."""
    agents = folder / "team" / "agents.yaml"
    edited = AGENTS.replace("letters: 0.5 ", "letters: 0.6 ").replace("steps: 3", "steps: 4")
    async with serving(folder) as system:
        await teach(system, "ada", "letters", 0.8114, 20)
        await teach(system, "bob", "bob", 0.6666, 9)
        await learn(system, Shaping("ada", "promoted", LEARNED, "better", version=1))
        await learn(system, Shaping("ada-law", "forged", LAW, "nobody knows the law"))
        agents.write_text(edited)
        assert await loomd("adopt", "--write") == 1
        why = f"does not serve as it is there: `loomd apply -f {agents.parent}` lets it serve; then adopt again"
        assert capsys.readouterr().err.splitlines() == [
            f"not adopted: Agent/ada spec.domains.letters in {agents} {why}",
            f"not adopted: Agent/ada-law: what it is made from in {agents} {why}",
        ]
        after = agents.read_text()
        assert "letters: 0.6   # a guess" in after
        assert "{{ '{' }}{ no }} tags." in after
        assert "domains: {bob: 0.67}" in after
        assert "ada-law" not in after
        agents.write_text(AGENTS)
        assert await loomd("adopt", "--write") == 0, "the edit is undone"
        assert "letters: 0.81" in agents.read_text()


async def test_what_was_adopted_is_no_edit(folder: Path, capsys: Out) -> None:
    """Adopted again before it is applied, it takes the place of what was adopted first; nor is a comment an edit."""
    agents = folder / "team" / "agents.yaml"
    async with serving(folder) as system:
        await teach(system, "ada", "letters", 0.8114, 20)
        await learn(system, Shaping("ada", "promoted", LEARNED, "better", version=1))
        assert await loomd("adopt", "--write") == 0
        assert agents.read_text() == ADOPTED
        agents.write_text(f"# a comment\n{ADOPTED}")
        await teach(system, "ada", "letters", 0.9114, 40)
        await learn(system, Shaping("ada", "promoted", Blueprint("default", "ada", "Be short."), "best", 2, 1))
        await learn(system, Shaping("ada-law", "forged", LAW, "nobody knows the law"))
        assert await loomd("adopt", "--write") == 0
        after = agents.read_text()
        assert "letters: 0.91   # a guess" in after
        assert "    You are {{ agent }}.\n\n    Be short.\n" in after
        assert "tags" not in after
        assert "name: ada-law" in after
        agents.write_text(after.replace("letters: 0.91", "letters: 0.92"))
        await teach(system, "ada", "letters", 0.8514, 60)
        capsys.readouterr()
        assert await loomd("adopt", "--write") == 1
        assert "not adopted: Agent/ada spec.domains.letters" in capsys.readouterr().err


def test_a_file_of_an_old_version_is_compared_as_it_is_written() -> None:
    """What the daemon made of it is another thing."""
    ref = Ref("Agent", "ada", "default")
    item = {"kind": ref.kind, "name": ref.name, "namespace": ref.namespace, "added": [{"metadata": {"name": "law"}}]}
    old = {"apiVersion": "loomd.dev/v1alpha1", "spec": {"provider": "s", "systemPrompt": "x", "maxSteps": 3}}
    assert list(_unsure(item, {ref: old}, {ref: {**old}})) == []
    assert list(_unsure(item, {ref: {**old, "spec": {"maxSteps": 4}}}, {ref: old})) == ["law"]


def test_an_earlier_daemon_is_told(tmp_path: Path) -> None:
    """It does not send what it serves."""
    (tmp_path / "a.yaml").write_text(AGENTS)
    item = {"kind": "Agent", "name": "ada", "namespace": "default", "changes": [], "added": [], "type": "folder"}
    found = adopt([item | {"source": str(tmp_path), "root": str(tmp_path), "path": "a.yaml"}])
    assert found.files == []
    assert found.refused == [
        "Agent/ada: the daemon is of an earlier version, and does not say what it serves: start this version"
    ]


JOINED = AGENTS.replace(
    "  scale: {type: never}",
    "  scale: {type: never}\n  forge: {blueprints: [notary]}\n  skillNodes: {host: bob, skills: [shared]}  # bids",
)
NOTARY = """\
---
apiVersion: loomd.dev/v1
kind: Blueprint
metadata: {name: notary}
spec: {provider: script, prompt: You seal., domains: {seals: 0.6}}
---
apiVersion: loomd.dev/v1
kind: Skill
metadata: {name: shared}
spec: {directory: skills}
"""


async def test_skills_and_blueprints_that_joined_are_adopted(folder: Path, capsys: Out) -> None:
    """A skill in the cluster that lets it bid, a blueprint in its own manifest, which is exported as an agent, too."""
    agents = folder / "team" / "agents.yaml"
    agents.write_text(JOINED + NOTARY)
    place = folder / "team" / "skills" / "tides"
    place.mkdir(parents=True)
    (place / "SKILL.md").write_text("---\nname: tides\ndescription: Tells the tides.\n---\nHigh water.\n")
    async with serving(folder) as system:
        await learn(system, Shaping("notary", "forged", Blueprint("default", "notary"), "it fits", version=1))
        await learn(system, Shaping("notary", "promoted", Blueprint("default", "notary", "Stamp."), "ok", 2, 1))
        await teach(system, "notary", "seals", 0.9111, 20)
        await teach(system, "bob+tides", "tides", 0.8111, 20)
        capsys.readouterr()
        assert await loomd("export", "blueprint/notary") == 0
        assert "prompt: |-\n    You seal.\n\n    Stamp." in capsys.readouterr().out
        assert await loomd("adopt", "--write") == 0
        after = agents.read_text()
        assert "skillNodes: {host: bob, skills: [shared], scores: {tides: 0.81}}  # bids" in after
        assert "domains: {seals: 0.91}" in after
        assert "You seal.\\n\\nStamp." in after
        assert await loomd("apply", "-f", "team") == 0
        cluster = team(system)
        assert cluster.agents["bob+tides"].domains == {"tides": 0.81}
        assert cluster.standing("bob+tides", ["tides"]).scores["tides"].count == 20
        assert prompt(cluster.agents["notary"]) == "You seal.\n\nStamp."
        capsys.readouterr()
        assert await loomd("adopt") == 0
        assert capsys.readouterr().err == "nothing to adopt\n"


async def test_after_a_restart_it_is_adopted_again(folder: Path, capsys: Out) -> None:
    """What it wrote before is no edit of a person's then either; what a person wrote is."""
    agents = folder / "team" / "agents.yaml"
    async with serving(folder) as system:
        await teach(system, "ada", "letters", 0.8114, 20)
        await learn(system, Shaping("ada", "promoted", LEARNED, "better", version=1))
        assert await loomd("adopt", "--write") == 0
        assert agents.read_text() == ADOPTED
    settings = Settings(folder.parent / "state", folder / "models", folder.parent / "s.sock")
    async with open_system(settings) as system, open_server(system):
        await system.reconciler.restore()
        system.ready = True
        await teach(system, "ada", "letters", 0.9114, 40)
        better = Blueprint(LEARNED.cluster, LEARNED.creator, "Say it shorter.")
        await learn(system, Shaping("ada", "promoted", better, "better", version=2, parent=1))
        capsys.readouterr()
        assert await loomd("adopt", "--write") == 0
        assert "letters: 0.91" in agents.read_text()
        assert "Say it shorter." in agents.read_text()
        assert "tags" not in agents.read_text()
        agents.write_text(agents.read_text().replace("letters: 0.91", "letters: 0.92"))
        await teach(system, "ada", "letters", 0.8514, 60)
        assert await loomd("adopt", "--write") == 1
        assert f"spec.domains.letters in {agents} does not serve as it is there" in capsys.readouterr().err


async def test_the_last_offers_are_kept(folder: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often somebody asks; one that comes again takes no other place."""
    monkeypatch.setattr("loomd.api.adoption._OFFERS", 3)
    async with serving(folder) as system:
        for number, score in enumerate((0.61, 0.71, 0.71, 0.81, 0.91, 0.81), 1):
            await teach(system, "ada", "letters", score, 20 * number)
            assert await loomd("adopt") == 0
        await system.store.settled()
        stored = [one for one in await system.store.averages() if one.subject.startswith("adoption ")]
        assert {one.value for one in stored} == {0.71, 0.81, 0.91}
        assert len(stored) == 3
        assert list(system.services.averages.of(stored[0].subject).values()) == stored
    capsys.readouterr()


async def test_what_is_locked_is_left_out(folder: Path, capsys: Out) -> None:
    """The rest is adopted and that is no failure; nothing shows learned instructions as if they held."""
    agents = folder / "team" / "agents.yaml"
    agents.write_text(AGENTS.replace("  limits: {steps: 3}", "  locked: [instructions]"))
    async with serving(folder) as system:
        await teach(system, "ada", "letters", 0.8114, 20)
        await learn(system, Shaping("ada", "promoted", LEARNED, "better", version=1))
        assert await loomd("adopt", "--write") == 0
        told = f"left out: Agent/ada spec.prompt: instructions is locked in {agents}\n"
        assert capsys.readouterr().err == told
        assert "letters: 0.81" in agents.read_text()
        assert "tags" not in agents.read_text()
        for words in (["why-died", "ada"], ["describe", "agent/ada"]):
            assert await loomd(*words) == 0
            said = capsys.readouterr().out
            assert "1 (locked)" in said
            assert "Learned instructions, left out: they are locked:" in said
            assert "(present)" not in said
        assert await loomd("export", "blueprint/ada") == 0
        assert "tags" not in capsys.readouterr().out


def test_what_is_locked_stays() -> None:
    """By the name of the field, or by what a person calls it who locks it."""
    document = {"spec": {"locked": ["scores", "prompt"]}}
    assert lock_of(document, ("spec", "domains", "law")) == "scores"
    assert lock_of(document, ("spec", "prompt")) == "prompt"
    assert lock_of(document, ("spec", "agents")) == ""
    paths = {"spec": {"locked": ["domains.law", "skillNodes.scores"]}}
    assert lock_of(paths, ("spec", "domains", "law")) == "domains.law"
    assert lock_of(paths, ("spec", "domains", "lawn")) == ""
    assert lock_of(paths, ("spec", "skillNodes", "scores", "minutes")) == "skillNodes.scores"
    assert lock_of({"spec": {"locked": None}}, ("spec", "prompt")) == ""
    assert lock_of(None, ("spec", "prompt")) == ""


async def test_a_repository_that_is_followed_gets_a_patch(folder: Path, capsys: Out) -> None:
    """Its paths start at the top of the repository; nothing is written into it."""
    settings = Settings(folder.parent / "state", folder / "models", folder.parent / "s.sock")
    (folder / "follow.yaml").write_text(FOLLOW)
    async with open_system(settings) as system, open_server(system):
        system.ready = True
        assert await loomd("apply", "-f", "follow.yaml") == 0
        tree = folder.parent / "tree"
        shutil.copytree(folder / "team", tree)
        files = tuple(replace(one, base="git/default/team") for one in read_path(tree))
        await system.reconciler.apply(Delivery("git/default/team", files, "git"))
        await teach(system, "ada", "letters", 0.8114, 20)
        capsys.readouterr()
        assert await loomd("adopt", "--write") == 1
        assert "is in git/default/team: use --patch" in capsys.readouterr().err
        assert await loomd("adopt", "--patch") == 0
        said = capsys.readouterr()
        assert said.err.splitlines()[-1] == "paths start at git/default/team"
        run_git("git", "apply", "-", folder=folder, feed=said.out.encode())
        after = (folder / "team" / "agents.yaml").read_text()
        assert after == AGENTS.replace("letters: 0.5", "letters: 0.81")
        assert (tree / "agents.yaml").read_text() == AGENTS


async def test_the_page_is_true(folder: Path, capsys: Out) -> None:
    """The manifest of the page gives the patch of the page, but for the second digit, and then nothing."""
    text = (ROOT / "docs" / "howto" / "bring-learning-into-git.md").read_text(encoding="utf-8")
    (manifest,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (shown,) = re.findall(r"\$ loomd adopt\n(team.yaml: .*?)```", text, re.DOTALL)
    (folder / "team.yaml").write_text(manifest)
    settings = Settings(folder.parent / "state", folder / "models", folder.parent / "s.sock")
    async with open_system(settings) as system, open_server(system):
        system.ready = True
        assert await loomd("apply", "-f", "team.yaml") == 0
        for _ in range(12):
            task = new_task("How long does a refund take?", system.clock)
            await system.engine.result(await system.engine.submit(task))
        capsys.readouterr()
        assert await loomd("adopt") == 0
        said = capsys.readouterr()
        first, last = said.err.splitlines()
        told = [first, *said.out.splitlines(), last.replace(str(folder), "/srv/agents")]
        assert [re.sub(r"0\.9\d?", "0.9", one) for one in told] == shown.replace("0.97", "0.9").splitlines()
        run_git("git", "apply", "-", folder=folder, feed=said.out.encode())
        assert await loomd("apply", "-f", "team.yaml") == 0
        capsys.readouterr()
        assert await loomd("adopt") == 0
        assert capsys.readouterr().err == "nothing to adopt\n"
