"""Writes the files of a commit into a folder of their own, from the object database, and checks them on the way.

Filters, attributes and line-end settings have no effect, submodules hold nothing, links are made last and must stay
inside. The folder appears whole or not at all, and never changes again. Called by the git source.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path

from loomd.errors import Damaged, LoomdError, NotFound, Permanent, Temporary
from loomd.git.command import Git
from loomd.git.place import Place
from loomd.git.remote import GitLimits
from loomd.manifest.source import printable
from loomd.manifest.wording import quoted

_CHUNK = 1 << 16
_BATCH = 4 << 20
"""Bytes of contents that are held before they are written."""
_LINK = 4096
"""Longest target of a link."""
_FOLDER, _LINKED, _SUBMODULE, _PROGRAM = "040000", "120000", "160000", "100755"


@dataclass(frozen=True)
class _Entry:
    """One line of a tree; the path is relative, as the file system takes it."""

    mode: str
    object: str
    size: int
    path: str


@dataclass(frozen=True)
class Trees:
    """Makes folders from the trees of commits.

    Args:
        owner: the object, `GitSource/team`, for messages.
        place: where the folders are.
        limits: how large they may be.
    """

    owner: str
    place: Place
    limits: GitLimits

    async def find(self, git: Git, commit: str, path: str) -> str:
        """Return the hash of a folder in a commit, or an empty text when it has none of that name.

        Raises:
            NotFound: there is a file of that name.
        """
        done = await git.run("rev-parse", "--verify", "--quiet", f"{commit}:{path}")
        if done.code:
            return ""
        if await git.ask("cat-file", "-t", done.text) != "tree":
            raise NotFound(f"{self.owner} spec.path: {quoted(path)} is a file, not a folder: name its folder")
        return done.text

    async def export(self, git: Git, tree: str) -> Path:
        """Return the folder that holds the files of a tree, made when it is not there; empty for no tree.

        Raises:
            Permanent: it is larger than it may be, or holds what must not be written.
            Damaged: the mirror misses some of it.
            Temporary: the disk is full.
        """
        final = self.place.trees / (tree or "empty")
        if final.is_dir():
            return final
        try:
            fresh = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self.place.work))
            try:
                entries = await self._list(git, tree) if tree else []
                await self._write(git, fresh, entries)
                await asyncio.to_thread(_settle, fresh, final)
            finally:
                await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)
        except OSError as error:
            raise self._failed(error) from error
        return final

    async def _list(self, git: Git, tree: str) -> list[_Entry]:
        """Return what is in a tree.

        Raises:
            Permanent: there is too much, or it has a name that no file may have.
        """
        entries: list[_Entry] = []
        counts = {"files": 0, "folders": 0}
        size = 0
        async with aclosing(_lines(git, "ls-tree", "-r", "-t", "-z", "--long", "--full-tree", tree)) as lines:
            async for line in lines:
                entry = _parse(line)
                counts["folders" if entry.mode == _FOLDER else "files"] += 1
                size += entry.size
                for what, count in counts.items():
                    if count > self.limits.files:
                        raise self._too_large("files", f"{self.limits.files:,} {what}")
                if size > self.limits.size:
                    raise self._too_large("size", f"{self.limits.size:,} bytes")
                self._refuse_name(entry.path)
                entries.append(entry)
        return entries

    async def _write(self, git: Git, fresh: Path, entries: Sequence[_Entry]) -> None:
        await asyncio.to_thread(_make_folders, fresh, entries)
        files = [one for one in entries if one.mode not in {_FOLDER, _SUBMODULE}]
        plain = sorted((one for one in files if one.mode != _LINKED), key=lambda one: one.object)
        async with aclosing(_contents(git, plain)) as batches:
            async for batch in batches:
                await asyncio.to_thread(_write_files, fresh, batch)
        links = [one for one in files if one.mode == _LINKED]
        for one in links:
            if one.size > _LINK:
                raise Permanent(f"{self.owner}: {printable(one.path)}: the target of the link is too long: remove it")
        async with aclosing(_contents(git, links)) as batches:
            async for batch in batches:
                await asyncio.to_thread(_write_links, fresh, batch)
        leaving = await asyncio.to_thread(_leaving, fresh, links)
        if leaving:
            raise Permanent(
                f"{self.owner}: {printable(leaving[0])}: the symbolic link leaves the folder of the manifests: "
                "copy the file, or link to one inside"
            )

    def _refuse_name(self, path: str) -> None:
        for part in path.split("/"):
            if part in {"", ".", ".."} or part.lower() == ".git":
                raise Permanent(f"{self.owner}: {quoted(path)}: no file may have the name {quoted(part)}: rename it")

    def _too_large(self, field: str, most: str) -> Permanent:
        return Permanent(
            f"{self.owner} spec.limits.{field}: there are more than {most} below spec.path: "
            "raise the limit, or follow a smaller folder"
        )

    def _failed(self, error: OSError) -> LoomdError:
        text = f"{self.owner}: {printable(str(error.filename or self.place.work))}: {error.strerror}"
        if isinstance(error, (FileExistsError, NotADirectoryError)):
            return Permanent(f"{text}: two files of the commit have one name: rename one")
        if error.strerror and "too long" in error.strerror:
            return Permanent(f"{text}: rename it")
        return Temporary(f"{text}: mend the state directory")


async def _lines(git: Git, *arguments: str) -> AsyncGenerator[bytes, None]:
    """Yield what a command prints, one line that ends with a zero byte after the other."""
    async with git.start(*arguments) as process:
        assert process.stdout is not None  # noqa: S101  # it is a pipe
        rest = b""
        while part := await process.stdout.read(_CHUNK):
            *lines, rest = (rest + part).split(b"\0")
            for line in lines:
                yield line
        if await process.wait() or rest:
            raise Damaged(f"{git.folder} is damaged: git {arguments[0]} ended early: it is fetched anew")


def _parse(line: bytes) -> _Entry:
    """Return a line of `git ls-tree --long`: mode, type, object and size, a tab, and the path."""
    head, _, path = line.partition(b"\t")
    mode, _, name, size = head.decode("ascii").split()
    return _Entry(mode, name, int(size) if size.isdigit() else 0, os.fsdecode(path))


async def _contents(git: Git, entries: Sequence[_Entry]) -> AsyncGenerator[list[tuple[_Entry, bytes]], None]:
    """Yield entries with their contents, some at a time; equal ones follow each other and are read once."""
    if not entries:
        return
    async with git.start("cat-file", "--batch", feed=True) as process:
        feeding = asyncio.ensure_future(_feed(process, dict.fromkeys(one.object for one in entries)))
        try:
            batch: list[tuple[_Entry, bytes]] = []
            held, last, data = 0, "", b""
            for entry in entries:
                if entry.object != last:
                    last, data = entry.object, await _receive(git, process, entry)
                    held += len(data)
                batch.append((entry, data))
                if held > _BATCH or len(batch) > 1000:
                    yield batch
                    batch, held = [], 0
            yield batch
        finally:
            feeding.cancel()
            await asyncio.wait([feeding])


async def _feed(process: asyncio.subprocess.Process, objects: Iterable[str]) -> None:
    assert process.stdin is not None  # noqa: S101  # it is a pipe
    with suppress(ConnectionError):  # whoever reads the answers notices
        for name in objects:
            process.stdin.write(f"{name}\n".encode())
            await process.stdin.drain()
        process.stdin.close()


async def _receive(git: Git, process: asyncio.subprocess.Process, entry: _Entry) -> bytes:
    """Return the next answer of `git cat-file --batch`: object, type and size on a line, the contents, a newline."""
    assert process.stdout is not None  # noqa: S101  # it is a pipe
    try:
        head = (await process.stdout.readline()).decode("ascii", "replace").split()
        if head != [entry.object, "blob", str(entry.size)]:
            raise Damaged(f"{git.folder} is damaged: it misses {entry.object}: it is fetched anew")
        return (await process.stdout.readexactly(entry.size + 1))[:-1]
    except asyncio.IncompleteReadError as error:
        raise Damaged(f"{git.folder} is damaged: {entry.object} cannot be read: it is fetched anew") from error


def _make_folders(fresh: Path, entries: Iterable[_Entry]) -> None:
    for one in entries:
        if one.mode in {_FOLDER, _SUBMODULE}:
            (fresh / one.path).mkdir()


def _write_files(fresh: Path, batch: Iterable[tuple[_Entry, bytes]]) -> None:
    for entry, data in batch:
        mode = 0o755 if entry.mode == _PROGRAM else 0o644
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(fresh / entry.path, flags, mode), "wb") as file:
            file.write(data)


def _write_links(fresh: Path, batch: Iterable[tuple[_Entry, bytes]]) -> None:
    for entry, data in batch:
        (fresh / entry.path).symlink_to(os.fsdecode(data.split(b"\0")[0]) or ".")


def _leaving(fresh: Path, links: Iterable[_Entry]) -> list[str]:
    """Return the links that lead outside, by whatever way, other links included."""
    top = os.path.realpath(fresh)
    return [one.path for one in links if not Path(os.path.realpath(fresh / one.path)).is_relative_to(top)]


def _settle(fresh: Path, final: Path) -> None:
    """Give a folder its name once all in it is on disk."""
    os.sync()  # one for all: a call for each of ten thousand files takes minutes
    fresh.chmod(0o700)
    fresh.rename(final)
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
