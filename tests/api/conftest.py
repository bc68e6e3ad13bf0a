"""A system that serves its API on a Unix socket, and a client of it."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from loomd.api.client import Client
from loomd.daemon import System
from tests.api.talk import served


@pytest.fixture
async def system(tmp_path: Path) -> AsyncGenerator[System, None]:
    """Yield a system that serves its API on a Unix socket."""
    async with served(tmp_path) as opened:
        yield opened


@pytest.fixture
def client(system: System) -> Client:
    """Return a client of the system."""
    return Client(system.settings.socket)
