"""Takes what sources and people want, one at a time: deliveries, deletions, edits, rollbacks; says why not if not.

A change that fails anywhere before the swap leaves everything as it was. What it would be is made by `candidate`, how
it comes to serve is `stage`. It never reads a folder or a socket itself; the engine leases `topology`.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from loomd.errors import Conflict, Damaged, LoomdError, Permanent, Stale, Temporary
from loomd.events.event import ConfigRejected, ConfigRolledBack, SourceResumed, SourceSuspended
from loomd.manifest.delivery import Delivery, SourceType
from loomd.manifest.lines import with_lines
from loomd.manifest.object import Ref
from loomd.manifest.problem import Problems
from loomd.manifest.source import SourceFile
from loomd.reconcile.act import Act, Bounds, lines_of, named_by
from loomd.reconcile.candidate import Candidate
from loomd.reconcile.latest import Latest
from loomd.reconcile.pinned import Pinned, differs, find, stored, undone
from loomd.reconcile.plan import Plan
from loomd.reconcile.stage import LAST_GOOD, Move, Stage
from loomd.reconcile.state import Outcome, SourceBook, SourceState, default_revision
from loomd.reconcile.status import ObjectStatus, failure_of
from loomd.reconcile.turns import GaveWay, Turns, in_turn
from loomd.store.records import RevisionRecord
from loomd.topology import Services, Topology

__all__ = ["Bounds", "Reconciler"]

_log = logging.getLogger("loomd.reconcile")

_OVERTAKEN = "{} was changed by somebody who came later: this earlier change is dropped"


class Reconciler:
    """Holds the topology that serves and the files that it was made from.

    Attributes:
        turns: whose turn it is to change what serves.
        rejected: what was refused last, by source, as long as it was not mended.
    """

    def __init__(self, services: Services, bounds: Bounds | None = None, move: Move | None = None) -> None:
        self._services = services
        self.turns = Turns()
        self._stage = Stage(services, bounds or Bounds(), move, self.turns.open)
        self.pinned = Pinned(services.store, self._stage, self.turns, self._known).open
        self._latest = Latest()
        self._unread: LoomdError | None = None
        self.rejected: dict[str, tuple[str, ...]] = {}

    @property
    def topology(self) -> Topology:
        """Return what serves now; lease it before use."""
        return self._stage.topology

    @property
    def number(self) -> int:
        """Return the number of the serving revision in the history, 0 before the first."""
        return self._stage.number

    @property
    def revision(self) -> str:
        """Return the digest of what serves."""
        return self.topology.snapshot.revision

    @property
    def stale(self) -> bool:
        """Return whether something else serves than what the sources declare now."""
        return bool(self.rejected)

    @property
    def live(self) -> int:
        """Return how many topologies are open: the one that serves, and those that tasks still hold."""
        return self._stage.live

    @property
    def last_error(self) -> str:
        """Return what is wrong with refused candidates, one per line, or an empty string."""
        return "\n".join(f"{source}: {line}" for source, lines in self.rejected.items() for line in lines)

    # What is asked

    def files(self, source: str) -> tuple[SourceFile, ...]:
        """Return the files of a source that serve now."""
        return self._stage.candidates.files.get(source, ())

    def sources(self) -> list[SourceState]:
        """Return all sources by name."""
        return self._book.all()

    def source(self, name: str) -> SourceState:
        """Return a source.

        Raises:
            NotFound: there is none of that name.
        """
        return self._book.get(name)

    def suspended(self, source: str, revision: str = "") -> bool:
        """Return whether a delivery of a source would be ignored; after a rollback a newer revision is not."""
        state = self._book.find(source)
        return state.suspended and not (state.until and revision and revision != state.until)

    def status(self, ref: Ref) -> ObjectStatus:
        """Return what is known and observed of an object that serves.

        Raises:
            NotFound: there is none.
            Temporary: it is being opened for the first time.
        """
        stage = self._stage
        if ref not in self.topology.snapshot.objects:
            raise self.missing(ref)
        state = self._book.find(stage.statuses.known.records[ref].source)
        last = state.attempts[0] if state.attempts and state.name in self.rejected else None
        refused = (
            [] if last is None else [str(one["message"]) for one in last.problems if one.get("object") == str(ref)]
        )
        failed = "" if last is None else failure_of(ref, last.message)
        now, opening = self._services.clock.now(), stage.opening.tell(ref)
        seen = self._book.seen_of(self.topology.snapshot.objects[ref]) if ref.kind == "GitSource" else ()
        return stage.statuses.get(ref, self.topology, refused, now, opening=opening, failed=failed, elsewhere=seen)

    def opening(self, *, first: bool = True) -> dict[Ref, str]:
        """Return what is being opened, and how far that is; by default only what is opened for the first time."""
        known, opening = self.topology.snapshot.objects, self._stage.opening
        return {ref: opening.tell(ref) for ref in sorted(opening.refs) if not (first and ref in known)}

    def missing(self, ref: Ref) -> LoomdError:
        """Return the error that an object does not serve: it is still being opened, or there is none."""
        told = self.opening().get(ref)
        return ref.missing() if told is None else Temporary(f"{ref} does not serve yet: {told}")

    async def history(self) -> list[RevisionRecord]:
        """Return the stored revisions, newest first."""
        return await self._services.store.revisions()

    async def recorded(self, number: int) -> RevisionRecord:
        """Return an entry of the history.

        Raises:
            NotFound: it is not stored.
        """
        return find(await self.history(), number, self.number)

    async def roots(self) -> set[Path]:
        """Return the folders that files of a stored revision, or of a set that tasks still hold, come from."""
        return self._stage.roots() | {Path(root) for root in await self._services.store.roots()}

    # What is wanted

    async def load(self) -> None:
        """Take over what the store knows: nothing serves yet, but the next change is one of what served last."""
        store, stage = self._services.store, self._stage
        async with self.turns.turn():
            self._book.load(await store.sources())
            stage.statuses.load(await store.objects())
            records = await store.revisions()
            if not records:
                return
            files: dict[str, tuple[SourceFile, ...]] = {}
            lost: list[str] = []
            for source in await store.holders(records[0].number):
                try:
                    files |= await stored(self._services.store, records[0].number, source)
                except Damaged as error:
                    lost.append(source)
                    self._unread = error
            await stage.adopt_files(records[0], files, lost)
            try:
                candidate = await stage.recall(records[0].number, files, self._known())
            except LoomdError as error:
                self._unread = self._unread or error
            else:
                if not lost:
                    stage.adopt_snapshot(candidate)

    async def restore(self) -> None:
        """Open what served last; when that fails, report it and serve nothing yet."""
        async with self.turns.turn():
            error: Exception | None = self._unread
            if error is None:
                try:
                    await self._stage.restore()
                except Exception as found:
                    error = found
            if error is not None:
                self.reject(LAST_GOOD, error)
                lines = "\n".join(self.rejected[LAST_GOOD])
                _log.error(
                    "revision %d, which served last, cannot be opened, and nothing serves:\n%s", self.number, lines
                )

    async def plan(self, *deliveries: Delivery) -> Plan:
        """Return what deliveries would change together and what that means; nothing is opened or kept.

        Raises:
            Problems: the manifests are not valid.
            LoomdError: the deliveries would be refused.
        """
        async with self.turns.look():
            self._admit(deliveries, check_suspended=False)
            candidate = await self._candidate(deliveries)
            return await self._stage.plan(candidate, named_by(deliveries))

    @in_turn
    async def apply(self, delivery: Delivery, dry_run: bool = False, others: Sequence[Delivery] = ()) -> Plan:
        """Make the files of a source what serves, together with those of all other sources.

        Args:
            delivery: the files and the terms.
            dry_run: go as far as to open everything that is new, and then close it again.
            others: what other sources deliver in the same act: all of it serves, or none.

        Raises:
            Problems: the manifests are not valid.
            Stale: another revision serves than the one that is expected.
            Conflict: the source is suspended, or another one declares one of its objects.
            LoomdError: something could not be opened or stored; the old revision serves on.
        """
        deliveries = (delivery, *others)
        self._admit(deliveries, check_suspended=True)
        try:
            return await self._deliver(deliveries, dry_run)
        except GaveWay:
            raise
        except Exception as error:
            for one in () if dry_run else deliveries:
                if one.type != "apply" or isinstance(error, Problems):
                    self.reject(one.source, error, default_revision(one), one)
            raise

    @in_turn
    async def delete(
        self, refs: Sequence[Ref], versions: Mapping[Ref, str] | None = None, dry_run: bool = False
    ) -> Plan:
        """Delete objects.

        Args:
            refs: the objects.
            versions: versions that the caller has seen.
            dry_run: change nothing.

        Raises:
            NotFound: one of them is not there.
            Conflict: one of them changed since, or a source that is followed declares it.
            Problems: something refers to one of them.
        """
        self._same(versions or {})
        candidate = await asyncio.to_thread(self._stage.candidates.delete, refs, self._known())
        return await self._carry_out(candidate, self._act("delete", candidate, dry_run))

    @in_turn
    async def replace(
        self, file: SourceFile, versions: Mapping[Ref, str] | None = None, manager: str = "", dry_run: bool = False
    ) -> Plan:
        """Put the objects of one file in place of those of the same names, whatever file declared them.

        Args:
            file: the manifest.
            versions: versions that the caller has seen.
            manager: who acts.
            dry_run: change nothing.

        Raises:
            NotFound: there is no such object.
            Conflict: one of them changed since, or a source that is followed declares it.
            Problems: the manifest is not valid.
        """
        self._same(versions or {})
        candidate = await asyncio.to_thread(self._stage.candidates.replace, file, self._known())
        return await self._carry_out(candidate, self._act("edit", candidate, dry_run, manager))

    @in_turn
    async def undo(self, to: int | None = None, dry_run: bool = False) -> Plan:
        """Go back to a stored revision; sources that are followed and would undo that are suspended.

        Args:
            to: number of the revision; by default the one before the one that serves.
            dry_run: change nothing.

        Raises:
            NotFound: it is not stored.
            Damaged: it cannot be read any more.
            LoomdError: it cannot serve any more; what serves serves on.
        """
        self.turns.keep()  # later the revision before the one that serves may be another
        target = find(await self.history(), to, self.number)
        files = await stored(self._services.store, target.number)
        candidate = await self._stage.recall(target.number, files, self._known())
        reason = f"rolled back to revision {target.number}"
        followed = undone(candidate, self._book, self.topology.snapshot.objects)

        def note(book: SourceBook, plan: Plan) -> None:
            del plan
            for name, until in followed.items():
                if not book.find(name).followed:
                    book.announce(name, "git")
                book.rolled_back(name)
                book.suspend(name, reason, until)

        def done() -> None:
            self._mended(LAST_GOOD, *candidate.changed)
            for name in followed:
                self._services.bus.emit(SourceSuspended(name, reason))
            self._services.bus.emit(ConfigRolledBack(target.number, self.number, self.revision))

        act = Act("undo", f"revision {target.number}", "", dry_run, note, done)
        plan = replace(await self._carry_out(candidate, act, wholes=candidate.changed), suspends=tuple(followed))
        if candidate.snapshot.revision != target.revision:
            warning = await asyncio.to_thread(differs, target, candidate.snapshot)
            plan = replace(plan, warnings=(*plan.warnings, warning))
        return plan

    async def suspend(self, name: str, reason: str = "") -> None:
        """Ignore the deliveries of a source from now on.

        Raises:
            NotFound: there is none of that name.
        """
        async with self.turns.turn():
            await self._stage.note(lambda book: book.suspend(name, reason))
            self._services.bus.emit(SourceSuspended(name, reason))

    async def resume(self, name: str) -> None:
        """Take the deliveries of a source again.

        Raises:
            NotFound: there is none of that name.
        """
        async with self.turns.turn():
            await self._stage.note(lambda book: book.resume(name))
            self._services.bus.emit(SourceResumed(name))

    def announce(self, source: str, kind: SourceType) -> None:
        """Note that a source is there, before it delivers for the first time."""
        self._book.announce(source, kind)

    def ask(self, source: str) -> None:
        """Note that a source is asked to look at once."""
        self._book.ask(source)

    def look(self, source: str) -> int:
        """Note that a look of a source begins, and return how often it has been asked to."""
        return self._book.look(source)

    @in_turn
    async def forget(self, source: str, prune: bool) -> None:
        """Let go of a source that is gone: delete what it declared, or leave that as if it had been applied by hand."""
        self.rejected.pop(source, None)
        self._book.release(source)
        if not prune:
            await self._save()
            return
        delivery = Delivery(source, (), allow_empty=True)
        act = Act("delete", source, note=lambda book, _: book.drop(source), done=lambda: self._mended(LAST_GOOD))
        try:
            candidate = await asyncio.to_thread(self._stage.candidates.deliver, [delivery], self._known())
            await self._carry_out(candidate, act, [delivery])
        except LoomdError as error:
            self.reject(source, error)

    def reject(self, source: str, error: Exception, revision: str = "", delivery: Delivery | None = None) -> None:
        """Report a candidate that cannot serve, with the lines of files that nobody else has."""
        lines = lines_of(error)
        state = self._book.find(source)
        if state.followed or source == LAST_GOOD:
            self.rejected[source] = lines
        if state.followed or state.inventory:
            files = delivery.files if delivery is not None and delivery.type == "git" else ()
            found = with_lines(error.problems, files) if isinstance(error, Problems) else []
            told, look = [one.to_json() for one in found], delivery.look if delivery is not None else None
            outcome: Outcome = "refused" if isinstance(error, Permanent) else "failed"
            self._book.attempted(source, revision, outcome, "\n".join(lines), told, look)
        self._services.bus.emit(ConfigRejected(source, lines))
        if not isinstance(error, LoomdError):
            _log.error("%s: refused because of a fault", source, exc_info=error)

    async def close(self) -> None:
        """Stop serving; what is leased closes after its last lease."""
        self.turns.close()
        async with self.turns.turn():
            await self._save()
            await self._stage.close()

    # How it is done

    @property
    def _book(self) -> SourceBook:
        return self._stage.book

    def _admit(self, deliveries: Sequence[Delivery], *, check_suspended: bool) -> None:
        """Refuse deliveries that are not looked at.

        Raises:
            Stale: another revision serves than the one that is expected.
            Conflict: one is of a source that is suspended, or that changed since this one came.
        """
        for one in deliveries:
            if one.expected is not None and one.expected != self.number:
                raise Stale(f"expected revision {one.expected}, revision {self.number} serves: look at it again")
            if check_suspended and one.type != "apply" and self.suspended(one.source, default_revision(one)):
                raise Conflict(f"{one.source} is suspended: loomd resume {one.source}")
            overtaken = check_suspended and self._latest.overtook(self.turns.number, one)
            if overtaken and one.files != self.files(one.source):
                raise Conflict(_OVERTAKEN.format(one.source))

    def _act(self, cause: str, candidate: Candidate, dry_run: bool, manager: str = "") -> Act:
        source = ", ".join(sorted(candidate.changed))
        return Act(cause, source, manager, dry_run, done=lambda: self._mended(LAST_GOOD))

    async def _deliver(self, deliveries: Sequence[Delivery], dry_run: bool) -> Plan:
        if any(one.expected is not None for one in deliveries):
            self.turns.keep()  # it would be stale afterwards
        followed = [one for one in deliveries if one.type != "apply"]
        for one in () if dry_run else followed:
            self._book.announce(one.source, one.type)
        resumed = [one.source for one in followed if self._book.find(one.source).suspended]

        def note(book: SourceBook, plan: Plan) -> None:
            for one in deliveries:
                book.announce(one.source, one.type)
                if one.source in resumed:
                    book.resume(one.source)
                if one.type != "apply" or not book.find(one.source).followed or book.find(one.source).suspended:
                    ended: Outcome = "unchanged" if plan.empty else "applied"
                    book.attempted(one.source, default_revision(one), ended, look=one.look)

        def done() -> None:
            self._mended(LAST_GOOD, *(one.source for one in deliveries))
            for source in resumed:
                self._services.bus.emit(SourceResumed(source))

        act = Act("sync" if followed else "apply", named_by(deliveries), deliveries[0].manager, dry_run, note, done)
        return await self._carry_out(await self._candidate(deliveries), act, deliveries)

    async def _candidate(self, deliveries: Sequence[Delivery]) -> Candidate:
        """Return what deliveries would make of what serves.

        Raises:
            Conflict: one that is applied by hand would change what a source that is followed delivers.
            LoomdError: they are refused.
        """
        candidate = await asyncio.to_thread(self._stage.candidates.deliver, deliveries, self._known())
        for one in deliveries:
            state = self._book.find(one.source)
            if one.type == "apply" and state.followed and not state.suspended and one.source in candidate.changed:
                raise Conflict(
                    f"{one.source} is followed and delivers by itself: `loomd reconcile {one.source}` takes over what "
                    f"it holds at once; to apply something else, suspend it first (loomd suspend {one.source})"
                )
        return candidate

    async def _carry_out(
        self, candidate: Candidate, act: Act, deliveries: Sequence[Delivery] = (), wholes: Collection[str] = ()
    ) -> Plan:
        """Carry a candidate out, and let the sources that it is about say so meanwhile.

        Raises:
            Conflict: somebody who came later has changed what it is about.
        """
        number = self.turns.number
        if candidate.changed and self._latest.touched(number, candidate.about):
            raise Conflict(_OVERTAKEN.format(act.source))
        if not act.dry_run:
            self._latest.note(number, candidate.about, deliveries, wholes)
        try:
            for source in candidate.changed:
                self._book.apply(source, applying=True)
            return await self._stage.carry_out(candidate, act)
        finally:
            for source in candidate.changed:
                self._book.apply(source, applying=False)

    def _mended(self, *sources: str) -> None:
        for source in sources:
            self.rejected.pop(source, None)

    def _same(self, versions: Mapping[Ref, str]) -> None:
        for ref, version in versions.items():
            record = self._stage.statuses.known.records.get(ref)
            if record is not None and str(record.version) != version:
                raise Conflict(
                    f"{ref} changed since: expected version {version}, it has {record.version}: read it again"
                )

    def _known(self) -> dict[str, SourceState]:
        return {state.name: state for state in self._book.all()}

    async def _save(self) -> None:
        """Store what is known of sources and objects; what serves does not hang on it."""
        try:
            await self._stage.save()
        except LoomdError as error:
            _log.warning("what is known of the sources could not be stored: %s", error)
