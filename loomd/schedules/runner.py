"""Submits the task of every due time of every schedule that serves: once, whatever becomes of process and clock.

The id of a task comes from the schedule and the due time, and its record decides: what has one is not submitted again.
So a crash at any point, and a clock that is set back, start nothing twice. What is due is found by comparing the wall
clock with the mark of each schedule, never by counting; so a jump and a long sleep look alike, and are bounded by the
policy for missed runs. It never decides what is due (`agenda`) nor runs a task. Called by `daemon` and `lifecycle`.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Protocol

import msgspec
from msgspec.structs import replace

from loomd.amoeba.task import Task
from loomd.errors import Conflict, LoomdError, NotFound
from loomd.events.bus import Scope
from loomd.events.event import (
    AnyFact,
    Event,
    ScheduleFired,
    ScheduleMissed,
    ScheduleResumed,
    ScheduleSuspended,
    TaskCompleted,
    TaskFailed,
)
from loomd.manifest.object import EMPTY, Object, Ref, Snapshot, object_name
from loomd.schedules.agenda import ScheduleState
from loomd.schedules.entry import Entry, Standing
from loomd.schedules.timetable import Due
from loomd.store.records import ScheduleRecord, TaskRecord
from loomd.tasks.declared import Declared
from loomd.topology import Services, Topology

_log = logging.getLogger("loomd.schedules")

KIND = "Schedule"
LOOK = 5.0
"""Seconds after which the clock is looked at although nothing is due: it may have been set."""
ENDING = 10.0
"""Seconds that a run which is replaced gets to end before the next one starts."""

_SOON = 0.001
_NOT_RUN = "the daemon did not run at that time, or the clock was set forward"
_PENDING = "something that the schedule refers to is not declared"


class Tasks(Protocol):
    """Who runs tasks; an engine fits."""

    async def submit(self, task: Task) -> str:
        """Accept a task, which is on disk then."""
        ...

    async def get(self, task: str) -> TaskRecord | None:
        """Return what is known of a task that was accepted."""
        ...

    async def cancel(self, task: str) -> None:
        """End a task."""
        ...


class Identity(Protocol):
    """What tells an object from an earlier one of the same name; an `ObjectStatus` fits."""

    @property
    def uid(self) -> str:
        """Return its identity."""
        ...

    @property
    def created(self) -> float:
        """Return when it was created, wall-clock seconds."""
        ...


class Schedules:
    """All schedules that serve.

    Args:
        services: clock, store, events, and what serves.
        tasks: where tasks are submitted.
        topology: returns the live things, which are told how their schedules do.
        identify: returns who an object is.
    """

    def __init__(
        self,
        services: Services,
        tasks: Tasks,
        topology: Callable[[], Topology],
        identify: Callable[[Ref], Identity],
    ) -> None:
        self._services = services
        self._tasks = tasks
        self._topology = topology
        self._identify = identify
        self._entries: dict[Ref, Entry] = {}
        self._stored: dict[str, ScheduleState] | None = None
        self._settled: Snapshot = EMPTY
        self._settling = asyncio.Lock()
        self._moved = asyncio.Event()

    async def run(self, takes_work: Callable[[], bool]) -> None:
        """Submit what is due, until cancelled.

        Args:
            takes_work: says whether the daemon takes work now.
        """
        services = self._services
        unsubscribe = services.bus.subscribe(self._hear, TaskCompleted, TaskFailed)
        try:
            with services.serving.listening(self._moved.set):
                while True:
                    self._moved.clear()
                    wait: float | None = LOOK
                    try:
                        wait = await self.tick() if takes_work() else LOOK
                    except Exception:
                        _log.exception("the schedules could not be looked at; that is tried again in %g s", LOOK)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait):
                            await self._moved.wait()
        finally:
            unsubscribe()

    async def tick(self) -> float | None:
        """Submit everything that is due now; return the seconds until it is worth to look again, None for never."""
        await self._settle()
        now = self._services.clock.now()
        async with asyncio.TaskGroup() as group:
            for entry in self._entries.values():
                if entry.wants_a_look(now):
                    group.create_task(self._attend(entry))
        await self._store(entry for entry in self._entries.values() if entry.saved != entry.state)
        now = self._services.clock.now()
        waits = [max(_SOON, entry.next - now) for entry in self._entries.values() if not entry.blocked]
        return min([LOOK, *waits]) if self._entries else None

    def standing(self, ref: Ref) -> Standing | None:
        """Return how a schedule does, or None when it was not looked at yet."""
        entry = self._entries.get(ref)
        return None if entry is None else entry.standing(self._services.clock.now())

    async def suspend(self, ref: Ref, reason: str = "") -> None:
        """Start no runs of a schedule from now on; what would have been due is not missed.

        Raises:
            NotFound: it does not serve.
        """
        entry = await self._entry(ref)
        async with entry.lock:
            await self._keep(
                entry, replace(entry.state, suspended=True, reason=reason), ScheduleSuspended(ref.name, reason)
            )

    async def resume(self, ref: Ref) -> None:
        """Start the runs of a schedule again that are due from now on.

        Raises:
            NotFound: it does not serve.
            Conflict: its manifest suspends it.
        """
        entry = await self._entry(ref)
        if entry.spec.suspend:
            raise Conflict(f"{ref} is suspended by spec.suspend: set it to false where it is declared")
        async with entry.lock:
            if entry.state.suspended:
                state = replace(entry.state, suspended=False, reason="", mark=self._services.clock.now())
                await self._keep(entry, state, ScheduleResumed(ref.name))
        self._moved.set()

    async def start(self, ref: Ref) -> str:
        """Submit a task as a schedule would, now, whether it is suspended or another run goes on; return its id.

        Raises:
            NotFound: the schedule does not serve, or no cluster takes the task.
        """
        entry = await self._entry(ref)
        now = self._services.clock.now()
        name = f"t{int(now * 1000):011x}-{secrets.token_hex(6)}"
        await self._tasks.submit(self._task(entry, name, secrets.randbits(32)))
        async with entry.lock:
            fired = ScheduleFired(ref.name, name, now, manual=True)
            await self._keep(entry, entry.state.by_hand(name, now), fired)
        return name

    # What serves

    async def _entry(self, ref: Ref) -> Entry:
        await self._settle()
        if ref not in self._entries:
            raise NotFound(
                f"no {ref.kind} {ref.name!r} in namespace {ref.namespace}: `loomd get schedules -A` lists them"
            )
        return self._entries[ref]

    async def _settle(self) -> None:
        """Know the schedules that serve now, and no others."""
        async with self._settling:
            snapshot = self._services.serving.snapshot
            if snapshot is EMPTY or snapshot is self._settled:  # nothing ever served: what is known may be wanted yet
                return
            stored = self._stored
            if stored is None:
                stored = self._stored = _decoded(await self._services.store.schedules())
            entries: dict[Ref, Entry] = {}
            for item in snapshot.of_kind(KIND):
                with suppress(NotFound):  # another snapshot serves by now: it is next
                    entries[item.ref] = await self._known(item, stored)
            uids = {entry.uid for entry in entries.values()}
            self._entries = entries
            for entry in entries.values():
                self._observe(entry)
            changed = [entry for entry in entries.values() if entry.saved != entry.state]
            await self._store(changed, stored.keys() - uids)
            self._stored = {entry.uid: entry.state for entry in entries.values()}
            self._settled = snapshot

    async def _known(self, item: Object, stored: Mapping[str, ScheduleState]) -> Entry:
        """Return the entry of an object: the one that there is, or one that begins with what is stored."""
        identity, now = self._identify(item.ref), self._services.clock.now()
        entry = self._entries.get(item.ref)
        if entry is None or entry.uid != identity.uid:
            entry = Entry(item, identity.uid, stored.get(identity.uid), min(identity.created, now))
            await self._recover(entry, now)
        entry.declare(item, now)
        return entry

    async def _recover(self, entry: Entry, now: float) -> None:
        """Note what a crash kept from being noted: a run that was submitted, and tasks that have ended."""
        due = entry.agenda.next(entry.state.mark)
        name = "" if due is None else entry.agenda.task(due)
        if due is not None and not entry.state.knows(name) and await self._tasks.get(name) is not None:
            await self._fired(entry, due, now)
        entry.state = replace(entry.state, active=await self._active(entry))

    # What is due

    async def _attend(self, entry: Entry) -> None:
        """Look at one schedule; whatever goes wrong is its own."""
        async with entry.lock:
            try:
                await self._look(entry)
            except LoomdError as error:
                entry.blocked = str(error)
                _log.warning("%s: %s; that is tried again in %g s", entry.ref, error, LOOK)
            except Exception:
                entry.blocked = "it could not be looked at; the daemon's log says why"
                _log.exception("%s could not be looked at; that is tried again in %g s", entry.ref, LOOK)
            self._observe(entry)

    async def _look(self, entry: Entry) -> None:
        now = self._services.clock.now()
        if now < entry.state.mark:  # the clock was set back: what is due again has its task already
            entry.state = replace(entry.state, mark=now)
        choice = entry.agenda.choose(entry.state.mark, now)
        if choice.missed.times:
            await self._give_up(entry, choice.missed, now)
        entry.blocked = ""
        for due in choice.run:
            if not await self._run(entry, due, now):
                break
        entry.plan()

    async def _give_up(self, entry: Entry, missed: Due, now: float) -> None:
        times, why = missed.times, entry.blocked or _NOT_RUN
        fact = ScheduleMissed(entry.ref.name, times[0], times[-1], len(times), why, missed.more)
        _log.warning("%s: %d runs%s are given up: %s", entry.ref, len(times), " or more" * missed.more, why)
        await self._keep(entry, entry.state.given_up(missed, why, now), fact)

    async def _run(self, entry: Entry, due: float, now: float) -> bool:
        """Submit the task of a due time unless that was done; return whether it is dealt with."""
        name = entry.agenda.task(due)
        if entry.state.knows(name) or await self._tasks.get(name) is not None:
            if entry.tried == name and not entry.state.knows(name):
                await self._fired(entry, due, now)
            else:
                await self._keep(entry, replace(entry.state, mark=due))
            return True
        entry.blocked = await self._hindrance(entry)
        if entry.blocked:
            return False
        entry.tried = name
        try:
            await self._tasks.submit(self._task(entry, name, entry.agenda.seed(due)))
        except LoomdError as error:
            entry.blocked = str(error)
            if entry.state.error != str(error):
                _log.warning("%s: its run could not be submitted: %s", entry.ref, error)
                unserved = isinstance(error, NotFound)
                await self._keep(entry, replace(entry.state, error=str(error), unserved=unserved))
            return False
        await self._fired(entry, due, now)
        return True

    async def _fired(self, entry: Entry, due: float, now: float) -> None:
        name, late = entry.agenda.task(due), max(0.0, now - entry.agenda.begins(due))
        fact = ScheduleFired(entry.ref.name, name, due, round(late, 3))
        await self._keep(entry, entry.state.started(due, name, now), fact)

    async def _hindrance(self, entry: Entry) -> str:
        """Return why the next run cannot start, or an empty string; a run that is to be replaced is ended."""
        if entry.ref not in self._topology().live:
            return _PENDING
        if entry.spec.concurrency_policy == "Allow":
            return ""
        entry.state = replace(entry.state, active=await self._active(entry))
        going = ", ".join(f"Task/{one}" for one in entry.state.active)
        if entry.spec.concurrency_policy == "Forbid":
            return f"the run before goes on: {going}" if going else ""
        for one in entry.state.active:
            with suppress(NotFound, TimeoutError):  # it has ended by now, or it ends later
                async with asyncio.timeout(ENDING):
                    await self._tasks.cancel(one)
        entry.state = replace(entry.state, active=await self._active(entry))
        return ""

    async def _active(self, entry: Entry) -> tuple[str, ...]:
        """Return the tasks of a schedule that have not ended."""
        records = [await self._tasks.get(one) for one in entry.state.active]
        going = {one.id for one in records if one is not None and not one.result}
        return tuple(one for one in entry.state.active if one in going)

    # What is known

    async def _keep(self, entry: Entry, state: ScheduleState, fact: AnyFact | None = None) -> None:
        """Take over what is known of a schedule now; the fact and the state are stored in one transaction.

        Without a store the state holds all the same: what was submitted is found by its record.
        """
        entry.take(state)
        if fact is not None:
            self._services.bus.emit(fact, Scope(self._services.bus, "", namespace=entry.ref.namespace))
        self._observe(entry)
        await self._store([entry])

    async def _store(self, entries: Iterable[Entry], gone: Iterable[str] = ()) -> None:
        states = [(entry, entry.state) for entry in entries]
        records = [ScheduleRecord(entry.uid, msgspec.json.encode(state)) for entry, state in states]
        uids = tuple(gone)
        if records or uids:
            await self._services.store.keep_schedules(records, uids)
        for entry, state in states:
            entry.saved = state

    def _observe(self, entry: Entry) -> None:
        """Let the conditions of the object say how it does."""
        live = self._topology().live.get(entry.ref)
        if live is not None:
            entry.tell(live, self._services.clock.now())

    def _task(self, entry: Entry, name: str, seed: int) -> Task:
        """Return a task of a schedule: what it says itself, or what it names.

        Raises:
            NotFound: the declared task that it names does not serve.
        """
        spec, ref = entry.spec, entry.ref
        if spec.task is None:
            return Task(
                name,
                (spec.goal or "").strip(),
                namespace=ref.namespace,
                cluster=spec.cluster or "",
                seed=seed,
                budget=spec.budget.limits,
                expect=spec.expect.carried(entry.item.folder),
                durability=spec.durability,
            )
        live = self._topology().live.get(Ref("Task", object_name(spec.task), ref.namespace))
        if not isinstance(live, Declared):
            raise NotFound(f"Task/{spec.task} does not serve in namespace {ref.namespace}")
        return live.task(name, seed)

    def _hear(self, event: Event) -> None:
        """Note that a task has ended; a run that waited for that may start."""
        if not isinstance(event.data, TaskCompleted | TaskFailed):
            return
        for entry in self._entries.values():
            if event.task in entry.state.active:
                entry.end(event.task)
                self._moved.set()


def _decoded(records: Iterable[ScheduleRecord]) -> dict[str, ScheduleState]:
    """Return what is stored; what cannot be read begins anew."""
    found: dict[str, ScheduleState] = {}
    for record in records:
        try:
            found[record.uid] = msgspec.json.decode(record.body, type=ScheduleState)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.error("what is stored of schedule %s is damaged (%s): it begins anew", record.uid, error)
    return found
