"""The engine in virtual time, on a store that fails and a process that dies, by thousands of seeds."""

import logging
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.simulation.run import History, live

SEEDS = 2000
_SHARE = 250
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def quiet() -> Generator[None]:
    """Log nothing: every fault would be."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("first", range(0, SEEDS, _SHARE))
def test_what_is_promised_holds(first: int) -> None:
    """Whatever fails and whenever the process dies: no accepted task is lost, no recorded effect is had again."""
    kills = sum(live(seed).kills for seed in range(first, first + _SHARE))
    assert kills > _SHARE // 2


@pytest.mark.parametrize("seed", [7, 42, 1999])
def test_a_seed_is_one_history(seed: int) -> None:
    """The same seed is the same history to the last detail, in another process too; another seed is another one."""
    first = History(seed).run()
    assert History(seed).run().outside.trace == first.outside.trace
    assert History(seed + 1).run().digest != first.digest
    command = [sys.executable, "-m", "tests.simulation.run", str(seed)]
    environment = os.environ | {"PYTHONHASHSEED": str(seed)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)  # noqa: S603  # our own words
    assert done.stdout.split()[-1] == first.digest
