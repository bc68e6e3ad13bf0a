"""A daemon that is not started yet."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.daemon.process import Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Generator[Daemon, None, None]:
    """Yield a daemon that is not started yet; it is killed at the end."""
    made = Daemon(tmp_path)
    made.write()
    yield made
    made.kill()
