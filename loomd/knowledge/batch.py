"""Answers questions that come at the same time together: what is under way ends first, then all that came meanwhile go.

A question alone waits for nobody. Knows nothing of what is asked. Called by a knowledge base.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Batches(Generic[Q, A]):
    """Questions on their way to answers.

    Args:
        answer: answers several questions at once, in their order.
        most: questions of one batch.
        beside: batches that may be under way.
    """

    def __init__(
        self, answer: Callable[[Sequence[Q]], Awaitable[Sequence[A]]], most: int = 64, beside: int = 2
    ) -> None:
        self._answer = answer
        self._most = most
        self._free = beside
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._running: set[asyncio.Task[None]] = set()

    async def ask(self, question: Q) -> A:
        """Return the answer to a question.

        Raises:
            Exception: what answering raised.
        """
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._free:
            self._free -= 1
            task = asyncio.ensure_future(self._work())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await future

    @property
    def busy(self) -> bool:
        """Return whether something is under way."""
        return bool(self._running)

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        if self._running:
            await asyncio.wait(self._running)

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._work_on([(question, future) for question, future in batch if not future.done()])
        finally:
            self._free += 1

    async def _work_on(self, batch: list[tuple[Q, "asyncio.Future[A]"]]) -> None:
        if not batch:
            return
        try:
            answers = await self._answer([question for question, _ in batch])
        except BaseException as error:
            given = error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")
            for _, future in batch:
                if not future.done():
                    future.set_exception(given)
            if isinstance(error, asyncio.CancelledError | KeyboardInterrupt | SystemExit):
                raise
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)
