"""Follows a folder of manifests. File events are hints: on any of them, and every minute, it looks at the contents.

It delivers a set only when two looks in a row agree and nothing was heard in between. A folder that is missing, empty,
unreadable, locked by git or half written never deletes anything: that is reported and what was good stays. It never
parses a manifest. Kept going by `loomd.sources.runner`.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from loomd.clock import Clock, SystemClock
from loomd.errors import LoomdError, Permanent, Temporary
from loomd.manifest.delivery import Delivery
from loomd.manifest.problem import Problems
from loomd.manifest.source import SourceFile, printable
from loomd.sources.base import Target
from loomd.sources.lock import find_lock
from loomd.sources.scan import Reading, Scanner
from loomd.sources.shrink import find_cut, refuse_vanished
from loomd.sources.watch import Watch

_log = logging.getLogger("loomd.sources")


@dataclass(frozen=True)
class Pace:
    """How patiently a folder is followed. All are seconds.

    Attributes:
        quiet: how long nothing may be heard before the folder is read.
        every: time between looks without any event; then everything is read, whatever its times say.
        poll: the same while events cannot be heard, or the folder cannot be read.
        doubt: how long a file that lost its end must stay so, before that is believed.
        patience: how long git or another writer may keep the folder moving before that is reported.
    """

    quiet: float = 0.3
    every: float = 60.0
    poll: float = 5.0
    doubt: float = 2.0
    patience: float = 10.0


class DirectorySource:
    """One watched folder.

    Args:
        path: the folder; it may come and go.
        target: where its files are delivered.
        pace: how patiently.
        allow_empty: whether a folder without any manifest deletes all that it declared.
        clock: tells how long ago a file changed.

    Raises:
        Permanent: the path is not text.
    """

    def __init__(
        self,
        path: Path,
        target: Target,
        pace: Pace = Pace(),
        allow_empty: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.path = path.absolute()
        self.name = str(self.path)
        if printable(self.name) != self.name:
            raise Permanent(f"{self.name!r} cannot be followed: its name is not text on one line: rename it")
        self._target = target
        self._pace = pace
        self._allow_empty = allow_empty
        self._scanner = Scanner(self.path, clock or SystemClock())
        self._watch = Watch(self.path)
        self._whole = 0.0
        self._done: tuple[str, str] | None = None
        self._coming: Reading | None = None
        self._asked = 0
        """How often it had been asked to look when it did last."""
        self._served: tuple[SourceFile, ...] = ()
        self._reported = ""
        self._left_out: tuple[str, ...] = ()
        self._unread = False

    def poke(self) -> None:
        """Look soon, and deliver also when nothing seems to have changed."""
        self._target.ask(self.name)
        self._watch.tell()

    async def run(self) -> None:
        """Deliver now and on every change, until cancelled; a state takes the place of one that is still opened."""
        async with asyncio.TaskGroup() as group:
            self._watch.start(group)
            while True:
                await self._watch.listen()
                await self._settle()
                reading = await self._find()
                if reading is not None:
                    group.create_task(self._deliver(reading))
                often = self._watch.deaf or self._unread
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pace.poll if often else self._pace.every):
                        await self._watch.hint.wait()

    async def scan(self) -> None:
        """Read the folder, and deliver its files when they are others than the last ones.

        While they are opened it is read again: what it holds by then takes their place.
        """
        async with asyncio.TaskGroup() as group:
            opening = set[asyncio.Task[None]]()
            while True:
                reading = await self._find()
                if reading is not None:
                    opening.add(group.create_task(self._deliver(reading)))
                if opening:
                    _, opening = await asyncio.wait(opening, timeout=self._pace.poll)
                if not opening:
                    return

    async def _find(self) -> Reading | None:
        """Read the folder, and return what is to be delivered; what is wrong is reported."""
        revision = ""
        try:
            reading = await self._read()
            if reading.left_out != self._left_out:
                self._left_out = reading.left_out
                for told in reading.left_out:
                    _log.warning("%s", told)
            if reading.problems:
                raise Problems(reading.problems)
            revision = reading.revision
            served = self._target.files(self.name)
            is_coming = self._coming is not None and _state(self._coming) == _state(reading)
            if is_coming or (self._done == _state(reading) and self._served == served):
                return None
            if self._target.suspended(self.name, revision):
                self._done = None  # once it is resumed it delivers what it holds then
                return None
            refuse_vanished(self.path, served, reading.files, self._allow_empty)
        except LoomdError as error:
            self._done = None
            self._unread = True
            if self._say(error):
                self._target.reject(self.name, error, revision)
            return None
        return reading

    async def _deliver(self, reading: Reading) -> None:
        """Hand a reading over; whatever goes wrong is reported by the target."""
        files, revision, empty = reading.files, reading.revision, self._allow_empty
        delivery = Delivery(self.name, files, "directory", revision, allow_empty=empty, look=self._asked)
        self._unread = False
        self._done = None
        self._coming = reading
        error: Exception | None = None
        try:
            await self._target.apply(delivery)
        except Exception as failed:
            error = failed
        finally:
            newest = self._coming is reading
            self._coming = None if newest else self._coming
        if not newest:  # what the folder holds by now was delivered meanwhile
            return
        if isinstance(error, Temporary):
            _log.warning("%s: %s", self.name, error)
        elif error is not None:
            self._say(error)
        else:
            self._reported = ""
        if error is None or isinstance(error, Problems):  # any other may pass with a key, a model or a file that comes
            self._done = _state(reading)
            self._served = self._target.files(self.name)
        if self._asked != delivery.look:  # while it was opened: that is answered with a delivery of its own
            self._done = None
            self._watch.tell()

    async def _read(self) -> Reading:
        """Return what the folder holds, once nothing moved while it was read.

        Raises:
            NotFound: there is no such folder.
            Temporary: it is being written for longer than the patience.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._pace.patience
        while True:
            late = loop.time() >= until
            self._watch.hint.clear()
            if (asked := self._target.look(self.name)) > self._asked:
                self._asked = asked
                self._done = None
                self._reported = ""
                self._whole = 0.0
            if loop.time() >= self._whole:
                self._whole = loop.time() + self._pace.every
                self._scanner.forget()
                self._watch.renew()
            try:
                reading = await self._look()
                fresh = await self._watch.listen(reading.folders)
                if late or not (fresh or self._watch.hint.is_set()):
                    return reading
            except Temporary:
                if late:
                    raise
            await asyncio.sleep(self._pace.quiet)

    async def _look(self) -> Reading:
        """Look until two looks in a row agree.

        Raises:
            Temporary: they do not, or git is writing.
        """
        served = self._target.files(self.name)
        first = await asyncio.to_thread(self._look_unlocked)
        if self._watch.deaf and first.files != served:  # no event would tell of a writer that pauses
            await asyncio.sleep(self._pace.quiet)
        elif find_cut(served, first.files):
            await asyncio.sleep(self._pace.doubt)
        again = await asyncio.to_thread(self._look_unlocked)
        if again != first:
            raise Temporary(f"{self.name} is being written: it is looked at again every {self._pace.poll:g} s")
        return again

    def _look_unlocked(self) -> Reading:
        try:
            reading = self._scanner.look()
            lock = find_lock(self.path)
        except OSError as error:  # the way to it is closed, or its mount is dead
            raise Permanent(f"{self.name}: cannot be read: {error.strerror or error}: mend it") from error
        if lock is not None:
            raise Temporary(f"{self.name}: git is writing it: if no git runs, remove {lock}")
        return reading

    async def _settle(self) -> None:
        """Wait until nothing was heard for the quiet window, or the patience is at its end."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._pace.patience
        while True:
            left = min(self._watch.last + self._pace.quiet, until) - loop.time()
            if left <= 0:
                return
            await asyncio.sleep(left)

    def _say(self, error: Exception) -> bool:
        """Say why the folder is refused, once for each reason; return whether it was said."""
        if str(error) == self._reported:
            return False
        self._reported = str(error)
        serves = "what it held before serves on" if self._target.files(self.name) else "nothing of it serves yet"
        again = self._pace.poll if self._unread else self._pace.every
        _log.error("%s: refused, %s; it is read again every %g s:\n%s", self.name, serves, again, error)
        return True


def _state(reading: Reading) -> tuple[str, str]:
    """Return what changes with anything of a reading."""
    return reading.revision, reading.others
