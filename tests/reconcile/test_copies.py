"""Files that manifests name: a stored revision runs with its own, whatever became of those on disk."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from loomd.errors import Temporary
from loomd.manifest.object import Ref
from loomd.manifest.problem import Problems
from loomd.manifest.source import SourceFile
from loomd.reconcile.reconciler import Bounds
from loomd.store.check import check
from tests.reconcile.conftest import Make, Open, Seen

F = Ref("Tool", "f")
SAYS = 'def f() -> str:\n    """Say."""\n    return "{}"\n'
MANIFEST = (
    "apiVersion: loomd.dev/v1\nkind: Tool\nmetadata: {name: f}\nspec: {type: python, file: tool.py, function: f}\n"
)
SKILL = "---\nname: {0}\ndescription: About {0}.\n---\n{0}\n"


@pytest.fixture
def tool(tmp_path: Path) -> SourceFile:
    """Return a manifest with a Python tool, and write its file."""
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "tool.py").write_text(SAYS.format("one"))
    return SourceFile(folder, "t.yaml", MANIFEST.encode())


async def said(seen: Seen, topology: Any = None) -> str:
    """Return what the tool says."""
    live: Any = (topology or seen.reconciler.topology).live[F]
    text: str = await live.call({})
    return text


async def applied(seen: Seen, tool: SourceFile, **more: Any) -> None:
    """Apply the tool as a folder does."""
    await seen.apply("/a", [tool], type="directory", revision=f"r{seen.reconciler.number}", **more)


def break_it(file: Path) -> None:
    """Write what cannot be read."""
    file.write_text("def broken(:")


def change_it(file: Path) -> None:
    """Write something else."""
    file.write_text(SAYS.format("two"))


def link_it(file: Path) -> None:
    """Put a link out of the folder in its place."""
    file.unlink()
    file.symlink_to("/etc/passwd")


def copies_of(state: Path) -> list[Path]:
    """Return the files in folders of copies."""
    return [path for path in state.glob("copies/**/*") if path.is_file()]


@pytest.mark.parametrize("harm", [break_it, change_it, link_it, Path.unlink])
async def test_what_served_last_serves_with_its_own_files(
    opened: Open, tool: SourceFile, provider: Make, tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    """Whatever became of a file on disk, a new process serves what was stored, until its source delivers again."""
    file, state = tool.root / "tool.py", tmp_path / "state"
    async with opened() as seen:
        await applied(seen, tool)
        revision = seen.reconciler.revision
    harm(file)
    for _ in range(2):
        async with opened() as seen:
            await seen.reconciler.restore()
            assert (seen.reconciler.stale, seen.reconciler.number, seen.reconciler.revision) == (False, 1, revision)
            assert await said(seen) == "one"
            (copy,) = copies_of(state)
            assert (copy.stat().st_mode & 0o777, copy.parent.stat().st_mode & 0o777) == (0o700, 0o700)
            assert seen.reconciler.topology.snapshot.objects[F].root == tool.root
        assert not (state / "copies").exists()
    async with opened() as seen:
        await seen.reconciler.restore()
        plan = await seen.apply("b", [provider("one")])
        assert [str(one) for one in plan.effective] == ["Provider/one created"]
        assert await said(seen) == "one"
        if harm is not change_it:
            with pytest.raises(Problems, match=r"tool\.py"):
                await applied(seen, tool)
            assert await said(seen) == "one"
        file.unlink(missing_ok=True)
        change_it(file)
        await applied(seen, tool)
        assert await said(seen) == "two"
    assert check(state).findings == ()


async def test_nothing_is_copied_that_is_as_it_was(opened: Open, tool: SourceFile, tmp_path: Path) -> None:
    """As long as the files on disk are those that were stored, they are the ones that are read."""
    async with opened() as seen:
        await applied(seen, tool)
    async with opened() as seen:
        await seen.reconciler.restore()
        assert seen.reconciler.topology.snapshot.objects[F].copies is None
        assert copies_of(tmp_path / "state") == []


async def test_a_pinned_revision_runs_with_its_own_files(opened: Open, tool: SourceFile, tmp_path: Path) -> None:
    """An edit on disk never changes what a task runs that began before, nor does what serves meanwhile."""
    async with opened() as seen:
        await applied(seen, tool)
        first = seen.reconciler.revision
        change_it(tool.root / "tool.py")
        await applied(seen, tool)
        second = seen.reconciler.revision
        break_it(tool.root / "tool.py")
    async with opened() as seen:
        await seen.reconciler.restore()
        for revision, text in ((first, "one"), (second, "two")):
            topology = await seen.reconciler.pinned(revision)
            async with topology.lease():
                assert await said(seen, topology) == text
                assert len(copies_of(tmp_path / "state")) == 2
            await topology.closed.wait() if revision == first else None
        assert await said(seen) == "two"
        await seen.reconciler.undo(2, dry_run=True)
        assert len(copies_of(tmp_path / "state")) == 1  # nothing reads the other any more


async def test_undo_brings_back_the_files(opened: Open, tool: SourceFile, provider: Make) -> None:
    """A rollback is one of manifests and of what they name, and what others apply does not take it back."""
    async with opened() as seen:
        await applied(seen, tool)
        change_it(tool.root / "tool.py")
        await applied(seen, tool)
        plan = await seen.reconciler.undo()
        assert (plan.warnings, await said(seen)) == ((), "one")
        await seen.apply("b", [provider("one")])
        assert await said(seen) == "one"
        await seen.reconciler.undo(2)
        assert await said(seen) == "two"
        assert seen.reconciler.topology.snapshot.objects[F].copies is None


async def test_links_are_kept_as_links(opened: Open, tool: SourceFile) -> None:
    """A file behind a link, as a mounted ConfigMap has it, comes back with the digest that it had."""
    file = tool.root / "tool.py"
    (tool.root / "..data").mkdir()
    file.rename(tool.root / "..data" / "tool.py")
    file.symlink_to("..data/tool.py")
    async with opened() as seen:
        await applied(seen, tool)
        revision = seen.reconciler.revision
    file.unlink()
    (tool.root / "..data" / "tool.py").unlink()
    async with opened() as seen:
        await seen.reconciler.restore()
        assert (seen.reconciler.revision, seen.reconciler.number, await said(seen)) == (revision, 1, "one")


async def test_skills_are_kept(opened: Open, tmp_path: Path) -> None:
    """A document of a skill comes back like any other file."""
    (tmp_path / "s.md").write_text(SKILL.format("old"))
    text = b"apiVersion: loomd.dev/v1\nkind: Skill\nmetadata: {name: s}\nspec: {file: s.md}\n"
    async with opened() as seen:
        await seen.apply("a", [SourceFile(tmp_path, "s.yaml", text)])
    (tmp_path / "s.md").write_text(SKILL.format("new"))
    async with opened() as seen:
        await seen.reconciler.restore()
        live: Any = seen.reconciler.topology.live[Ref("Skill", "s")]
        assert live.skills["s"].instructions.strip() == "old"


async def test_folders_of_skills_are_kept(opened: Open, tmp_path: Path) -> None:
    """A skill that was added, and a file of one that is gone, change nothing of what was stored."""
    for path, text in (("k/a/SKILL.md", SKILL.format("a")), ("k/a/notes.md", "old")):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    manifest = b"apiVersion: loomd.dev/v1\nkind: Skill\nmetadata: {name: k}\nspec: {directory: k}\n"
    async with opened() as seen:
        await seen.apply("a", [SourceFile(tmp_path, "s.yaml", manifest)])
    (tmp_path / "k" / "a" / "notes.md").unlink()
    (tmp_path / "k" / "b").mkdir()
    (tmp_path / "k" / "b" / "SKILL.md").write_text(SKILL.format("b"))
    async with opened() as seen:
        await seen.reconciler.restore()
        live: Any = seen.reconciler.topology.live[Ref("Skill", "k")]
        assert (seen.reconciler.number, list(live.skills)) == (1, ["a"])
        assert await live.skills["a"].read("notes.md") == "old"


async def test_contents_are_stored_once_and_leave_with_the_last_revision(
    opened: Open, tool: SourceFile, provider: Make, tmp_path: Path
) -> None:
    """Revisions share what did not change; what only removed ones had is removed with them."""

    def held(text: str) -> int:
        with closing(sqlite3.connect(tmp_path / "state" / "loomd.db")) as db:
            query = "SELECT count(*) FROM blobs WHERE CAST(data AS TEXT) LIKE ?"
            return int(db.execute(query, (f'%return "{text}"%',)).fetchone()[0])

    async with opened(bounds=Bounds(history=2)) as seen:
        await applied(seen, tool)
        await seen.apply("b", [provider("one")])
        assert (held("one"), held("two")) == (1, 0)
        change_it(tool.root / "tool.py")
        await applied(seen, tool)
        assert (held("one"), held("two")) == (1, 1)
        for number in range(2):
            await seen.apply("b", [provider("one", f"text {number}")])
        assert (held("one"), held("two")) == (0, 1)
    assert check(tmp_path / "state").findings == ()


async def test_a_damaged_copy_is_told_and_mended(opened: Open, tool: SourceFile, tmp_path: Path) -> None:
    """One that is not what was stored is never run; what is on disk is, and is kept anew."""
    async with opened() as seen:
        await applied(seen, tool)
    with closing(sqlite3.connect(tmp_path / "state" / "loomd.db")) as db:
        query = (
            "UPDATE blobs SET data = CAST('bad' AS BLOB) WHERE digest IN (SELECT digest FROM files WHERE target != '')"
        )
        assert db.execute(query).rowcount == 1
        db.commit()
    (found,) = check(tmp_path / "state").findings
    assert (found.code, "apply tool.py (Tool/default/f) again" in found.act) == ("contents", True)
    async with opened() as seen:
        await seen.reconciler.restore()
        assert await said(seen) == "one"
        await applied(seen, tool)
    assert check(tmp_path / "state").findings == ()
    (tool.root / "tool.py").unlink()
    async with opened() as seen:
        await seen.reconciler.restore()
        assert await said(seen) == "one"


async def test_a_file_that_is_written_meanwhile_is_not_taken_over(
    opened: Open, tool: SourceFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept is what was looked at and opened, or nothing serves."""
    async with opened() as seen:
        real: Callable[..., Awaitable[Any]] = seen.reconciler._stage._copy

        async def late(candidate: Any) -> Any:
            change_it(tool.root / "tool.py")
            return await real(candidate)

        monkeypatch.setattr(seen.reconciler._stage, "_copy", late)
        with pytest.raises(Temporary, match=r"tool\.py was written while it was taken over: try again"):
            await applied(seen, tool)
        assert seen.reconciler.number == 0
