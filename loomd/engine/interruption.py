"""What interrupts the run of a task: a request to stop it, or a record that cannot be written. Called by the engine."""

import asyncio

from loomd.errors import LoomdError, RecordFailed, Temporary

_RETRY = 1.0
"""Seconds until a task goes on that could not be recorded, when nobody says how long that lasts."""


def raise_unrecorded(error: Exception) -> None:
    """Raise the failure to record a part that is inside a group of failures."""
    if isinstance(error, ExceptionGroup):
        for one in error.exceptions:
            raise_unrecorded(one)
    if isinstance(error, RecordFailed):
        raise error


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
