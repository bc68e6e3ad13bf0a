"""Hears that something in a folder may have changed, whatever becomes of the folder: a hint, never more.

It watches folders, never files: a watched file goes deaf after one atomic rename. Each folder is watched by itself,
because a watch of a whole tree follows links and goes wherever they lead. With them are watched the parent and the
folders of the links on the way, which decide what folder that is. Where the system has no watches left that is said
once, and the folder has to be looked at often instead. Called by the directory source; never reads a file.
"""

import asyncio
import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from watchfiles import Change, awatch

from loomd.manifest.source import is_text
from loomd.sources.scan import is_scratch

_log = logging.getLogger("loomd.sources")

STEP = 20
"""Milliseconds between looks at what the system has told: what a hint is late at most, twice."""
ODD = 2.0
"""Seconds between watches that end at a name that is not text, one after the other."""

Identity = tuple[int, int]
"""Device and inode: two folders of one name differ in it."""


class Watch:
    """Listens for changes of one folder and of all folders below it that it is told of.

    Args:
        path: the folder; it may come and go.

    Attributes:
        hint: set when something may have changed; whoever looks clears it.
        last: when the last hint came, on the clock of the event loop.
        deaf: whether changes go unheard, so that the folder has to be looked at often.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._way = frozenset(map(str, [path, *path.parents]))
        self._below: list[str] = []
        self._watched: Mapping[str, Identity] = {}
        self._group: asyncio.TaskGroup | None = None
        self._listener: asyncio.Task[None] | None = None
        self._told = ""
        self._ended = -float("inf")
        self.hint = asyncio.Event()
        self.last = 0.0
        self.deaf = True

    def tell(self) -> None:
        """Give a hint."""
        self.last = asyncio.get_running_loop().time()
        self.hint.set()

    def renew(self) -> None:
        """Watch everything anew at the next `listen`, also what seems to be watched."""
        self._watched = {}

    def start(self, group: asyncio.TaskGroup) -> None:
        """Run the listeners in a group from now on."""
        self._group = group
        self.renew()

    async def listen(self, folders: Iterable[str] | None = None) -> bool:
        """Watch what the path names now and the folders below it.

        Args:
            folders: paths of the folders below it, relative to it; by default those of the last call. Those whose
                names are not text are passed over: nothing in them counts, and the library refuses them.

        Returns:
            whether anything is watched that was not before, so that changes up to now may be unheard.
        """
        if self._group is None:
            return False
        if folders is not None:
            self._below = [os.path.join(self._path, one) for one in folders if is_text(one)]  # noqa: PTH118  # see `scan`
        watched = _identities([*_gates(self._path), str(self._path), *self._below])
        if watched == self._watched and not self.deaf:
            return False
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait([self._listener])
        self._watched = watched
        self.deaf = False
        self._listener = self._group.create_task(self._listen(watched))
        await asyncio.sleep(0)  # it has begun to listen, or failed to
        if self._told and not self.deaf:
            self._told = ""
            _log.info("%s: is watched again", self._path)
        return not self.deaf

    async def _listen(self, watched: Mapping[str, Identity]) -> None:
        heard = awatch(
            *watched,
            watch_filter=self._matters,
            step=STEP,
            debounce=STEP,
            recursive=False,
            ignore_permission_denied=True,
        )
        try:
            async for changes in heard:
                if any(path in watched for _, path in changes):  # a folder came or went: its watch may be dead
                    self.renew()
                self.tell()
        except FileNotFoundError:  # gone since it was listed
            self.renew()
            self.tell()
        except (OSError, RuntimeError) as error:  # the library raises RuntimeError for what the system refuses
            self._fail(error)
        except ExceptionGroup as group:  # it listened and stopped, as the library does at a name that is not text
            await self._pause(str(group.exceptions[0]))
            self.renew()
            self.tell()

    def _matters(self, change: Change, path: str) -> bool:
        """Return whether a change can be one of the folder: beside it stand the neighbours on the way to it."""
        del change
        if path in self._way:
            return True
        below = path.startswith(f"{self._path}{os.sep}")
        return below and not is_scratch(os.path.basename(path))  # noqa: PTH119  # called for every event

    async def _pause(self, why: str) -> None:
        """Wait before it is watched anew, when that ended just now: to look at a folder of such a name ends it, too."""
        now = asyncio.get_running_loop().time()
        again, self._ended = now - self._ended < 2 * ODD, now
        if again:
            await asyncio.sleep(ODD)
        else:
            _log.info("%s: is watched anew: %s", self._path, why)

    def _fail(self, error: Exception) -> None:
        self.deaf = True
        if str(error) != self._told:
            self._told = str(error)
            act = "raise fs.inotify.max_user_watches or fs.inotify.max_user_instances"
            _log.warning("%s: cannot be watched (%s): it is looked at often instead; %s", self._path, error, act)


def _gates(path: Path) -> list[str]:
    """Return the folders whose entries decide what a path leads to: its parent, and those of links on the way."""
    parents = list(path.parents)  # a Path raises for one that may not be entered, or whose mount is dead
    there = next((parent for parent in parents if os.path.isdir(parent)), parents[-1])  # noqa: PTH112  # see above
    links = (parent.parent for parent in parents if os.path.islink(parent))  # noqa: PTH114  # see above
    return list(map(str, dict.fromkeys([there, *links])))


def _identities(folders: Iterable[str]) -> dict[str, Identity]:
    """Return the folders that exist, with what tells each from another of its name."""
    found: dict[str, Identity] = {}
    for folder in folders:
        with suppress(OSError):  # it is not there: the watch of its parent tells when it comes
            seen = os.stat(folder)  # noqa: PTH116  # see `scan`
            found[folder.rstrip(os.sep) or os.sep] = (seen.st_dev, seen.st_ino)
    return found
