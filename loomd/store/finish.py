"""Finishing what must not be left half done: a write goes on although whoever asked for it is cancelled.

Called by whoever keeps memory and disk alike: the engine for results, the reconciler for revisions.
"""

import asyncio
from collections.abc import Awaitable, Coroutine, Generator
from functools import partial
from types import coroutine
from typing import Any, TypeVar, cast

T = TypeVar("T")


class Written(asyncio.Future[T]):
    """Waits for a commit, which comes whoever waits. What `finish` has taken hold of is not cancelled."""

    held = False

    def cancel(self, msg: Any = None) -> bool:
        """Give up waiting, unless it is held: then whoever waits is told of the request when it is done."""
        return not self.held and super().cancel(msg)


@coroutine
def finish(work: Coroutine[Any, Any, T]) -> Generator[Any, None, T]:
    """Run to the end, however often the caller is cancelled meanwhile; the cancellation is let through then.

    As long as it waits for nothing but commits, that takes no task of its own. Until it has waited for something else
    it begins no time limit and no group of tasks: these would cancel the caller.
    """
    cancelled: asyncio.CancelledError | None = None
    while True:
        try:
            awaited = work.send(None)
        except BaseException as end:
            if cancelled is not None:  # whoever would have got it is gone
                raise cancelled from None
            if isinstance(end, StopIteration):
                return end.value  # type: ignore[no-any-return]  # a coroutine's result
            raise
        if not isinstance(awaited, Written):
            return (yield from _apart(_rest(awaited, work), cancelled).__await__())
        awaited.held = True
        try:
            yield awaited
        except asyncio.CancelledError as error:
            cancelled = error
        except Exception:  # noqa: S110  # why it could not be written is raised where that is awaited
            pass


async def _apart(work: Awaitable[T], cancelled: asyncio.CancelledError | None) -> T:
    """Run the rest of some work in a task of its own, which nobody cancels."""

    async def run() -> T:
        return await work

    task = asyncio.ensure_future(run())
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


@coroutine
def _rest(awaited: object, work: Coroutine[Any, Any, T]) -> Generator[Any, None, T]:
    """Go on with some work when there is what it waits for; it has begun, so that it cannot be awaited."""
    while True:
        try:
            yield awaited
        except asyncio.CancelledError as error:  # the event loop ends
            try:
                awaited = work.throw(error)
            except StopIteration as end:
                return cast("T", end.value)
        except Exception:  # it is raised where that is awaited
            break
        else:
            break
    return cast("T", (yield from work))


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
