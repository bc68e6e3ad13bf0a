"""Turns the clocks of a test: time that goes by at once, however busy the machine is."""

import asyncio

import pytest

from loomd.clock import SystemClock


def skip(seconds: float, patch: pytest.MonkeyPatch) -> None:
    """Let so many seconds go by at once, for the running event loop and for the machine's clock."""
    loop = asyncio.get_running_loop()
    time, now, monotonic = loop.time, SystemClock.now, SystemClock.monotonic
    patch.setattr(loop, "time", lambda: time() + seconds)
    patch.setattr(SystemClock, "now", staticmethod(lambda: now() + seconds))
    patch.setattr(SystemClock, "monotonic", staticmethod(lambda: monotonic() + seconds))
