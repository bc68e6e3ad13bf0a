"""Opens Skill specs."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from loomd.agents.base import Skill
from loomd.testing import open_spec

Open = Callable[..., AbstractAsyncContextManager[Skill]]


@pytest.fixture
def skill(tmp_path: Path) -> Open:
    """Return an opener of Skill specs; `clock` and `live` (open things by ref) may be given."""
    return partial(open_spec, "Skill", folder=tmp_path)
