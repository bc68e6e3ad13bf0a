"""Opens Memory specs."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from loomd.agents.base import Memory
from loomd.testing import open_spec

Open = Callable[..., AbstractAsyncContextManager[Memory]]


@pytest.fixture
def memory(tmp_path: Path) -> Open:
    """Return an opener of Memory specs; `clock` and `live` (open things by ref) may be given."""
    return partial(open_spec, "Memory", folder=tmp_path)
