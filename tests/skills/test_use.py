"""Published skills from end to end: found in a folder, taken up, brought, recorded, resumed, replayed and reloaded."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loomd.daemon import Settings, open_system
from loomd.engine.intake import new_task
from loomd.errors import Permanent
from loomd.events.event import StepCompleted, ToolCompleted, ToolStarted
from loomd.events.journal import decode
from loomd.events.skill import SkillActivated, SkillsOffered
from loomd.manifest.delivery import Delivery
from loomd.manifest.load import load
from loomd.manifest.object import Ref
from loomd.manifest.source import SourceFile, read_folder
from loomd.replay.export import Serving, export
from loomd.replay.player import replay
from loomd.testing import run_manifests
from tests.sources.remotes import Repository
from tests.sources.serving import git_source, provider, serving

MATTER = """\
name: minutes
description: >-
  Writes minutes of meetings. Use it when: notes are to become minutes.
license: Apache-2.0
metadata: {author: someone, version: "1.0"}
allowed-tools: Read Bash(date:*)"""
DESK = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: REPLIES}
---
apiVersion: loomd.dev/v1
kind: Embedder
metadata: {name: words}
spec: {type: hash}
---
apiVersion: loomd.dev/v1
kind: Skill
metadata: {name: shared}
spec: {directory: .agents/skills, toolNames: {Read: [nap]}SHARED}
---
apiVersion: loomd.dev/v1
kind: Skill
metadata: {name: manners}
spec:
  instructions: Be polite.
  description: How to thank somebody for a gift.
  triggers: [{type: semantic, embedder: words, threshold: 0.3}]
  priority: 1
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: nap}
spec: {type: wait, effects: read}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: post}
spec: {type: signal, signal: post}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: script, description: Writes., tools: [nap, post], skills: [shared, manners], limits: {steps: 9}}
"""


def call(tool: str, **arguments: object) -> dict[str, object]:
    """Return a scripted reply that calls a tool."""
    return {"toolCalls": [{"name": tool, "arguments": arguments}]}


def desk(*replies: dict[str, Any], shared: str = "") -> str:
    """Return the manifests with these replies."""
    return DESK.replace("REPLIES", json.dumps(replies)).replace("SHARED", shared)


@pytest.fixture
def skills(write: Any) -> None:
    """Write two published skills."""
    write(".agents/skills/minutes", MATTER, "Read the form first.", **{"references/form.md": "Who, what, until when."})
    write(".agents/skills/tides")


@pytest.mark.usefixtures("skills")
async def test_from_catalogue_to_body_to_file(tmp_path: Path) -> None:
    """The model sees names first, then what it asks for, and the events tell each step."""
    replies = (
        {**call("skill", name="minutes"), "system": "- minutes: Writes minutes*- tides: About tides."},
        call("skill", name="minutes", resource="references/form.md"),
        {"text": "Done."},
    )
    ran = await run_manifests(desk(*replies), "Write up the meeting", tmp_path)
    assert ran.result.executed is not None
    assert ran.result.executed.outcome.output == "Done."
    assert ran.facts(SkillsOffered) == [SkillsOffered(("minutes", "tides"))]
    (taken,) = ran.facts(SkillActivated)
    assert taken == SkillActivated("minutes", "model", "the model asked for it", 1.0, ("nap", "Bash"))
    body, form = (fact.result for fact in ran.facts(ToolCompleted))
    assert body.startswith("## Skill: minutes\nRead the form first.\n\nFiles of this skill")
    assert form == "Who, what, until when."


@pytest.mark.usefixtures("skills")
@pytest.mark.parametrize(
    ("goal", "shared", "prompt", "trigger"),
    [
        pytest.param("/tides at nine?", "", "## Skill: tides*Do it.", "manual", id="manual"),
        pytest.param("Thank somebody for a gift", "", "## Skill: manners*Be polite.", "semantic", id="semantic"),
        pytest.param(
            "High Water?",
            ", exclude: [minutes], triggers: [{type: keyword, keywords: [high water]}]",
            "## Skill: tides",
            "keyword",
            id="keyword",
        ),
        pytest.param(
            "see PR #12",
            ", exclude: [tides], triggers: [{type: pattern, pattern: 'PR #\\d+'}]",
            "## Skill: minutes",
            "pattern",
            id="pattern",
        ),
    ],
)
async def test_triggers(goal: str, shared: str, prompt: str, trigger: str, tmp_path: Path) -> None:
    """Whatever takes a skill up, its instructions stand in the first prompt."""
    ran = await run_manifests(desk({"system": prompt, "text": "Done."}, shared=shared), goal, tmp_path)
    assert ran.result.phase == "Succeeded", ran.result.error
    assert [fact.trigger for fact in ran.facts(SkillActivated)] == [trigger]


@pytest.mark.usefixtures("skills")
async def test_one_name_twice_is_refused(tmp_path: Path) -> None:
    """Two objects that bring a skill of one name cannot be used by one agent."""
    text = desk({"text": "x"}).replace("metadata: {name: manners}", "metadata: {name: tides}")
    with pytest.raises(Permanent, match='got two "tides", of Skill/shared and Skill/tides'):
        await run_manifests(text.replace("[shared, manners]", "[shared, tides]"), "go", tmp_path)


@pytest.mark.usefixtures("skills")
async def test_an_interrupted_task_goes_on_with_what_it_took_up(tmp_path: Path) -> None:
    """What was taken up before is taken up after, told once, and narrows the tools as before."""
    text = desk(
        {**call("skill", name="minutes"), "system": "## Skill: manners*- minutes: "},
        call("nap", seconds=0.3),
        call("post", seconds=1),
        {"text": "Done."},
    )
    settings = Settings(tmp_path / "state", tmp_path / "models", tmp_path / "s")
    delivery = Delivery("test", (SourceFile(tmp_path, "desk.yaml", text.encode()),))
    async with open_system(settings) as system:
        await system.reconciler.apply(delivery)
        async with system.bus.stream() as events:
            task = await system.engine.submit(new_task("Thank somebody for a gift", system.clock))
            await _seen(events, "nap")
    async with open_system(settings) as system:
        await system.reconciler.apply(delivery)
        assert await system.engine.resume() == [task]
        result = await system.engine.result(task)
        facts = [decode(row).data for row in await system.store.read(task=task)]
        cassette = await export(
            system.store, task, Serving(system.reconciler.topology.snapshot, system.reconciler.topology.live)
        )
    assert result.phase == "Succeeded", result.error
    assert [fact.skill for fact in facts if isinstance(fact, SkillActivated)] == ["manners", "minutes"]
    assert [fact.name for fact in facts if isinstance(fact, StepCompleted) and fact.name == "skills"] == ["skills"]
    assert result.executed is not None
    assert result.executed.outcome.tools == ("skill", "nap", "post")
    assert result.executed.outcome.tool_errors == 1  # the skill does not allow to post
    assert (await replay(cassette)).whole


async def _seen(events: Any, tool: str) -> None:
    async for event in events:
        if isinstance(event.data, ToolStarted) and event.data.tool == tool:
            return


@pytest.mark.usefixtures("skills")
async def test_a_recording_holds_the_skills(tmp_path: Path) -> None:
    """It is replayed when their folder is gone; against an edited skill it differs where the model sees the edit."""
    replies = (
        {**call("skill", name="minutes"), "system": "- minutes: "},
        call("skill", name="minutes", resource="references/form.md"),
        {"text": "Done."},
    )
    (tmp_path / ".agents/skills/tides/picture.png").write_bytes(b"\x89PNG\xff")
    folder = tmp_path / ".agents"
    file = SourceFile(tmp_path, "desk.yaml", desk(*replies).encode())
    async with open_system(Settings(tmp_path / "state", tmp_path / "models", tmp_path / "s")) as system:
        await system.reconciler.apply(Delivery("test", (file,)))
        task = await system.engine.submit(new_task("Write up the meeting", system.clock))
        await system.engine.result(task)
        cassette = await export(system.store, task)
    folder.rename(tmp_path / "away")
    assert (await replay(cassette)).whole
    leaving = [msgspec.structs.replace(one, files={"../x": ""}) for one in cassette.objects]
    with pytest.raises(Permanent, match="leads out of its folder"):
        await replay(msgspec.structs.replace(cassette, objects=tuple(leaving)))
    (tmp_path / "away").rename(folder)
    (folder / "skills/minutes/references/form.md").write_text("Another form.")
    played = await replay(cassette, load([file]))
    assert played.difference is not None
    assert played.difference.what == "the call of the tool skill comes to something else"


async def test_every_edit_reloads(write: Any, tmp_path: Path) -> None:
    """Of a document, of a file beside it, and one skill more; also in a hidden folder, which holds no manifests."""
    root = tmp_path / "manifests"
    place = write("manifests/.agents/skills/tides", **{"assets/table.yaml": "not: a manifest\n"})
    text = "apiVersion: loomd.dev/v1\nkind: Skill\nmetadata: {name: all}\nspec: {directory: .agents/skills}\n"
    (root / "all.yaml").write_text(text)
    async with serving(tmp_path / "state", [root]) as now:

        async def reloaded(change: Any) -> Any:
            number = now.reconciler.number
            change()
            await now.until(lambda: now.reconciler.number == number + 1)
            live: Any = now.reconciler.topology.live[Ref("Skill", "all")]
            return live.skills

        await now.serves("Skill/all")
        found = await reloaded(
            lambda: (place / "SKILL.md").write_text("---\nname: tides\ndescription: x\n---\nThat.\n")
        )
        assert found["tides"].instructions == "That."
        found = await reloaded(lambda: (place / "assets/table.yaml").write_text("not: a manifest either\n"))
        assert await found["tides"].read("assets/table.yaml") == "not: a manifest either\n"
        assert list(await reloaded(lambda: write("manifests/.agents/skills/moon"))) == ["moon", "tides"]


async def test_a_pinned_repository(tmp_path: Path) -> None:
    """Skills come from a repository at a commit, whatever was pushed since; an agent of another source uses them."""
    repository = Repository(tmp_path / "a")
    skill = b"---\nname: tides\ndescription: The sea.\n---\nLook at the moon.\n"
    text = "apiVersion: loomd.dev/v1\nkind: Skill\nmetadata: {name: all}\nspec: {directory: skills}\n"
    files = {"skills/tides/SKILL.md": skill, "skills/tides/agents/other.yaml": b"display: Tides\n"}
    commit = repository.publish({"all.yaml": text.encode(), **files})
    repository.publish({"skills/tides/SKILL.md": skill.replace(b"moon", b"sun")})
    agent = "apiVersion: loomd.dev/v1\nkind: Agent\nmetadata: {name: ada}\nspec: {provider: one, skills: [all]}\n"
    async with serving(tmp_path / "state") as now:
        await now.apply(git_source("skills", f"file://{repository.bare}", f"ref: {{commit: {commit}}}"))
        await now.serves("GitSource/skills", "Skill/all")
        await now.apply(provider("one"), agent, source="mine")
        live: Any = now.reconciler.topology.live[Ref("Agent", "ada")]
        tides = live.skills[0].skills["tides"]
        assert (tides.instructions, tides.files) == ("Look at the moon.", ("agents/other.yaml",))


async def test_a_repository_that_was_not_made_for_us(tmp_path: Path) -> None:
    """The source brings the manifests: what lies about in the repository is none, and may declare nothing."""
    repository = Repository(tmp_path / "a")
    skill = b"---\nname: tides\ndescription: The sea.\n---\nLook at the moon.\n"
    others = {"mkdocs.yaml": b"site: x\n", "provider.yaml": provider("theirs").encode()}
    commit = repository.publish({"skills/tides/SKILL.md": skill, **others})
    manifest = "{apiVersion: loomd.dev/v1, kind: Skill, metadata: {name: all}, spec: {directory: FOLDER}}"
    async with serving(tmp_path / "state") as now:

        async def follow(folder: str) -> None:
            fields = (f"ref: {{commit: {commit}}}", f"manifests: '{manifest.replace('FOLDER', folder)}'")
            await now.apply(git_source("theirs", f"file://{repository.bare}", *fields))

        await follow("skill")
        await now.until(lambda: now.reconciler.stale)
        assert "git/default/theirs/spec.manifests:1:" in now.source("theirs").attempts[0].message
        assert now.names == ["GitSource/theirs"]
        await follow("skills")
        await now.serves("GitSource/theirs", "Skill/all")
        live: Any = now.reconciler.topology.live[Ref("Skill", "all")]
        assert live.skills["tides"].instructions == "Look at the moon."


def test_what_belongs_to_a_skill_is_no_manifest(write: Any, tmp_path: Path) -> None:
    """In the folders beside a document; what stands beside it is one, and so is all below a root that is a skill."""
    write("skills/tides", **{"agents/x.yaml": "x", "agents/deep/y.yaml": "x", "own.yaml": "x"})
    (tmp_path / "SKILL.md").write_text("x")
    (tmp_path / "below").mkdir()
    (tmp_path / "below/z.yaml").write_text("x")
    assert [file.path for file in read_folder(tmp_path)] == ["below/z.yaml", "skills/tides/own.yaml"]
