"""How programs write folders: editors, git, Kubernetes, and whoever removes and recreates them."""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from loomd.sources.directory import DirectorySource, Pace
from tests.sources.recording import BRISK, Recording, following
from tests.sources.remotes import run

BEFORE, AFTER = b"a: 1\n", b"a: 2\nb: 3\n"
PATIENT = Pace(quiet=0.3, every=60, poll=0.1, doubt=0.2, patience=20)
"""The quiet window that a daemon has by default."""
CALM = Pace(quiet=1.0, every=60, poll=0.1, doubt=0.2, patience=20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with one manifest."""
    path = tmp_path / "manifests"
    path.mkdir()
    (path / "a.yaml").write_bytes(BEFORE)
    return path


def _in_place(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate()
        opened.write(AFTER)


def _slowly(file: Path) -> None:
    with file.open("wb", buffering=0) as opened:
        for byte in AFTER:
            opened.write(bytes([byte]))


def _renamed(file: Path) -> None:
    fresh = file.with_name(".a.yaml.new")
    fresh.write_bytes(AFTER)
    fresh.replace(file)


def _vim(file: Path) -> None:
    """Probe the folder, keep a swap file, move the old file away, write the new one, remove what is left."""
    swap = file.with_name(".a.yaml.swp")
    swap.write_bytes(b"b0VIM 9.0")
    file.with_name("4913").touch()
    file.with_name("4913").unlink()
    backup = file.with_name("a.yaml~")
    file.rename(backup)
    file.write_bytes(AFTER)
    backup.unlink()
    swap.unlink()


def _emacs(file: Path) -> None:
    """Lock by a link that leads nowhere, save now and then beside the file, keep the old one, write by a new name."""
    lock = file.with_name(".#a.yaml")
    lock.symlink_to("ada@host.1234:1700000000")
    saved = file.with_name("#a.yaml#")
    saved.write_bytes(b"a: [")
    shutil.copy(file, file.with_name("a.yaml~"))
    fresh = file.with_name("a.yaml.tmp")
    fresh.write_bytes(AFTER)
    fresh.replace(file)
    saved.unlink()
    lock.unlink()


def _sed(file: Path) -> None:
    script = "s/a: 1/a: 2\\nb: 3/"
    subprocess.run(["sed", "--in-place", script, str(file)], check=True)  # noqa: S603, S607  # a real one


def _shell(file: Path) -> None:
    subprocess.run(["sh", "-c", 'printf "a: 2\\n" > "$0"; printf "b: 3\\n" >> "$0"', str(file)], check=True)  # noqa: S603, S607  # a real one


@pytest.mark.parametrize(
    "save", [_in_place, _slowly, _renamed, _vim, _emacs, _sed, _shell], ids=lambda save: save.__name__.strip("_")
)
async def test_whatever_way_it_is_saved_a_file_is_delivered_once(folder: Path, save: Callable[[Path], None]) -> None:
    """Twice in a row, because a file that is watched by itself goes deaf after the first time."""
    async with following(folder) as kept:
        await kept.serves({"a.yaml": BEFORE})
        for number in (2, 4):
            save(folder / "a.yaml")  # the source looks when it is done, however long a busy machine takes for it
            await kept.serves({"a.yaml": AFTER})
            assert len(kept.deliveries) == number
            (folder / "a.yaml").write_bytes(BEFORE)
            await kept.serves({"a.yaml": BEFORE})
    assert kept.rejected == []


async def test_what_editors_leave_beside_a_file_is_nothing(folder: Path) -> None:
    """Swap files, locks, backups and probes are neither delivered nor looked for."""
    async with following(folder) as kept:
        await kept.serves({"a.yaml": BEFORE})
        for name in (".a.yaml.swp", "a.yaml~", "#a.yaml#", "4913", "a.yaml.tmp", ".a.yaml.swx"):
            (folder / name).write_bytes(b"x: [")
        (folder / ".#a.yaml").symlink_to("ada@host.1234")
        looks = kept.looks
        (folder / "b.yaml").write_bytes(b"b: 1\n")
        await kept.serves({"a.yaml": BEFORE, "b.yaml": b"b: 1\n"})
    assert kept.looks == looks + 1
    assert kept.rejected == []


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a work tree with a thousand manifests, all of them different in two branches."""
    tree = tmp_path / "checkout"
    run("git", "init", "--quiet", "--initial-branch=one", str(tree), folder=tmp_path)
    for branch in ("one", "two"):
        run("git", "checkout", "--quiet", "-B", branch, folder=tree)
        for number in range(1000):
            place = tree / f"{number % 10}"
            place.mkdir(exist_ok=True)
            (place / f"{number}.yaml").write_text(f"branch: {branch}\n")
        run("git", "add", "--all", folder=tree)
        run("git", "commit", "--quiet", "-m", branch, folder=tree)
    return tree


async def test_a_checkout_of_a_thousand_files_is_one_delivery(checkout: Path) -> None:
    """Nothing of the way from one branch to the other is ever delivered."""
    async with following(checkout, PATIENT) as kept:
        await kept.until(lambda kept: len(kept.served) == 1000)
        for number, branch in enumerate(("one", "two", "one"), start=2):
            await asyncio.to_thread(run, "git", "checkout", "--quiet", branch, folder=checkout)
            expected = f"branch: {branch}\n".encode()
            await kept.until(lambda kept, expected=expected: set(kept.contents.values()) == {expected})  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            assert len(kept.deliveries) == number
    assert kept.rejected == []


async def test_nothing_is_read_while_git_writes(checkout: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As long as the lock of the index is there nothing is delivered; if it stays that is told, with the next act."""
    lock = checkout / ".git" / "index.lock"
    async with following(checkout / "1", Pace(quiet=0.05, poll=0.1, doubt=0.1, patience=0.5)) as kept:
        await kept.until(lambda kept: len(kept.served) == 100)
        lock.touch()
        (checkout / "1" / "new.yaml").write_bytes(b"a: 1\n")
        await kept.refuses(f"git is writing it: if no git runs, remove {lock}")
        assert len(kept.deliveries) == 1
        lock.unlink()
        await kept.until(lambda kept: len(kept.served) == 101)
    assert caplog.text.count("git is writing it") == 1


@pytest.mark.parametrize("made", ["worktree", "submodule"])
async def test_the_lock_of_a_linked_work_tree_is_found(checkout: Path, made: str) -> None:
    """Its index is elsewhere: a file says where, by an absolute or a relative path."""
    if made == "worktree":
        tree = checkout.with_name("linked")
        run("git", "worktree", "add", "--quiet", "-b", "three", str(tree), folder=checkout)
        lock = checkout / ".git" / "worktrees" / "linked" / "index.lock"
    else:
        tree, lock = checkout / "sub", checkout / ".git" / "modules" / "sub" / "index.lock"
        lock.parent.mkdir(parents=True)
        tree.mkdir()
        (tree / ".git").write_text("gitdir: ../.git/modules/sub\n")
        (tree / "a.yaml").write_bytes(BEFORE)
    lock.touch()
    kept = Recording()
    await DirectorySource(tree, kept, Pace(quiet=0.02, patience=0.1)).scan()
    assert f"remove {lock}" in kept.rejected[0].replace("sub/../", "")


def mount(folder: Path, version: str, files: dict[str, bytes]) -> None:
    """Swap the contents of a ConfigMap's mount as the kubelet does: a new folder, and one rename of a link."""
    fresh = folder / f"..{version}"
    fresh.mkdir()
    for name, data in files.items():
        (fresh / name).write_bytes(data)
    link = folder / "..data_tmp"
    link.symlink_to(fresh.name)
    before = (folder / "..data").resolve() if (folder / "..data").exists() else None
    link.rename(folder / "..data")
    for name in files:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    for entry in folder.iterdir():
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in files:
            entry.unlink()
    if before is not None:
        shutil.rmtree(before)


async def test_a_config_map_is_swapped_as_a_whole(tmp_path: Path) -> None:
    """All files of a version are delivered together, again and again, and nothing of the way there."""
    folder = tmp_path / "mount"
    folder.mkdir()
    first = {"a.yaml": b"a: 1\n", "b.yaml": b"b: 1\n"}
    mount(folder, "2026_01_01", first)
    async with following(folder) as kept:
        await kept.serves(first)
        for version, files in {
            "2026_01_02": {"a.yaml": b"a: 2\n", "b.yaml": b"b: 2\n"},
            "2026_01_03": {"a.yaml": b"a: 3\n", "c.yaml": b"c: 3\n"},
            "2026_01_04": {"a.yaml": b"a: 4\n", "c.yaml": b"c: 4\n"},
        }.items():
            mount(folder, version, files)
            await kept.serves(files)
    assert len(kept.deliveries) == 4
    assert kept.rejected == []


async def test_a_link_to_the_folder_may_be_swapped(tmp_path: Path) -> None:
    """Releases in folders of their own with a link to the present one: each swap is one delivery."""
    for version in ("v1", "v2", "v3"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "a.yaml").write_text(f"a: {version}\n")
    current = tmp_path / "current"
    current.symlink_to("v1")
    async with following(current) as kept:
        await kept.serves({"a.yaml": b"a: v1\n"})
        for version in ("v2", "v3"):
            fresh = tmp_path / "fresh"
            fresh.symlink_to(version)
            fresh.rename(current)
            await kept.serves({"a.yaml": f"a: {version}\n".encode()})
        (tmp_path / "v3" / "a.yaml").write_bytes(AFTER)
        await kept.serves({"a.yaml": AFTER})
    assert len(kept.deliveries) == 4


@pytest.mark.parametrize("above", [False, True], ids=["itself", "its-parent"])
@pytest.mark.parametrize("moved", [False, True], ids=["removed", "renamed"])
async def test_a_folder_may_go_and_come_again(tmp_path: Path, above: bool, moved: bool) -> None:
    """While it is gone what was good serves on; the new one is followed like the old one, three times in a row."""
    folder = tmp_path / "deep" / "manifests"
    folder.mkdir(parents=True)
    (folder / "a.yaml").write_bytes(BEFORE)
    gone = folder.parent if above else folder
    async with following(folder) as kept:
        await kept.serves({"a.yaml": BEFORE})
        for number in range(3):
            kept.rejected.clear()
            if moved:
                gone.rename(tmp_path / f"old{number}")
            else:
                shutil.rmtree(gone)
            await kept.refuses("no such folder")
            assert kept.contents
            folder.mkdir(parents=True)
            expected = {"a.yaml": f"a: {number}\n".encode()}
            (folder / "a.yaml").write_bytes(expected["a.yaml"])
            await kept.serves(expected)
            (folder / "b.yaml").write_bytes(b"b: 1\n")
            await kept.serves(expected | {"b.yaml": b"b: 1\n"})


async def test_a_folder_need_not_be_there_at_first(tmp_path: Path) -> None:
    """It is told once, and followed as soon as it comes."""
    folder = tmp_path / "late" / "manifests"
    async with following(folder) as kept:
        await kept.refuses("no such folder")
        folder.mkdir(parents=True)
        (folder / "a.yaml").write_bytes(BEFORE)
        await kept.serves({"a.yaml": BEFORE})
    assert len(kept.rejected) == 1


async def test_a_writer_that_never_rests_is_told(folder: Path) -> None:
    """A folder that keeps moving is not read half way; after the patience that is reported, and it is tried again."""
    busy = asyncio.Event()

    async def write() -> None:
        number = 0
        while not busy.is_set():
            number += 1
            (folder / "a.yaml").write_text(f"a: {number:06}\n")
            (folder / "b.yaml").write_text(f"b: {number:06}\n")
            await asyncio.sleep(0.005)
        (folder / "a.yaml").write_bytes(BEFORE)
        (folder / "b.yaml").write_bytes(BEFORE)

    async with following(folder, Pace(quiet=0.1, poll=0.1, doubt=0.1, patience=0.5)) as kept:
        await kept.serves({"a.yaml": BEFORE})
        writing = asyncio.ensure_future(write())
        await asyncio.sleep(1.5)
        busy.set()
        await writing
        await kept.serves({"a.yaml": BEFORE, "b.yaml": BEFORE})
        assert all("is being written" in one for one in kept.rejected)
        for one in kept.deliveries:  # what was delivered meanwhile was a state that was there
            assert {file.path for file in one.files} <= {"a.yaml", "b.yaml"}


async def test_ten_thousand_files_are_followed(tmp_path: Path) -> None:
    """All of them are delivered, one that changes is found, and none is read again that did not change."""
    for number in range(10_000):
        place = tmp_path / f"{number % 100}"
        if number < 100:
            place.mkdir()
        (place / f"{number}.yaml").write_text(f"a: {number}\n")
    os.utime(tmp_path / "0" / "0.yaml", (0, 0))
    async with following(tmp_path, PATIENT) as kept:
        await kept.until(lambda kept: len(kept.served) == 10_000, seconds=120)
        (tmp_path / "42" / "42.yaml").write_bytes(AFTER)
        await kept.until(lambda kept: kept.contents["42/42.yaml"] == AFTER)
        same = sum(one is other for one, other in zip(kept.deliveries[0].files, kept.served, strict=True))
    assert same == 9_999
    assert len(kept.deliveries) == 2


async def test_the_pace_of_the_tests_is_brisk(folder: Path) -> None:
    """Many saves within one quiet window are one delivery, of the last."""
    assert BRISK.quiet < PATIENT.quiet < CALM.quiet
    before = 0
    async with following(folder, CALM) as kept:
        await kept.serves({"a.yaml": BEFORE})
        for attempt in range(20):
            before, moments = len(kept.deliveries), [time.monotonic()]
            for number in range(20):
                (folder / "a.yaml").write_text(f"a: {attempt}.{number}\n")
                await asyncio.sleep(0.05)
                moments.append(time.monotonic())
            await kept.serves({"a.yaml": f"a: {attempt}.19\n".encode()})
            if max(later - sooner for sooner, later in pairwise(moments)) < CALM.quiet / 2:
                break  # otherwise the machine was so busy that a window ended between two saves
    assert len(kept.deliveries) == before + 1
