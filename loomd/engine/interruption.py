"""What interrupts the run of a task: a request to stop it, or a record that cannot be written. Called by the engine."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from loomd.amoeba.task import Task
from loomd.errors import LoomdError, RecordFailed, Temporary

T = TypeVar("T")

_RETRY = 1.0
"""Seconds until a task goes on that could not be recorded, when nobody says how long that lasts."""


async def recorded(task: Task, work: Callable[[], Awaitable[T]]) -> T:
    """Return what writing something about a task that runs returns.

    Raises:
        RecordFailed: it could not be written.
    """
    try:
        return await work()
    except RecordFailed:
        raise
    except LoomdError as error:
        raise unrecorded(f"Task/{task.id}", error) from error


def unrecorded(what: str, error: LoomdError) -> RecordFailed:
    """Return what it means that something of a task could not be written."""
    after = (error.retry_after or _RETRY) if isinstance(error, Temporary) else None
    return RecordFailed(f"{what} could not be recorded: {error}", after)


def pause(error: RecordFailed | Temporary) -> float:
    """Return in how many seconds what could not be written may be.

    Raises:
        RecordFailed: not before somebody acts.
    """
    if isinstance(error, RecordFailed) and error.retry_after is None:
        raise error
    return error.retry_after or _RETRY


def uncancel() -> None:
    """Take back one request to cancel the running task."""
    current = asyncio.current_task()
    if current is not None:
        current.uncancel()
