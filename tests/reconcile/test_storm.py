"""Reload after reload while tasks run: none of them fails, little stays open, memory does not grow."""

import asyncio
from pathlib import Path

from loomd.daemon import Settings, open_system
from tests.reconcile.storm import storm

LIVE = 3


async def test_reloads_under_load(tmp_path: Path) -> None:
    """Tasks end well, no more earlier revisions than allowed are open, and in the end only the one that serves."""
    settings = Settings(tmp_path / "state", tmp_path / "models", tmp_path / "s", live_snapshots=LIVE, history=10)
    async with asyncio.timeout(150), open_system(settings) as system:
        seen = await storm(system, tmp_path, reloads=120, lanes=8, delay="30ms")
        assert seen.failures == []
        assert seen.tasks > 20
        assert 1 < seen.live <= LIVE + 1
        await asyncio.sleep(0)
        assert system.reconciler.live == 1
        assert len(await system.store.revisions()) == settings.history
    assert seen.memory[-1] - seen.memory[len(seen.memory) // 2] < 8 << 10
