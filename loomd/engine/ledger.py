"""What is known of tasks: on disk, or in memory for a while where nothing is to be kept. Called by the engine."""

import logging

import msgspec

from loomd.amoeba.task import Task
from loomd.engine.images import keep, lean
from loomd.errors import Conflict, NotFound, Temporary
from loomd.store.base import Store
from loomd.store.records import TaskRecord

_log = logging.getLogger("loomd.engine")
_encode = msgspec.json.Encoder().encode
_task = msgspec.json.Decoder(Task).decode

_UNKEPT = 1000
"""Tasks that are not kept on disk whose results are remembered."""


class Ledger:
    """The records of all tasks."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._unkept: dict[str, TaskRecord] = {}

    async def get(self, task: str) -> TaskRecord | None:
        """Return what is known of a task; of one that is not kept, for some time after its end."""
        return self._unkept.get(task) or await self._store.get_task(task)

    async def known(self, task: str) -> TaskRecord:
        """Return what is known of a task.

        Raises:
            NotFound: nothing.
        """
        record = await self.get(task)
        if record is None:
            raise NotFound(f"Task/{task}: no such task")
        return record

    async def whole(self, task: str) -> TaskRecord:
        """Return what is known of a task that is no part of another.

        Raises:
            NotFound: nothing.
            Conflict: it is a part.
        """
        record = await self.known(task)
        if parent := _task(record.body).parent:
            raise Conflict(f"Task/{record.id} is a part of Task/{parent}: name that one")
        return record

    async def create(self, task: Task) -> bool:
        """Keep a new task, which runs; return False when its id is taken."""
        if task.durability != "none":
            await keep(self._store, task, task.created)
            return await self._store.create_task(record_of(task, "Running"))
        if await self.get(task.id) is not None:
            return False
        await self.put(task, "Running")
        return True

    async def put(self, task: Task, phase: str, result: bytes = b"") -> None:
        """Keep where a task is, and its encoded result once it has ended."""
        record = record_of(task, phase, result)
        if task.durability != "none":
            await self._store.put_task(record)
            return
        self._unkept[task.id] = record
        if len(self._unkept) > _UNKEPT:  # of the ended ones, the oldest goes
            oldest = next((one for one, kept in self._unkept.items() if kept.result), None)
            if oldest is not None:
                del self._unkept[oldest]

    async def park(self, record: TaskRecord, reason: str) -> None:
        """Say why a task does not run; where that cannot be written, the log has it alone."""
        _log.warning("Task/%s waits: %s", record.id, reason)
        if record.reason != reason:
            try:
                await self._store.put_task(msgspec.structs.replace(record, phase="Pending", reason=reason))
            except Temporary as error:
                _log.error("why Task/%s waits could not be kept: %s", record.id, error)


def record_of(task: Task, phase: str, result: bytes = b"") -> TaskRecord:
    """Return the record of a task."""
    return TaskRecord(task.id, task.namespace, task.cluster, phase, _encode(lean(task)), result, task.created)
