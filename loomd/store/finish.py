"""Finishing what must not be left half done: a write goes on although whoever asked for it is cancelled.

Called by whoever keeps memory and disk alike: the engine for results, the reconciler for revisions.
"""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, however often the caller is cancelled meanwhile; the cancellation is let through then."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await over(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # whoever would have got it is gone
        raise cancelled
    return task.result()


async def over(task: asyncio.Task[Any]) -> None:
    """Return when a task is done, however it ended; who is cancelled meanwhile leaves it to go on."""
    waiter = asyncio.get_running_loop().create_future()
    wake = partial(_wake, waiter)
    task.add_done_callback(wake)
    try:
        await waiter
    finally:
        task.remove_done_callback(wake)


def _wake(waiter: asyncio.Future[None], _: object) -> None:
    if not waiter.done():
        waiter.set_result(None)
