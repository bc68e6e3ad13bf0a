"""The engine that comes with loomd: tasks run in this process, on the journal of this process.

A task is accepted when its record is on disk. While it runs, every phase and every side effect is recorded under a
stable key; after a crash the task runs again, on the revision that it began with, and finds what was done. A step is
awaited until it is durable, a phase is not: the journal keeps order, so whatever is durable stands on durable ground.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from loomd.agents.approval import Decision
from loomd.agents.budget import Budget
from loomd.amoeba.task import ENGINE, Result, Task
from loomd.engine.accept import accept, cluster_of
from loomd.engine.again import Attempts
from loomd.engine.claims import Claims
from loomd.engine.deaths import SetAside, set_aside
from loomd.engine.ending import AWAY, HERE, STRAY, WAYS, announce, reason_of, scope_of
from loomd.engine.images import filled, lean
from loomd.engine.intake import anew
from loomd.engine.interruption import pause, recorded, uncancel
from loomd.engine.ledger import Ledger, record_of
from loomd.engine.lent import Lent
from loomd.engine.mailbox import Mailbox
from loomd.engine.record import TaskRecorder
from loomd.engine.spent import spent_by_parts
from loomd.engine.stay import Stay
from loomd.errors import Conflict, Diverged, LoomdError, NotFound, RecordFailed, Temporary
from loomd.events.event import TaskResumed, TaskStarted
from loomd.events.journal import Journal
from loomd.manifest.object import Ref
from loomd.manifest.raised import is_cancelled, raise_within
from loomd.store.finish import finish, over
from loomd.store.records import ApprovalRecord, TaskRecord
from loomd.topology import Services, Topology

_log = logging.getLogger("loomd.engine")
_encode = msgspec.json.Encoder().encode
_task = msgspec.json.Decoder(Task).decode
_result = msgspec.json.Decoder(Result).decode

Pinned = Callable[[str], Awaitable[Topology]]
"""Opens the revision of a digest; whoever gets it leases it at once."""
_NEWER = "a newer engine recorded it"


class LocalEngine:
    """Runs tasks on the current topology; each keeps the one that it started with, unless it is moved.

    Args:
        services: journal, events and clock.
        topology: returns what serves now.
        pinned: opens an earlier revision for tasks that began on it; without it they go on on what serves.
    """

    def __init__(self, services: Services, topology: Callable[[], Topology], pinned: Pinned | None = None) -> None:
        self._services = services
        self._journal = Journal(services.store)
        self._topology = topology
        self._pinned = pinned
        self._mailbox = Mailbox(services.store, services.clock)
        self._ledger = Ledger(services.store)
        self._running: dict[str, asyncio.Task[Result]] = {}
        self._claims = Claims(self._running)
        self._stays: dict[str, Stay] = {}
        self._cancelled: set[str] = set()
        self._draining = False
        self._stopping = False
        self._attempts = Attempts(services, self._ledger, self._claims, self._end, self._begin)

    @property
    def running(self) -> int:
        """Return how many tasks run, without their subtasks."""
        return len(self._running)

    async def submit(self, task: Task) -> str:
        """Accept a task and return its id once it is on disk.

        Raises:
            NotFound: its cluster is not in the current topology.
            Conflict: the engine is draining, or the id is taken by a task that is on disk.
        """
        self._refuse_late()
        task = accept(task, self._topology(), self._services.clock.now())
        await finish(self._take(task))
        return task.id

    async def _take(self, task: Task) -> None:
        """Keep a new task and start it; one that is kept in the last moment goes on when the daemon starts again.

        Raises:
            Conflict: the id is taken, or the task could not be kept beyond the end of the process.
        """
        await self._claims.given_up(task.id)  # whoever has it may still fail
        with self._claims.claim(task.id) as free:
            if not free or not await self._ledger.create(task):
                raise Conflict(f"Task/{task.id} exists already")
            if not self._draining:
                self._start(task, resumed=False)
            elif task.durability == "none":
                self._refuse_late()

    async def result(self, task: str) -> Result:
        """Wait until a task has ended and return what became of it.

        Raises:
            NotFound: no such task.
        """
        running = self._running.get(task)
        if running is not None:
            await over(running)
            if not running.cancelled():
                return running.result()
        record = await self._ledger.known(task)
        if not record.result:
            why = record.reason or "it goes on when the daemon starts again"
            raise Conflict(f"Task/{task} was interrupted and does not run: {why}")
        return _result(record.result)

    async def get(self, task: str) -> TaskRecord | None:
        """Return what is known of a task; of one that is not kept, for some time after its end."""
        return await self._ledger.get(task)

    async def send(self, task: str, name: str, value: object) -> None:
        """Send a JSON value to a task under a name; it is on disk when this returns, and the first one counts.

        Raises:
            NotFound: no such task.
            Conflict: the task has ended, or something was sent under this name before.
        """
        record = await self._ledger.known(task)
        if record.result:
            raise Conflict(f"Task/{task} has ended ({record.phase}): nobody waits for a signal")
        await self._mailbox.send(task, name, value)

    async def decide(self, approval: str, decision: Decision) -> ApprovalRecord:
        """Answer a question of a task; it is on disk when this returns.

        Raises:
            NotFound: there is no such question.
            Conflict: it was decided already, or has expired.
        """
        return await self._mailbox.decide(approval, decision)

    async def cancel(self, task: str) -> None:
        """End a task and its children; what was done stays recorded.

        Raises:
            NotFound: there is no such task, or it has ended.
            Conflict: it is about to start, or is a part of one that runs.
            RecordFailed: that could not be written; what runs is stopped.
        """
        if task in self._running and task not in self._stays:
            await asyncio.sleep(0)  # it takes its first step, which tells that it began
        if (running := self._running.get(task)) is not None:
            self._cancelled.add(task)
            running.cancel()
            await asyncio.wait([running])
            if not running.cancelled():
                if (ended := running.result()).phase != "Cancelled":
                    raise NotFound(f"Task/{task} has ended: {ended.phase}")
                return
        if (root := task.partition(".")[0]) != task and root in self._running:
            raise Conflict(f"Task/{task} is a part of Task/{root}, which runs: cancel that one")
        with self._claims.claim(task) as free:
            record = await self.get(task)  # it did not take its first step, or waits for what it cannot run without
            if record is None or record.result:
                raise NotFound(f"Task/{task} is not running")
            if not free:
                raise Conflict(f"Task/{task} is about to start: try again")
            await self._cancel_tree(record)

    async def retry(self, task: str) -> str:
        """Run a task anew from the beginning, as one of its own, and return that one's id; what waits is ended.

        Raises:
            NotFound: no such task, or its cluster does not serve.
            Conflict: it runs, or is a part of another.
        """
        with self._claims.claim(task) as free:
            record = await self._ledger.whole(task)
            if not free:
                raise Conflict(f"Task/{task} runs: cancel it first")
            known = await filled(self._services.store, _task(record.body))
            fresh = await self.submit(anew(known, self._services.clock))
            if not record.result:
                await self._cancel_tree(record)
        return fresh

    async def go_on(self, task: str) -> None:
        """Continue a task that waits because its own revision cannot be opened, on what serves.

        Raises:
            NotFound: no such task, or its cluster does not serve.
            Conflict: it runs, has ended, is a part of another, or a newer engine recorded it; or all is draining.
        """
        with self._claims.claim(task) as free:
            record = await self._ledger.whole(task)
            known = _task(record.body)
            if record.result or not free:
                raise Conflict(f"Task/{task} does not wait: it {'has ended' if record.result else 'runs'}")
            if known.engine > ENGINE:
                raise Conflict(f"Task/{task}: {record.reason}")
            self._refuse_late()
            cluster_of(self._topology(), known)
            self._start(known, resumed=True, here=True)

    async def resume(self) -> list[str]:
        """Continue every task that was accepted and has no result; return their ids.

        A task whose cluster does not serve stays as it is: what should serve may come back, and then this is called
        again.
        """
        resumed: list[str] = []
        for record in reversed(await self._services.store.list_tasks(unfinished=True)):
            with self._claims.claim(record.id) as free:
                if free and not _task(record.body).parent and await self._resume(record.id):
                    resumed.append(record.id)
        return resumed

    async def _resume(self, task: str) -> bool:
        """Continue a task that nobody runs, unless it has ended since it was seen; return whether it goes on."""
        record = await self.get(task)
        if record is None or record.result or self._draining:
            return False
        known = _task(record.body)
        if known.engine > ENGINE:
            reason = f"{_NEWER} (version {known.engine}, this one knows {ENGINE}): {WAYS.format(task)}"
        elif not self._restorable(known) and not self._serves(known):
            reason = f"Cluster/{known.cluster} does not serve"
        else:
            self._start(known, resumed=True, parked=bool(record.reason))
            return True
        await self._ledger.park(record, reason)
        return False

    async def move(self, topology: Topology) -> int:
        """Continue every task of an old topology on the current one, from its recorded steps; return how many.

        Nothing that is recorded is done again. A task of which something else is recorded than it would do there waits
        until its own revision may be open once more, and one whose cluster does not serve there waits for it, as after
        a restart.
        """
        if topology is self._topology():
            return 0
        stays = {task: stay for task, stay in self._stays.items() if stay.topology is topology}
        for task, stay in stays.items():
            stay.moving = True
            self._running[task].cancel()
        for stay in stays.values():
            await stay.over()
        return sum(stay.moved for stay in stays.values())

    async def drain(self, grace: float) -> None:
        """Take no more tasks, wait up to `grace` seconds for the running ones, then stop them resumable."""
        self._draining = True
        running = list(self._running.values())
        if not running:
            return
        _, late = await asyncio.wait(running, timeout=grace)
        self._stopping = True
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    def _refuse_late(self) -> None:
        if self._draining:
            raise Conflict("the daemon is shutting down and takes no more tasks")

    def _begin(self, task: Task) -> None:
        if not self._draining:  # else it begins when the daemon starts again
            self._start(task, resumed=False)

    def _start(self, task: Task, *, resumed: bool, here: bool = False, parked: bool = False) -> None:
        run = self._run(task, resumed=resumed, here=here, parked=parked or here)
        running = asyncio.create_task(run, name=f"task {task.id}")  # noqa: TID251  # kept until it is done
        self._running[task.id] = running
        running.add_done_callback(lambda done: self._ended(task.id, done))

    def _ended(self, task: str, done: asyncio.Task[Result]) -> None:
        del self._running[task]
        self._cancelled.discard(task)
        if not done.cancelled() and (error := done.exception()) is not None:
            _log.error("task %s could not be recorded: %s", task, error)

    async def _run(self, task: Task, *, resumed: bool, here: bool, parked: bool) -> Result:
        """Take a task to its end on a topology that stays open for it; when it is moved, on the one after it, too.

        While nothing can be written it waits, and goes on after the last step that was.

        Args:
            task: the task.
            resumed: whether it ran before.
            here: whether it goes on on what serves, whatever it began on.
            parked: whether it is on disk that it waits.
        """
        wait, back, unfit, urged = 0.0, "", "", here
        while True:
            topology = await self._open(task) if resumed and not here else self._topology()
            stay = Stay(topology, self._ledger, self._services.bus, back, urged, unfit=unfit, parked=parked)
            self._stays[task.id] = stay
            try:
                async with stay.topology.lease():
                    task = await stay.pin(task, resumed=resumed)
                    return await self._finish(task, stay, resumed=resumed)
            except asyncio.CancelledError:
                if not self._moves(task, stay):
                    raise
                resumed = here = True
                back = stay.back or task.revision
            except Diverged as error:  # on what it was moved to
                task = msgspec.structs.replace(task, revision=stay.back)
                here, back, unfit, parked = False, "", topology.snapshot.revision, True
                await self._ledger.park(record_of(task, "Running"), AWAY.format(error, task.id))
            except SetAside as error:
                await set_aside(error, self._ledger, self._services.bus, task)
                raise asyncio.CancelledError from error
            except (RecordFailed, Temporary) as error:
                wait, resumed = pause(error), True
                back = stay.back
                if stay.moving or self._is_told_to_stop(task):  # and that was lost on the way
                    if not self._moves(task, stay):
                        raise asyncio.CancelledError from error
                    here, back = True, stay.back or task.revision
                _log.warning("Task/%s waits: %s", task.id, error)
            finally:
                del self._stays[task.id]
                stay.end()
            await asyncio.sleep(wait)
            wait = 0.0
            if self._is_told_to_stop(task):
                raise asyncio.CancelledError

    def _moves(self, task: Task, stay: Stay) -> bool:
        """Return whether an interrupted task goes on on what serves, and not only when it is resumed."""
        stay.moved = stay.moving and not self._is_told_to_stop(task) and self._serves(task)
        if stay.moved:
            uncancel()
        return stay.moved

    def _is_told_to_stop(self, task: Task) -> bool:
        """Return whether a task is cancelled or stopped; `Task.cancelling` does not tell after a group has failed."""
        return self._stopping or self._is_cancelled(task)

    def _serves(self, task: Task) -> bool:
        """Return whether the cluster of a task serves now."""
        if Ref("Cluster", task.cluster, task.namespace) in self._topology().live:
            return True
        _log.warning("Task/%s waits: Cluster/%s does not serve", task.id, task.cluster)
        return False

    async def _finish(
        self, task: Task, stay: Stay, *, resumed: bool, root: Task | None = None, account: Budget | None = None
    ) -> Result:
        """Run a task through its cluster and store what became of it, whatever that is.

        Args:
            task: the task, or a part of it.
            stay: where it runs.
            resumed: whether it ran before.
            root: the task that it is a part of.
            account: its own account as a part.

        Raises:
            Diverged: something else is recorded than it does where it was moved to, and it may go back.
        """
        root = root or task
        scope = scope_of(self._services.bus, task)
        known = await self._journal.checkpoints(task.id) if resumed and task.durability != "none" else {}
        if known and task.durability == "steps":
            scope.emit(TaskResumed(len(known)))
        else:
            scope.emit(TaskStarted(task.goal, task.cluster), key="started")
        lent = Lent(
            self._services,
            self._mailbox,
            lambda child, own: self._child(child, own, root, stay, resumed=resumed),
            partial(spent_by_parts, self._services.store, self._journal, task.id),
            lambda phase: recorded(task, partial(self._ledger.put, task, phase)),
            partial(stay.settle, root),
            lambda: stay.follow(self._running[root.id]),
            lambda: self._serves(root) and stay.behind(self._topology()),
            account,
        )
        recorder = TaskRecorder(task, lent, scope, known, resumed=resumed)
        if not stay.urged:
            recorder.deaths.refuse()
        await stay.enter(task)
        try:
            whole = await filled(self._services.store, task) if task.images else task
            result = await cluster_of(stay.topology, task).run(whole, recorder)
        except asyncio.CancelledError:
            stray = not (is_cancelled() or task.parent or stay.moving or self._is_told_to_stop(task))
            if not stray and not self._is_cancelled(task):
                recorder.deaths.leave()
                raise  # the process stops: the task stays unfinished and is resumed
            result = recorder.ended("Failed", STRAY) if stray else recorder.ended("Cancelled", "cancelled")
        except RecordFailed:
            recorder.deaths.leave()
            raise  # nothing can be written: the task stays unfinished and is resumed
        except Exception as error:
            raise_within(error, RecordFailed)  # of a part
            if stay.back:
                raise_within(error, Diverged)
            result = recorder.ended("Failed", reason_of(error))
        if result.phase != "Succeeded" and (resumed or (result.scaled is not None and result.scaled.subtasks)):
            await finish(recorded(task, partial(self._cancel_parts, task.id)))
        if task.images:
            result = msgspec.structs.replace(result, task=lean(task))
        return await self._attempts.end(task, result, scope)

    async def _end(self, task: Task, result: Result) -> None:
        """Store what became of a task. Who interrupts it now comes too late: it has ended, and does not run again.

        Raises:
            RecordFailed: it could not be stored.
        """
        stored = False

        async def put() -> None:
            nonlocal stored
            await recorded(task, partial(self._ledger.put, task, result.phase, _encode(result)))
            stored = True

        try:
            await finish(put())
        except asyncio.CancelledError:
            if task.parent or not stored:  # the parent of a part is to hear of it
                raise
            uncancel()

    async def _child(self, task: Task, account: Budget, root: Task, stay: Stay, *, resumed: bool) -> Result:
        """Run a subtask inside its parent; one that has ended before a crash is not run again."""
        try:
            if resumed and (record := await self.get(task.id)) is not None and record.result:
                return _result(record.result)
            await recorded(task, partial(self._ledger.put, task, "Running"))
            return await self._finish(task, stay, resumed=resumed, root=root, account=account)
        except asyncio.CancelledError:
            if not self._is_cancelled(task):
                raise
            return await finish(recorded(task, partial(self._cancel_at_rest, task)))

    async def _cancel_tree(self, record: TaskRecord) -> None:
        """End a task that does not run, with its parts."""
        await self._cancel_parts(record.id)
        await self._cancel_at_rest(_task(record.body))

    async def _cancel_parts(self, task: str) -> None:
        """End all parts of a task that do not run and have not ended, such as those that an earlier process began."""
        for record in await self._services.store.list_tasks(unfinished=True, tree=task):
            if record.id != task:
                await self._cancel_at_rest(_task(record.body))

    async def _cancel_at_rest(self, task: Task) -> Result:
        """End a task that does not run, or has not taken its first step; return its end, which may be an earlier one.

        Raises:
            Temporary: that could not be written.
        """
        record = await self.get(task.id)
        if record is not None and record.result:
            return _result(record.result)
        cancelled = Result(task, "Cancelled", error="cancelled")
        announce(scope_of(self._services.bus, task), cancelled)
        await self._ledger.put(task, "Cancelled", _encode(cancelled))
        return cancelled

    async def _open(self, task: Task) -> Topology:
        """Return what a task goes on on: the revision that it began with, or what serves.

        Raises:
            CancelledError: that revision cannot be opened any more, and the task waits.
        """
        if self._pinned is None or not self._restorable(task):
            return self._topology()
        try:
            return await self._pinned(task.revision)
        except LoomdError as error:
            why = f"revision {task.revision} does not open: {error}; {HERE.format(task.id)}{WAYS.format(task.id)}"
            await self._ledger.park(record_of(task, "Running"), why)
            raise asyncio.CancelledError from error

    def _restorable(self, task: Task) -> bool:
        """Return whether a task began on another revision than serves, which can be opened for it."""
        return self._pinned is not None and task.revision not in {"", self._topology().snapshot.revision}

    def _is_cancelled(self, task: Task) -> bool:
        return any(task.id == root or task.id.startswith(f"{root}.") for root in self._cancelled)
