from typing import Any

import pytest

from loomd.manifest.object import Ref
from loomd.memory.item import Item, Turn, Which, Whose
from loomd.testing import VirtualClock

ANN = Whose("ada", "acme", "ann", "s1", "t1")
OTHER = Whose("ada", "acme", "ann", "s2", "t9")


def spec(tokens: int = 1000, **more: Any) -> dict[str, Any]:
    """Return a memory whose working facts have a budget."""
    return {"recall": {"enabled": True, "topK": 50, **more}, "working": {"tokens": tokens, "idle": "1h"}}


def told(number: int, text: str, began: float = 1_000_000.0) -> Turn:
    """Return a turn in which something is told."""
    return Turn(f"t{number}", text, "Noted.", f"step/execute/model/{number}", began + number)


async def test_a_conversation_has_facts_of_its_own(memory: Any) -> None:
    """What was said in a session is known there at once, and elsewhere only once it is long-term."""
    async with memory(spec(), clock=VirtualClock()) as live:
        await live.remember(ANN, told(1, "My harbour opens at seven. The weather is fine."))
        assert await live.recall(ANN, "harbour") == ["My harbour opens at seven."]
        assert await live.recall(OTHER, "harbour") == []
        items = await live.items(Which())
        assert {(one.level, one.what, one.session, one.place) for one in items} == {
            ("working", "fact", "s1", "t1/step/execute/model/1")
        }


async def test_too_many_become_long_term(memory: Any) -> None:
    """Beyond the budget the least important and oldest move on; nothing is lost on the way."""
    async with memory(spec(tokens=40), clock=VirtualClock()) as live:
        for number in range(12):
            extra = "We decided" if number % 3 == 0 else "It is said"
            await live.remember(ANN, told(number, f"{extra} that harbour gate {number} is green."))
        working = await live.items(Which(level="working"))
        long = await live.items(Which(level="long"))
        assert len(working) + len(long) == 12
        assert sum(one.tokens for one in working) <= 40
        assert {one.what for one in working} == {"decision"}
        assert len(await live.recall(ANN, "harbour gate")) == 12
        assert len(await live.recall(OTHER, "harbour gate")) == len(long)


@pytest.mark.parametrize(("batch", "waits"), [(20, 3), (1000, 5), (1, 1)])
async def test_a_summarizer_is_asked_for_some_facts_at_once(memory: Any, batch: int, waits: int) -> None:
    """Not for each fact over the budget, but once they come to `batch`, or to a quarter of the budget."""
    fields = {**spec(tokens=160), "compaction": {"provider": "p", "batch": batch}}
    async with memory(fields, clock=VirtualClock(), live={Ref("Provider", "p"): object()}) as live:
        crowded: list[list[Item]] = []
        number = 0
        while not (crowded and crowded[-1]):
            number = len(crowded)
            await live.remember(ANN, told(number, f"It is said that gate {number:02} is green."))
            crowded.append(await live.crowded(ANN))
        size = crowded[-1][0].tokens
        assert size == 8
        over = (number + 1) * size - 160
        assert over >= min(batch, 40) > over - size
        assert len(crowded[-1]) == waits
        assert len(await live.items(Which(level="working"))) == number + 1


async def test_an_idle_conversation_is_over(memory: Any) -> None:
    """When nothing was said for a while, its facts are long-term, for whoever the scope names."""
    clock = VirtualClock()
    async with memory(spec(), clock=clock) as live:
        await live.remember(ANN, told(0, "My harbour opens at seven.", clock.now()))
        clock.advance(3599.0)
        assert await live.recall(OTHER, "harbour") == []
        clock.advance(2.0)
        assert await live.recall(OTHER, "harbour") == ["My harbour opens at seven."]


async def test_the_same_in_two_conversations_is_one(memory: Any) -> None:
    """A fact that both sessions know becomes one item when both are over; it counts as told by the later one."""
    clock = VirtualClock()
    async with memory(spec(), clock=clock) as live:
        await live.remember(ANN, told(0, "My harbour opens at seven.", clock.now()))
        await live.remember(OTHER, told(1, "My harbour opens at seven.", clock.now()))
        assert len(await live.items(Which())) == 2
        clock.advance(4000.0)
        assert await live.recall(ANN, "harbour") == ["My harbour opens at seven."]
        (item,) = await live.items(Which())
        assert item.told == item.created + 1
        await live.remember(ANN, told(2, "My harbour opens at seven.", clock.now()))
        assert len(await live.items(Which())) == 1


async def test_again_after_a_kill(memory: Any) -> None:
    """A turn that is remembered again, because its task was interrupted, adds nothing."""
    async with memory(spec(tokens=1), clock=VirtualClock()) as live:
        first = await live.remember(ANN, told(1, "My harbour opens at seven. Our lighthouse is white."))
        assert await live.remember(ANN, told(1, "My harbour opens at seven. Our lighthouse is white.")) == first
        assert len(await live.items(Which())) == 2


async def test_whole_answers_when_working_is_off(memory: Any) -> None:
    """Without working facts, turns of a session are kept as those of other tasks are."""
    async with memory({"recall": {"enabled": True}, "working": {"enabled": False}}) as live:
        await live.remember(ANN, told(1, "My harbour opens at seven."))
        assert await live.recall(OTHER, "harbour") == ["My harbour opens at seven.\nNoted."]
