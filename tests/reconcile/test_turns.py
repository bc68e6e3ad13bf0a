"""An opening that takes long holds nobody up: it gives way to whoever comes, and begins anew afterwards."""

import asyncio
from collections.abc import Callable

import pytest

from loomd.errors import Conflict, Stale, Temporary
from loomd.manifest.object import Ref
from loomd.manifest.problem import Problems
from loomd.manifest.source import SourceFile
from loomd.reconcile.condition import rfc3339
from loomd.reconcile.turns import PATIENCE, Turns
from loomd.testing import VirtualClock
from tests.clocks import skip
from tests.reconcile.conftest import Make, Open
from tests.reconcile.gate import Gate, gated

CLOCK = VirtualClock()
SLOW, QUICK = Ref("Provider", "slow"), Ref("Provider", "quick")


class Act:
    """What is done in a turn: it opens something that takes as long as a test wants."""

    def __init__(self, turns: Turns, name: str, log: list[str]) -> None:
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.before: Callable[[], None] = lambda: None
        self._turns = turns
        self._name = name
        self._log = log

    def start(self) -> "asyncio.Task[str]":
        """Come, and wait for a turn."""
        return asyncio.ensure_future(self._turns.take(self))

    async def __call__(self) -> str:
        """Do it."""
        self._log.append(f"{self._name} {self._turns.number}")
        self.before()
        await self._turns.open(self._open())
        self._log.append(f"{self._name} done")
        return self._name

    async def _open(self) -> None:
        self.begun.set()
        try:
            await self.may_end.wait()
        finally:
            self.begun.clear()


async def rest() -> None:
    """Let everybody do what can be done without waiting."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_an_opening_gives_way_once_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes waits for so long, acts, and then it begins anew, with twice the time and its old number."""
    turns, log = Turns(), list[str]()
    slow, second, third = (Act(turns, name, log) for name in ("slow", "second", "third"))
    running = slow.start()
    await slow.begun.wait()
    second.may_end.set()
    coming = second.start()
    await rest()
    assert log == ["slow 1"]
    skip(PATIENCE, monkeypatch)
    assert await coming == "second"
    await slow.begun.wait()
    third.may_end.set()
    coming = third.start()
    skip(PATIENCE, monkeypatch)
    await rest()
    assert log == ["slow 1", "second 2", "second done", "slow 1"]
    skip(PATIENCE, monkeypatch)
    assert await coming == "third"
    await slow.begun.wait()
    slow.may_end.set()
    assert await running == "slow"
    assert log[-2:] == ["slow 1", "slow done"]


async def test_nobody_gives_way_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An opening may take as long as it likes when nobody waits, or nobody waits any more."""
    turns, log = Turns(), list[str]()
    slow, second = Act(turns, "slow", log), Act(turns, "second", log)
    running = slow.start()
    await slow.begun.wait()
    coming = second.start()
    await rest()
    coming.cancel()
    await asyncio.wait([coming])
    skip(100 * PATIENCE, monkeypatch)
    await rest()
    slow.may_end.set()
    assert await running == "slow"
    assert log == ["slow 1", "slow done"]


async def test_two_slow_ones_do_not_keep_each_other_from_their_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gave way waits until the other one has ended."""
    turns, log = Turns(), list[str]()
    first, second = Act(turns, "first", log), Act(turns, "second", log)
    one = first.start()
    await first.begun.wait()
    other = second.start()
    await rest()
    skip(PATIENCE, monkeypatch)
    await second.begun.wait()
    skip(100 * PATIENCE, monkeypatch)
    await rest()
    second.may_end.set()
    first.may_end.set()
    assert [await other, await one] == ["second", "first"]
    assert log == ["first 1", "second 2", "second done", "first 1", "first done"]


async def test_who_only_looks_is_let_in_while_things_are_opened() -> None:
    """Nothing changes while somebody looks: the opening may end, what comes after it waits."""
    turns, log = Turns(), list[str]()
    slow = Act(turns, "slow", log)
    running = slow.start()
    await slow.begun.wait()
    async with turns.look():
        slow.may_end.set()
        await rest()
        assert log == ["slow 1"]
    assert await running == "slow"


@pytest.mark.parametrize("again", [False, True])
async def test_an_opening_that_is_cancelled_leaves_the_turn_to_the_next(*, again: bool) -> None:
    """Also when somebody looks just then, and it has to wait for that."""
    turns, log = Turns(), list[str]()
    slow, second = Act(turns, "slow", log), Act(turns, "second", log)
    running = slow.start()
    await slow.begun.wait()
    async with turns.look():
        running.cancel()
        await rest()
        if again:
            running.cancel()
            await rest()
        assert not running.done()
    with pytest.raises(asyncio.CancelledError):
        await running
    second.may_end.set()
    async with asyncio.timeout(60):
        assert await second.start() == "second"


@pytest.mark.parametrize("keeps", [False, True])
async def test_nobody_acts_after_the_end(*, keeps: bool) -> None:
    """An opening is ended at once, also one that gives way to nobody, and does not begin anew."""
    turns, log = Turns(), list[str]()
    slow = Act(turns, "slow", log)
    if keeps:
        slow.before = turns.keep
    running = slow.start()
    await slow.begun.wait()
    turns.close()
    async with asyncio.timeout(60), turns.turn():
        pass
    with pytest.raises(Temporary, match="the daemon ends"):
        await running
    assert log == ["slow 1"]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Return what keeps the provider `slow` from opening; it gives way at once."""
    return gated(monkeypatch)


AGENT = b"apiVersion: loomd.dev/v1\nkind: Agent\nmetadata: {name: ada}\nspec: {provider: slow}\n"


async def test_other_changes_go_ahead(opened: Open, provider: Make, gate: Gate) -> None:
    """An apply, a plan and a deletion do not wait for an opening; it comes on top of what they made."""
    async with asyncio.timeout(20), opened() as seen:
        await seen.apply("a", [provider("quick"), provider("gone")])
        slow = asyncio.ensure_future(seen.apply("b", [provider("slow")]))
        await gate.reached.wait()
        assert [str(one) for one in (await seen.reconciler.plan()).effective] == []
        assert gate.times == 1
        plan = await seen.apply("a", [provider("quick", "no"), provider("gone")])
        assert [str(one) for one in plan.effective] == ["Provider/quick changed: spec.replies"]
        await gate.reached.wait()
        await seen.reconciler.delete([Ref("Provider", "gone")])
        await gate.reached.wait()
        assert (seen.reconciler.number, gate.times, slow.done()) == (3, 3, False)
        gate.open.set()
        plan = await slow
        assert [str(one) for one in plan.effective] == ["Provider/slow created"]
        assert (seen.reconciler.number, set(seen.reconciler.topology.live)) == (4, {QUICK, SLOW})
        assert seen.reconciler.live == 1
        assert "config.rejected" not in seen.types


async def test_a_later_state_of_a_source_takes_the_place_of_one_that_is_opened(
    opened: Open, provider: Make, gate: Gate
) -> None:
    """What is not wanted any more is given up, and who wanted it is told; never does an earlier state come last."""
    async with asyncio.timeout(20), opened() as seen:
        slow = asyncio.ensure_future(seen.apply("a", [provider("slow")]))
        await gate.reached.wait()
        await seen.apply("a", [provider("quick")])
        with pytest.raises(Conflict, match="a was changed by somebody who came later: this earlier change is dropped"):
            await slow
        assert set(seen.reconciler.topology.live) == {QUICK}
        assert (seen.reconciler.number, gate.times, seen.reconciler.rejected) == (1, 1, {})


async def test_what_is_only_added_takes_no_place(opened: Open, provider: Make, gate: Gate) -> None:
    """Without pruning, an apply from the same place counts against an earlier one by its objects alone."""
    async with asyncio.timeout(20), opened() as seen:
        slow = asyncio.ensure_future(seen.apply("-", [provider("slow"), provider("quick", "no")], prune=False))
        other = asyncio.ensure_future(seen.apply("-", [provider("slow", "no")], prune=False))
        await gate.reached.wait()
        await seen.apply("-", [provider("more")], prune=False)
        assert [slow.done(), other.done()] == [False, False]
        await seen.apply("-", [provider("quick")], prune=False)
        with pytest.raises(Conflict, match="- was changed by somebody who came later: this earlier change is dropped"):
            await slow
        await gate.reached.wait()
        gate.open.set()
        await other
        assert {ref.name for ref in seen.reconciler.topology.live} == {"more", "quick", "slow"}


async def test_what_was_deleted_since_does_not_come_back(opened: Open, provider: Make, gate: Gate) -> None:
    """A deletion comes after the earlier change of the same object, though that takes longer."""
    async with asyncio.timeout(20), opened() as seen:
        await seen.apply("-", [provider("quick")])
        both = [provider("slow"), provider("quick", "no")]
        slow = asyncio.ensure_future(seen.apply("-", both, prune=False))
        await gate.reached.wait()
        await seen.reconciler.delete([QUICK])
        with pytest.raises(Conflict, match="somebody who came later"):
            await slow
        assert set(seen.reconciler.topology.live) == set()


async def test_a_task_finds_its_revision_while_another_is_opened(opened: Open, provider: Make, gate: Gate) -> None:
    """What is open already is not waited for."""
    async with asyncio.timeout(20), opened() as seen:
        await seen.apply("a", [provider("quick")])
        slow = asyncio.ensure_future(seen.apply("b", [provider("slow")]))
        await gate.reached.wait()
        assert await seen.reconciler.pinned(seen.reconciler.revision) is seen.reconciler.topology
        assert gate.times == 1
        gate.open.set()
        await slow


async def test_the_same_state_twice_is_no_conflict(opened: Open, provider: Make, gate: Gate) -> None:
    """Who wanted what serves by now is told that it does."""
    async with asyncio.timeout(20), opened() as seen:
        one = asyncio.ensure_future(seen.apply("a", [provider("slow")]))
        await gate.reached.wait()
        two = asyncio.ensure_future(seen.apply("a", [provider("slow")]))
        await rest()
        gate.open.set()
        assert [(await two).empty, (await one).empty] == [False, True]
        assert seen.reconciler.number == 1


async def test_a_later_state_that_is_refused_takes_no_place(opened: Open, provider: Make, gate: Gate) -> None:
    """The earlier one is opened anew."""
    async with asyncio.timeout(20), opened() as seen:
        slow = asyncio.ensure_future(seen.apply("a", [provider("slow")]))
        await gate.reached.wait()
        with pytest.raises(Problems):
            await seen.apply("a", [SourceFile(provider("x").root, "x.yaml", AGENT.replace(b"slow", b"missing"))])
        gate.open.set()
        await slow
        assert set(seen.reconciler.topology.live) == {SLOW}


async def test_what_depends_on_the_revision_gives_way_to_nobody(opened: Open, provider: Make, gate: Gate) -> None:
    """A plan that was agreed on is carried out, or is stale from the beginning."""
    async with asyncio.timeout(20), opened() as seen:
        slow = asyncio.ensure_future(seen.apply("a", [provider("slow")], expected=0))
        await gate.reached.wait()
        quick = asyncio.ensure_future(seen.apply("b", [provider("quick")]))
        await rest()
        gate.open.set()
        assert [(await slow).after.number, (await quick).after.number, gate.times] == [1, 2, 1]
        with pytest.raises(Stale):
            await seen.apply("a", [provider("slow", "no")], expected=1)


async def test_what_is_opened_is_told(opened: Open, provider: Make, gate: Gate) -> None:
    """What is being opened says since when, and what comes after it says what it waits for."""
    file = SourceFile(provider("x").root, "agent.yaml", AGENT)
    async with asyncio.timeout(20), opened(CLOCK) as seen:
        gate.open.set()
        await seen.apply("a", [provider("slow"), file])
        gate.open.clear()
        gate.reached.clear()
        slow = asyncio.ensure_future(seen.apply("a", [provider("slow", "no"), file, provider("quick")]))
        await gate.reached.wait()
        told = seen.reconciler.opening(first=False)
        since = rfc3339(CLOCK.now())
        assert told.pop(SLOW) == f"it is being opened since {since}"
        assert set(told.values()) == {"it serves once Provider/slow is open"}
        assert {Ref("Agent", "ada"), QUICK} <= told.keys()
        known = {one.type: one for one in seen.reconciler.status(SLOW).conditions}
        assert (known["Ready"].status, known["Reconciling"].message) == ("True", f"it is being opened since {since}")
        gate.open.set()
        await slow
        assert seen.reconciler.opening(first=False) == {}
