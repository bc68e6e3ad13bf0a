"""The history of what served: numbers, causes, the way back, and who may change what."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from loomd.errors import Conflict, NotFound, Permanent, Stale
from loomd.events.event import ConfigLoaded, ConfigRolledBack, SourceResumed, SourceSuspended
from loomd.manifest.delivery import Delivery
from loomd.manifest.object import Ref
from loomd.manifest.problem import Problems
from loomd.manifest.source import SourceFile
from loomd.reconcile.keep import PRUNE
from loomd.reconcile.reconciler import Bounds
from tests.reconcile.conftest import Make, Open, Seen

ONE, TWO = Ref("Provider", "one"), Ref("Provider", "two")
AGENT = "apiVersion: loomd.dev/v1\nkind: Agent\nmetadata: {name: ada}\nspec: {provider: one}\n"


def text_of(seen: Seen, ref: Ref = ONE) -> str:
    """Return what a scripted provider answers."""
    return str(seen.reconciler.topology.snapshot.objects[ref].spec.replies[0].text)


async def test_every_change_is_an_entry(opened: Open, provider: Make) -> None:
    """A revision has a number that counts up, a digest, a cause, a source, and what it changed; nothing else has."""
    async with opened() as seen:
        await seen.apply("a", [provider("one")])
        await seen.apply("a", [provider("one")])
        await seen.apply("/b", [provider("two")], type="directory", revision="r1")
        await seen.reconciler.delete([ONE])
        records = await seen.reconciler.history()
        assert [(one.number, one.cause, one.source, one.changes) for one in records] == [
            (3, "delete", "a", ("Provider/one deleted",)),
            (2, "sync", "/b", ("Provider/two created",)),
            (1, "apply", "a", ("Provider/one created",)),
        ]
        assert records[0].revision == seen.reconciler.revision
        assert (await seen.reconciler.recorded(2)) == records[1]
        with pytest.raises(NotFound, match="no revision 9: kept are 1 to 3"):
            await seen.reconciler.recorded(9)


async def test_only_so_many_are_kept(opened: Open, provider: Make) -> None:
    """Older revisions leave with the bytes that only they hold; numbers are never used again."""
    async with opened(bounds=Bounds(history=3)) as seen:
        for number in range(6):
            await seen.apply("a", [provider("one", f"text {number}"), provider("two")])
        assert [one.number for one in await seen.reconciler.history()] == [6, 5, 4]
        assert [len(await seen.services.store.files(number)) for number in (3, 4, 6)] == [1, 2, 2]
        with pytest.raises(NotFound, match="kept are 4 to 6"):
            await seen.reconciler.undo(3)
        await seen.reconciler.undo(4)
        assert text_of(seen) == "text 3"
        assert seen.reconciler.number == 7


async def test_undo_goes_back_and_again_forth(opened: Open, provider: Make) -> None:
    """Undo makes the revision before serve, as a new one; undone once more, the change is there again."""
    async with opened() as seen:
        await seen.apply("a", [provider("one", "first")])
        await seen.apply("a", [provider("one", "second")])
        plan = await seen.reconciler.undo()
        assert (text_of(seen), plan.after.number, plan.suspends) == ("first", 3, ())
        assert isinstance(seen.events[-1].data, ConfigRolledBack)
        await seen.reconciler.undo()
        assert (text_of(seen), seen.reconciler.number) == ("second", 4)
        assert [one.cause for one in await seen.reconciler.history()] == ["undo", "undo", "apply", "apply"]


async def test_undo_takes_a_label_back(opened: Open, tmp_path: Path, provider: Make) -> None:
    """A change that alters no behaviour is a revision like any other, and undone as one."""
    plain = provider("one")
    labelled = SourceFile(tmp_path, plain.path, plain.data.replace(b"{name: one}", b"{name: one, labels: {a: b}}"))
    async with opened() as seen:
        await seen.apply("a", [plain])
        before = seen.reconciler.topology.live[ONE]
        await seen.apply("a", [labelled])
        assert seen.reconciler.topology.snapshot.objects[ONE].metadata.labels == {"a": "b"}
        await seen.reconciler.undo()
        assert seen.reconciler.topology.snapshot.objects[ONE].metadata.labels == {}
        assert seen.reconciler.topology.live[ONE] is before


async def test_undo_brings_back_what_was_deleted(opened: Open, provider: Make) -> None:
    """What a revision declared is there again, all of it, as new objects where it was deleted."""
    async with opened() as seen:
        await seen.apply("a", [provider("one"), provider("two")])
        uid = seen.reconciler.status(TWO).uid
        await seen.apply("a", [provider("one")])
        await seen.reconciler.undo(1)
        assert set(seen.reconciler.topology.live) == {ONE, TWO}
        assert seen.reconciler.status(TWO).uid != uid


async def test_undo_needs_something_before(opened: Open, provider: Make) -> None:
    """Without an earlier revision there is nothing to go back to."""
    async with opened() as seen:
        with pytest.raises(NotFound, match="no earlier revision: nothing was applied yet"):
            await seen.reconciler.undo()
        await seen.apply("a", [provider("one")])
        with pytest.raises(NotFound, match="no earlier revision: kept are 1 to 1"):
            await seen.reconciler.undo()


async def test_undo_suspends_who_would_undo_it(opened: Open, provider: Make) -> None:
    """A followed source whose files differ is suspended, with a reason, also for the next process; others are not."""
    async with opened() as seen:
        await seen.apply("/a", [provider("one", "first")], type="directory", revision="r1")
        await seen.apply("/b", [provider("two")], type="directory", revision="x1")
        await seen.apply("/a", [provider("one", "second")], type="directory", revision="r2")
        dry = await seen.reconciler.undo(dry_run=True)
        assert (dry.suspends, text_of(seen), seen.reconciler.source("/a").suspended) == (("/a",), "second", False)
        plan = await seen.reconciler.undo()
        assert (plan.suspends, text_of(seen)) == (("/a",), "first")
        assert [type(event.data) for event in seen.events[-3:]] == [ConfigLoaded, SourceSuspended, ConfigRolledBack]
        assert seen.reconciler.suspended("/a", "r2")
        with pytest.raises(Conflict, match="/a is suspended: loomd resume /a"):
            await seen.apply("/a", [provider("one", "second")], type="directory", revision="r2")
    async with opened() as seen:
        await seen.reconciler.restore()
        state = seen.reconciler.source("/a")
        assert (state.suspended, state.reason, text_of(seen)) == (True, "rolled back to revision 2", "first")
        ready = {one.type: one for one in state.conditions}
        assert (ready["Ready"].reason, ready["Suspended"].status) == ("RolledBack", "True")
        assert not seen.reconciler.source("/b").suspended
        assert seen.reconciler.suspended("/a", "r2")
        assert not seen.reconciler.suspended("/a", "r3")
        await seen.apply("/a", [provider("one", "third")], type="directory", revision="r3")
        assert (text_of(seen), seen.reconciler.source("/a").suspended) == ("third", False)
        assert isinstance(seen.events[-1].data, SourceResumed)


async def test_a_newer_revision_that_is_refused_resumes_nothing(opened: Open, provider: Make) -> None:
    """Only what can serve ends the suspension."""
    broken = SourceFile(provider("one").root, "one.yaml", b"kind: [")
    async with opened() as seen:
        await seen.apply("/a", [provider("one", "first")], type="directory", revision="r1")
        await seen.apply("/a", [provider("one", "second")], type="directory", revision="r2")
        await seen.reconciler.undo()
        with pytest.raises(Problems):
            await seen.apply("/a", [broken], type="directory", revision="r3")
        assert seen.reconciler.source("/a").suspended
        assert text_of(seen) == "first"


async def test_suspended_by_hand_stays_so(opened: Open, provider: Make) -> None:
    """What a person suspended takes nothing, whatever revision comes, until a person resumes it."""
    async with opened() as seen:
        await seen.apply("/a", [provider("one", "first")], type="directory", revision="r1")
        await seen.reconciler.suspend("/a", "holiday")
        assert seen.reconciler.suspended("/a", "r9")
        with pytest.raises(Conflict, match="suspended"):
            await seen.apply("/a", [provider("one", "second")], type="directory", revision="r9")
        assert seen.reconciler.rejected == {}
        await seen.reconciler.resume("/a")
        await seen.apply("/a", [provider("one", "second")], type="directory", revision="r9")
        assert text_of(seen) == "second"
        with pytest.raises(NotFound, match="no source"):
            await seen.reconciler.suspend("/x")


async def test_an_undo_that_cannot_serve_changes_nothing(
    opened: Open, provider: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a file that the revision names is gone and was too large to keep, what serves serves on."""
    monkeypatch.setattr("loomd.manifest.files.MAX_KEPT", 10)
    (tmp_path / "tool.py").write_text('def f() -> str:\n    """Say."""\n    return "a"\n')
    tool = (
        b"apiVersion: loomd.dev/v1\nkind: Tool\nmetadata: {name: f}\nspec: {type: python, file: tool.py, function: f}\n"
    )
    async with opened() as seen:
        await seen.apply("/a", [SourceFile(tmp_path, "t.yaml", tool)], type="directory", revision="r1")
        await seen.apply("/a", [provider("one")], type="directory", revision="r2")
        (tmp_path / "tool.py").unlink()
        before = seen.reconciler.topology
        with pytest.raises(Problems, match=r"tool\.py"):
            await seen.reconciler.undo()
        assert seen.reconciler.topology is before
        assert not seen.reconciler.source("/a").suspended


async def test_undo_says_when_it_is_not_quite_the_same(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large files that manifests name are not in the history: when they changed meanwhile, that is a warning."""
    monkeypatch.setattr("loomd.manifest.files.MAX_KEPT", 10)
    path = tmp_path / "tool.py"
    path.write_text('def f() -> str:\n    """Say."""\n    return "a"\n')
    tool = (
        b"apiVersion: loomd.dev/v1\nkind: Tool\nmetadata: {name: f}\nspec: {type: python, file: tool.py, function: f}\n"
    )
    async with opened() as seen:
        await seen.apply("a", [SourceFile(tmp_path, "t.yaml", tool)])
        path.write_text('def f() -> str:\n    """Say."""\n    return "b"\n')
        await seen.apply(
            "a", [SourceFile(tmp_path, "t.yaml", tool.replace(b"function: f", b"function: f, threads: 2"))]
        )
        plan = await seen.reconciler.undo()
        assert [problem.code for problem in plan.warnings] == ["changed-since"]


# Who may change what


async def test_one_of_fifty_wins(opened: Open, provider: Make) -> None:
    """Of many who change the same revision at once one is first; all others are told to look again."""
    async with opened() as seen:
        await seen.apply("a", [provider("one")])

        async def change(number: int) -> bool:
            try:
                await seen.apply("a", [provider("one", f"text {number}")], expected=1)
            except Stale:
                return False
            return True

        won = await asyncio.gather(*(change(number) for number in range(50)))
        assert won.count(True) == 1
        assert text_of(seen) == f"text {won.index(True)}"
        assert seen.reconciler.number == 2
        assert seen.reconciler.live == 1
        with pytest.raises(Stale, match="expected revision 1, revision 2 serves: look at it again"):
            await seen.apply("a", [provider("one")], expected=1)


async def test_one_of_fifty_edits_wins(opened: Open, provider: Make) -> None:
    """Of many who change the same version of an object at once one is first; all others conflict."""
    async with opened() as seen:
        await seen.apply("a", [provider("one")])
        version = seen.reconciler.status(ONE).version

        async def change(number: int) -> bool:
            try:
                await seen.reconciler.replace(provider("one", f"text {number}"), {ONE: version}, "ann")
            except Conflict:
                return False
            return True

        won = await asyncio.gather(*(change(number) for number in range(50)))
        assert won.count(True) == 1
        assert seen.reconciler.status(ONE).generation == 2
        assert seen.reconciler.status(ONE).manager == "ann"
        with pytest.raises(Conflict, match="changed since: expected version 1, it has 2: read it again"):
            await seen.reconciler.replace(provider("one"), {ONE: version})


async def test_fifty_without_a_version_all_happen(opened: Open, provider: Make) -> None:
    """Who does not say what was seen is served in turn; the last one stays, and every number is used once."""
    async with opened() as seen:
        plans = await asyncio.gather(*(seen.apply("a", [provider("one", f"text {n}")]) for n in range(50)))
        assert sorted(plan.after.number or 0 for plan in plans) == list(range(1, 51))
        assert seen.reconciler.status(ONE).generation == 50
        assert text_of(seen) == "text 49"
        assert [one.number for one in await seen.reconciler.history()] == list(range(50, 0, -1))


async def test_a_deleted_version_conflicts(opened: Open, provider: Make) -> None:
    """A delete of a version that is not there any more does nothing."""
    async with opened() as seen:
        await seen.apply("a", [provider("one")])
        await seen.apply("a", [provider("one", "new")])
        with pytest.raises(Conflict, match="expected version 1, it has 2"):
            await seen.reconciler.delete([ONE], {ONE: "1"})
        await seen.reconciler.delete([ONE], {ONE: "2"})
        with pytest.raises(NotFound, match="no Provider 'one'"):
            await seen.reconciler.delete([ONE], {ONE: "2"})


async def test_what_others_need_is_not_deleted(opened: Open, provider: Make, tmp_path: Path) -> None:
    """A delete names who refers to it, and so does a source that declares it no more."""
    async with opened() as seen:
        await seen.apply("a", [provider("one")])
        await seen.apply("b", [SourceFile(tmp_path, "agent.yaml", AGENT.encode())])
        with pytest.raises(Problems, match="Agent/ada"):
            await seen.reconciler.delete([ONE])
        with pytest.raises(Problems, match="Agent/ada"):
            await seen.apply("a", [])
        await seen.reconciler.delete([ONE, Ref("Agent", "ada")])
        assert not seen.reconciler.topology.live


@pytest.mark.parametrize(
    "terms",
    [
        pytest.param({"type": "apply", "prune": True}, id="apply"),
        pytest.param({"type": "apply", "prune": True, "force": True}, id="force"),
        pytest.param({"type": "directory", "allow_empty": True}, id="directory"),
        pytest.param({"type": "git", "allow_empty": True}, id="git"),
    ],
)
async def test_no_source_prunes_what_another_needs(
    opened: Open, provider: Make, tmp_path: Path, terms: dict[str, Any]
) -> None:
    """Every referrer is told at its reference, whatever delivers and however; nothing else of it takes effect."""
    agents = f"{AGENT}---\n{AGENT.replace('name: ada', 'name: bob')}"
    async with opened() as seen:
        await seen.apply("a", [provider("one"), provider("two")], **terms)
        await seen.apply("b", [SourceFile(tmp_path, "agents.yaml", agents.encode())])
        before = seen.reconciler.topology
        with pytest.raises(Problems) as caught:
            await seen.apply("a", [provider("two", "new")], **terms)
        told = [(one.code, one.object, one.position.file) for one in caught.value.problems]
        file = f"{tmp_path}/agents.yaml"
        assert told == [("still-referenced", "Agent/ada", file), ("still-referenced", "Agent/bob", file)]
        assert seen.reconciler.topology is before
        with pytest.raises(Problems, match="cannot be deleted"):
            await seen.apply("a", [], **terms)
        await seen.apply("b", [], prune=True)
        await seen.apply("a", [provider("two", "new")], **terms)
        assert ONE not in seen.reconciler.topology.snapshot.objects


async def test_the_last_that_is_selected_is_not_deleted(opened: Open, provider: Make, tmp_path: Path) -> None:
    """A selector loses one after the other, but not all: the refusal is told at the selector."""
    cluster = "apiVersion: loomd.dev/v1\nkind: Cluster\nmetadata: {name: all}\nspec: {agentSelector: {}}\n"
    agents = f"{AGENT}---\n{AGENT.replace('name: ada', 'name: bob')}"
    async with opened() as seen:
        await seen.apply("a", [provider("one"), SourceFile(tmp_path, "agents.yaml", agents.encode())])
        await seen.apply("b", [SourceFile(tmp_path, "cluster.yaml", cluster.encode())])
        await seen.reconciler.delete([Ref("Agent", "ada")])
        with pytest.raises(Problems, match=r"cluster\.yaml:4:\d+: Cluster/all spec\.agentSelector: no Agent"):
            await seen.reconciler.delete([Ref("Agent", "bob")])
        assert Ref("Agent", "bob") in seen.reconciler.topology.snapshot.objects


async def test_what_is_followed_is_changed_there(opened: Open, provider: Make) -> None:
    """Nobody edits or deletes by hand what a followed source declares, until that is suspended."""
    async with opened() as seen:
        await seen.apply("/a", [provider("one")], type="directory", revision="r1")
        for act in (seen.reconciler.delete([ONE]), seen.reconciler.replace(provider("one", "new"))):
            with pytest.raises(Conflict, match=r"declared at .*one\.yaml:2:1, which is followed"):
                await act
        await seen.reconciler.suspend("/a")
        await seen.reconciler.replace(provider("one", "new"))
        assert text_of(seen) == "new"


async def test_one_object_has_one_source(opened: Open, provider: Make) -> None:
    """A second source that declares it is refused, and may take it over by force from who is not followed."""
    async with opened() as seen:
        await seen.apply("a", [provider("one"), provider("two")])
        with pytest.raises(Conflict, match="Provider/one is declared by a: change it there, or take it over"):
            await seen.apply("b", [provider("one", "mine")])
        assert [state.name for state in seen.reconciler.sources()] == ["a"]
        await seen.apply("b", [provider("one", "mine")], force=True)
        assert (text_of(seen), seen.reconciler.status(ONE).source) == ("mine", "b")
        assert seen.reconciler.source("a").inventory == ("Provider/default/two",)
        assert seen.reconciler.source("b").inventory == ("Provider/default/one",)
        await seen.apply("a", [provider("two")])
        assert set(seen.reconciler.topology.live) == {ONE, TWO}


async def test_the_same_object_may_change_its_owner_only(opened: Open, provider: Make) -> None:
    """Taken over as it is, an object is the same live thing with another owner."""
    async with opened() as seen:
        await seen.apply("a", [provider("one")])
        before = seen.reconciler.topology.live[ONE]
        await seen.apply("b", [provider("one")], force=True)
        assert seen.reconciler.topology.live[ONE] is before
        assert seen.reconciler.status(ONE).source == "b"
    async with opened() as seen:
        await seen.reconciler.restore()
        assert seen.reconciler.status(ONE).source == "b"
        assert seen.reconciler.files("a") == ()


async def test_a_followed_source_is_not_robbed(opened: Open, provider: Make) -> None:
    """Not even force takes over what a folder declares."""
    async with opened() as seen:
        await seen.apply("/a", [provider("one")], type="directory", revision="r1")
        with pytest.raises(Conflict, match="suspend it first"):
            await seen.apply("b", [provider("one", "mine")], force=True)


async def test_what_asks_to_stay_stays(opened: Open, provider: Make, tmp_path: Path) -> None:
    """An object that is annotated is kept when its source declares it no more; it goes when it is deleted by name."""
    kept = provider("one").data.replace(b"{name: one}", f"{{name: one, annotations: {{{PRUNE}: disabled}}}}".encode())
    async with opened() as seen:
        files = [SourceFile(tmp_path, "one.yaml", kept), provider("two")]
        await seen.apply("/a", files, type="directory", revision="r1")
        await seen.apply("/a", [provider("two")], type="directory", revision="r2")
        assert set(seen.reconciler.topology.live) == {ONE, TWO}
        await seen.reconciler.suspend("/a")
        await seen.reconciler.delete([ONE])
        assert set(seen.reconciler.topology.live) == {TWO}


async def test_nothing_is_deleted_by_an_empty_delivery(opened: Open, provider: Make) -> None:
    """A followed source that is suddenly empty is refused, unless that is allowed."""
    async with opened() as seen:
        await seen.apply("/a", [provider("one")], type="directory", revision="r1")
        with pytest.raises(Permanent, match="declares nothing any more"):
            await seen.apply("/a", [], type="directory", revision="r2")
        assert ONE in seen.reconciler.topology.live
        await seen.apply("/a", [], type="directory", revision="r2", allow_empty=True)
        assert not seen.reconciler.topology.live


@pytest.mark.parametrize("prune", [True, False], ids=["prune", "keep"])
async def test_a_source_that_is_gone(opened: Open, provider: Make, prune: bool) -> None:
    """What it declared goes with it, or stays as if it had been applied by hand; also for the next process."""
    async with opened() as seen:
        await seen.apply("/a", [provider("one")], type="directory", revision="r1")
        await seen.reconciler.forget("/a", prune=prune)
        assert (ONE in seen.reconciler.topology.live) is not prune
        assert [state.type for state in seen.reconciler.sources()] == ([] if prune else ["apply"])
    async with opened() as seen:
        await seen.reconciler.restore()
        assert (ONE in seen.reconciler.topology.live) is not prune
        assert len(seen.reconciler.sources()) == (not prune)


async def test_a_source_that_comes_back(opened: Open, provider: Make) -> None:
    """One that went with all that it declared begins anew: nothing of it is being applied until it delivers."""
    async with opened() as seen:
        await seen.apply("git/default/team", [provider("one")], type="git", revision="r1")
        await seen.reconciler.forget("git/default/team", prune=True)
        seen.reconciler.announce("git/default/team", "git")
        known = {one.type: one.status for one in seen.reconciler.source("git/default/team").conditions}
        assert (known["Ready"], known["Reconciling"]) == ("Unknown", "False")


async def test_attempts_are_told_apart_by_revision(opened: Open, provider: Make) -> None:
    """A source remembers its last five revisions, each once, with how it went; attempted and applied may differ."""
    broken = SourceFile(provider("one").root, "one.yaml", b"kind: [")
    async with opened() as seen:
        for number in range(1, 8):
            await seen.apply("/a", [provider("one", f"{number}")], type="directory", revision=f"r{number}")
        for _ in range(2):
            with pytest.raises(Problems):
                await seen.apply("/a", [broken], type="directory", revision="r8")
        state = seen.reconciler.source("/a")
        assert [(one.revision, one.outcome) for one in state.attempts] == [
            ("r8", "refused"),
            ("r7", "applied"),
            ("r6", "applied"),
            ("r5", "applied"),
            ("r4", "applied"),
        ]
        assert (state.last_attempted_revision, state.last_applied_revision) == ("r8", "r7")
        assert state.attempts[0].problems


async def test_several_sources_are_one_act(opened: Open, provider: Make) -> None:
    """Deliveries that come together serve together, or none of them does."""
    async with opened() as seen:
        one, two = Delivery("a", (provider("one"),)), Delivery("b", (provider("two"),))
        broken = Delivery("b", (SourceFile(provider("one").root, "two.yaml", b"kind: ["),))
        with pytest.raises(Problems):
            await seen.reconciler.apply(one, others=[broken])
        assert seen.reconciler.number == 0
        plan = await seen.reconciler.apply(one, others=[two])
        assert (plan.after.number, plan.source) == (1, "a, b")
        assert set(seen.reconciler.topology.live) == {ONE, TWO}
