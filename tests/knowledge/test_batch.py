"""Questions that come at the same time are answered together."""

import asyncio
from collections.abc import Sequence

import pytest

from loomd.knowledge.batch import Batches


class Oracle:
    """Doubles numbers once it is let; remembers what it was asked together."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.go = asyncio.Event()

    async def answer(self, numbers: Sequence[int]) -> list[int]:
        """Return each doubled; none may be negative."""
        self.asked.append(list(numbers))
        await self.go.wait()
        if min(numbers) < 0:
            raise ValueError("negative")
        return [2 * number for number in numbers]


async def test_a_question_alone_waits_for_nobody() -> None:
    """It is asked by itself."""
    oracle = Oracle()
    oracle.go.set()
    batches = Batches(oracle.answer)
    assert await batches.ask(4) == 8
    assert oracle.asked == [[4]]
    await batches.settled()


async def test_what_comes_meanwhile_goes_together() -> None:
    """At most so many in one batch, and so many batches at once."""
    oracle = Oracle()
    batches = Batches(oracle.answer, most=3, beside=1)
    asking = [asyncio.ensure_future(batches.ask(number)) for number in range(8)]
    for _ in range(5):
        await asyncio.sleep(0)
    oracle.go.set()
    assert await asyncio.gather(*asking) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert oracle.asked == [[0, 1, 2], [3, 4, 5], [6, 7]]


async def test_who_gives_up_takes_nobody_along() -> None:
    """The others get their answers."""
    oracle = Oracle()
    batches = Batches(oracle.answer)
    first, second = (asyncio.ensure_future(batches.ask(number)) for number in (1, 2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    oracle.go.set()
    assert await second == 4


async def test_a_failure_is_everybodys() -> None:
    """All of a batch hear of it, and the next one is answered."""
    oracle = Oracle()
    oracle.go.set()
    batches = Batches(oracle.answer)
    found = await asyncio.gather(batches.ask(-1), batches.ask(1), return_exceptions=True)
    assert [str(one) for one in found] == ["negative", "negative"]
    with pytest.raises(ValueError, match="negative"):
        await batches.ask(-3)
    assert await batches.ask(3) == 6


async def test_what_no_exception_stops_stops_nobody() -> None:
    """A panic of a library is told as an error, and the next question is answered."""

    class Panic(BaseException):
        """What a library raises when it has gone wrong itself."""

    async def answer(numbers: Sequence[int]) -> list[int]:
        if 0 in numbers:
            raise Panic("index out of range")
        return list(numbers)

    batches = Batches(answer, most=1, beside=1)
    first, second = (asyncio.ensure_future(batches.ask(number)) for number in (0, 1))
    with pytest.raises(RuntimeError, match="Panic: index out of range"):
        await first
    assert await second == 1
