"""Opens Interceptor specs."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from loomd.agents.base import Interceptor
from loomd.testing import open_spec

Open = Callable[..., AbstractAsyncContextManager[Interceptor]]


@pytest.fixture
def interceptor(tmp_path: Path) -> Open:
    """Return an opener of Interceptor specs; `clock` and `live` (open things by ref) may be given."""
    return lambda spec, **options: open_spec("Interceptor", spec, tmp_path, **options)
