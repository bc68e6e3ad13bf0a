"""Applying files: all or nothing, kept on disk, restored at the start."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loomd.errors import Conflict, Temporary, Unauthorized
from loomd.events.event import ConfigLoaded, ConfigRejected
from loomd.manifest.object import Ref
from loomd.manifest.problem import Problems
from loomd.manifest.source import SourceFile
from loomd.providers.scripted import Scripted
from tests.reconcile.conftest import Open

Make = Callable[..., SourceFile]

READERS = b"""
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: greet}
spec: {type: python, file: tool.py, function: greet, description: Greets.}
---
apiVersion: loomd.dev/v1
kind: Embedder
metadata: {name: hash}
spec: {type: hash}
---
apiVersion: loomd.dev/v1
kind: KnowledgeBase
metadata: {name: notes}
spec:
  sources: [{type: files, path: notes.md}]
  embedder: hash
"""
NO_KEY = b"""
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: keyless}
spec: {type: openai, model: gpt-x, apiKey: {valueFrom: {env: LOOMD_TEST_NO_SUCH_KEY}}}
"""


async def test_files_become_live_objects(opened: Open, provider: Make) -> None:
    """What is declared is open, under a new revision, and the change is told."""
    async with opened() as seen:
        plan = await seen.apply("a", [provider("one")])
        assert [str(change) for change in plan.changes] == ["Provider/one created"]
        assert seen.reconciler.revision == plan.after.revision
        assert (seen.reconciler.number, plan.after.number, plan.before.number) == (1, 1, 0)
        assert Ref("Provider", "one") in seen.reconciler.topology.live
        assert seen.events[0].data == ConfigLoaded("a", ("Provider/one created",), 1, plan.after.revision, "apply")


async def test_the_same_files_change_nothing(opened: Open, provider: Make) -> None:
    """A second apply of the same files reloads nothing and tells nothing; a comment is only kept."""
    async with opened() as seen:
        await seen.apply("a", [provider("one")])
        before = seen.reconciler.topology
        file = provider("one")
        commented = SourceFile(file.root, file.path, b"# why\n" + file.data)
        assert not (await seen.apply("a", [file])).effective
        assert not (await seen.apply("a", [commented])).effective
        assert seen.reconciler.topology is before
        assert seen.types == ["config.loaded"]
        assert (await seen.stored())[0].data.startswith(b"# why")


async def test_only_what_changed_is_opened_anew(opened: Open, provider: Make) -> None:
    """Unchanged objects are the same live things before and after."""
    async with opened() as seen:
        await seen.apply("a", [provider("one"), provider("two")])
        before = dict(seen.reconciler.topology.live)
        await seen.apply("a", [provider("one"), provider("two", "no")])
        after = seen.reconciler.topology.live
        assert after[Ref("Provider", "one")] is before[Ref("Provider", "one")]
        assert after[Ref("Provider", "two")] is not before[Ref("Provider", "two")]


async def test_a_changed_file_that_a_spec_reads_opens_it_anew(opened: Open, tmp_path: Path) -> None:
    """The same manifest with another tool file behind it is another revision; so is a changed document."""
    (tmp_path / "tool.py").write_text("def greet() -> str:\n    return 'hello'\n")
    (tmp_path / "notes.md").write_text("# Notes\n\nThe first text.\n")
    file = SourceFile(tmp_path, "all.yaml", READERS)
    async with opened() as seen:
        await seen.apply("a", [file])
        tool: Any = seen.reconciler.topology.live[Ref("Tool", "greet")]
        assert await tool.call({}) == "hello"
        (tmp_path / "tool.py").write_text("def greet() -> str:\n    return 'good morning'\n")
        (tmp_path / "notes.md").write_text("# Notes\n\nThe second text.\n")
        plan = await seen.apply("a", [file])
        assert [change.ref.kind for change in plan.effective] == ["KnowledgeBase", "Tool"]
        await seen.reconciler.topology.settled()
        live: Any = seen.reconciler.topology.live
        assert await live[Ref("Tool", "greet")].call({}) == "good morning"
        assert "second" in (await live[Ref("KnowledgeBase", "notes")].search("text"))[0].text


async def test_sources_stand_side_by_side(opened: Open, provider: Make) -> None:
    """Applying one source leaves the objects of others alone."""
    async with opened() as seen:
        await seen.apply("a", [provider("one")])
        await seen.apply("b", [provider("two")])
        await seen.apply("a", [])
        assert set(seen.reconciler.topology.live) == {Ref("Provider", "two")}


async def test_without_pruning_nothing_is_deleted(opened: Open, provider: Make) -> None:
    """What a source declared before and its new files leave out is kept as it was, also by the next process."""
    async with opened() as seen:
        await seen.apply("-", [provider("one", "caf\u00e9 \u2028 \x85 1e3 \U0001f600", path="-")], prune=False)
        before = seen.reconciler.topology.live[Ref("Provider", "one")]
        plan = await seen.apply("-", [provider("two", path="-")], prune=False)
        assert [str(change) for change in plan.effective] == ["Provider/two created"]
        await seen.apply("-", [provider("three", path="-")], prune=False)
        assert seen.reconciler.topology.live[Ref("Provider", "one")] is before
        revision = seen.reconciler.revision
    async with opened() as seen:
        await seen.reconciler.restore()
        assert seen.reconciler.revision == revision
        plan = await seen.apply("-", [provider("one", "no", path="-")], prune=False)
        assert [str(change) for change in plan.effective] == ["Provider/one changed: spec.replies"]
        assert len(seen.reconciler.topology.live) == 3
        plan = await seen.apply("-", [provider("two", path="-")])
        assert {str(change) for change in plan.effective} == {"Provider/one deleted", "Provider/three deleted"}


async def test_an_object_moves_between_the_files_of_a_source(opened: Open, provider: Make) -> None:
    """Declared in another file of the source, or again after it was kept, an object is the same and there once."""
    async with opened() as seen:
        await seen.apply("a", [provider("one", path="x.yaml"), provider("two")], prune=False)
        before = seen.reconciler.topology
        for files in ([provider("one", path="y.yaml")], [], [provider("one", path="x.yaml")]):
            assert not (await seen.apply("a", files, prune=False)).effective
        assert seen.reconciler.topology is before
        assert len(await seen.stored()) == 2


async def test_what_is_kept_may_be_referred_to(opened: Open, provider: Make) -> None:
    """New files may name what was applied before; a document of which a part is declared again loses only that."""
    agent = b"apiVersion: loomd.dev/v1\nkind: Agent\nmetadata: {name: ada, labels: {a: b}}\nspec: {provider: one}\n"
    async with opened() as seen:
        both = SourceFile(provider("one").root, "-", provider("one").data + b"---\n" + provider("two").data)
        await seen.apply("-", [both], prune=False)
        plan = await seen.apply("-", [SourceFile(both.root, "-", agent)], prune=False)
        assert {change.action for change in plan.effective} == {"created"}
        plan = await seen.apply("-", [provider("two", "no", path="-")], prune=False)
        assert [str(change) for change in plan.effective] == ["Provider/two changed: spec.replies"]
        plan = await seen.apply("-", [SourceFile(both.root, "-", agent)], dry_run=True, prune=False)
        assert not plan.effective


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (b"kind: [", Problems, "broken.yaml"),
        (b"apiVersion: loomd.dev/v1\nkind: Provider\nmetadata: {name: x}\nspec: {type: nope}\n", Problems, "nope"),
        (NO_KEY, Unauthorized, "LOOMD_TEST_NO_SUCH_KEY"),
    ],
    ids=["syntax", "type", "open-fails"],
)
async def test_a_broken_candidate_leaves_no_trace(
    opened: Open, provider: Make, tmp_path: Path, data: bytes, error: type[Exception], says: str
) -> None:
    """What served goes on, nothing is kept of the candidate, and its problems are told until it is mended."""
    async with opened() as seen:
        reconciler = seen.reconciler
        await seen.apply("a", [provider("one")], type="directory")
        before, live, stored = reconciler.topology, dict(reconciler.topology.live), await seen.stored()
        with pytest.raises(error, match=says):
            await seen.apply("a", [provider("one", "no"), SourceFile(tmp_path, "broken.yaml", data)], type="directory")
        assert reconciler.topology is before
        assert dict(before.live) == live
        assert await seen.stored() == stored
        assert says in reconciler.last_error
        assert isinstance(seen.events[-1].data, ConfigRejected)
        await seen.apply("a", [provider("one")], type="directory")
        assert reconciler.last_error == ""


async def test_a_full_disk_refuses_the_change(opened: Open, provider: Make) -> None:
    """When the new set cannot be kept it does not serve either, and what was opened for it is closed."""
    async with opened() as seen:
        await seen.apply("a", [provider("one")])
        before = seen.reconciler.topology
        store: Any = seen.services.store
        db = store._db
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(Temporary, match="full"):
            await seen.apply("a", [provider("one", "no" * 500_000)])
        db.execute("PRAGMA max_page_count = 1000000")
        assert seen.reconciler.topology is before
        await seen.apply("a", [provider("one", "no")])


async def test_a_full_disk_suspends_nothing(opened: Open, provider: Make) -> None:
    """A source is suspended, or resumed, once that is on disk, and otherwise as it was."""
    async with opened() as seen:
        await seen.apply("/a", [provider("one")], type="directory")
        store: Any = seen.services.store
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(Temporary, match="full"):
            await seen.reconciler.suspend("/a", "why" * 500_000)
        assert not seen.reconciler.source("/a").suspended
        store._db.execute("PRAGMA max_page_count = 1000000")
        await seen.reconciler.suspend("/a", "why")
        assert seen.reconciler.source("/a").suspended


async def test_what_is_followed_is_not_changed_by_hand(opened: Open, provider: Make) -> None:
    """Applying under the name of a source that is followed changes nothing; the same files are no change."""
    async with opened() as seen:
        await seen.apply("/a", [provider("one"), provider("two")], type="directory", revision="r1")
        assert (await seen.apply("/a", [provider("one"), provider("two")])).empty
        for files, prune in (([provider("one")], True), ([provider("one", "other")], False)):
            with pytest.raises(Conflict, match="/a is followed and delivers by itself: `loomd reconcile /a`"):
                await seen.apply("/a", files, prune=prune)
        assert {ref.name for ref in seen.reconciler.topology.live} == {"one", "two"}
        assert seen.reconciler.source("/a").last_applied_revision == "r1"
        await seen.reconciler.suspend("/a")
        await seen.apply("/a", [provider("one", "other"), provider("two")])


async def test_a_dry_run_changes_nothing(opened: Open, provider: Make) -> None:
    """A dry run says what would change; a broken one is not recorded as a refusal."""
    async with opened() as seen:
        plan = await seen.apply("a", [provider("one")], dry_run=True)
        assert [change.action for change in plan.changes] == ["created"]
        with pytest.raises(Problems):
            await seen.apply("a", [SourceFile(Path("/r"), "x.yaml", b"kind: [")], dry_run=True)
        assert seen.events == []
        assert seen.reconciler.last_error == ""
        assert not seen.reconciler.topology.live
        assert await seen.stored() == []


async def test_the_last_good_set_is_restored(opened: Open, provider: Make) -> None:
    """A new process serves what the old one did, without its sources."""
    async with opened() as seen:
        await seen.apply("a", [provider("one")])
        revision = seen.reconciler.revision
    async with opened() as seen:
        await seen.reconciler.restore()
        assert seen.reconciler.revision == revision
        assert Ref("Provider", "one") in seen.reconciler.topology.live
        assert not (await seen.apply("a", [provider("one")])).effective


async def test_what_cannot_be_restored_is_told(
    opened: Open, provider: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the last good set does not open any more the daemon starts, says so, and takes a mended one."""
    monkeypatch.setenv("LOOMD_TEST_NO_SUCH_KEY", "k")
    async with opened() as seen:
        await seen.apply("a", [SourceFile(tmp_path, "k.yaml", NO_KEY)])
    monkeypatch.delenv("LOOMD_TEST_NO_SUCH_KEY")
    async with opened() as seen:
        await seen.reconciler.restore()
        assert "LOOMD_TEST_NO_SUCH_KEY" in seen.reconciler.last_error
        await seen.apply("a", [provider("one")])
        assert seen.reconciler.last_error == ""


async def test_a_leased_topology_outlives_its_successor(opened: Open, provider: Make) -> None:
    """A task that runs keeps the things that it started with, until it ends."""
    async with opened() as seen:
        await seen.apply("a", [provider("one")])
        old = seen.reconciler.topology
        async with old.lease():
            await seen.apply("a", [provider("one", "no")])
            assert Ref("Provider", "one") in old.live
        assert not old.live
        assert isinstance(seen.reconciler.topology.snapshot.objects[Ref("Provider", "one")].spec, Scripted)
