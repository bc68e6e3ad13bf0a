"""The trace of a task in the page about the six phases is what the program says."""

import re
from pathlib import Path

import pytest

from loomd.daemon import Settings, open_system
from loomd.engine.intake import new_task
from loomd.events.event import Event, PhaseCompleted
from tests.examples.test_desk import DESK, copied

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "amoeba.md"
NUMBER = re.compile(r"\d+(?:\.\d+)?")


async def test_the_trace_is_true(tmp_path: Path) -> None:
    """Word for word, and in numbers as far as they do not hang on how fast the machine is."""
    text = PAGE.read_text().partition("## One task, from end to end")[2]
    lines = text.partition("```text\n")[2].partition("\n```")[0].splitlines()
    (_, goal), *told = [line.split(maxsplit=1) for line in lines]
    events: list[Event] = []
    async with open_system(Settings(tmp_path / "state", tmp_path / "models", tmp_path / "socket")) as system:
        system.bus.subscribe(events.append)
        await system.reconciler.apply(copied("19", DESK, tmp_path / "desk"))
        await system.reconciler.topology.settled()
        await system.engine.result(await system.engine.submit(new_task(goal, system.clock, seed=1)))
    said = [(event.data.phase.upper(), event.data.why) for event in events if isinstance(event.data, PhaseCompleted)]
    assert [phase for phase, _ in told] == [phase for phase, _ in said]
    for (_, shown), (_, why) in zip(told, said, strict=True):
        assert NUMBER.sub("#", shown) == NUMBER.sub("#", why)
        numbers = [[float(one) for one in NUMBER.findall(line.partition(" tokens, ")[0])] for line in (shown, why)]
        assert numbers[0] == pytest.approx(numbers[1], abs=0.02), (shown, why)
