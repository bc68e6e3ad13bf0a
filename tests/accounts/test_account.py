"""The accounts of a day: what is set aside, what is booked, and what is refused."""

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loomd.accounts.account import Accounts, Hold, Spent, Want, answer_room, named, searcher
from loomd.accounts.budget import Budget
from loomd.store.records import Charge
from loomd.store.sqlite import open_store
from loomd.testing import VirtualClock

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
HOURS = 3600.0


def want(asked: int = 10, output: int = 20, price: float = 0.0) -> Want:
    """Return what a call wants, at a price for each token."""

    def cost(sent: int, made: int) -> float:
        return (sent + made) * price

    return Want(asked, output, cost)


def charge(agent: str = "ada", **used: float) -> Charge:
    """Return what a call used."""
    return Charge("default", agent, **used)  # type: ignore[arg-type]  # the caller names numbers


@asynccontextmanager
async def setting_aside(accounts: Accounts, agent: str, wanted: Want) -> AsyncGenerator[Hold, None]:
    """Set aside what a call may use as long as the context lasts."""
    hold = await accounts.reserve("default", agent, wanted)
    try:
        yield hold
    finally:
        accounts.release("default", agent, hold)


@pytest.fixture
def clock() -> VirtualClock:
    """Return a clock that shows noon."""
    return VirtualClock(NOON)


@pytest.fixture
async def accounts(tmp_path: Path, clock: VirtualClock) -> AsyncGenerator[Accounts, None]:
    """Yield accounts on a store."""
    async with open_store(tmp_path / "state") as store:
        opened = Accounts()
        await opened.load(store, clock)
        yield opened


async def call(accounts: Accounts, wanted: Want, tokens: int, agent: str = "ada", cost: float = 0.0) -> int:
    """Make a call that uses so many tokens, and return how long its answer might have been."""
    async with setting_aside(accounts, agent, wanted) as hold:
        await asyncio.sleep(0)
        accounts.settle(hold, charge(agent, input=tokens, cost=cost, calls=1))
        return hold.output


@pytest.mark.parametrize(
    ("budget", "measure", "calls"),
    [
        (Budget(tokens=100), "tokens", 3),
        (Budget(cost=0.5), "cost", 4),
        (Budget(calls=2), "calls", 2),
        (Budget.model_validate({"time": "10s"}), "time", 1),
        (Budget(tokens=0), "tokens", 0),
        (Budget(calls=0), "calls", 0),
        (Budget.model_validate({"time": "0s"}), "time", 0),
    ],
    ids=["tokens", "cost", "calls", "time", "no tokens", "no calls", "no time"],
)
async def test_a_call_that_does_not_fit_is_refused(
    accounts: Accounts, budget: Budget, measure: str, calls: int
) -> None:
    """Each measure ends the day by itself, 0 is none at all, and the text says when it opens again."""
    made = 0

    async def spend() -> None:
        nonlocal made
        for _ in range(10):
            async with setting_aside(accounts, "ada", want(price=0.003)) as hold:
                accounts.settle(hold, charge(input=10, output=20, cost=0.12, calls=1, seconds=10.0))
            made += 1

    with accounts.bounded("default", "ada", lambda: budget), pytest.raises(Spent) as refused:
        await spend()
    assert (refused.value.measure, made) == (measure, calls)
    assert refused.value.opens == NOON + 12 * HOURS
    assert "Agent/ada" in str(refused.value)
    assert "opens again at 2026-12-01T00:00:00Z" in str(refused.value)


async def test_what_costs_nothing_fits_into_no_money(accounts: Accounts) -> None:
    """A budget of 0 USD lets a free model answer, and refuses a paid one."""
    with accounts.bounded("default", "ada", lambda: Budget(cost=0.0)):
        assert await call(accounts, want(), 30) == 20
        with pytest.raises(Spent):
            await call(accounts, want(price=0.001), 30)


async def test_the_last_answer_is_as_long_as_what_is_left(accounts: Accounts) -> None:
    """Of tokens and money alike: a call that fits in part gets a shorter answer."""
    with accounts.bounded("default", "ada", lambda: Budget(tokens=45)):
        assert await call(accounts, want(), 30) == 20
        assert await call(accounts, want(), 15) == 5
    with accounts.bounded("default", "bob", lambda: Budget(cost=0.25)):
        assert await call(accounts, want(price=0.01), 30, "bob") == 15


async def test_calls_side_by_side_do_not_overshoot_together(accounts: Accounts) -> None:
    """Twenty tasks at once under the agent's and the namespace's budgets use as much as fits, and no more."""
    outcomes: list[str] = []
    most = 0.0

    async def task(agent: str) -> None:
        nonlocal most
        try:
            async with setting_aside(accounts, agent, want()) as hold:
                _, used, held = accounts.standing(("default", ""))
                most = max(most, used["tokens"] + held["tokens"])
                await asyncio.sleep(0.01)
                accounts.settle(hold, charge(agent, input=10, output=min(20, hold.output), calls=1))
                outcomes.append("made")
        except Spent:
            outcomes.append("refused")

    with (
        accounts.bounded("default", "ada", lambda: Budget(tokens=90)),
        accounts.bounded("default", "", lambda: Budget(tokens=210)),
    ):
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(task("ada" if number % 2 else "bob"))
    assert most <= 210
    assert accounts.standing(("default", "ada"))[1]["tokens"] <= 90
    assert accounts.standing(("default", ""))[1]["tokens"] == 210
    assert (outcomes.count("made"), outcomes.count("refused")) == (7, 13)
    assert not any(accounts.standing(("default", ""))[2].values())


async def test_a_call_waits_for_what_others_give_back(accounts: Accounts) -> None:
    """While others hold the rest a call is not refused: it is made when they have used less than they might have."""
    order: list[str] = []

    async def first(hold: Hold) -> None:
        await asyncio.sleep(0.01)
        order.append("settles")
        accounts.settle(hold, charge(input=1, calls=1))

    with accounts.bounded("default", "ada", lambda: Budget(tokens=40)):
        async with asyncio.TaskGroup() as group, setting_aside(accounts, "ada", want()) as hold:
            group.create_task(first(hold))
            async with setting_aside(accounts, "ada", want()) as other:
                order.append("is made")
                assert other.output == 20
    assert order == ["settles", "is made"]


async def test_what_fails_gives_everything_back(accounts: Accounts) -> None:
    """A call without an answer holds nothing afterwards and is not counted."""
    with accounts.bounded("default", "ada", lambda: Budget(calls=1)):
        with pytest.raises(ValueError, match="no"):
            async with setting_aside(accounts, "ada", want()):
                raise ValueError("no")
        assert await call(accounts, want(), 1) == 20


async def test_tool_calls_are_counted(accounts: Accounts) -> None:
    """One that is under way counts, so that calls of one turn do not overshoot."""
    with accounts.bounded("default", "ada", lambda: Budget(tool_calls=2)):
        with accounts.hold_tool("default", "ada") as one, accounts.hold_tool("default", "ada"):
            with pytest.raises(Spent), accounts.hold_tool("default", "ada"):
                raise AssertionError
            accounts.settle(one, charge(tool_calls=1, seconds=1.0))
        with accounts.hold_tool("default", "ada") as two:
            accounts.settle(two, charge(tool_calls=1))
        with pytest.raises(Spent), accounts.hold_tool("default", "ada"):
            raise AssertionError


async def test_what_calls_share_is_not_changed(accounts: Accounts) -> None:
    """What one call sets aside beside is its own, and given back with it."""
    with accounts.bounded("default", "ada", lambda: Budget(cost=1.0)):
        shared: dict[str, float] = {}
        one, other = Hold(0, shared), Hold(0, shared)
        accounts.widen("default", "ada", one, 0.5)
        accounts.widen("default", "ada", one, 0.25)
        assert (one.amounts, other.amounts, shared) == ({"cost": 0.75}, {}, {})
        accounts.release("default", "ada", other)
        assert accounts.standing(("default", "ada"))[2]["cost"] == 0.75
        accounts.release("default", "ada", one)
        assert accounts.standing(("default", "ada"))[2]["cost"] == 0.0


async def test_most_of_a_limit_is_told_once(accounts: Accounts) -> None:
    """At 80 %, once for each limit and day, and again for a limit that was lowered meanwhile."""
    limit = 100
    told: list[tuple[str, float, float]] = []

    async def use(tokens: int) -> None:
        async with setting_aside(accounts, "ada", want(1, 1)) as hold:
            warned = accounts.settle(hold, charge(input=tokens, calls=1))
        told.extend((one.budget, one.limit, one.used) for one in warned)

    with accounts.bounded("default", "ada", lambda: Budget(tokens=limit)):
        for tokens in (79, 1, 5):
            await use(tokens)
        assert told == [("Agent/ada", 100, 80)]
        limit = 95
        await use(1)
        await use(1)
        assert told[1:] == [("Agent/ada", 95, 86)]


async def test_a_day_ends_at_midnight(accounts: Accounts, clock: VirtualClock) -> None:
    """What was used the day before counts no more; a call over midnight counts on the day on which it ends."""
    with accounts.bounded("default", "ada", lambda: Budget(calls=1)):
        await call(accounts, want(), 30)
        with pytest.raises(Spent):
            await call(accounts, want(), 30)
        clock.advance(12 * HOURS - 1)
        with pytest.raises(Spent):
            await call(accounts, want(), 30)
        clock.advance(1)
        async with setting_aside(accounts, "ada", want()) as hold:
            clock.advance(24 * HOURS)
            accounts.settle(hold, charge(input=7, calls=1))
        assert accounts.standing(("default", "ada"))[1]["tokens"] == 7
        assert not any(accounts.standing(("default", "ada"))[2].values())


async def test_what_was_used_outlives_the_process(tmp_path: Path, clock: VirtualClock) -> None:
    """Of today; the namespace has what all its agents used."""
    async with open_store(tmp_path / "state") as store:
        accounts = Accounts()
        await accounts.load(store, clock)
        await call(accounts, want(), 30, "ada", cost=0.25)
        await call(accounts, want(), 12, "bob")
    async with open_store(tmp_path / "state") as store:
        accounts = Accounts()
        await accounts.load(store, clock)
        assert accounts.standing(("default", "ada"))[1] == {
            "tokens": 30,
            "cost": 0.25,
            "calls": 1,
            "tool_calls": 0,
            "time": 0,
        }
        assert accounts.standing(("default", ""))[1]["tokens"] == 42
        assert accounts.today() == [("default", ""), ("default", "ada"), ("default", "bob")]
        clock.advance(24 * HOURS)
        assert accounts.today() == []


async def test_of_several_the_lowest_holds(accounts: Accounts) -> None:
    """Two clusters of one namespace share its account, and the lower limit of each measure holds, as long as it is."""
    with accounts.bounded("default", "", lambda: Budget(tokens=50, calls=9)):
        with accounts.bounded("default", "", lambda: Budget(calls=3, warn_at=0.5)):
            assert accounts.budget("default", "") == Budget(tokens=50, calls=3, warn_at=0.5)
        assert accounts.budget("default", "") == Budget(tokens=50, calls=9)
    assert accounts.budget("default", "") == Budget()


async def test_what_is_left_of_a_day_follows_what_is_used_and_declared(accounts: Accounts, clock: VirtualClock) -> None:
    """However often it is asked: after a call, of the namespace too, in the morning, and once other limits hold."""
    tokens, revision = {"ada": 100, "": 1000}, (object(), object())
    agents = ["ada", "bob", "ada"]

    def left() -> list[float]:
        return accounts.left("default", agents, revision)

    with accounts.bounded("default", "ada", lambda: Budget(tokens=tokens["ada"], tool_calls=0)):
        assert left() == left() == [1, 1, 1]
        await call(accounts, want(), 25)
        assert left() == left() == [0.75, 1, 0.75]
        with accounts.bounded("default", "", lambda: Budget(tokens=tokens[""])):
            await call(accounts, want(), 475, "bob")
            assert left() == left() == [0.5, 0.5, 0.5]
        assert left() == [0.75, 1, 0.75]
        with accounts.bounded("default", "bob", lambda: Budget(tokens=500)):
            assert left() == [0.75, pytest.approx(0.05), 0.75]
        tokens["ada"] = 50
        revision = (revision[0], object())
        assert left() == [0.5, 1, 0.5]
        tokens["ada"] = 25
        assert accounts.left("default", agents) == left() == [0, 1, 0]
        clock.advance(12 * HOURS)
        assert left() == [1, 1, 1]
    assert Accounts(limited=False).left("default", agents) == [1, 1, 1]


@pytest.mark.parametrize("measure", ["tokens", "cost", "calls"])
def test_what_is_not_limited_has_room_for_the_longest_answer(measure: str) -> None:
    """Also where tokens cost something: nothing is divided by a price."""
    assert answer_room(measure, math.inf, want(price=0.001)) == 20


def test_owners_have_names_for_people() -> None:
    """Agents, whole namespaces, and searches of knowledge bases outside of tasks."""
    owners = [("default", "ada"), ("default", ""), ("default", searcher("docs"))]
    assert [named(one) for one in owners] == ["Agent/ada", "namespace default", "Search/docs"]
