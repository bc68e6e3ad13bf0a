"""Folders of skills: where they are below another folder, which files they hold, and what is in one of those files.

Nothing outside a skill's folder is ever read, whatever names or symbolic links say. Called by the spec when it is
checked and opened, and by the live skill when a file is asked for. Runs nothing and writes nothing.
"""

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from loomd.errors import Permanent
from loomd.manifest.inside import below
from loomd.manifest.source import SKILL, is_text, printable

MAX_FOLDERS = 10_000
"""Most folders that are looked through for skills."""

_NOT_LISTED = frozenset({"node_modules", "__pycache__"})


class SkillFolder(NamedTuple):
    """The folder of a skill.

    Attributes:
        name: what it is called where it was found; a link has a name of its own.
        place: the folder itself, links resolved.
        shown: its path below the manifest's root, for messages.
    """

    name: str
    place: Path
    shown: str


def find_folders(root: Path, path: str, exclude: Collection[str] = ()) -> list[SkillFolder]:
    """Return the folders of skills at or below a folder, sorted by path.

    Below the folder of a skill no further one is looked for. Hidden folders are passed over.

    Args:
        root: the manifest's root.
        path: the folder, relative to it.
        exclude: names of folders to leave out.

    Raises:
        Permanent: the path names no folder, leaves the root, holds no skill, or too many folders.
    """
    top, base = below(root, path, "a folder"), root.resolve()
    if not top.is_dir():
        raise Permanent(f'expected a folder, got "{path}", which is a file: name its folder, or use spec.file')
    name = Path(os.path.normpath(path)).name
    found: list[SkillFolder] = []
    waiting, seen = [SkillFolder(name, top, os.path.normpath(path))], {top}
    while waiting:
        folder = waiting.pop()
        if (folder.place / SKILL).is_file():
            found.append(folder)
            continue
        for one in _folders(folder, base):
            if one.name not in exclude and one.place not in seen:
                seen.add(one.place)
                waiting.append(one)
        if len(seen) > MAX_FOLDERS:
            raise Permanent(f'expected at most {MAX_FOLDERS:,} folders below "{path}", got more: name a smaller folder')
    if not found:
        raise Permanent(f'expected a {SKILL} in "{path}" or in folders below it, got none')
    return sorted(found, key=lambda one: one.shown)


def _folders(folder: SkillFolder, base: Path) -> Iterator[SkillFolder]:
    """Yield the folders in a folder.

    Raises:
        Permanent: it cannot be listed, or one is a link out of the root.
    """
    try:
        with os.scandir(folder.place) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir())
    except OSError as error:
        raise Permanent(f'"{folder.shown}" cannot be listed: {error.strerror}') from error
    for name in names:
        if name.startswith(".") or name in _NOT_LISTED:
            continue
        shown, place = printable(f"{folder.shown}/{name}"), (folder.place / name).resolve()
        if not place.is_relative_to(base):
            raise Permanent(
                f'expected a path that stays below {base}, got "{shown}", which leads out of it: move it there'
            )
        yield SkillFolder(name, place, shown)


def list_files(folder: Path, most: int) -> list[str]:
    """Return the files of a skill beside its document, by their paths below its folder, sorted; hidden ones left out.

    Args:
        folder: the skill's folder, links resolved.
        most: how many there may be.

    Raises:
        Permanent: there are more, one cannot be listed, its name is not text, or a link leads out of the folder.
    """

    def failed(error: OSError) -> None:
        raise Permanent(f'"{folder.name}" cannot be listed: {error.strerror}') from error

    found: list[str] = []
    for place, folders, files in os.walk(folder, onerror=failed):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _NOT_LISTED]
        for name in files:
            path = Path(place, name)
            if name.startswith(".") or path == folder / SKILL:
                continue
            shown = path.relative_to(folder).as_posix()
            if not is_text(shown):
                raise Permanent(f'"{printable(shown)}" of "{folder.name}" has a name that is not UTF-8 text: rename it')
            if not path.resolve().is_relative_to(folder):
                raise Permanent(f'"{printable(shown)}" of "{folder.name}" is a link out of the folder: copy the file')
            found.append(shown)
            if len(found) > most:
                raise Permanent(f'expected at most {most} files in "{folder.name}" (spec.maxFiles), got more')
    return sorted(found)


def read_resource(folder: Path, path: str, limit: int) -> str:
    """Return the text of a file of a skill, cut where it is too long.

    Args:
        folder: the skill's folder, links resolved.
        path: one of the paths that `list_files` returned.
        limit: longest text in bytes.

    Raises:
        Permanent: it is not there any more, is not text, or leads out of the folder.
    """
    try:
        place = (folder / path).resolve(strict=True)
        if not place.is_relative_to(folder):
            raise Permanent(f'"{path}" leads out of the skill\'s folder')
        file = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(file, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            data = stream.read(limit)
    except OSError as error:
        raise Permanent(f'"{path}" cannot be read: {error.strerror}') from error
    if b"\0" in data:
        raise Permanent(f'"{path}" is not text')
    try:
        text = data.decode("utf-8", "strict" if size <= limit else "ignore")
    except UnicodeDecodeError:
        raise Permanent(f'"{path}" is not text') from None
    return text if size <= limit else f"{text}\n[cut: {limit} of {size} bytes]"
