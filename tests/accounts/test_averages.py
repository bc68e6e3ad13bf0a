"""Moving averages: they move, and outlive the process."""

from pathlib import Path

import pytest

from loomd.accounts.averages import Averages
from loomd.store.records import Average
from loomd.store.sqlite import open_store
from loomd.testing import VirtualClock


async def test_an_average_moves_and_stays(tmp_path: Path) -> None:
    """It begins where it is told to, moves toward what was seen, and is there after a restart."""
    async with open_store(tmp_path / "state") as store:
        averages = Averages()
        await averages.load(store, VirtualClock(5.0))
        assert averages.value("agent default/ada", "memory", 0.5) == 0.5
        assert averages.move("agent default/ada", "memory", 1.0, 0.2, 0.5) == pytest.approx((0.5, 0.6))
        assert averages.move("agent default/ada", "memory", 0.0, 0.5, 0.5) == pytest.approx((0.6, 0.3))
    async with open_store(tmp_path / "state") as store:
        averages = Averages()
        await averages.load(store, VirtualClock(6.0))
        assert averages.value("agent default/ada", "memory", 0.5) == pytest.approx(0.3)
        (stored,) = await store.averages()
        assert stored == Average("agent default/ada", "memory", stored.value, 2, 5.0)
