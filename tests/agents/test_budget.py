"""The accounts of a task: what goes on side by side sets aside against each other, and nobody waits for ever."""

import asyncio
from random import Random

import pytest

from loomd.accounts.account import Want
from loomd.agents.budget import Budget, Exhausted, Spent
from loomd.agents.work import Cut
from loomd.messages import Usage


def want(tokens: int, answer: int = 10, each: float = 0.0) -> Want:
    """Return a wish for a call with so many tokens of its request, at a price for each token."""

    def price(sent: int, made: int) -> float:
        return (sent + made) * each

    return Want(tokens, answer, price)


def tree(count: int, **limits: float) -> tuple[Budget, list[Budget]]:
    """Return the account of a task with limits, and those of its parts, which have none of their own."""
    known = {"tokens": 10**9, "cost": 10.0**9, "steps_most": 10**9}
    whole = Budget(**{**known, **limits})  # type: ignore[arg-type]  # the caller names fields
    return whole, [Budget(**known, above=whole) for _ in range(count)]  # type: ignore[arg-type]  # likewise


@pytest.mark.parametrize(
    ("limits", "one"),
    [({"tokens": 35}, want(10)), ({"cost": 3.5}, want(10, each=0.1)), ({"steps_most": 1}, want(10))],
    ids=["tokens", "money", "calls"],
)
async def test_what_a_sibling_holds_is_waited_for(limits: dict[str, float], one: Want) -> None:
    """A call that does not fit beside another waits until that has settled; then what was really used counts."""
    _, (first, second) = tree(2, **limits)
    assert await first.reserve(one) == 10
    waiting = asyncio.ensure_future(second.reserve(one))
    await asyncio.sleep(0)
    assert not waiting.done()
    if "steps_most" in limits:
        first.steps = 1
        first.release()
        with pytest.raises(Exhausted, match="budget_calls"):
            await waiting
        return
    first.book(Spent(Usage(5, 5), 1.0 if "cost" in limits else 0.0), 1.0)
    first.release()
    assert await waiting == 10


async def test_what_would_never_fit_is_refused_at_once() -> None:
    """Nobody waits for room that does not come back."""
    _, (first, second) = tree(2, tokens=30)
    await first.reserve(want(5))
    with pytest.raises(Exhausted, match="budget_tokens") as refused:
        await second.reserve(want(30))
    assert (refused.value.limit, refused.value.used) == (30, 0)


async def test_a_shorter_answer_is_made_of_what_is_left() -> None:
    """When nobody else holds anything of the rest, the answer has what there is."""
    _, (first, second) = tree(2, tokens=34)
    first.book(Spent(Usage(20, 0)), 1.0)
    assert await second.reserve(want(10)) == 4


@pytest.mark.parametrize("limits", [{"tokens": 0}, {"cost": -1.0}, {"steps_most": 0}], ids=["tokens", "money", "calls"])
async def test_nothing_is_nothing(limits: dict[str, float]) -> None:
    """A limit of which nothing is left lets nobody pass, however little is wanted."""
    _, (part,) = tree(1, **limits)
    with pytest.raises(Exhausted):
        await part.reserve(want(0, 1))


async def test_who_is_given_up_holds_nothing() -> None:
    """One that is cancelled while it waits leaves nothing behind, and what it waited for is there for the next one."""
    whole, (first, second, third) = tree(3, tokens=25)
    await first.reserve(want(10))
    waiting = asyncio.ensure_future(second.reserve(want(10)))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    first.release()
    first.release()
    assert whole.use().aside == (0, 0.0, 0)
    assert await third.reserve(want(10)) == 10


async def test_what_tools_cost_is_gone() -> None:
    """Money of tool calls under way does not come back: a call that does not fit beside it is refused at once."""
    whole, (first, second) = tree(2, cost=1.0)
    whole.held["execute/tool/0/0"] = 0.25
    first.held["execute/tool/0/0/agent/1/tool/0/0"] = 0.5
    assert second.left == pytest.approx(0.25)
    with pytest.raises(Exhausted, match="budget_cost"):
        await second.reserve(want(10, 10, each=0.03))
    assert await second.reserve(want(10, 10, each=0.01)) == 10
    assert first.left == pytest.approx(0.05)


async def test_what_is_recorded_counts_before_it_is_done_again() -> None:
    """After an interruption others see at once what was used, and it counts once when it is booked again."""
    whole, (first, second) = tree(2, tokens=100)
    first.known = Spent(Usage(60, 10), 0.0, 0, 1)
    with pytest.raises(Exhausted):
        await second.reserve(want(30))
    first.book(Spent(Usage(60, 10)), 1.0)
    assert whole.use().tokens == 70
    first.book(Spent(Usage(5, 5)), 1.0)
    assert whole.use().tokens == 80
    first.close(Spent(Usage(50, 10)))
    assert whole.use().tokens == 60


async def test_a_limit_that_is_lowered_holds_for_all() -> None:
    """What is cut off while work goes on is cut off the whole."""
    whole, (part,) = tree(1, tokens=100)
    whole.cut = lambda: Cut(tokens=80)
    assert await part.reserve(want(10, 50)) == 10


def test_what_work_plans_with_hangs_on_itself_alone() -> None:
    """What others use or hold beside it changes neither a recorded call's room nor the calls that a part plans with."""
    whole, (first, second) = tree(2, tokens=100, steps_most=3)
    whole.split, second.steps_most = True, 2
    first.usage, first.steps, first.aside = Usage(80, 0), 3, (50, 0.0, 1)
    assert second.room(want(50, 10)) == 10
    assert second.steps_left == 2
    whole.usage = Usage(45, 0)
    assert second.room(want(50, 10)) == 5


@pytest.mark.parametrize("seed", range(60))
async def test_no_tree_uses_more_than_it_may(seed: int) -> None:
    """Whatever goes on at once in a tree: no more is used than its limits, nothing stays held, and all of it ends."""
    draw = Random(seed)  # draws that can be repeated
    limits = {"tokens": draw.randint(0, 600), "cost": draw.uniform(0, 6), "steps_most": draw.randint(0, 12)}
    whole, parts = tree(draw.randint(1, 4), **limits)
    leaves = [Budget(tokens=10**9, cost=1e9, above=draw.choice([whole, *parts])) for _ in range(draw.randint(1, 9))]

    async def work(own: Budget) -> None:
        for _ in range(draw.randint(1, 5)):
            one = want(draw.randint(0, 80), draw.randint(1, 40), 0.01)
            try:
                made = draw.randint(0, await own.reserve(one))
            except Exhausted:
                return
            try:
                for _ in range(draw.randint(0, 3)):
                    await asyncio.sleep(0)
                if draw.random() < 0.8:
                    own.book(Spent(Usage(one.input, made), one.price(one.input, made)), 1.0)
                    own.steps += 1
            finally:
                own.release()

    async with asyncio.timeout(60):
        await asyncio.gather(*(work(leaf) for leaf in leaves))
    use = whole.use()
    assert use.aside == (0, 0.0, 0)
    assert use.tokens <= limits["tokens"]
    assert use.cost <= limits["cost"] + 1e-9
    assert use.steps <= limits["steps_most"]
