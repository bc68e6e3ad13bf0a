"""Reads one folder again and again and opens only what may have changed. It never parses, writes or waits.

The same rules as `loomd.manifest.source.read_folder`, with a memory. A file whose inode, size and times are those of
the last look is not opened again, unless it changed so short a time ago that another change could look the same.
Called by the directory source, in a thread.
"""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from loomd.clock import Clock
from loomd.manifest.problem import Position, Problem
from loomd.manifest.source import (
    SKILL,
    SourceFile,
    check_folder,
    is_manifest,
    left_out,
    no_folder,
    printable,
    read_file,
)

TICK = 2.0
"""Seconds: the coarsest time stamp of a file system. Two writes within it may leave the same times."""

_SKILLS = "skills"

Signature = tuple[int, int, int, int, int, int]
"""What a file looks like without being opened: mode, device, inode, size, times of change in nanoseconds."""


@dataclass(frozen=True)
class Reading:
    """What a folder held at one look.

    Attributes:
        files: its manifests, sorted by path.
        problems: what could not be read.
        others: digest of what its other files look like. Documents, tools and skills that manifests name are among
            them: size and times tell that they may have changed, loading tells whether they did.
        folders: the folders below it, relative to it.
        left_out: what is said of links to folders outside of it.
        revision: `sha256:` and the first 12 digits of a digest of all manifests: equal ones hold the same.
    """

    files: tuple[SourceFile, ...]
    problems: tuple[Problem, ...]
    others: str = field(compare=False)
    folders: tuple[str, ...]
    left_out: tuple[str, ...]
    revision: str


@dataclass(frozen=True)
class _Known:
    """What became of a manifest file at the last look."""

    signature: Signature
    settled: bool
    found: SourceFile | Problem
    digest: bytes


@dataclass
class _Listing:
    """What stands in a folder: manifests, all other files, folders, and what cannot be listed."""

    manifests: dict[str, Signature] = field(default_factory=dict[str, Signature])
    others: list[bytes] = field(default_factory=list[bytes])
    folders: list[str] = field(default_factory=list[str])
    left_out: list[str] = field(default_factory=list[str])
    problems: list[Problem] = field(default_factory=list[Problem])
    kept: set[str] = field(default_factory=set[str])
    """Folders that hold no manifests: they are those of skills."""


class Scanner:
    """Looks at one folder and remembers what it has read.

    Args:
        root: the folder.
        clock: tells how long ago a file changed.
    """

    def __init__(self, root: Path, clock: Clock) -> None:
        self._root = root
        self._clock = clock
        self._known: dict[str, _Known] = {}

    def forget(self) -> None:
        """Read every file again at the next look, whatever its times say."""
        self._known = {}

    def look(self) -> Reading:
        """Return what the folder holds now.

        Raises:
            NotFound: there is no such folder.
        """
        if not self._root.is_dir():
            raise no_folder(self._root)
        listing = _list(self._root)
        now = self._clock.now()
        self._known = {path: self._read(path, seen, now) for path, seen in sorted(listing.manifests.items())}
        whole = hashlib.sha256()
        for path, known in self._known.items():
            whole.update(f"{path!r} {known.digest.hex()}\n".encode())
        founds = [known.found for known in self._known.values()]
        files = tuple(found for found in founds if isinstance(found, SourceFile))
        listing.problems += (found for found in founds if isinstance(found, Problem))
        others = hashlib.sha256(b"".join(sorted(listing.others))).hexdigest()
        folders = tuple(sorted(listing.folders))
        problems, told = tuple(sorted(listing.problems)), tuple(sorted(listing.left_out))
        return Reading(files, problems, others, folders, told, f"sha256:{whole.hexdigest()[:12]}")

    def _read(self, path: str, signature: Signature, now: float) -> _Known:
        last = self._known.get(path)
        if last is not None and last.settled and last.signature == signature:
            return last
        found = read_file(self._root, path)
        data = found.data if isinstance(found, SourceFile) else b""
        if last is not None and last.found == found:
            found = last.found  # the same object: whoever compares it with what it holds compares no bytes
        settled = now - max(signature[4:]) / 1e9 > TICK and isinstance(found, SourceFile)
        return _Known(signature, settled, found, hashlib.sha256(data).digest())


def _list(root: Path) -> _Listing:
    """Return what stands in a folder and in the folders below it."""
    listing = _Listing()
    left = [""]
    while left:
        folder = left.pop()
        place = os.path.join(root, folder)  # noqa: PTH118  # ten thousand files: a Path of each costs more than its stat
        try:
            with os.scandir(place) as found:
                entries = list(found)
        except OSError as error:
            message = f"cannot be read: {error.strerror or error}"
            listing.problems.append(Problem(Position(printable(place)), "unreadable", message))
        else:
            below = [path for entry in entries if (path := _note(root, folder, entry, listing))]
            if folder in listing.kept or (folder and any(entry.name == SKILL for entry in entries)):
                listing.kept.update(below)
            listing.folders += below
            left += below
    return listing


def _note(root: Path, folder: str, entry: os.DirEntry[str], listing: _Listing) -> str:
    """Put an entry of a folder into the listing; return the path of a folder that is to be listed too."""
    path = f"{folder}{entry.name}"
    if _is_folder(entry):
        if entry.name.startswith("."):
            return _skills(entry, path, listing)
        problem = check_folder(root, path) if entry.is_symlink() or is_manifest(entry.name) else None
        if problem is not None:
            listing.problems.append(problem)
        elif not entry.is_symlink():
            return f"{path}/"
        else:
            listing.others.append(os.fsencode(f"{path}\0{entry.inode()}\n"))
        if entry.is_symlink() and (told := left_out(root, path)):
            listing.left_out.append(told)
    elif is_manifest(entry.name) and folder not in listing.kept:
        listing.manifests[path] = _signature(entry)
    elif not is_scratch(entry.name):
        listing.others.append(os.fsencode(f"{path}\0{_signature(entry)}\n"))
    return ""


def _skills(entry: os.DirEntry[str], path: str, listing: _Listing) -> str:
    """Return the one folder in a hidden folder in which something counts: programs keep skills in `.agents/skills`."""
    below = os.path.join(entry.path, _SKILLS)  # noqa: PTH118  # see above
    if entry.is_symlink() or os.path.islink(below) or not os.path.isdir(below):  # noqa: PTH112, PTH114  # see above
        return ""
    listing.kept.add(f"{path}/{_SKILLS}/")
    return f"{path}/{_SKILLS}/"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself: opening it says so
        return False


def _signature(entry: os.DirEntry[str]) -> Signature:
    try:
        seen = entry.stat()
    except OSError:  # gone again, or a link that leads nowhere: opening it says which
        return (0, 0, 0, 0, 0, 0)
    return (seen.st_mode, seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


def is_scratch(name: str) -> bool:
    """Return whether a name is one that editors give to backups, locks, swap files and probes."""
    return name.endswith(("~", ".swp", ".swx", ".swo", ".tmp", "#")) or name.startswith((".#", "#")) or name == "4913"
