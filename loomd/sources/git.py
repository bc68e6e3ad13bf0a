"""Follows a git repository: looks at the remote, fetches what is new, and delivers the files of one commit.

What was good stays as long as the remote is down, refuses, or holds something that cannot be used; then it is asked
again, less and less often. A branch that was rewritten is followed, with an event that says so. It never parses a
manifest. Kept going by `loomd.sources.runner`.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random

from loomd.errors import Damaged, LoomdError, NotFound, Temporary, Unreachable
from loomd.events.bus import Bus
from loomd.events.event import SourceForced
from loomd.git.access import Access
from loomd.git.command import LONGEST
from loomd.git.mirror import Mirror, Revision
from loomd.git.place import Place
from loomd.git.tree import Trees
from loomd.manifest.delivery import Delivery
from loomd.manifest.object import Ref
from loomd.manifest.problem import Problem, Problems
from loomd.manifest.source import SourceFile, try_folder
from loomd.manifest.wording import quoted
from loomd.sources.base import Target
from loomd.sources.spec import GitSourceSpec
from loomd.sources.verify import verify

_log = logging.getLogger("loomd.sources")

_NEWER = "any other"
"""A revision that nobody has: whether it would be ignored says whether every revision would be."""
_OWN = "spec.manifests"
"""Name of the manifests that the source brings itself, in messages."""
_DOUBLINGS = 30
_INTERVAL_PART = 0.1
"""Random part of the interval, so that many daemons do not ask at the same time."""
_RETRY_PART = 0.25
"""Random part of the wait after a failure."""


class GitSource:
    """One followed repository.

    Args:
        ref: the object that declares it.
        spec: what it declares.
        target: where the files are delivered.
        bus: where it tells of a branch that was rewritten.
        place: its folder.
        draw: makes the random part of waits.
    """

    def __init__(self, ref: Ref, spec: GitSourceSpec, target: Target, bus: Bus, place: Place, draw: Random) -> None:
        self.spec = spec
        self.name = place.source
        self._owner = str(ref)
        self._target = target
        self._bus = bus
        self._place = place
        self._draw = draw
        self._access = Access(self._owner, spec)
        self._mirror = Mirror(self._owner, spec, self._access, place)
        self._trees = Trees(self._owner, place, spec.limits)
        self._wake = asyncio.Event()
        self._done = ""
        self._coming = ""
        self._asked = 0
        """How often it had been asked to look when it did last."""
        self._roots: list[Path] = []
        """Those of revisions that are to be delivered."""
        self._tidy = asyncio.Lock()
        """Held while roots are written, or removed."""
        self._served: tuple[SourceFile, ...] = ()
        self._failures = 0
        self._reported = ""

    def poke(self) -> None:
        """Look soon, and deliver also when nothing seems to have changed."""
        self._target.ask(self.name)
        self._wake.set()

    async def run(self) -> None:
        """Deliver now and whenever the remote has something new, until cancelled."""
        while True:
            await self.scan()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._wait()):
                    await self._wake.wait()

    async def scan(self) -> None:
        """Look at the remote, and deliver what it holds when that is something else than what was delivered last.

        While it is opened the remote is looked at again: what it holds by then takes its place.
        """
        async with asyncio.TaskGroup() as group:
            opening = set[asyncio.Task[None]]()
            while True:
                self._wake.clear()
                found = await self._find()
                if found is not None:
                    opening.add(group.create_task(self._deliver(*found)))
                if opening:
                    wake = group.create_task(self._wake.wait())
                    await asyncio.wait({wake, *opening}, timeout=self._wait(), return_when=asyncio.FIRST_COMPLETED)
                    wake.cancel()
                    opening = {one for one in opening if not one.done()}
                if not opening:
                    return

    async def _find(self) -> tuple[str, Path, tuple[SourceFile, ...]] | None:
        """Look at the remote, and return revision, root and manifests of what is to be delivered.

        What is wrong is reported.
        """
        if (asked := self._target.look(self.name)) > self._asked:
            self._asked = asked
            self._done = ""
            self._reported = ""
        if self.spec.suspend or self._target.suspended(self.name, _NEWER):
            self._done = ""
            return None
        revision = ""
        try:
            found = await self._fetch()
            revision = found.name
            served = self._target.files(self.name)
            if self._done == revision and self._served == served:
                self._failures = 0
                return None
            if revision == self._coming:
                return None
            if self._target.suspended(self.name, revision):
                self._done = ""
                return None
            async with asyncio.timeout(LONGEST), self._tidy:
                root, files = await self._read(found)
                self._roots.append(root)
        except TimeoutError:
            self._fail(Unreachable(f"{self._owner}: {revision} could not be read within {LONGEST:g} s"), revision)
        except LoomdError as error:
            if isinstance(error, Damaged):
                await self._mirror.discard()
            self._fail(error, revision)
        else:
            return revision, root, files
        return None

    async def _fetch(self) -> Revision:
        """Return the commit that is to be followed, once it is in the mirror.

        Raises:
            LoomdError: the remote is down, refuses, or does not have it.
        """
        mirror, longest = self._mirror, self.spec.timeout
        try:
            async with asyncio.timeout(longest):
                pointer = await mirror.find()
            async with asyncio.timeout(LONGEST):
                await mirror.prepare(pointer)
            async with asyncio.timeout(longest):
                return await mirror.fetch(pointer)
        except TimeoutError:
            raise Unreachable(
                f"{self._owner}: {self.spec.url} did not answer within {longest:g} s (spec.timeout): "
                "it is asked again later"
            ) from None

    async def _read(self, found: Revision) -> tuple[Path, tuple[SourceFile, ...]]:
        """Return the root of a revision, and its manifests.

        Raises:
            Problems: files cannot be read.
            LoomdError: it is not signed, too large, or holds what must not be written.
        """
        spec, git = self.spec, self._mirror.git
        if spec.verify is not None:
            keys = self._access.keys(spec.verify.keys)
            await verify(self._owner, git, found, spec.verify, keys, self._place.work)
        tree = await self._trees.find(git, found.commit, spec.path)
        if not tree and not spec.allow_empty:
            raise NotFound(
                f"{self._owner} spec.path: {found.name} has no folder {quoted(spec.path)}: "
                "mend the path; allowEmpty takes it as empty"
            )
        root = await self._trees.export(git, tree)
        if spec.manifests:
            files, problems = [SourceFile(root, _OWN, spec.manifests.encode())], list[Problem]()
        else:
            files, problems = await asyncio.to_thread(try_folder, root)
        base = f"{self.name}/{spec.path}".rstrip("/")
        if problems:
            raise Problems(_placed(one, root, base) for one in problems)
        await self._tell_moved(found)
        return root, tuple(replace(file, base=base) for file in files)

    async def _tell_moved(self, found: Revision) -> None:
        """Tell when a branch was rewritten or a tag moved; remember where it is now."""
        before = await self._mirror.moved(found)
        if before:
            pointer = found.pointer
            _log.warning("%s: %s was moved by force from %s to %s", self.name, pointer.ref, before, pointer.target)
            self._bus.emit(SourceForced(self.name, pointer.ref, before, pointer.target))
        await self._mirror.follow(found)

    async def _deliver(self, revision: str, root: Path, files: tuple[SourceFile, ...]) -> None:
        """Hand a revision over, and let go of its root; whatever goes wrong is reported by the target."""
        spec = self.spec
        prune, empty, asked = spec.prune, spec.allow_empty, self._asked
        delivery = Delivery(self.name, files, "git", revision, prune=prune, allow_empty=empty, look=asked)
        self._done = ""
        self._coming = revision
        error: Exception | None = None
        try:
            try:
                await self._target.apply(delivery)
            except Exception as failed:
                error = failed
            if self._coming == revision:  # nothing that the remote holds by now was delivered meanwhile
                self._note(revision, error)
                if self._asked != delivery.look:  # while it was opened: that is answered with a delivery of its own
                    self._done = ""
                    self._wake.set()
            await self._collect()
        finally:
            self._roots.remove(root)
            self._coming = "" if self._coming == revision else self._coming

    def _note(self, revision: str, error: Exception | None) -> None:
        """Note what became of a delivery."""
        passing = error is not None and not isinstance(error, Problems)
        self._failures = self._failures + 1 if passing else 0
        if error is None:
            self._reported = ""
        else:
            self._say(error)
        if not passing:  # a key, a model or an object of another source may come, so it is tried again
            self._done = revision
            self._served = self._target.files(self.name)

    async def _collect(self) -> None:
        """Remove what was delivered before and nothing uses any more."""
        try:
            used = await self._target.roots()
        except Temporary as error:
            _log.warning("%s: old files stay for now: %s", self.name, error)
            return
        async with self._tidy:
            await asyncio.to_thread(self._place.collect, {*self._roots, *used})

    def _fail(self, error: LoomdError, revision: str) -> None:
        self._done = ""
        self._failures += 1
        if self._say(error):
            self._target.reject(self.name, error, revision)

    def _say(self, error: Exception) -> bool:
        """Say why the repository is not followed, once for each reason; return whether it was said."""
        if str(error) == self._reported:
            return False
        self._reported = str(error)
        serves = "what it held before serves on" if self._target.files(self.name) else "nothing of it serves yet"
        _log.error("%s: refused, %s:\n%s", self.name, serves, error)
        return True

    def _wait(self) -> float:
        """Return seconds until the next look: the interval, or after failures a wait that doubles each time."""
        if not self._failures:
            return self.spec.interval * self._draw.uniform(1 - _INTERVAL_PART, 1 + _INTERVAL_PART)
        retry = self.spec.retry
        wait = min(retry.first * 2.0 ** min(self._failures - 1, _DOUBLINGS), retry.longest)
        return wait * self._draw.uniform(1 - _RETRY_PART, 1 + _RETRY_PART)


def _placed(problem: Problem, root: Path, base: str) -> Problem:
    """Return a problem of a file below a root with its place in the repository."""
    place = Path(problem.position.file)
    if not place.is_relative_to(root):
        return problem
    return replace(problem, position=replace(problem.position, file=f"{base}/{place.relative_to(root)}"))
