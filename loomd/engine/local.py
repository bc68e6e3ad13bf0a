"""The engine that comes with loomd: tasks run in this process, on the journal of this process.

A task is accepted when its record is on disk. While it runs, every phase and every side effect is recorded under a
stable key; after a crash the task runs again and finds what was done. A step is awaited until it is durable, a phase
is not: the journal keeps order, so whatever is durable stands on durable ground.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import msgspec

from loomd.amoeba.task import Result, Task
from loomd.cluster.cluster import Cluster
from loomd.engine.record import TaskRecorder
from loomd.errors import Conflict, LoomdError, NotFound, RecordFailed
from loomd.events.bus import Scope
from loomd.events.event import TaskCompleted, TaskFailed, TaskStarted
from loomd.events.journal import Journal
from loomd.manifest.object import Ref
from loomd.store.base import TaskRecord
from loomd.topology import Services, Topology

_log = logging.getLogger("loomd.engine")
_encode = msgspec.json.Encoder().encode
_task = msgspec.json.Decoder(Task).decode
_result = msgspec.json.Decoder(Result).decode


class LocalEngine:
    """Runs tasks on the current topology; each keeps the one that it started with."""

    def __init__(self, services: Services, topology: Callable[[], Topology]) -> None:
        self._services = services
        self._journal = Journal(services.store)
        self._topology = topology
        self._running: dict[str, asyncio.Task[Result]] = {}
        self._cancelled: set[str] = set()
        self._draining = False

    async def submit(self, task: Task) -> str:
        """Accept a task and return its id once it is on disk.

        Raises:
            NotFound: its cluster is not in the current topology.
            Conflict: the engine is draining, or the id is taken.
        """
        if self._draining:
            raise Conflict("the daemon is shutting down and takes no more tasks")
        topology = self._topology()
        task = _accept(task, topology, self._services.clock.now())
        if task.id in self._running or await self._services.store.get_task(task.id):
            raise Conflict(f"Task/{task.id} exists already")
        await self._services.store.put_task(_record(task, "Running"))
        self._start(task, topology, resumed=False)
        return task.id

    async def result(self, task: str) -> Result:
        """Wait until a task has ended and return what became of it.

        Raises:
            NotFound: no such task.
        """
        running = self._running.get(task)
        if running is not None:
            with suppress(asyncio.CancelledError):
                return await asyncio.shield(running)
            if not running.cancelled():
                raise asyncio.CancelledError
        record = await self._services.store.get_task(task)
        if record is None:
            raise NotFound(f"Task/{task}: no such task")
        if not record.result:
            raise Conflict(f"Task/{task} was interrupted; it goes on when the daemon starts again")
        return _result(record.result)

    async def cancel(self, task: str) -> None:
        """End a task and its children; what was done stays recorded.

        Raises:
            NotFound: the task is not running.
        """
        running = self._running.get(task)
        if running is None:
            raise NotFound(f"Task/{task} is not running")
        self._cancelled.add(task)
        running.cancel()
        await asyncio.wait([running])
        if running.cancelled():  # before it took its first step, so that nothing was written yet
            record = await self._services.store.get_task(task)
            if record is not None:
                cancelled = Result(_task(record.body), "Cancelled", error="cancelled")
                _announce(self._scope(cancelled.task), cancelled)
                await self._services.store.put_task(_record(cancelled.task, "Cancelled", _encode(cancelled)))

    async def resume(self) -> list[str]:
        """Continue every task that was accepted and has no result; return their ids.

        A task whose cluster does not serve stays as it is: what should serve may come back, and then this is called
        again.
        """
        topology = self._topology()
        resumed: list[str] = []
        for record in reversed(await self._services.store.list_tasks(unfinished=True)):
            task = _task(record.body)
            if task.parent or task.id in self._running:
                continue
            if Ref("Cluster", task.cluster, task.namespace) not in topology.live:
                _log.warning("Task/%s waits: Cluster/%s does not serve", task.id, task.cluster)
                continue
            self._start(task, topology, resumed=True)
            resumed.append(task.id)
        return resumed

    async def drain(self, grace: float) -> None:
        """Take no more tasks, wait up to `grace` seconds for the running ones, then stop them resumable."""
        self._draining = True
        running = list(self._running.values())
        if not running:
            return
        _, late = await asyncio.wait(running, timeout=grace)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    def _start(self, task: Task, topology: Topology, *, resumed: bool) -> None:
        run = self._run(task, topology, resumed=resumed)
        running = asyncio.create_task(run, name=f"task {task.id}")  # noqa: TID251  # kept until it is done
        self._running[task.id] = running
        running.add_done_callback(lambda done: self._ended(task.id, done))

    def _ended(self, task: str, done: asyncio.Task[Result]) -> None:
        del self._running[task]
        self._cancelled.discard(task)
        if not done.cancelled() and (error := done.exception()) is not None:
            _log.error("task %s could not be recorded: %s", task, error)

    async def _run(self, task: Task, topology: Topology, *, resumed: bool) -> Result:
        """Take a task to its end on a topology that stays open for it."""
        async with topology.lease():
            return await self._finish(task, topology, resumed=resumed)

    async def _finish(self, task: Task, topology: Topology, *, resumed: bool) -> Result:
        """Run a task through its cluster and store what became of it, whatever that is."""
        scope = self._scope(task)
        recorded = await self._journal.checkpoints(task.id) if resumed else {}
        if not recorded:
            scope.emit(TaskStarted(task.goal, task.cluster), key="started")
        recorder = TaskRecorder(
            self._services, scope, recorded, lambda child: self._child(child, topology, resumed=resumed)
        )
        try:
            result = await _cluster(topology, task).run(task, recorder)
        except asyncio.CancelledError:
            if not self._is_cancelled(task):
                raise  # the process stops: the task stays unfinished and is resumed
            result = Result(task, "Cancelled", error="cancelled")
        except RecordFailed:
            raise  # nothing can be written: the task stays unfinished and is resumed
        except Exception as error:
            result = Result(task, "Failed", error=_reason(error))
        _announce(scope, result)
        await _surely(self._services.store.put_task(_record(task, result.phase, _encode(result))))
        return result

    async def _child(self, task: Task, topology: Topology, *, resumed: bool) -> Result:
        """Run a subtask inside its parent; one that has ended before a crash is not run again."""
        if resumed and (record := await self._services.store.get_task(task.id)) is not None and record.result:
            return _result(record.result)
        await self._services.store.put_task(_record(task, "Running"))
        return await self._finish(task, topology, resumed=resumed)

    def _scope(self, task: Task) -> Scope:
        return Scope(self._services.bus, task.id, task.parent, task.namespace, task.revision)

    def _is_cancelled(self, task: Task) -> bool:
        return any(task.id == root or task.id.startswith(f"{root}.") for root in self._cancelled)


async def _surely(write: Coroutine[Any, Any, None]) -> None:
    """Finish a write that has begun, also when the task that began it is cancelled meanwhile."""
    writing = asyncio.ensure_future(write)
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await writing


def _accept(task: Task, topology: Topology, now: float) -> Task:
    """Return a task with its cluster, its limits and its deadline settled.

    Raises:
        NotFound: no cluster takes it.
    """
    cluster = _resolve(topology, task)
    task = msgspec.structs.replace(task, cluster=cluster, revision=topology.snapshot.revision, created=now)
    budget = _cluster(topology, task).limit(task.budget)
    return msgspec.structs.replace(task, budget=budget, deadline=now + (budget.seconds or 0.0))


def _record(task: Task, phase: str, result: bytes = b"") -> TaskRecord:
    return TaskRecord(task.id, task.namespace, task.cluster, phase, _encode(task), result, task.created)


def _resolve(topology: Topology, task: Task) -> str:
    """Return the name of the cluster that a task goes to.

    Raises:
        NotFound: there is none, or several and the task does not say which.
    """
    kinds = topology.snapshot.of_kind("Cluster")
    names = sorted(item.ref.name for item in kinds if item.ref.namespace == task.namespace)
    if task.cluster in names:
        return task.cluster
    listed = ", ".join(names) or "none"
    if task.cluster:
        raise NotFound(f'Cluster/{task.cluster} is not in namespace "{task.namespace}"; there: {listed}')
    if len(names) == 1:
        return names[0]
    if not names:
        raise NotFound(f'namespace "{task.namespace}" has no agents: apply a manifest with an Agent first')
    raise NotFound(f'namespace "{task.namespace}" has several clusters ({listed}): say which')


def _cluster(topology: Topology, task: Task) -> Cluster:
    live = topology.live.get(Ref("Cluster", task.cluster, task.namespace))
    if not isinstance(live, Cluster):
        raise NotFound(f'Cluster/{task.cluster} is no longer in namespace "{task.namespace}"')
    return live


def _reason(error: BaseException) -> str:
    """Return the message of an error; the first one of a group; an unexpected one with its type."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, LoomdError):
        return str(error)
    _log.error("unexpected error in a task", exc_info=error)
    return f"{type(error).__name__}: {error}"


def _announce(scope: Scope, result: Result) -> None:
    """Make the end of a task known."""
    executed, evaluated = result.executed, result.evaluated
    if result.phase == "Succeeded" and executed is not None and evaluated is not None:
        outcome = executed.outcome
        fact = TaskCompleted(outcome.stop_reason, evaluated.reward, outcome.cost, outcome.usage)
        scope.emit(fact, executed.agent, key="ended")
    else:
        reason = "cancelled" if result.phase == "Cancelled" else "error"
        scope.emit(TaskFailed(reason, result.error), executed.agent if executed else "", key="ended")
