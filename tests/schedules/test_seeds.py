"""The clock jumps, the daemon crashes, the disk is full, in an order that a seed draws: each due time is one task.

`LOOMD_SEEDS=500 pytest tests/schedules/test_seeds.py` looks at more of them; a seed that fails fails again.
"""

import os
import random
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from loomd.amoeba.task import Task
from loomd.errors import Temporary
from loomd.schedules.timetable import Timetable
from tests.schedules.conftest import TEAM, Bench, Open, at, schedule

SEEDS = range(int(os.environ.get("LOOMD_SEEDS", "4")))
LIVES = 6
"""How often the daemon starts under one seed."""
START = "2026-03-02 05:00"


class Faults:
    """Lets a call to the store or the engine fail now and then, before it has its effect or after.

    Attributes:
        submitted: how often each task was accepted.
    """

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self.often = 0.0
        self.submitted: Counter[str] = Counter()

    def put_into(self, bench: Bench, patch: pytest.MonkeyPatch) -> None:
        """Stand between the runner and what it calls."""
        store, engine = bench.system.store, bench.system.engine
        keep, submit = store.keep_schedules, engine.submit

        async def keeping(*args: Any) -> None:
            self._fail()
            await keep(*args)
            self._fail()

        async def submitting(task: Task) -> str:
            self._fail()
            name = await submit(task)
            self.submitted[name] += 1
            self._fail()
            return name

        patch.setattr(store, "keep_schedules", keeping)
        patch.setattr(engine, "submit", submitting)

    def _fail(self) -> None:
        if self._draw.random() < self.often:
            raise Temporary("database or disk is full")


async def look(bench: Bench, faults: Faults, often: float) -> None:
    """Look at the clock while calls fail now and then."""
    faults.often = often
    try:
        with suppress(Temporary):  # the daemon logs it and looks again
            await bench.system.schedules.tick()
    finally:
        faults.often = 0.0


@pytest.mark.parametrize("seed", SEEDS)
async def test_each_due_time_is_one_task(begin: Open, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens, nothing is submitted twice, and with `all` nothing that was due is left out."""
    draw = random.Random(seed)
    faults, now, latest = Faults(draw), at(START), at(START)
    told: set[float] = set()
    async with begin(now) as bench:
        await bench.serve(TEAM, schedule("*/7 * * * *", missedRunPolicy="all", jitter=draw.choice(["0s", "5m", "20m"])))
    for _ in range(LIVES):
        async with begin(now) as bench:
            with monkeypatch.context() as patch:
                faults.put_into(bench, patch)
                for _ in range(draw.randrange(1, 4)):
                    await look(bench, faults, draw.choice([0.0, 0.2, 0.6]))
                    bench.clock.advance(draw.choice([60, 600, 3600, 10_800, -600, -7200]))
                    latest = max(latest, bench.clock.now())
            now = bench.clock.now()
            told |= bench.due()
    async with begin(latest + 1800) as bench:
        assert bench.missed() == []
        told |= bench.due()
        tasks = await bench.tasks()
    assert set(Timetable("*/7 * * * *", "UTC").between(at(START), latest, 10_000).times) <= told
    assert set(faults.submitted.values()) <= {1}
    assert len(tasks) == len(told)
