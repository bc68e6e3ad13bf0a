"""Opens Interceptor specs."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from loomd.agents.base import Interceptor
from loomd.testing import open_spec

Open = Callable[..., AbstractAsyncContextManager[Interceptor]]


@pytest.fixture
def interceptor(tmp_path: Path) -> Open:
    """Return an opener of Interceptor specs; `clock` and `live` (open things by ref) may be given."""
    return partial(open_spec, "Interceptor", folder=tmp_path)
