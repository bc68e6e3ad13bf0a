"""The bus: everybody hears everything in order, and nobody holds up the others."""

import logging

import pytest

from loomd.errors import NotFound, Overloaded
from loomd.events.bus import Bus, Scope
from loomd.events.event import (
    AnyFact,
    ConfigLoaded,
    Event,
    IndexProgress,
    ModelDelta,
    PhaseStarted,
    ReasoningDelta,
    StepCompleted,
    ToolErred,
)
from loomd.testing import VirtualClock


def loaded(number: int) -> ConfigLoaded:
    """Return a fact that can be told from others."""
    return ConfigLoaded(str(number), ())


class Recorder:
    """A journal in memory."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str]] = []

    def __call__(self, event: Event, key: str) -> int:
        """Record an event and return its number, from 101."""
        self.rows.append((event.type, key))
        return 100 + len(self.rows)


def test_listeners_hear_in_order_until_they_unsubscribe() -> None:
    """Two listeners get the same events in the order in which they were emitted; one that left gets no more."""
    bus = Bus(VirtualClock())
    first: list[Event] = []
    second: list[Event] = []
    bus.subscribe(first.append)
    unsubscribe = bus.subscribe(second.append)
    sent = [bus.emit(loaded(number)) for number in range(3)]
    unsubscribe()
    bus.emit(loaded(3))
    assert [event.data for event in first] == [loaded(number) for number in range(4)]
    assert second == sent


def test_a_failing_listener_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A listener that raises is logged; the emitter and the other listeners do not notice."""
    bus = Bus(VirtualClock())
    heard: list[Event] = []

    def fail(event: Event) -> None:
        raise ValueError(event.type)

    bus.subscribe(fail)
    bus.subscribe(heard.append)
    bus.emit(loaded(1))
    assert len(heard) == 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_events_have_the_number_of_the_journal() -> None:
    """Listeners see the sequence number and the envelope of the task, the key included."""
    recorder = Recorder()
    clock = VirtualClock(5.0)
    bus = Bus(clock, recorder)
    heard: list[Event] = []
    bus.subscribe(heard.append)
    Scope(bus, "t1.2", "t1", "lab", "abc").emit(loaded(1), "ada", key="k")
    assert recorder.rows == [("config.loaded", "k")]
    assert heard == [Event(loaded(1), 5.0, "t1.2", "ada", "t1", "lab", "abc", 101, "k")]


@pytest.mark.parametrize(
    "fact", [ModelDelta("a"), ReasoningDelta("a"), IndexProgress("kb", 1, 2)], ids=lambda f: type(f).__name__
)
def test_transient_facts_are_not_journaled(fact: ModelDelta | ReasoningDelta | IndexProgress) -> None:
    """Pieces of text and progress are spread without a number and not recorded."""
    recorder = Recorder()
    bus = Bus(VirtualClock(), recorder)
    heard: list[Event] = []
    bus.subscribe(heard.append)
    assert bus.emit(fact).seq == 0
    assert len(heard) == 1
    assert recorder.rows == []


async def test_a_stream_starts_now_and_keeps_order() -> None:
    """A stream has what happens after it was opened."""
    bus = Bus(VirtualClock())
    bus.emit(loaded(0))
    async with bus.stream() as events:
        bus.emit(loaded(1))
        bus.emit(loaded(2))
        assert [(await anext(events)).data, (await anext(events)).data] == [loaded(1), loaded(2)]


async def test_a_slow_stream_is_ended_and_told_so() -> None:
    """A reader that falls behind gets what was queued, then an error; the emitter and other readers go on."""
    bus = Bus(VirtualClock())
    async with bus.stream(limit=2) as slow, bus.stream() as other:
        for number in range(5):
            bus.emit(loaded(number))
        assert [(await anext(slow)).data for _ in range(2)] == [loaded(0), loaded(1)]
        with pytest.raises(Overloaded, match="fell behind"):
            await anext(slow)
        assert [(await anext(other)).data for _ in range(5)] == [loaded(number) for number in range(5)]


SAID: tuple[AnyFact, ...] = (PhaseStarted("sense"), StepCompleted("tool"), ToolErred("add", "1", "no"), ModelDelta("a"))


@pytest.mark.parametrize(
    ("types", "heard"),
    [
        ((), SAID),
        ((StepCompleted,), SAID[1:2]),
        (("tool.*",), SAID[2:3]),
        (("tool.call.failed", ModelDelta), SAID[2:]),
        (("*.completed", "phase.*"), SAID[:2]),
    ],
    ids=["all", "type", "pattern", "name and type", "patterns"],
)
def test_a_listener_hears_what_it_asked_for(types: tuple[type[StepCompleted] | str, ...], heard: list[AnyFact]) -> None:
    """Types, names and patterns choose; of two listeners each hears its own, also of one that came later."""
    bus = Bus(VirtualClock())
    found: list[AnyFact] = []
    everything: list[Event] = []
    for fact in SAID:
        bus.emit(fact)
    bus.subscribe(lambda event: found.append(event.data), *types)
    unsubscribe = bus.subscribe(everything.append)
    for fact in SAID:
        bus.emit(fact)
    unsubscribe()
    bus.emit(SAID[0])
    assert found[: len(heard)] == list(heard)
    assert [event.data for event in everything] == list(SAID)


def test_a_pattern_that_names_nothing_is_refused() -> None:
    """The union of facts is closed: a name that is none of them is an error at once, not silence."""
    with pytest.raises(NotFound, match=r"no type of events 'tools\.\*'"):
        Bus(VirtualClock()).subscribe(print, "tools.*")


def test_a_listener_of_a_task_hears_of_its_parts() -> None:
    """What happens in parts of a task, at any depth, reaches whoever listens to it; other tasks do not."""
    bus = Bus(VirtualClock())
    heard: list[str] = []
    bus.subscribe(lambda event: heard.append(event.task), "step.*", task="t1")
    for task in ("t1", "t1.2", "t1.2.3", "t12", "t2.1"):
        scope = Scope(bus, task)
        scope.emit(StepCompleted("tool"))
        scope.emit(PhaseStarted("sense"))
    assert heard == ["t1", "t1.2", "t1.2.3"]
