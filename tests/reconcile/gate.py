"""Keeps a provider from opening for as long as a test wants."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from loomd.providers.scripted import Scripted


class Gate:
    """Lets the provider `slow` open, or not.

    Attributes:
        open: as long as it is not set, the provider waits.
        reached: set while it does.
        times: how often it began to open.
    """

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.reached = asyncio.Event()
        self.times = 0


def gated(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Return what keeps the provider `slow` from opening; it gives way at once."""
    gate, plain = Gate(), Scripted.open

    @asynccontextmanager
    async def opened(self: Scripted, parts: Any) -> AsyncGenerator[Any]:
        if parts.name == "slow":
            gate.times += 1
            gate.reached.set()
            try:
                await gate.open.wait()
            finally:
                gate.reached.clear()
        async with plain(self, parts) as live:
            yield live

    monkeypatch.setattr(Scripted, "open", opened)
    monkeypatch.setattr("loomd.reconcile.turns.PATIENCE", 0.0)
    return gate
