"""Who asks models for a search: what is told of it, and what is booked when it fails."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from loomd.agents import asking
from loomd.agents.asking import Asking
from loomd.agents.budget import Budget, Spent
from loomd.agents.searching import search_all
from loomd.errors import BadReply, Unreachable
from loomd.knowledge.asking import Asker
from loomd.messages import Message, Reply, Request, Usage
from loomd.testing import VirtualClock

REQUEST = Request((Message("user", "x"),))


def nothing(*_: object, **__: object) -> None:
    """Tell nobody."""


def size(*_: object) -> SimpleNamespace:
    """Return the size of any request."""
    return SimpleNamespace(tokens=10)


class Accounts:
    """Accounts of a day without limits."""

    def widen(self, *args: object) -> None:
        """Set aside."""

    def release(self, *args: object) -> None:
        """Give back."""


def agent(clock: VirtualClock, **more: Any) -> Any:
    """Return what is asked of an agent."""
    limits = SimpleNamespace(warn_at=0.8)
    more |= {"accounts": Accounts(), "limits": limits}
    return SimpleNamespace(clock=clock, name="ada", account="ada", namespace="default", **more)


def asks(clock: VirtualClock, told: list[tuple[Spent, float]]) -> Asking:
    """Return who asks, with steps that nobody comes back to."""
    budget, scope = Budget(tokens=20_000, cost=1.0), cast("Any", SimpleNamespace(emit=nothing))

    def tell(spent: Spent, seconds: float) -> None:
        told.append((spent, seconds))

    return Asking(agent(clock), asking._Unrecorded(), scope, "w", budget, tell)


async def test_seconds_of_a_service_that_fails_are_told() -> None:
    """So that no tool is charged with them."""
    clock, told = VirtualClock(), list[tuple[Spent, float]]()

    async def fail() -> list[float]:
        clock.advance(7.0)
        raise Unreachable("down")

    with pytest.raises(Unreachable):
        await asks(clock, told).call("rerank", "x", fail, 0.5)
    assert [(spent.cost, seconds) for spent, seconds in told] == [(0.0, 7.0)]


async def test_seconds_of_calls_side_by_side_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waited for three waited no longer than for the last; each call is told, and all are booked."""
    clock, told, come = VirtualClock(), list[tuple[Spent, float]](), asyncio.Event()

    async def answer(*_: object, **__: object) -> Reply:
        await come.wait()
        return Reply("yes", usage=Usage(10, 1))

    monkeypatch.setattr(asking, "ask", answer)
    monkeypatch.setattr(asking, "measured", size)
    one = asks(clock, told)
    calls = [asyncio.ensure_future(one.ask(f"rerank/{at}", SimpleNamespace(name="m"), REQUEST)) for at in range(3)]
    await asyncio.sleep(0)
    clock.advance(4.0)
    come.set()
    await asyncio.gather(*calls)
    assert sum(seconds for _, seconds in told) == 4.0
    assert sum(spent.usage.total for spent, _ in told) == one.account.total.usage.total == 33
    assert one.account.below == []


async def test_a_search_that_fails_is_booked(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the account of the work, and so on those above it."""

    async def answer(*_: object, **__: object) -> Reply:
        return Reply("nonsense", usage=Usage(5000, 100), cost=0.5)

    class Base:
        name = "docs"
        refines = True

        async def look(self, query: str, *, asker: Asker) -> None:
            async def judge(part: Asker) -> int:
                await part.ask("rerank/0", SimpleNamespace(name="m"), REQUEST)
                raise BadReply(query)

            await asker.ask("expand", SimpleNamespace(name="m"), REQUEST)
            await asker.keep("judged", judge, int)

    monkeypatch.setattr(asking, "ask", answer)
    monkeypatch.setattr(asking, "measured", size)
    above = Budget(tokens=20_000, cost=1.0)
    account = Budget(tokens=20_000, cost=1.0, above=above)
    work, scope = SimpleNamespace(findings=(), key="w", goal="none"), SimpleNamespace(emit=nothing)
    who, steps = agent(VirtualClock(), knowledge=[Base()]), cast("Any", asking._Unrecorded())
    with pytest.raises(BadReply, match="none"):
        await search_all(who, cast("Any", work), steps, cast("Any", scope), account)
    assert (account.spent, account.usage, account.steps) == (1.0, Usage(10_000, 200), 2)
    assert above.total.cost == 1.0
    assert account.below == []
