"""Reads manifests as bytes with an origin: a folder, a file, or standard input. Never parses and never writes.

A folder gives its `*.yaml` and `*.yml` files, hidden ones left out; a file that is named may also be JSON. Called by
the command line and by the sources of the daemon.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loomd.errors import NotFound
from loomd.manifest.problem import Position, Problem, Problems

MAX_BYTES = 4 << 20
"""Largest manifest file in bytes."""

STDIN = "-"
"""The path that stands for standard input."""

_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class SourceFile:
    """Bytes with an origin.

    Attributes:
        root: folder that relative paths in the manifests start from and may not leave.
        path: path of the file below the root, with `/`; `-` for standard input.
        data: the bytes.
    """

    root: Path
    path: str
    data: bytes

    @property
    def name(self) -> str:
        """Return the file's name for messages, spelled as the root was given."""
        return "<stdin>" if self.path == STDIN else str(self.root / self.path)


def read_path(path: str | Path, stdin: bytes | None = None) -> list[SourceFile]:
    """Return the manifest files that a path of the command line names.

    Args:
        path: a folder, a file (its folder is the root), or `-`.
        stdin: what was read from standard input, for `-`.

    Raises:
        NotFound: there is no such file or folder.
        Problems: a file cannot be read.
    """
    if str(path) == STDIN:
        return [SourceFile(Path(), STDIN, stdin or b"")]
    place = Path(path)
    if place.is_dir():
        return read_folder(place)
    if not os.path.lexists(place):
        raise NotFound(f"{place}: no such file or folder")
    found = _read_file(place.parent, place.name)
    if isinstance(found, Problem):
        raise Problems([found])
    return [found]


def read_folder(root: Path) -> list[SourceFile]:
    """Return all manifest files below a folder, sorted by path.

    Hidden files and folders are left out, and with them the swap files of editors. A symbolic link may point to
    anything inside the root.

    Raises:
        NotFound: the folder does not exist.
        Problems: files cannot be read, or links leave the root; all of them.
    """
    if not root.is_dir():
        raise NotFound(f"{root}: no such folder")
    files: list[SourceFile] = []
    problems: list[Problem] = []
    for path in sorted(_walk(root, problems)):
        found = _read_file(root, path)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            files.append(found)
    if problems:
        raise Problems(problems)
    return files


def _walk(root: Path, problems: list[Problem]) -> Iterator[str]:
    def failed(error: OSError) -> None:
        problems.append(_unreadable(str(error.filename), error.strerror or str(error)))

    for folder, folders, files in os.walk(root, onerror=failed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            place = Path(folder, name)
            if place.is_symlink() and not _inside(place, root):
                problems.append(_leaves(place, root))
        for name in files:
            if name.endswith(_SUFFIXES) and not name.startswith("."):
                yield Path(folder, name).relative_to(root).as_posix()


def _read_file(root: Path, path: str) -> SourceFile | Problem:
    place = root / path
    try:
        if place.is_symlink() and not _inside(place, root):
            return _leaves(place, root)
        # Opened without waiting: a named pipe called x.yaml must not hang the reader.
        with open(os.open(place, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123  # wraps a descriptor
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return _unreadable(str(place), "it is not a regular file")
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        return _unreadable(str(place), error.strerror or str(error))
    if len(data) > MAX_BYTES:
        return Problem(Position(str(place)), "too-large", f"the file is larger than {MAX_BYTES >> 20} MiB: split it")
    return SourceFile(root, path, data)


def _inside(place: Path, root: Path) -> bool:
    return place.resolve().is_relative_to(root.resolve())


def _unreadable(name: str, reason: str) -> Problem:
    return Problem(Position(name), "unreadable", f"cannot be read: {reason}")


def _leaves(place: Path, root: Path) -> Problem:
    message = f"the symbolic link leaves {root if str(root) != '.' else 'this folder'}"
    return Problem(Position(str(place)), "unreadable", message, hint="copy the file, or link to one inside")
