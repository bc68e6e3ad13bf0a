"""Turns the clocks of a test: time that goes by at once, or stands still, however busy the machine is."""

import asyncio
from types import SimpleNamespace

import pytest

from loomd.clock import SystemClock


def skip(seconds: float, patch: pytest.MonkeyPatch) -> None:
    """Let so many seconds go by at once, for the running event loop and for the machine's clock."""
    loop = asyncio.get_running_loop()
    time, now, monotonic = loop.time, SystemClock.now, SystemClock.monotonic
    patch.setattr(loop, "time", lambda: time() + seconds)
    patch.setattr(SystemClock, "now", staticmethod(lambda: now() + seconds))
    patch.setattr(SystemClock, "monotonic", staticmethod(lambda: monotonic() + seconds))


def hold(patch: pytest.MonkeyPatch) -> asyncio.Event:
    """Let replies of scripted models that have a delay come when an event is set, at once; return the event."""
    go = asyncio.Event()

    async def wait(_: float) -> None:
        await go.wait()

    patch.setattr("loomd.providers.scripted.asyncio", SimpleNamespace(sleep=wait))
    return go
