"""What is kept of the files that objects name, so that a revision runs with its own, whatever is on disk by now.

The store keeps the contents with each revision. Where those on disk are others, an object reads a folder with copies,
below the state directory; it is made when it is needed, and removed when nothing that is open reads it. Called by
`stage`.
"""

import hashlib
import os
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from loomd.errors import Permanent, Temporary
from loomd.manifest.files import Copy
from loomd.manifest.object import NamedFile, Object, Ref
from loomd.store.records import StoredFile

FOLDER = "copies"
"""Name of the folder in the state directory."""

Key = tuple[str, str, str]
"""Names a copy: the object, its root, and the path of the file below that."""


def owner_of(ref: Ref) -> str:
    """Return what the store calls an object that names files."""
    return f"{ref.kind}/{ref.namespace}/{ref.name}"


def named(items: Iterable[Object]) -> dict[Key, tuple[NamedFile, Path]]:
    """Return the files that are kept with objects, and the folders in which they are read."""
    return {(owner_of(item.ref), str(item.root), one.path): (one, item.folder) for item in items for one in item.reads}


def take(wanted: Mapping[Key, tuple[NamedFile, Path]]) -> list[StoredFile]:
    """Read files that are to be kept.

    Raises:
        Temporary: one is not what it was when the objects were opened.
    """
    return [_take(key, one, folder) for key, (one, folder) in wanted.items()]


def _take(key: Key, file: NamedFile, folder: Path) -> StoredFile:
    try:
        data = (folder / file.target).read_bytes()
    except OSError as error:
        raise Temporary(f"{folder / file.path} was there, and now it is not ({error.strerror}): try again") from error
    if hashlib.sha256(data).hexdigest() != file.digest:
        raise Temporary(f"{folder / file.path} was written while it was taken over: try again")
    return StoredFile(*key, data, target=file.target)


def stored_copies(directory: Path, files: Sequence[StoredFile]) -> dict[Ref, Copy]:
    """Return what is kept with the objects of a revision; a folder is made for those that turn out to need it.

    Args:
        directory: the state directory.
        files: what the store has of them.
    """
    found: dict[Ref, list[StoredFile]] = {}
    for file in files:
        kind, namespace, name = file.source.split("/")
        found.setdefault(Ref(kind, name, namespace), []).append(file)
    return {ref: _copy(directory / FOLDER, own) for ref, own in found.items()}


def _copy(folder: Path, files: list[StoredFile]) -> Copy:
    kept = tuple(sorted(NamedFile(one.path, one.target, hashlib.sha256(one.data).hexdigest()) for one in files))
    name = hashlib.sha256(repr(kept).encode()).hexdigest()[:32]
    return Copy(kept, partial(_place, folder / name, files))


def _place(folder: Path, files: Iterable[StoredFile]) -> Path:
    """Put copies into a folder, and return it with links resolved; what is there and right stays.

    Raises:
        Permanent: they cannot be written there.
    """
    try:
        for one in files:
            _write(_below(folder, one.target), one.data)
            if one.path != one.target:
                _link(_below(folder, one.path), folder / one.target)
    except OSError as error:
        raise Permanent(f"{folder}: the kept files of a revision cannot be put there: {error.strerror}") from error
    return folder.resolve()


def _below(folder: Path, path: str) -> Path:
    """Return a place below a folder, and make the folders that lead to it, for nobody else to read."""
    place = folder / path
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise Permanent(f"{path}: the store holds no such name: restore a backup of the state directory")
    missing = [one for one in (place.parent, *place.parent.parents) if one.is_relative_to(folder.parent)]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)
    return place


def _write(place: Path, data: bytes) -> None:
    with suppress(FileNotFoundError):
        if not place.is_symlink() and place.read_bytes() == data:
            return
    fresh = place.with_name(f"{place.name}.new")
    fresh.write_bytes(data)
    fresh.chmod(0o700)  # it may be a program
    fresh.replace(place)


def _link(place: Path, target: Path) -> None:
    leads = os.path.relpath(target, place.parent)
    with suppress(FileNotFoundError):
        if place.is_symlink() and place.readlink() == Path(leads):
            return
        place.unlink()
    place.symlink_to(leads)


def sweep(directory: Path, used: Collection[Path]) -> None:
    """Remove the folders of copies that nothing reads any more."""
    top = directory / FOLDER
    if not top.is_dir():
        return
    names = {path.name for path in used}
    for path in top.iterdir():
        if path.name not in names:
            shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):  # some are used
        top.rmdir()
