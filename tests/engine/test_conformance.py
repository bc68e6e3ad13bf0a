"""The suite of `conformance` over every engine that there is."""

import logging
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.engine.benches import LocalBench, SimulatedBench
from tests.engine.conformance import Bench, Conformance


class TestLocal(Conformance):
    """The engine that comes with loomd, on its real store."""

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Bench:
        """Return a folder of its own."""
        return LocalBench(tmp_path)


class TestSimulated(Conformance):
    """The same engine on a store in memory, in virtual time: killed after every single commit."""

    @pytest.fixture
    def bench(self) -> Generator[Bench]:
        """Return a disk of its own; nothing is logged, because every kill would be."""
        logging.disable(logging.CRITICAL)
        yield SimulatedBench()
        logging.disable(logging.NOTSET)
