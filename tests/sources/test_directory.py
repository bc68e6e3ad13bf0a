"""Watching a folder: hints, content, and what never deletes anything."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from loomd.errors import Unauthorized
from loomd.manifest.problem import Position, Problem, Problems
from loomd.manifest.source import SourceFile
from loomd.sources.directory import DirectorySource

Files = dict[str, bytes]


class Kept:
    """A target that keeps what it is given and lets a test wait for it."""

    def __init__(self) -> None:
        self.served: tuple[SourceFile, ...] = ()
        self.rejected: list[str] = []
        self.delivered = 0
        self._changed = asyncio.Condition()

    def files(self, source: str) -> tuple[SourceFile, ...]:
        """Return what serves."""
        del source
        return self.served

    async def apply(self, source: str, files: Sequence[SourceFile]) -> None:
        """Serve files, unless one says that it is broken."""
        self.delivered += 1
        if any(b"broken" in file.data for file in files):
            error = Problems([Problem(Position("a.yaml"), "broken", "broken")])
            self.reject(source, error)
            await self._tell()
            raise error
        self.served = tuple(files)
        await self._tell()

    def reject(self, source: str, error: Exception) -> None:
        """Note a refusal."""
        del source
        self.rejected.append(str(error))

    async def until(self, expected: Files) -> None:
        """Wait until exactly these files serve."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: {f.path: f.data for f in self.served} == expected)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@asynccontextmanager
async def watching(path: Path) -> AsyncGenerator[Kept, None]:
    """Watch a folder for as long as the context lasts."""
    kept = Kept()
    source = DirectorySource(path, kept, quiet=0.05)
    running = asyncio.ensure_future(source.run())
    try:
        yield kept
    finally:
        running.cancel()
        await asyncio.wait([running])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with one manifest."""
    path = tmp_path / "manifests"
    path.mkdir()
    (path / "a.yaml").write_bytes(b"a: 1")
    return path


async def test_changes_are_delivered(folder: Path) -> None:
    """Writing, adding, replacing by rename and deleting are seen; other files are not manifests."""
    async with watching(folder) as kept:
        await kept.until({"a.yaml": b"a: 1"})
        (folder / "a.yaml").write_bytes(b"a: 2")
        await kept.until({"a.yaml": b"a: 2"})
        (folder / "sub").mkdir()
        (folder / "sub" / "b.yaml").write_bytes(b"b: 1")
        await kept.until({"a.yaml": b"a: 2", "sub/b.yaml": b"b: 1"})
        (folder / "a.yaml.tmp").write_bytes(b"a: 3")
        (folder / "a.yaml.tmp").rename(folder / "a.yaml")
        await kept.until({"a.yaml": b"a: 3", "sub/b.yaml": b"b: 1"})
        (folder / "sub" / "b.yaml").unlink()
        await kept.until({"a.yaml": b"a: 3"})


async def test_a_recreated_folder_is_heard_again(folder: Path) -> None:
    """After the folder was removed and made anew its changes are still seen."""
    async with watching(folder) as kept:
        await kept.until({"a.yaml": b"a: 1"})
        _recreate(folder, b"a: 5")
        await kept.until({"a.yaml": b"a: 5"})
        (folder / "a.yaml").write_bytes(b"a: 6")
        await kept.until({"a.yaml": b"a: 6"})


async def test_what_cannot_be_opened_is_tried_again(folder: Path) -> None:
    """A key or a model may come without any change of the manifests; the reason is logged once."""

    class Locked(Kept):
        async def apply(self, source: str, files: Sequence[SourceFile]) -> None:
            del source, files
            self.delivered += 1
            raise Unauthorized("no key")

    locked = Locked()
    source = DirectorySource(folder, locked)
    await source.scan()
    await source.scan()
    assert locked.delivered == 2


async def test_the_same_content_is_delivered_once(folder: Path) -> None:
    """A scan that finds the same bytes delivers nothing, good or refused."""
    kept = Kept()
    source = DirectorySource(folder, kept)
    await source.scan()
    await source.scan()
    assert kept.delivered == 1
    (folder / "a.yaml").write_bytes(b"broken")
    await source.scan()
    await source.scan()
    assert kept.delivered == 2
    assert kept.rejected == ["a.yaml: broken [broken]"]
    source.poke()
    await source.scan()
    assert kept.delivered == 3


def _delete(folder: Path) -> None:
    (folder / "a.yaml").unlink()


def _truncate(folder: Path) -> None:
    (folder / "a.yaml").write_bytes(b"\n")


def _move(folder: Path) -> None:
    folder.rename(folder.with_name("gone"))


def _recreate(folder: Path, data: bytes) -> None:
    _delete(folder)
    folder.rmdir()
    folder.mkdir()
    (folder / "a.yaml").write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_delete, "an empty folder deletes nothing"),
        (_truncate, "became empty"),
        (_move, "no such folder"),
    ],
    ids=["empty-folder", "empty-file", "no-folder"],
)
async def test_what_vanished_deletes_nothing(
    folder: Path, spoil: Callable[[Path], None], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An empty folder, a half-written file and a missing folder are told once, and what was good serves on."""
    kept = Kept()
    source = DirectorySource(folder, kept)
    await source.scan()
    spoil(folder)
    await source.scan()
    await source.scan()
    assert len(kept.served) == 1
    assert len(kept.rejected) == 1
    assert says in kept.rejected[0]
    assert says in caplog.text


async def test_a_folder_that_was_always_empty_is_fine(tmp_path: Path) -> None:
    """There is nothing to lose, so nothing is refused."""
    kept = Kept()
    await DirectorySource(tmp_path, kept).scan()
    assert kept.rejected == []
