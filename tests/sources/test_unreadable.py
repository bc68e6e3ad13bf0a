"""What cannot be read, or leads elsewhere: told with its place, and what was good serves on."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from loomd.sources.directory import DirectorySource
from tests.sources.recording import BRISK, Recording, following

NOBODY = 65534
GOOD = {"a.yaml": b"a: 1\n"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with one manifest, beside a file that is none of its."""
    path = tmp_path / "manifests"
    path.mkdir()
    (path / "a.yaml").write_bytes(b"a: 1\n")
    (tmp_path / "secret.yaml").write_bytes(b"secret: 1\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.yaml").write_bytes(b"secret: 2\n")
    return path


def _folder(place: Path) -> None:
    place.mkdir()


def _dangling(place: Path) -> None:
    place.symlink_to("nothing")


def _looping(place: Path) -> None:
    place.symlink_to("b.yaml")


def _pipe(place: Path) -> None:
    os.mkfifo(place)


def _outside(place: Path) -> None:
    place.symlink_to("../secret.yaml")


def _absolute(place: Path) -> None:
    place.symlink_to(place.parent.parent / "secret.yaml")


def _through_a_link(place: Path) -> None:
    place.with_name(".here").symlink_to("..")
    place.symlink_to(".here/secret.yaml")


def _large(place: Path) -> None:
    with place.open("wb") as file:
        file.truncate((4 << 20) + 1)


def _odd_name(place: Path) -> None:
    place.with_name("b\n.yaml").write_bytes(b"b: 1\n")


def _entries(folder: Path) -> set[Path]:
    return set(folder.iterdir())


def _remove(places: set[Path]) -> None:
    for place in places:
        if place.is_dir() and not place.is_symlink():
            place.rmdir()
        else:
            place.unlink()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_folder, "b.yaml: it is a folder, not a file"),
        (_dangling, "b.yaml: cannot be read: No such file or directory"),
        (_looping, "b.yaml: cannot be read: Too many levels of symbolic links"),
        (_pipe, "b.yaml: cannot be read: it is not a regular file"),
        (_outside, "b.yaml: the symbolic link leaves"),
        (_absolute, "b.yaml: the symbolic link leaves"),
        (_through_a_link, "b.yaml: the symbolic link leaves"),
        (_large, "b.yaml: the file is larger than 4 MiB"),
        (_odd_name, "cannot be read: the name is not text on one line"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
async def test_one_that_cannot_be_read_refuses_all(folder: Path, make: Callable[[Path], None], says: str) -> None:
    """Nothing is deleted, nothing outside is read; once it is gone the rest is delivered."""
    kept = Recording()
    source = DirectorySource(folder, kept, BRISK)
    await source.scan()
    (folder / "c.yaml").write_bytes(b"c: 1\n")
    before = _entries(folder)
    make(folder / "b.yaml")
    await source.scan()
    assert kept.contents == GOOD
    assert len(kept.rejected) == 1
    assert says in kept.rejected[0]
    _remove(_entries(folder) - before)
    await source.scan()
    assert kept.contents == GOOD | {"c.yaml": b"c: 1\n"}


async def test_a_link_to_a_folder_outside_is_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is told once, and what else changes is delivered."""
    kept = Recording()
    source = DirectorySource(folder, kept, BRISK)
    (folder / "linked").symlink_to("../elsewhere")
    await source.scan()
    (folder / "c.yaml").write_bytes(b"c: 1\n")
    await source.scan()
    assert kept.contents == GOOD | {"c.yaml": b"c: 1\n"}
    assert not kept.rejected
    assert ["linked: the symbolic link leaves" in one for one in caplog.messages] == [True]


async def test_a_file_that_becomes_a_link_to_the_outside_is_refused(folder: Path) -> None:
    """Also when that happens while the folder is followed; a link to the inside is as good as the file."""
    async with following(folder) as kept:
        await kept.serves(GOOD)
        fresh = folder / ".fresh"
        fresh.symlink_to("../secret.yaml")
        fresh.rename(folder / "a.yaml")
        await kept.refuses("the symbolic link leaves")
        assert kept.contents == GOOD
        (folder / "real.yaml").write_bytes(b"a: 2\n")
        fresh.symlink_to("real.yaml")
        fresh.rename(folder / "a.yaml")
        await kept.serves({"a.yaml": b"a: 2\n", "real.yaml": b"a: 2\n"})


CHILD = """
import asyncio, concurrent.futures.thread, json, os, sys
from pathlib import Path
from loomd.sources.directory import DirectorySource
from tests.sources.recording import BRISK, Recording
folder = Path(sys.argv[1])

async def main():
    kept = Recording()
    source = DirectorySource(folder, kept, BRISK)
    await source.scan()
    place = Path(os.path.normpath(folder / sys.argv[2]))
    place.chmod(0)
    await source.scan()
    place.chmod(0o700)
    (folder / "c.yaml").write_bytes(b"c: 1\\n")
    await source.scan()
    print(json.dumps([len(kept.deliveries), kept.rejected, sorted(kept.contents)]))

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
asyncio.run(main())
"""


@pytest.mark.parametrize("name", ["sub/b.yaml", "sub", ".", ".."], ids=["file", "folder", "all", "way"])
def test_what_may_not_be_read_is_told(name: str) -> None:
    """Without permission nothing is taken for deleted. Done by a process that is not root, in a folder of its own."""
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o711)
        folder = Path(top, "way", "manifests")
        (folder / "sub").mkdir(parents=True)
        for path in ("a.yaml", "sub/b.yaml"):
            (folder / path).write_bytes(b"a: 1\n")
        for place in (folder.parent, *folder.parent.rglob("*")):
            place.chmod(0o700)
            os.chown(place, *((NOBODY, NOBODY) if os.geteuid() == 0 else (-1, -1)))
        command = [sys.executable, "-c", CHILD, str(folder), name]
        done = subprocess.run(command, capture_output=True, check=False, text=True)  # noqa: S603  # our own command
        assert done.returncode == 0, done.stderr
    deliveries, rejected, names = json.loads(done.stdout)
    assert deliveries == 2
    assert len(rejected) == 1
    assert "Permission denied" in rejected[0]
    assert names == ["a.yaml", "c.yaml", "sub/b.yaml"]


async def test_a_folder_that_cannot_even_be_looked_for_is_told(tmp_path: Path) -> None:
    """What the system says of a place that is more than missing, as of a dead mount, is told and ends nothing."""
    async with following(tmp_path / ("a" * 300) / "manifests") as kept:
        await kept.refuses("File name too long")
