"""The folder of one git source below the state directory: its mirror, the trees that it delivered, and a note.

    <state>/sources/git/<namespace>/<name>/mirror/<remote>    bare repository
                                          /trees/<tree>       what manifests name: the root of a delivery
                                          /work               whatever is being made; nothing in it is kept
                                          /source.json        what to do when the object is gone

A tree is never changed once it is there, and removed when nothing that is stored or live uses it. Blocks: called in
threads by the git source and the runner.
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from loomd.errors import Temporary


class Place:
    """The folder of one source.

    Args:
        top: the folder of all git sources.
        namespace: namespace of the object.
        name: name of the object.
    """

    def __init__(self, top: Path, namespace: str, name: str) -> None:
        self.source = f"git/{namespace}/{name}"
        self.folder = top.resolve() / namespace / name
        self.mirrors = self.folder / "mirror"
        self.trees = self.folder / "trees"
        self.work = self.folder / "work"
        self._note = self.folder / "source.json"

    @property
    def known(self) -> bool:
        """Return whether the source was followed here and not forgotten since."""
        return self._note.exists()

    @property
    def prune(self) -> bool:
        """Return whether what the source declared is deleted with it; an unreadable note deletes nothing."""
        try:
            return bool(json.loads(self._note.read_bytes()) == {"prune": True})
        except (OSError, ValueError):
            return False

    def enter(self, prune: bool) -> None:
        """Make the folder ready, and note what to do when the object is gone.

        Raises:
            Temporary: the folder cannot be written.
        """
        try:
            self.clear()
            for folder in (self.mirrors, self.trees, self.work):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = self.work / self._note.name
            fresh.write_text(json.dumps({"prune": prune}), encoding="utf-8")
            fresh.replace(self._note)
        except OSError as error:
            raise Temporary(f"{self.source}: {self.folder} cannot be written: {error.strerror}: mend it") from error

    def clear(self) -> None:
        """Remove whatever was being made when a process ended."""
        shutil.rmtree(self.work, ignore_errors=True)

    def collect(self, used: Iterable[Path]) -> None:
        """Remove the trees that are not used.

        Args:
            used: roots of files that something uses.
        """
        keep = {path.name for path in used if path.parent == self.trees}
        for tree in _entries(self.trees):
            if tree.name not in keep:
                shutil.rmtree(tree, ignore_errors=True)

    def leave(self, used: Iterable[Path]) -> None:
        """Forget the source: remove everything but the trees that are used."""
        self.clear()
        shutil.rmtree(self.mirrors, ignore_errors=True)
        self._note.unlink(missing_ok=True)
        self.collect(used)
        for folder in (self.trees, self.folder, self.folder.parent):
            with suppress(OSError):  # something is still in it
                folder.rmdir()


def find_places(top: Path) -> Iterator[Place]:
    """Yield all folders of sources, also of those that are forgotten and left trees behind."""
    for namespace in _entries(top):
        for folder in _entries(namespace):
            yield Place(top, namespace.name, folder.name)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
