"""What is known of objects: identity, generation, version, owner, and conditions that come from looking."""

import asyncio
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loomd.errors import Unreachable
from loomd.manifest.object import Ref, Snapshot
from loomd.manifest.problem import Problems
from loomd.manifest.source import SourceFile
from loomd.reconcile.condition import Condition
from loomd.reconcile.ledger import Advance
from loomd.reconcile.status import ObjectStatus, Statuses
from loomd.testing import VirtualClock
from loomd.topology import Topology
from tests.reconcile.conftest import Open, Seen

TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: remote}
spec: {type: scripted, replies: []}
---
apiVersion: loomd.dev/v1
kind: Skill
metadata: {name: brief}
spec: {instructions: Be brief.}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: remote, skills: [brief], description: Does things.}
"""
REMOTE = TEAM.replace("{type: scripted, replies: []}", "{type: openai, model: m, baseUrl: http://127.0.0.1:1/v1}")
ADA = Ref("Agent", "ada")
SIX = {"type", "status", "observedGeneration", "lastTransitionTime", "reason", "message"}


def team(folder: Path, text: str = TEAM) -> list[SourceFile]:
    """Return one file."""
    return [SourceFile(folder, "team.yaml", text.encode())]


def condition(status: ObjectStatus, name: str) -> Condition:
    """Return one condition."""
    return next(one for one in status.conditions if one.type == name)


def fail(seen: Seen, message: str = "no route") -> None:
    """Let the last call of the provider have failed."""
    model: Any = seen.reconciler.topology.live[Ref("Provider", "remote")]
    with suppress(Unreachable), model._wire.reach:
        raise Unreachable(message)


def work(seen: Seen) -> None:
    """Let the last call of the provider have been answered."""
    model: Any = seen.reconciler.topology.live[Ref("Provider", "remote")]
    with model._wire.reach:
        pass


@pytest.mark.parametrize(
    ("old", "new", "generation", "version"),
    [
        pytest.param("Does things.", "Does more.", 2, "2", id="spec"),
        pytest.param("{name: ada}", "{name: ada, labels: {a: b}}", 1, "2", id="label"),
        pytest.param("{name: ada}", "{name: ada, annotations: {a: b}}", 1, "2", id="annotation"),
        pytest.param("skills: [brief], ", "skills: [], ", 2, "2", id="reference"),
        pytest.param("kind: Agent", "# why\nkind: Agent", 1, "1", id="comment"),
        pytest.param("Does things.", '"Does things."', 1, "1", id="quotes"),
        pytest.param("skills: [brief],", "temperature: null, skills: [brief],", 1, "1", id="default-spelled-out"),
        pytest.param(
            "{provider: remote,", "{provider: {kind: Provider, name: remote},", 1, "1", id="reference-spelling"
        ),
    ],
)
async def test_what_counts_as_a_change(
    opened: Open, tmp_path: Path, old: str, new: str, generation: int, version: str
) -> None:
    """A generation counts changes of the spec, a version those of the manifest; another spelling is none of both."""
    async with opened() as seen:
        await seen.apply("a", team(tmp_path))
        first = seen.reconciler.status(ADA)
        assert (first.generation, first.version, first.observed_generation) == (1, "1", 1)
        plan = await seen.apply("a", team(tmp_path, TEAM.replace(old, new)))
        now = seen.reconciler.status(ADA)
        assert (now.generation, now.version, now.observed_generation) == (generation, version, generation)
        assert now.uid == first.uid
        assert plan.empty is (version == "1")
        others = {
            ref: seen.reconciler.status(ref).version for ref in (Ref("Skill", "brief"), Ref("Provider", "remote"))
        }
        assert set(others.values()) == {"1"}


async def test_files_that_a_spec_reads_change_the_version_only(opened: Open, tmp_path: Path) -> None:
    """Another text behind a manifest is a change of the object, and none of its spec."""
    (tmp_path / "tool.py").write_text('def f() -> str:\n    """Say."""\n    return "a"\n')
    tool = (
        "apiVersion: loomd.dev/v1\nkind: Tool\nmetadata: {name: f}\nspec: {type: python, file: tool.py, function: f}\n"
    )
    async with opened() as seen:
        await seen.apply("a", team(tmp_path, tool))
        (tmp_path / "tool.py").write_text('def f() -> str:\n    """Say."""\n    return "b"\n')
        await seen.apply("a", team(tmp_path, tool))
        now = seen.reconciler.status(Ref("Tool", "f"))
        assert (now.generation, now.version) == (1, "2")


async def test_a_new_object_of_an_old_name_is_another(opened: Open, tmp_path: Path) -> None:
    """Deleted and created again, an object has a new identity, begins with generation 1, and has another version."""
    async with opened() as seen:
        await seen.apply("a", team(tmp_path))
        await seen.apply("a", team(tmp_path, TEAM.replace("Does things.", "Does more.")))
        first = seen.reconciler.status(ADA)
        await seen.apply("a", team(tmp_path, TEAM[: TEAM.rindex("---")]))
        await seen.apply("a", team(tmp_path))
        now = seen.reconciler.status(ADA)
        assert now.uid != first.uid
        assert (now.generation, now.version) == (1, "4")
        assert now.version != first.version


async def test_identity_outlives_the_process(opened: Open, tmp_path: Path) -> None:
    """A new process knows the same objects, and the times at which their conditions changed."""
    clock = VirtualClock()
    async with opened(clock) as seen:
        await seen.apply("a", team(tmp_path))
        before = {ref: seen.reconciler.status(ref) for ref in seen.reconciler.topology.snapshot.objects}
    clock.advance(100)
    async with opened(clock) as seen:
        await seen.reconciler.restore()
        for ref, known in before.items():
            now = seen.reconciler.status(ref)
            assert msgspec.structs.asdict(condition(now, "Ready")) == msgspec.structs.asdict(condition(known, "Ready"))
            assert (now.uid, now.generation, now.version, now.created) == (
                known.uid,
                known.generation,
                known.version,
                known.created,
            )


async def test_what_changed_while_it_could_not_be_read_counts(opened: Open, tmp_path: Path) -> None:
    """A spec that changed while the stored set was unreadable is a new generation; what is gone is forgotten."""
    (tmp_path / "notes.md").write_text("# Notes\n\nText.\n")
    reads = (
        "---\napiVersion: loomd.dev/v1\nkind: Embedder\nmetadata: {name: e}\nspec: {type: hash}\n"
        "---\napiVersion: loomd.dev/v1\nkind: KnowledgeBase\nmetadata: {name: kb}\n"
        "spec: {sources: [{type: files, path: notes.md}], embedder: e}\n"
    )
    async with opened() as seen:
        await seen.apply("a", team(tmp_path, TEAM + reads))
        before = seen.reconciler.status(ADA)
    (tmp_path / "notes.md").unlink()
    async with opened() as seen:
        await seen.reconciler.restore()
        assert "notes.md" in seen.reconciler.last_error
        assert not seen.reconciler.topology.live
        await seen.apply("a", team(tmp_path, TEAM.replace("Does things.", "Does more.")))
        now = seen.reconciler.status(ADA)
        assert (now.uid, now.generation, now.version) == (before.uid, 2, "2")
        assert seen.reconciler.status(Ref("Skill", "brief")).generation == 1
        stored = {(one.kind, one.name) for one in await seen.services.store.objects()}
        assert stored == {("Agent", "ada"), ("Cluster", "default"), ("Provider", "remote"), ("Skill", "brief")}


async def test_two_owners(opened: Open, tmp_path: Path) -> None:
    """An object says which source declares it and who changed it last, of each change."""
    async with opened() as seen:
        await seen.apply("a", team(tmp_path), manager="ann")
        assert (seen.reconciler.status(ADA).source, seen.reconciler.status(ADA).manager) == ("a", "ann")
        await seen.apply("a", team(tmp_path, TEAM.replace("Does things.", "Does more.")), manager="ben")
        assert seen.reconciler.status(ADA).manager == "ben"
        assert seen.reconciler.status(Ref("Skill", "brief")).manager == "ann"
        cluster = seen.reconciler.status(Ref("Cluster", "default"))
        assert (cluster.source, cluster.manager) == ("(implicit)", "(implicit)")


async def test_conditions_have_six_fields(opened: Open, tmp_path: Path) -> None:
    """Exactly six, and at least what everybody asks for first."""
    async with opened() as seen:
        await seen.apply("a", team(tmp_path, REMOTE))
        status = seen.reconciler.status(Ref("Provider", "remote"))
        shown = msgspec.to_builtins(status.conditions)
        assert all(one.keys() == SIX for one in shown)
        assert [one["type"] for one in shown] == [
            "Ready",
            "Reconciling",
            "Stalled",
            "SchemaValid",
            "RefsResolved",
            "ProviderReachable",
        ]


async def test_a_condition_says_what_was_observed(opened: Open, tmp_path: Path) -> None:
    """A provider that does not answer is not ready, nor who needs it; the time moves only when the status flips."""
    clock = VirtualClock()
    async with opened(clock) as seen:
        await seen.apply("a", team(tmp_path, REMOTE))
        assert condition(seen.reconciler.status(ADA), "Ready").status == "True"
        began = condition(seen.reconciler.status(ADA), "Ready").last_transition_time
        clock.advance(10)
        fail(seen)
        clock.advance(10)
        seen_at = [seen.reconciler.status(ref) for ref in (Ref("Provider", "remote"), ADA, Ref("Cluster", "default"))]
        ready = [condition(one, "Ready") for one in seen_at]
        assert [one.status for one in ready] == ["False"] * 3
        assert [one.reason for one in ready] == ["Unreachable", "DependencyNotReady", "DependencyNotReady"]
        assert ready[0].message == "no route"
        assert ready[1].message == "Provider/remote not ready"
        (down,) = {one.last_transition_time for one in ready}
        assert down > began
        clock.advance(10)
        fail(seen, "still no route")
        assert condition(seen.reconciler.status(ADA), "Ready").last_transition_time == down
        assert condition(seen.reconciler.status(Ref("Provider", "remote")), "Ready").message == "still no route"
        clock.advance(10)
        work(seen)
        up = condition(seen.reconciler.status(ADA), "Ready")
        assert (up.status, up.reason) == ("True", "Serving")
        assert up.last_transition_time > down


async def test_a_refused_manifest_stalls_its_object(opened: Open, tmp_path: Path) -> None:
    """What serves stays ready; the object that is wrong in the newest manifest says so, and no other one."""
    async with opened() as seen:
        await seen.apply("a", team(tmp_path), type="directory")
        with pytest.raises(Problems):
            await seen.apply("a", team(tmp_path, TEAM.replace("description", "descriptoin")), type="directory")
        ada = seen.reconciler.status(ADA)
        assert [condition(ada, name).status for name in ("Ready", "Stalled", "SchemaValid")] == [
            "True",
            "True",
            "False",
        ]
        assert condition(ada, "Stalled").reason == "CandidateRefused"
        assert "descriptoin" in condition(ada, "Stalled").message
        assert condition(seen.reconciler.status(Ref("Skill", "brief")), "Stalled").status == "False"
        source = {one.type: one for one in seen.reconciler.source("a").conditions}
        assert (source["Ready"].status, source["Ready"].reason, source["Stalled"].status) == (
            "False",
            "Refused",
            "True",
        )
        await seen.apply("a", team(tmp_path), type="directory")
        assert condition(seen.reconciler.status(ADA), "Stalled").status == "False"
        assert {one.type: one.status for one in seen.reconciler.source("a").conditions}["Ready"] == "True"


async def test_a_git_source_that_nobody_follows_yet_has_delivered_nothing(opened: Open, tmp_path: Path) -> None:
    """Between the swap that brings it and the first look at it a git source is not ready."""
    text = "apiVersion: loomd.dev/v1\nkind: GitSource\nmetadata: {name: far}\nspec: {url: 'file:///nowhere'}\n"
    async with opened() as seen:
        await seen.apply("a", team(tmp_path, text))
        ready = condition(seen.reconciler.status(Ref("GitSource", "far")), "Ready")
        assert (ready.status, ready.reason) == ("Unknown", "NotApplied")


async def test_what_refers_to_nothing_waits(opened: Open, tmp_path: Path) -> None:
    """A reference to another source that may still come is no error; the object is not open and says why."""
    agent = "apiVersion: loomd.dev/v1\nkind: Agent\nmetadata: {name: bob}\nspec: {provider: later}\n"
    model = "apiVersion: loomd.dev/v1\nkind: Provider\nmetadata: {name: later}\nspec: {type: scripted, replies: []}\n"
    async with opened() as seen:
        await seen.apply("a", team(tmp_path))
        await seen.apply("b", team(tmp_path, agent))
        bob = seen.reconciler.status(Ref("Agent", "bob"))
        assert {one.type: one.status for one in bob.conditions} == {
            "Ready": "False",
            "Reconciling": "False",
            "Stalled": "True",
            "SchemaValid": "True",
            "RefsResolved": "False",
        }
        assert condition(bob, "RefsResolved").reason == "RefsUnresolved"
        await seen.apply("c", team(tmp_path, model))
        bob = seen.reconciler.status(Ref("Agent", "bob"))
        assert (condition(bob, "Ready").status, condition(bob, "RefsResolved").status) == ("True", "True")


async def test_what_is_being_applied_says_so(opened: Open, tmp_path: Path) -> None:
    """While another version opens, the object and its source are reconciling; then they are not."""
    (tmp_path / "tool.py").write_text('def f() -> str:\n    """Say."""\n    return "a"\n')
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    (tmp_path / "slow.py").write_text(f"with open(r'{gate}') as gate: gate.read()\n\ndef f() -> str:\n    return 'b'\n")
    tool = (
        "apiVersion: loomd.dev/v1\nkind: Tool\nmetadata: {name: f}\n"
        "spec: {type: python, file: tool.py, function: f, description: d}\n"
    )
    ref = Ref("Tool", "f")
    async with opened() as seen:
        await seen.apply("a", team(tmp_path, tool))
        applying = asyncio.ensure_future(seen.apply("a", team(tmp_path, tool.replace("tool.py", "slow.py"))))
        writer = await asyncio.to_thread(os.open, gate, os.O_WRONLY)  # until the tool's file is being run
        during = condition(seen.reconciler.status(ref), "Reconciling")
        source = {one.type: one for one in seen.reconciler.source("a").conditions}
        os.close(writer)
        await applying
        assert (during.status, during.reason) == ("True", "Progressing")
        assert (source["Reconciling"].status, source["Reconciling"].reason) == ("True", "Progressing")
        assert condition(seen.reconciler.status(ref), "Reconciling").status == "False"
        after = {one.type: one for one in seen.reconciler.source("a").conditions}
        assert after["Reconciling"].status == "False"


@pytest.mark.parametrize(
    "name",
    ["Ada", "ada_1", "\u0430da", "ada\u200b", "-ada", "ada-", "a" * 64, "ada.b", "ada/b", "../ada", ""],
    ids=[
        "capital",
        "underscore",
        "cyrillic",
        "invisible",
        "hyphen-first",
        "hyphen-last",
        "long",
        "dot",
        "slash",
        "up",
        "none",
    ],
)
async def test_names_that_could_be_taken_for_others_are_refused(opened: Open, tmp_path: Path, name: str) -> None:
    """A name has lower-case letters, digits and hyphens only, so that no two look alike and none is a path."""
    async with opened() as seen:
        with pytest.raises(Problems, match=r"/metadata/name|metadata\.name"):
            await seen.apply("a", team(tmp_path, TEAM.replace("{name: ada}", f'{{name: "{name}"}}')))
        assert seen.reconciler.number == 0
        assert seen.reconciler.sources() == []


async def test_a_name_is_taken_once(opened: Open, tmp_path: Path) -> None:
    """The same name twice in a source is told at both places; in another namespace or kind it is another object."""
    twice = TEAM + TEAM[TEAM.rindex("---") :]
    async with opened() as seen:
        with pytest.raises(Problems, match=r"already defined at .*team\.yaml:14"):
            await seen.apply("a", team(tmp_path, twice))
        lab = TEAM.replace("metadata: {", "metadata: {namespace: lab, ")
        await seen.apply("a", team(tmp_path, f"{TEAM}---{lab}"))
        here, there = seen.reconciler.status(ADA), seen.reconciler.status(Ref("Agent", "ada", "lab"))
        assert here.uid != there.uid


@pytest.mark.parametrize("open_", [True, False], ids=["open", "first-is-not"])
async def test_a_long_chain(opened: Open, tmp_path: Path, *, open_: bool) -> None:
    """Of 1,000 objects that each need the one before, the last knows what became of the first."""
    async with opened() as seen:
        await seen.apply("a", team(tmp_path))
        one = seen.reconciler.topology.snapshot.objects[Ref("Skill", "brief")]
    refs = [Ref("Skill", f"s{at}") for at in range(1_000)]
    needs = [(), *((("/spec/needs", ref),) for ref in refs[:-1])]
    objects = [replace(one, ref=ref, refs=to) for ref, to in zip(refs, needs, strict=True)]
    topology = Topology(Snapshot.of(objects))
    topology.live = dict.fromkeys(refs if open_ else refs[1:], one)
    statuses = Statuses()
    statuses.adopt(topology.snapshot, {}, 1, 0.0)
    ready = condition(statuses.get(refs[-1], topology, (), 0.0), "Ready")
    assert (ready.status, ready.reason) == (("True", "Serving") if open_ else ("False", "DependencyNotReady"))
    created = Advance(tuple(statuses.known.records.values()), ())
    _, known = statuses.observed(created, topology, 0.0)
    assert {one.status for ref in refs[1:] for one in known.conditions[ref] if one.type == "Ready"} == {ready.status}
