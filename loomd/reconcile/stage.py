"""Carries a candidate out: open the new beside the old, look at it, store it, swap one pointer, let the old end.

Whatever fails before the swap closes what was opened and changes nothing. One at a time: the reconciler holds the lock.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec

from loomd.errors import LoomdError, Permanent, Temporary
from loomd.events.event import ConfigLoaded
from loomd.manifest.object import EMPTY, Ref
from loomd.manifest.wording import listed
from loomd.reconcile.act import Act, Bounds
from loomd.reconcile.candidate import Candidate, Candidates, Files
from loomd.reconcile.copies import Key, named, stored_copies, sweep, take
from loomd.reconcile.ledger import advance
from loomd.reconcile.meaning import consequences, opened
from loomd.reconcile.opening import Opening
from loomd.reconcile.plan import FILES, Mark, Plan, diff
from loomd.reconcile.state import SourceBook, SourceState
from loomd.reconcile.status import Known, Statuses
from loomd.store.blob import digest_of
from loomd.store.finish import finish
from loomd.store.records import Commit, RevisionRecord, StoredFile
from loomd.topology import Services, Topology, open_topology

_log = logging.getLogger("loomd.reconcile")

LAST_GOOD = "last known good"
"""Stands for the set that served last where a source is named."""

Move = Callable[[Topology], Awaitable[object]]
"""Takes running tasks off a topology that was given up; the engine's `move` fits."""


Wait = Callable[[Awaitable[None]], Awaitable[None]]
"""Waits for an opening, and may end it with an exception; what it opened is closed then."""


async def _wait(opening: Awaitable[None]) -> None:
    await opening


_Files = tuple[list[StoredFile], list[Key]]
"""Files that are new or differ, and those that are gone."""


class Stage:
    """What serves, and the way to the next.

    Attributes:
        topology: what serves now.
        number: number of the serving revision in the history, 0 before the first.
        candidates: makes candidates from what serves.
        statuses: what is known of the objects that serve.
        book: what is known of the sources.
        opening: the objects of which a version is being opened, and how far that is.
    """

    def __init__(self, services: Services, bounds: Bounds, move: Move | None, wait: Wait = _wait) -> None:
        self._services = services
        self._wait = wait
        self._bounds = bounds
        self._move = move
        self._others: list[Topology] = []
        self._emptied: Topology | None = None
        self._lost: tuple[str, ...] = ()
        self._copied: dict[Key, tuple[str, str]] = {}
        self._stored = ""
        self._restored: Candidate | None = None
        self.topology = Topology(EMPTY)
        self.number = 0
        self.candidates = Candidates()
        self.statuses = Statuses()
        self.book = SourceBook(services.clock)
        self.opening = Opening(services.bus, services.clock)

    @property
    def live(self) -> int:
        """Return how many topologies are open: the one that serves, and those that tasks hold or that still close."""
        return 1 + len(self._open())

    @property
    def most(self) -> int:
        """Return how many topologies may be open beside the one that serves."""
        return self._bounds.live

    def roots(self) -> set[Path]:
        """Return the folders that objects and live things of open topologies come from."""
        return {root for one in (self.topology, *self._open()) for root in one.roots}

    async def plan(self, candidate: Candidate, source: str) -> Plan:
        """Return what a candidate would change, and what that means."""
        old, new = self.topology.snapshot, candidate.snapshot
        plan = replace(diff(old, new, self.number, source), owners=candidate.owners)
        if plan.empty:
            return plan
        store = self._services.store
        learned, running = await store.capabilities(), await store.list_tasks(unfinished=True)
        return replace(plan, consequences=consequences(old, new, plan, learned, running, self.topology.live.values()))

    async def adopt_files(self, record: RevisionRecord, files: Files, lost: Collection[str]) -> None:
        """Take over the present revision and its files, but for those of sources that are damaged."""
        self.number, self._stored, self._lost = record.number, record.revision, tuple(lost)
        self.candidates.files = files
        copies = await self._services.store.copies(record.number)
        self._copied = {(one.source, one.root, one.path): (one.target, digest_of(one.data)) for one in copies}

    async def recall(self, number: int, files: Files, sources: Mapping[str, SourceState]) -> Candidate:
        """Return a stored revision as a candidate: its manifests, and the files that they name as they were then.

        Args:
            number: of the revision.
            files: its manifests.
            sources: what is known of the sources.

        Raises:
            LoomdError: it is refused.
        """
        store = self._services.store
        kept = stored_copies(store.directory, await store.copies(number))

        def make() -> Candidate:
            sweep(store.directory, set[Path]().union(*(one.copies for one in (self.topology, *self._open()))))
            return self.candidates.restore(files, sources, kept)

        return await asyncio.to_thread(make)

    def adopt_snapshot(self, candidate: Candidate) -> None:
        """Take over what the files of the present revision make; nothing of it is open."""
        self.statuses.adopt(candidate.snapshot, candidate.owners, self.number, self._services.clock.now())
        self._set_current(candidate)
        _note_inventory(self.book, candidate)
        self._restored = candidate

    async def restore(self) -> None:
        """Open what is remembered; what comes of it otherwise than it was stored is another revision.

        Raises:
            LoomdError: something cannot be opened.
        """
        with self.opening.of(self.topology.snapshot.objects.keys()):
            self.topology = await open_topology(self.topology.snapshot, self._services, told=self.opening.begin)
        self._services.serving.live = self.topology.live
        try:
            await finish(self._store_drift())
        except LoomdError as error:
            _log.error("what changed while nothing served could not be stored yet: %s", error)
        self._services.serving.tell()

    async def carry_out(self, candidate: Candidate, act: Act) -> Plan:
        """Make a candidate what serves; for a dry run, go to just before the swap and close what was opened.

        Raises:
            LoomdError: something could not be opened or stored, or opened and is dead; the old serves on.
        """
        plan = await self.plan(candidate, act.source)
        plan = self._drifted(candidate) if plan.empty else plan
        if plan.empty and self.topology.is_whole:
            if not act.dry_run:
                await finish(self._commit_unchanged(candidate, act, plan))
            return plan
        await self._make_room()
        fresh = Topology(candidate.snapshot)
        self._others.append(fresh)
        try:
            with self.opening.of(opened(self.topology.snapshot, candidate.snapshot, plan)):
                await self._wait(fresh.open(self._services, self.topology, self.opening.begin))
                return await finish(self._finish(candidate, plan, act, fresh))
        finally:
            if self.topology is not fresh:
                await fresh.discard()

    def find(self, revision: str) -> Topology | None:
        """Return an open topology of a revision's digest, the one that serves before others.

        One whose tasks were moved is about to close.
        """
        fits = (one for one in (self.topology, *self._open()) if one.snapshot.revision == revision and one.live)
        return next((one for one in fits if one is not self._emptied), None)

    async def room(self) -> None:
        """Wait until one more topology may be open beside those that tasks hold."""
        while len(others := self._open()) >= self._bounds.live:
            # what serves now may be one of the others by then, and one that is being opened may be what serves
            waiting = [asyncio.ensure_future(one.closed.wait()) for one in (*others, self.topology)]
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waiting:
                    one.cancel()

    async def open_beside(self, candidate: Candidate) -> Topology:
        """Open what served once, beside what serves, for tasks that began on it; it closes after its last lease.

        Raises:
            LoomdError: something cannot be opened any more.
        """
        fresh = Topology(candidate.snapshot)
        self._others.append(fresh)
        try:
            await fresh.open(self._services, self.topology)
        except BaseException:
            await fresh.discard()
            raise
        serving = self._services.serving
        serving.withdrawn |= candidate.snapshot.objects.keys() - serving.snapshot.objects.keys()
        return fresh

    async def close(self) -> None:
        """Stop serving; what is leased closes after its last lease."""
        old, self.topology = self.topology, Topology(EMPTY)
        old.retire()
        for topology in (*self._open(), old):
            if not topology.is_held:
                await topology.closed.wait()
        used = set[Path]().union(*(one.copies for one in self._open()))
        await asyncio.to_thread(sweep, self._services.store.directory, used)

    async def save(self) -> None:
        """Store what is known of sources and objects and is not stored yet."""
        await self._store_drift()
        sources, forgotten = self.book.unsaved()
        objects = self.statuses.unsaved()
        if sources or forgotten or objects:
            await self._commit(Commit(objects=objects, sources=sources, forgotten=forgotten))

    async def note(self, note: Callable[[SourceBook], None]) -> None:
        """Store what becomes of the sources, and take it over once it is stored.

        Raises:
            LoomdError: it cannot be noted or stored; nothing has changed.
        """
        draft = self.book.draft()
        note(draft)
        sources, forgotten = draft.unsaved()
        await self._commit(Commit(objects=self.statuses.unsaved(), sources=sources, forgotten=forgotten))
        with self.book.saved():
            note(self.book)

    async def _finish(self, candidate: Candidate, plan: Plan, act: Act, fresh: Topology) -> Plan:
        """Look at what was opened, store it, swap: between the commit and the swap nothing can fail."""
        _look(fresh, self.topology)
        if act.dry_run:
            return plan
        copied, more = await self._copy(candidate)
        change, known = self._advance(candidate, act, plan, fresh, more)
        number = self.number if change.record is None else change.record.number
        plan = plan if change.record is None else plan.at(number)
        old, others = self.topology, [one for one in (*self._open(), self.topology) if one is not fresh]
        withdrawn = self._withdrawn(candidate, others)
        await self._commit(change)
        self.topology, self._others, self._lost, self._copied = fresh, others, (), copied
        self.number, self.statuses.known, self._stored = number, known, candidate.snapshot.revision
        self.candidates.files, self.candidates.snapshot = candidate.files, candidate.snapshot
        serving = self._services.serving
        serving.snapshot, serving.withdrawn, serving.live = candidate.snapshot, withdrawn, fresh.live
        for after in (old.retire, partial(self._tell, candidate, act, plan)):
            try:
                after()
            except Exception:  # it serves: nothing is taken back any more
                _log.exception("revision %d serves, and something after that failed", number)
        return plan

    def _drifted(self, candidate: Candidate) -> Plan:
        """Return what came out otherwise than it was stored, though no manifest differs: a file that one names did.

        Nobody saw it change: it did while nothing served.
        """
        snapshot, known = candidate.snapshot, self.statuses.known.records
        plan = replace(diff(snapshot, snapshot, self.number), owners=candidate.owners)
        if not self._stored or snapshot.revision == self._stored:
            return plan
        changes = tuple(
            replace(one, action="changed", means=(FILES,))
            if one.ref in known and known[one.ref].digest != snapshot.objects[one.ref].digest
            else one
            for one in plan.changes
        )
        return replace(
            plan, changes=changes, before=Mark(self.number, self._stored), after=Mark(None, snapshot.revision)
        )

    async def _store_drift(self) -> None:
        """Store another revision of what was restored and came out otherwise than it was stored."""
        candidate = self._restored
        if candidate is None or self.topology.snapshot is not candidate.snapshot:
            return
        plan = self._drifted(candidate)
        if plan.empty:
            return
        act = Act("restore", LAST_GOOD)
        copied, more = await self._copy(candidate)
        change, known = self._advance(candidate, act, plan, self.topology, more)
        await self._commit(change)
        self._copied = copied
        self.number, self.statuses.known, self._stored = self.number + 1, known, candidate.snapshot.revision
        self._tell(candidate, act, plan.at(self.number))

    async def _commit_unchanged(self, candidate: Candidate, act: Act, plan: Plan) -> None:
        """Keep other bytes of the same objects: positions, comments, and who declares them."""
        copied, more = await self._copy(candidate)
        change, known = self._advance(candidate, act, plan, self.topology, more)
        await self._commit(change)
        self.statuses.known, self._lost, self._copied = known, (), copied
        self._set_current(candidate)
        self._note_stored(candidate, act, plan)
        act.done()

    def _set_current(self, candidate: Candidate) -> None:
        """Take over a candidate whose objects are those of the topology."""
        self.topology.snapshot = self._services.serving.snapshot = candidate.snapshot
        self.candidates.files, self.candidates.snapshot = candidate.files, candidate.snapshot

    async def _copy(self, candidate: Candidate) -> tuple[dict[Key, tuple[str, str]], _Files]:
        """Return what is kept of the files that objects name, and what of it is new or gone.

        Raises:
            Temporary: one has changed meanwhile.
        """
        wanted = named(candidate.snapshot.objects.values())
        copied = {key: (one.target, one.digest) for key, (one, _) in wanted.items()}
        fresh = {key: wanted[key] for key, seen in copied.items() if self._copied.get(key) != seen}
        taken = await asyncio.to_thread(take, fresh) if fresh else []
        return copied, (taken, [key for key in self._copied if key not in copied])

    def _advance(
        self, candidate: Candidate, act: Act, plan: Plan, fresh: Topology, more: _Files
    ) -> tuple[Commit, Known]:
        """Return what is stored once a candidate serves, and what is known of the objects then."""
        now, number = self._services.clock.now(), self.number + (not plan.empty)
        manager = act.manager or act.cause
        owners = {ref: (source, manager) for ref, source in candidate.owners.items()}
        ledger = advance(self.statuses.known.records, plan, candidate.snapshot, owners, number, now)
        ledger, known = self.statuses.observed(ledger, fresh, now)
        change = self._change(candidate, act, plan, more)
        change = msgspec.structs.replace(change, objects=ledger.records, gone=ledger.gone)
        if plan.empty:
            return change, known
        lines = tuple(str(one) for one in plan.effective)
        record = RevisionRecord(number, candidate.snapshot.revision, now, act.cause, act.source, lines)
        return msgspec.structs.replace(change, record=record), known

    def _change(self, candidate: Candidate, act: Act, plan: Plan, more: _Files) -> Commit:
        """Return what is stored of files and sources."""
        book = self.book.draft()
        _note_inventory(book, candidate)
        act.note(book, plan)
        sources, forgotten = book.unsaved()
        files, dropped = _delta(self.candidates.files, candidate)
        return Commit(
            files=[*files, *more[0]],
            dropped=[*dropped, *more[1]],
            anew=self._lost,
            sources=sources,
            forgotten=forgotten,
            keep=self._bounds.history,
        )

    def _withdrawn(self, candidate: Candidate, others: list[Topology]) -> frozenset[Ref]:
        """Return what open topologies hold and a candidate does not declare."""
        gone = self._services.serving.withdrawn | self.topology.snapshot.objects.keys()
        gone = gone - candidate.snapshot.objects.keys()
        return frozenset(ref for ref in gone if any(ref in one.snapshot.objects for one in others))

    def _tell(self, candidate: Candidate, act: Act, plan: Plan) -> None:
        """Tell everybody what serves now."""
        self._note_stored(candidate, act, plan)
        self._services.serving.tell()
        changes, digest = tuple(str(change) for change in plan.effective), candidate.snapshot.revision
        self._services.bus.emit(ConfigLoaded(act.source, changes, self.number, digest, act.cause))
        _log.info("%s: revision %d (%s) serves: %s", act.source, self.number, digest, listed(changes))
        act.done()

    def _note_stored(self, candidate: Candidate, act: Act, plan: Plan) -> None:
        """Note what is stored in the book of sources."""
        with self.book.saved():
            _note_inventory(self.book, candidate)
            act.note(self.book, plan)

    async def _commit(self, change: Commit) -> None:
        """Store a change that holds all that is unsaved of the sources; they may be told of others meanwhile."""
        with self.book.saving():
            await self._services.store.commit(change)

    def _open(self) -> list[Topology]:
        """Return the topologies that do not serve and are not closed."""
        self._others = [one for one in self._others if not one.closed.is_set()]
        return self._others

    async def _make_room(self) -> None:
        """Wait until few enough topologies are open; after a while the tasks of the oldest are moved.

        Raises:
            Temporary: they cannot be moved, or do not close.
        """
        for one in self._open():
            one.retire()
        while len(self._open()) >= self._bounds.live:
            oldest = self._others[0]
            if await _closes(oldest, self._bounds.drain):
                continue
            if self._move is not None:
                self._emptied = oldest
                await self._move(oldest)
                if await _closes(oldest, self._bounds.drain):
                    continue
            held = f"{len(self._open())} earlier revisions are still open"
            raise Temporary(f"{held}: wait for their tasks, or cancel some", self._bounds.drain)


async def _closes(topology: Topology, seconds: float) -> bool:
    """Return whether a topology closes within some time."""
    try:
        async with asyncio.timeout(seconds):
            await topology.closed.wait()
    except TimeoutError:
        return False
    return True


def _look(fresh: Topology, old: Topology) -> None:
    """Refuse a topology with a new thing that is open and dead.

    Raises:
        Permanent: naming the object.
    """
    for ref, item in fresh.snapshot.objects.items():
        if fresh.shares(old, ref):
            continue
        for one in fresh.health(ref):
            if one.is_dead:
                raise Permanent(f"{item.position}: {ref}: it opened and is not healthy: {one.message}")


def _note_inventory(book: SourceBook, candidate: Candidate) -> None:
    """Note what every source declares."""
    inventory = candidate.inventory()
    for source in candidate.files.keys() | candidate.changed:
        book.holds(source, inventory.get(source, ()))


def _delta(old: Files, candidate: Candidate) -> _Files:
    """Return the files that are new or differ, and source, root and path of those that are gone."""
    files: list[StoredFile] = []
    dropped: list[Key] = []
    for source in old.keys() | candidate.files.keys():
        before, after = old.get(source, ()), candidate.files.get(source, ())
        if before is after:
            continue
        known = {(file.root, file.path): file for file in before}
        fresh = [file for file in after if known.pop((file.root, file.path), None) != file]
        files += (StoredFile(source, str(file.root), file.path, file.data, file.base) for file in fresh)
        dropped += ((source, str(root), path) for root, path in known)
    return files, dropped
