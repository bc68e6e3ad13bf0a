"""Following a folder: hints, contents, what is delivered when, and what never deletes anything."""

import asyncio
import mmap
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from loomd.errors import LoomdError, Permanent, Temporary, Unauthorized
from loomd.manifest.delivery import Delivery
from loomd.sources.directory import DirectorySource, Pace
from tests.sources.recording import BRISK, Recording, following


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with one manifest."""
    path = tmp_path / "manifests"
    path.mkdir()
    (path / "a.yaml").write_bytes(b"a: 1\n")
    return path


async def test_changes_are_delivered(folder: Path) -> None:
    """Writing, adding, replacing by rename and deleting are heard, also in folders that are new; deleting prunes."""
    async with following(folder) as kept:
        await kept.serves({"a.yaml": b"a: 1\n"})
        (folder / "a.yaml").write_bytes(b"a: 2\n")
        await kept.serves({"a.yaml": b"a: 2\n"})
        (folder / "sub" / "deep").mkdir(parents=True)
        (folder / "sub" / "deep" / "b.yaml").write_bytes(b"b: 1\n")
        await kept.serves({"a.yaml": b"a: 2\n", "sub/deep/b.yaml": b"b: 1\n"})
        (folder / "sub" / "deep" / "b.yaml").write_bytes(b"b: 2\n")
        await kept.serves({"a.yaml": b"a: 2\n", "sub/deep/b.yaml": b"b: 2\n"})
        (folder / "sub" / "deep" / "b.yaml").unlink()
        await kept.serves({"a.yaml": b"a: 2\n"})
    assert all(one.prune and one.type == "directory" and one.source == str(folder) for one in kept.deliveries)


async def test_a_change_that_no_event_tells_is_found(folder: Path) -> None:
    """Writing through mapped memory makes no event; the regular look reads everything, whatever its times say."""
    with (folder / "a.yaml").open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        async with following(folder, Pace(quiet=0.05, every=0.2)) as kept:
            await kept.serves({"a.yaml": b"a: 1\n"})
            memory[3:4] = b"7"
            await kept.serves({"a.yaml": b"a: 7\n"})


async def test_a_revision_is_a_digest_of_the_manifests(folder: Path) -> None:
    """It depends on names and contents alone: a copy elsewhere has the same, another content another."""
    kept = Recording()
    await DirectorySource(folder, kept).scan()
    copy = folder.with_name("copy")
    copy.mkdir()
    (copy / "a.yaml").write_bytes(b"a: 1\n")
    await DirectorySource(copy, kept).scan()
    (copy / "a.yaml").rename(copy / "b.yaml")
    await DirectorySource(copy, kept).scan()
    first, second, third = (one.revision for one in kept.deliveries)
    assert first == second != third
    assert first.startswith("sha256:")
    assert len(first) == len("sha256:") + 12


async def test_other_files_are_part_of_what_is_delivered(folder: Path) -> None:
    """A document or a tool that changed is delivered under the same revision: whoever loads looks at it again."""
    (folder / "docs").mkdir()
    (folder / "docs" / "a.md").write_bytes(b"one")
    async with following(folder) as kept:
        await kept.until(lambda kept: len(kept.deliveries) == 1)
        (folder / "docs" / "a.md").write_bytes(b"two")
        await kept.until(lambda kept: len(kept.deliveries) == 2)
    assert kept.deliveries[0].revision == kept.deliveries[1].revision


@pytest.mark.parametrize(
    ("error", "again"),
    [(Unauthorized("no key"), True), (Temporary("busy"), True), (None, False)],
    ids=["permanent", "temporary", "invalid"],
)
async def test_what_may_come_right_by_itself_is_tried_again(
    folder: Path, error: LoomdError | None, again: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A key or a model may come without any change of the files; what is not valid stays so. Both are told once."""

    class Refusing(Recording):
        async def apply(self, delivery: Delivery) -> None:
            if error is not None:
                self.deliveries.append(delivery)
                raise error
            await super().apply(delivery)

    (folder / "a.yaml").write_bytes(b"broken\n")
    kept = Refusing()
    source = DirectorySource(folder, kept, BRISK)
    await source.scan()
    await source.scan()
    assert len(kept.deliveries) == (2 if again else 1)
    if not isinstance(error, Temporary):
        assert caplog.text.count("refused, nothing of it serves yet") == 1


async def test_the_same_content_is_delivered_once(folder: Path) -> None:
    """A look that finds the same bytes delivers nothing, good or refused; a poke does."""
    kept = Recording()
    source = DirectorySource(folder, kept, BRISK)
    await source.scan()
    await source.scan()
    assert len(kept.deliveries) == 1
    (folder / "a.yaml").write_bytes(b"broken\n")
    await source.scan()
    await source.scan()
    assert len(kept.deliveries) == 2
    assert kept.rejected == ["a.yaml: broken [broken]"]
    source.poke()
    await source.scan()
    assert len(kept.deliveries) == 3


async def test_what_somebody_else_changed_is_delivered_again(folder: Path) -> None:
    """When other files of the source serve than it delivered, and it is not suspended, it delivers its own."""
    kept = Recording()
    source = DirectorySource(folder, kept, BRISK)
    await source.scan()
    kept.served = ()
    await source.scan()
    assert kept.contents == {"a.yaml": b"a: 1\n"}


async def test_a_neighbour_whose_name_is_not_text(folder: Path) -> None:
    """It ends what listens for events; the folder is listened to anew, and no change is missed."""
    async with following(folder) as kept:
        await kept.serves({"a.yaml": b"a: 1\n"})
        (folder.parent / os.fsdecode(b"\xff")).touch()
        (folder / "a.yaml").write_bytes(b"a: 2\n")
        await kept.serves({"a.yaml": b"a: 2\n"})


async def test_a_folder_whose_name_is_not_text(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Every look at it ends what listens: that goes on, is told once, and no change is missed."""
    caplog.set_level("INFO", "loomd.sources")
    (folder / os.fsdecode(b"\xe9")).mkdir()
    async with following(folder) as kept:
        await kept.serves({"a.yaml": b"a: 1\n"})
        for _ in range(20):
            await asyncio.sleep(0.1)
            list((folder / os.fsdecode(b"\xe9")).iterdir())
        (folder / "a.yaml").write_bytes(b"a: 2\n")
        await kept.serves({"a.yaml": b"a: 2\n"})
    assert len([one for one in caplog.messages if "is watched anew" in one]) == 1
    assert "Traceback" not in caplog.text


async def test_a_suspended_folder_delivers_nothing_until_it_is_resumed(folder: Path) -> None:
    """A person's suspension outlives every change; what came meanwhile is delivered after it."""
    kept = Recording()
    source = DirectorySource(folder, kept, BRISK)
    await source.scan()
    kept.stopped_until = ""
    (folder / "a.yaml").write_bytes(b"a: 2\n")
    await source.scan()
    assert len(kept.deliveries) == 1
    kept.stopped_until = None
    await source.scan()
    assert kept.contents == {"a.yaml": b"a: 2\n"}


async def test_a_newer_revision_ends_the_suspension_of_an_undo(folder: Path) -> None:
    """What was undone is not delivered again, touched or not; another content is."""
    kept = Recording()
    source = DirectorySource(folder, kept, BRISK)
    await source.scan()
    kept.stopped_until, kept.served = kept.deliveries[0].revision, ()
    (folder / "a.yaml").touch()
    await source.scan()
    assert len(kept.deliveries) == 1
    (folder / "a.yaml").write_bytes(b"a: 2\n")
    await source.scan()
    assert kept.contents == {"a.yaml": b"a: 2\n"}


def _delete(folder: Path) -> None:
    (folder / "a.yaml").unlink()


def _blank(folder: Path) -> None:
    (folder / "a.yaml").write_bytes(b"\n")


def _cut(folder: Path) -> None:
    (folder / "a.yaml").write_bytes(b"a:")


def _move(folder: Path) -> None:
    folder.rename(folder.with_name("gone"))


def _file(folder: Path) -> None:
    folder.rename(folder.with_name("gone"))
    folder.write_bytes(b"")


def _mend(folder: Path, good: bytes) -> None:
    if not folder.is_dir():
        folder.unlink(missing_ok=True)
        folder.mkdir()
    (folder / "a.yaml").write_bytes(good)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_delete, "an empty folder deletes nothing"),
        (_blank, "became empty"),
        (_cut, "cut in the middle of line 1"),
        (_move, "no such folder"),
        (_file, "is a file, not a folder"),
    ],
    ids=["empty-folder", "empty-file", "half-written", "no-folder", "a-file"],
)
async def test_what_vanished_deletes_nothing(
    folder: Path, spoil: Callable[[Path], None], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once and what was good serves on; mended, it is delivered again."""
    kept = Recording()
    source = DirectorySource(folder, kept, BRISK)
    await source.scan()
    good = (folder / "a.yaml").read_bytes()
    spoil(folder)
    await source.scan()
    await source.scan()
    assert kept.contents == {"a.yaml": good}
    assert len(kept.deliveries) == len(kept.rejected) == 1
    assert says in kept.rejected[0]
    assert caplog.text.count(says) == 1
    _mend(folder, good)
    await source.scan()
    assert len(kept.deliveries) == 2


async def test_a_folder_may_be_allowed_to_become_empty(folder: Path) -> None:
    """Only when that is said does an empty folder deliver an empty set; a missing one never does."""
    async with following(folder, allow_empty=True) as kept:
        await kept.serves({"a.yaml": b"a: 1\n"})
        (folder / "a.yaml").unlink()
        await kept.serves({})
        shutil.rmtree(folder)
        await kept.refuses("no such folder")
    assert kept.deliveries[-1].allow_empty
    assert len(kept.deliveries) == 2


async def test_a_folder_that_was_always_empty_is_fine(tmp_path: Path) -> None:
    """There is nothing to lose, so nothing is refused."""
    kept = Recording()
    await DirectorySource(tmp_path, kept, BRISK).scan()
    assert kept.rejected == []


@pytest.mark.parametrize("name", ["two\nlines", "\udcff"], ids=["newline", "not-utf-8"])
def test_a_folder_whose_name_is_not_text_is_refused(tmp_path: Path, name: str) -> None:
    """Its name is the name of the source, in messages and in the store."""
    with pytest.raises(Permanent, match="not text on one line"):
        DirectorySource(tmp_path / name, Recording())
