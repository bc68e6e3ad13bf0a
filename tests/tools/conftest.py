"""Opens Tool specs."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from loomd.agents.base import Tool
from loomd.testing import open_spec

Open = Callable[..., AbstractAsyncContextManager[Tool]]


@pytest.fixture
def tool(tmp_path: Path) -> Open:
    """Return an opener of Tool specs; `clock` and `live` (open things by ref) may be given."""
    return partial(open_spec, "Tool", folder=tmp_path)
