"""Reads manifests as bytes with an origin: a folder, a file, or standard input. Never parses and never writes.

A folder gives its `*.yaml` and `*.yml` files, hidden ones left out, and those in the folders of a skill: they belong to
it. Its JSON files are no manifests: folders hold documents, schemas and recordings in JSON; a file that is named may be
JSON. Called by the command line and by the sources of the daemon.
"""

import errno
import logging
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loomd.errors import NotFound
from loomd.manifest.problem import Position, Problem, Problems

MAX_BYTES = 4 << 20
"""Largest manifest file in bytes."""
MAX_FILES = 20_000
"""Most files of a set."""
MAX_SET_BYTES = 64 << 20
"""Largest set in bytes, all its files together."""

STDIN = "-"
"""The path that stands for standard input."""
SKILL = "SKILL.md"
"""Name of the document in a skill's folder."""

_log = logging.getLogger("loomd.manifest")

_SUFFIXES = (".yaml", ".yml")
_NOT_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that break a line of a message or turn its order; the last ones stand for bytes that are not UTF-8."""
_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class SourceFile:
    """Bytes with an origin.

    Attributes:
        root: folder that relative paths in the manifests start from and may not leave.
        path: path of the file below the root, with `/`; `-` for standard input.
        data: the bytes.
        base: what tells this root from another, see `Object.base`; by default the root itself.
    """

    root: Path
    path: str
    data: bytes
    base: str = ""

    @property
    def name(self) -> str:
        """Return the file's name for messages: spelled as the root was given, or below the name that the root has."""
        if self.base:
            return f"{self.base}/{self.path}"
        if self.path == STDIN:
            return "<stdin>"
        root = str(self.root)
        return self.path if root == "." else os.path.join(root, self.path)  # noqa: PTH118  # a Path costs ten times more


def read_path(path: str | Path, stdin: bytes | None = None) -> list[SourceFile]:
    """Return the manifest files that a path of the command line names.

    Args:
        path: a folder, a file (its folder is the root), or `-`.
        stdin: what was read from standard input, for `-`.

    Raises:
        NotFound: there is no such file or folder.
        Problems: a file cannot be read.
    """
    files, problems = try_path(path, stdin)
    if problems:
        raise Problems(problems)
    return files


def try_path(path: str | Path, stdin: bytes | None = None) -> tuple[list[SourceFile], list[Problem]]:
    """Return the manifest files that a path of the command line names, and what keeps others from being read.

    Args:
        path: see `read_path`.
        stdin: see `read_path`.

    Raises:
        NotFound: there is no such file or folder.
    """
    if str(path) == STDIN:
        return [SourceFile(Path(), STDIN, stdin or b"")], []
    place = Path(path)
    if place.is_dir():
        return try_folder(place)
    if not os.path.lexists(place):
        raise NotFound(f"{place}: no such file or folder")
    found = read_file(place.parent, place.name)
    return ([], [found]) if isinstance(found, Problem) else ([found], [])


def read_folder(root: Path) -> list[SourceFile]:
    """Return all manifest files below a folder, sorted by path.

    Hidden files and folders are left out, and with them the swap files of editors; so are the folders beside a
    `SKILL.md`, but for one in the root itself. A symbolic link may point to anything inside the root. One to a folder
    outside is left out, and that is logged.

    Raises:
        NotFound: the folder does not exist.
        Problems: files cannot be read, links to files leave the root, or there is too much; all of them.
    """
    files, problems = try_folder(root)
    if problems:
        raise Problems(problems)
    return files


def try_folder(root: Path) -> tuple[list[SourceFile], list[Problem]]:
    """Return the manifest files below a folder, and what keeps others from being read.

    Raises:
        NotFound: the folder does not exist.
    """
    if not root.is_dir():
        raise no_folder(root)
    files: list[SourceFile] = []
    problems: list[Problem] = []
    size = 0
    for path in sorted(_walk(root, problems)):
        found = read_file(root, path)
        if isinstance(found, Problem):
            problems.append(found)
            continue
        files.append(found)
        size += len(found.data)
        if size > MAX_SET_BYTES or len(files) > MAX_FILES:
            problems += check_set(files)
            break
    return files, problems


def check_set(files: Sequence[SourceFile]) -> list[Problem]:
    """Return what is wrong with the size of a set of files."""
    hint = "split it into several folders, each with a source of its own"
    size = sum(len(file.data) for file in files)
    if len(files) > MAX_FILES:
        where, got = Position(printable(str(files[0].root))), f"{len(files):,} files"
        message = f"there are more than {MAX_FILES:,} manifest files"
        return [Problem(where, "too-large", message, hint=hint, expected=f"at most {MAX_FILES:,} files", got=got)]
    if size > MAX_SET_BYTES:
        where, got = Position(printable(str(files[0].root))), f"{size:,} bytes"
        limit = f"{MAX_SET_BYTES >> 20} MiB"
        message = f"the manifest files are larger than {limit} together"
        return [Problem(where, "too-large", message, hint=hint, expected=f"at most {limit}", got=got)]
    return []


def is_manifest(name: str) -> bool:
    """Return whether a folder's entry of this name is a manifest."""
    return name.endswith(_SUFFIXES) and not name.startswith(".")


def no_folder(root: Path) -> NotFound:
    """Return the error for a folder that is not there."""
    if root.exists():
        return NotFound(f"{root} is a file, not a folder: name its folder")
    return NotFound(f"{root}: no such folder")


def check_folder(root: Path, path: str) -> Problem | None:
    """Return what is wrong with a folder below a root, given by its path: it is called a manifest."""
    place = root / path
    if is_manifest(place.name):
        hint = "a mount of a file that does not exist makes one: remove it"
        return Problem(Position(printable(str(place))), "unreadable", "it is a folder, not a file", hint=hint)
    return None


def left_out(root: Path, path: str) -> str:
    """Return in words that a folder below a root is a link to one outside, which is not read; else an empty text."""
    place = root / path
    if not place.is_symlink() or _inside(place, root):
        return ""
    return (
        f"{printable(str(place))}: {_leaves(place, root).message}: it is left out; copy what it leads to, or remove it"
    )


def printable(text: str) -> str:
    """Return a file name for a message: on one line, and text also where its bytes are not."""
    return _NOT_TEXT.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def is_text(name: str) -> bool:
    """Return whether a file name is text: names are bytes, and those that are not UTF-8 cannot be written down."""
    return not _HALF.search(name)


def _walk(root: Path, problems: list[Problem]) -> Iterator[str]:
    def failed(error: OSError) -> None:
        problems.append(_unreadable(str(error.filename), error.strerror or str(error)))

    start = len(os.path.join(root, ""))  # noqa: PTH118  # a Path of each file costs more than reading it
    for folder, folders, files in os.walk(root, onerror=failed):
        below = f"{folder[start:]}/" if folder[start:] else ""
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            found = check_folder(root, below + name)
            if found is not None:
                problems.append(found)
            if told := left_out(root, below + name):
                _log.warning("%s", told)
        folders[:] = [name for name in folders if not is_manifest(name) and not (below and SKILL in files)]
        yield from (below + name for name in files if is_manifest(name))


def read_file(root: Path, path: str) -> SourceFile | Problem:
    """Return a manifest file below a root, or why it cannot be read."""
    place = os.path.join(root, path)  # noqa: PTH118  # a Path costs more than reading the file
    if _NOT_TEXT.search(path):
        message = "cannot be read: the name is not text on one line: rename it"
        return Problem(Position(printable(place)), "unreadable", message)
    try:
        try:
            data = _read(place, os.O_NOFOLLOW)
        except OSError as error:
            if error.errno != errno.ELOOP or not os.path.islink(place):  # noqa: PTH114  # see above
                raise
            if not _inside(Path(place), root):
                return _leaves(Path(place), root)
            data = _read(place, 0)
    except OSError as error:
        return _unreadable(place, error.strerror or str(error))
    if data is None:
        return _unreadable(place, "it is not a regular file")
    if len(data) > MAX_BYTES:
        message, limit = f"the file is larger than {MAX_BYTES >> 20} MiB: split it", f"at most {MAX_BYTES >> 20} MiB"
        return Problem(Position(place), "too-large", message, expected=limit)
    return SourceFile(root, path, data)


def _read(place: str, flags: int) -> bytes | None:
    """Return the bytes of a file, one too many when it is too large, or None when it is not a regular file."""
    # Opened without waiting: a named pipe called x.yaml must not hang the reader.
    file = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            return None
        parts: list[bytes] = []
        size = 0
        while size <= MAX_BYTES:
            part = os.read(file, min(max(status.st_size - size, 0), MAX_BYTES - size) + 1)
            if not part:
                break
            parts.append(part)
            size += len(part)
        return b"".join(parts)
    finally:
        os.close(file)


def _inside(place: Path, root: Path) -> bool:
    # Path.resolve raises on a link that leads to itself; opening it says what is wrong.
    return Path(os.path.realpath(place)).is_relative_to(os.path.realpath(root))


def _unreadable(name: str, reason: str) -> Problem:
    return Problem(Position(printable(name)), "unreadable", f"cannot be read: {reason}")


def _leaves(place: Path, root: Path) -> Problem:
    message = f"the symbolic link leaves {root if str(root) != '.' else 'this folder'}"
    return Problem(Position(printable(str(place))), "unreadable", message, hint="copy the file, or link to one inside")
