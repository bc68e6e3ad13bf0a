"""The journal on a real store: events come back in order, checkpoints are kept once."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from loomd.errors import RecordFailed, Temporary
from loomd.events.bus import Bus, Scope
from loomd.events.event import ConfigLoaded, Event, ModelDelta, StepCompleted
from loomd.events.journal import Journal
from loomd.store.base import Store
from loomd.store.sqlite import open_store
from loomd.testing import VirtualClock


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store, None]:
    """Yield a store in a fresh directory."""
    async with open_store(tmp_path / "state") as opened:
        yield opened


@pytest.fixture
def bus(store: Store) -> Bus:
    """Return a bus that journals."""
    return Bus(VirtualClock(), Journal(store).record)


async def replayed(store: Store, after: int = 0, task: str = "") -> list[Event]:
    """Return what the journal yields."""
    return [event async for event in Journal(store).replay(after, task)]


async def test_events_are_replayed_after_a_number(store: Store, bus: Bus) -> None:
    """What was emitted comes back whole, in order, after the number that is known; of one task when asked."""
    first = bus.emit(ConfigLoaded("a", ("x",)))
    bus.emit(ModelDelta("not kept"))
    second = Scope(bus, "t1", namespace="lab").emit(StepCompleted("tool"), "ada")
    third = Scope(bus, "t2").emit(StepCompleted("tool"))
    await store.durable(third.seq)
    assert [event.seq for event in (first, second, third)] == [1, 2, 3]
    assert await replayed(store) == [first, second, third]
    assert await replayed(store, after=first.seq) == [second, third]
    assert await replayed(store, task="t1") == [second]
    assert await replayed(store, after=third.seq) == []


async def test_more_than_a_page_is_replayed(store: Store, bus: Bus) -> None:
    """A long journal is read to its end."""
    last = [bus.emit(ConfigLoaded(str(number), ())) for number in range(2500)][-1]
    await store.durable(last.seq)
    assert [event.seq for event in await replayed(store)] == list(range(1, 2501))


async def test_checkpoints_are_kept_once(store: Store, bus: Bus) -> None:
    """The first event under a key is the checkpoint; facts without a key, and other tasks, are none."""
    scope = Scope(bus, "t1")
    first = scope.emit(StepCompleted("first"), key="step/1")
    scope.emit(StepCompleted("again"), key="step/1")
    scope.emit(StepCompleted("plain"))
    Scope(bus, "t2").emit(StepCompleted("other"), key="step/1")
    last = scope.emit(StepCompleted("second"), key="step/2")
    await store.durable(last.seq)
    found = await Journal(store).checkpoints("t1")
    assert found == {"step/1": first, "step/2": last}
    assert await Journal(store).checkpoints("t3") == {}


async def test_checkpoints_are_whole_or_none(store: Store, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """While what was recorded cannot be written a task does not go on without it; a reader sees what is stored."""

    async def full(seq: int) -> None:
        raise Temporary(f"row {seq}: disk full", 7.0)

    Scope(bus, "t1").emit(StepCompleted("first"), key="step/1")
    with monkeypatch.context() as patch:
        patch.setattr(store._writer, "durable", full)  # type: ignore[attr-defined]  # of the store on SQLite
        with pytest.raises(RecordFailed, match="row 1: disk full") as failed:
            await Journal(store).checkpoints("t1")
        assert failed.value.retry_after == 7.0
        assert await replayed(store) == []
    assert list(await Journal(store).checkpoints("t1")) == ["step/1"]
